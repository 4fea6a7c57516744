//! How many windows a capture may cause. Time stamps are the sender's word: frames that are far apart in time make a window
//! each and windows of silence between them, many times as much to keep as the frames themselves. So every window has a price in
//! packets, a capture may have some beyond what its packets pay for, and then almost empty windows are folded. Windows without a
//! packet are judged and not reported where the capture has too few packets for them.

/// Windows with a packet that a capture may have beyond what its packets pay for, and windows without: 14 hours of the default
/// length each.
const FREE: u64 = 10_000;
/// Windows without a packet that are reported of any capture: 83 minutes of the default length.
const FREE_SHOWN: u64 = 1_000;
/// What a window costs, in packets.
const PRICE: u64 = 16;

/// What is left of a capture's windows, in packets.
#[derive(Debug)]
pub(super) struct Allowance {
    left: u64,
    /// The same for windows without packets.
    silent_left: u64,
    /// The same for those of them that are reported.
    shown_left: u64,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { left: FREE * PRICE, silent_left: FREE * PRICE, shown_left: FREE_SHOWN * PRICE }
    }
}

impl Allowance {
    /// A packet is at hand.
    #[inline]
    pub(super) const fn packet(&mut self) {
        self.left = self.left.saturating_add(1);
        self.silent_left = self.silent_left.saturating_add(1);
        self.shown_left = self.shown_left.saturating_add(1);
    }

    /// Whether the open window may be closed, and another one opened for the packet at hand, in whichever direction its time
    /// goes; else it goes on.
    pub(super) const fn window(&mut self) -> bool {
        let Some(left) = self.left.checked_sub(PRICE) else { return false };
        self.left = left;
        true
    }

    /// What becomes of a window without packets.
    pub(super) const fn silent_window(&mut self) -> Silent {
        let Some(left) = self.silent_left.checked_sub(PRICE) else { return Silent::Skipped };
        self.silent_left = left;
        let Some(left) = self.shown_left.checked_sub(PRICE) else { return Silent::Judged };
        self.shown_left = left;
        Silent::Reported
    }
}

/// What becomes of a window without packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silent {
    /// It is a window like any other.
    Reported,
    /// Detectors see it, and nobody else: the next one's silence stands for it.
    Judged,
    /// It is part of the next one's silence.
    Skipped,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Windows of a capture with so many packets in each.
    fn windows(packets: u64, of_each: u64) -> u64 {
        let mut allowance = Allowance::default();
        let mut windows = 0;
        for packet in 0..packets {
            allowance.packet();
            windows += u64::from(packet % of_each == 0 && packet > 0 && allowance.window());
        }
        windows
    }

    #[test]
    fn almost_empty_windows_are_bounded_and_others_are_all_there() {
        assert_eq!(windows(1_000_001, 20), 50_000);
        assert_eq!(windows(1_600_001, 16), 100_000);
        // Each costs more packets than it brings, until nothing is left; then 16 packets make a window.
        for of_each in [1, 2, 4, 15] {
            let free = FREE * PRICE / (PRICE - of_each);
            assert_eq!(windows(9_000 * of_each + 1, of_each), 9_000, "{of_each}");
            let packets = 4 * free * of_each;
            let most = free + (packets - free * of_each) / PRICE + 1;
            let many = windows(packets, of_each);
            assert!((free..=most).contains(&many), "{many} of {most} with {of_each}");
        }
    }

    #[test]
    fn windows_without_packets_are_bounded_by_the_packets() {
        let mut allowance = Allowance::default();
        let (mut reported, mut judged) = (0, 0);
        for _ in 0..160_000 {
            allowance.packet();
            for _ in 0..12 {
                let silent = allowance.silent_window();
                judged += u64::from(silent != Silent::Skipped);
                reported += u64::from(silent == Silent::Reported);
            }
        }
        assert_eq!((reported, judged), (FREE_SHOWN + 160_000 / PRICE, FREE + 160_000 / PRICE));
    }
}

//! How many windows a capture may cause. Time stamps are the sender's word: frames that are far apart in time make a window
//! each and windows of silence between them, hundreds of times as much to keep as the frame itself. So runs of windows with one
//! packet are folded once there are many, and windows without a packet are judged and not reported where the capture has too few
//! packets for them.

/// Windows with one packet that a capture may have, and windows without: 14 hours of the default length each.
const FREE: u64 = 10_000;
/// Windows without a packet that are reported of any capture: 83 minutes of the default length.
const FREE_SHOWN: u64 = 1_000;
/// What such a window costs, in packets. One with more costs no more than it holds.
const PRICE: u64 = 16;

/// What is left of a capture's windows, in packets.
#[derive(Debug)]
pub(super) struct Allowance {
    left: u64,
    /// The same for windows without packets.
    silent_left: u64,
    /// The same for those of them that are reported.
    shown_left: u64,
    /// Packets since the last window closed, the one at hand among them.
    packets: u64,
    /// Whether the open window stands for others already.
    folds: bool,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { left: FREE * PRICE, silent_left: FREE * PRICE, shown_left: FREE_SHOWN * PRICE, packets: 0, folds: false }
    }
}

impl Allowance {
    /// A packet is at hand.
    #[inline]
    pub(super) const fn packet(&mut self) {
        self.left = self.left.saturating_add(1);
        self.silent_left = self.silent_left.saturating_add(1);
        self.shown_left = self.shown_left.saturating_add(1);
        self.packets += 1;
    }

    /// Whether the open window may be closed, and another one opened for the packet at hand, in whichever direction its time
    /// goes; else it goes on.
    pub(super) const fn window(&mut self) -> bool {
        let held = self.packets.saturating_sub(1);
        let price = if self.folds || held <= 1 || held > PRICE { PRICE } else { held };
        match self.left.checked_sub(price) {
            Some(left) => {
                *self = Self { left, packets: 1, folds: false, ..*self };
                true
            }
            None => {
                self.folds = true;
                false
            }
        }
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
    fn windows_with_one_packet_are_bounded_and_others_are_all_there() {
        assert_eq!(windows(1_000_001, 20), 50_000);
        assert_eq!(windows(400_001, 4), 100_000);
        assert_eq!(windows(9_001, 1), 9_000);
        // Each of the first costs 15 packets more than it brings; then 16 packets make a window.
        let free = FREE * PRICE / (PRICE - 1);
        let many = windows(100_000, 1);
        assert!((free..=free + (100_000 - free) / PRICE + 1).contains(&many), "{many}");
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

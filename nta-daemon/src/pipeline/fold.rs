//! How many windows a capture may cause. Time stamps are the sender's word: frames that are far apart in time make a window
//! each and windows of silence between them, hundreds of times as much to keep as the frame itself. So runs of windows with one
//! packet are folded once there are many, and no more windows without a packet are reported.

/// Windows with one packet that a capture may have, and windows without: 14 hours of the default length each.
const FREE: u64 = 10_000;
/// What such a window costs, in packets. One with more costs no more than it holds.
const PRICE: u64 = 16;

/// What is left of a capture's windows, in packets.
#[derive(Debug)]
pub(super) struct Allowance {
    left: u64,
    /// The same for windows without packets.
    silent_left: u64,
    /// Packets since the last window closed, the one at hand among them.
    packets: u64,
    /// Whether the open window stands for others already.
    folds: bool,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { left: FREE * PRICE, silent_left: FREE * PRICE, packets: 0, folds: false }
    }
}

impl Allowance {
    /// A packet is at hand.
    #[inline]
    pub(super) const fn packet(&mut self) {
        self.left = self.left.saturating_add(1);
        self.silent_left = self.silent_left.saturating_add(1);
        self.packets += 1;
    }

    /// Whether the open window may be closed, and another one opened for the packet at hand; else it goes on.
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

    /// Whether a window without packets may be reported.
    pub(super) const fn silent_window(&mut self) -> bool {
        match self.silent_left.checked_sub(PRICE) {
            Some(left) => {
                self.silent_left = left;
                true
            }
            None => false,
        }
    }
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
        let mut silent = 0;
        for _ in 0..160_000 {
            allowance.packet();
            silent += (0..12).filter(|_| allowance.silent_window()).count() as u64;
        }
        assert_eq!(silent, FREE + 160_000 / PRICE);
    }
}

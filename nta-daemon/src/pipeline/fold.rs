//! How many windows a capture may cause. Time stamps are the sender's word: frames that are far apart in time make a window
//! each, hundreds of times as much to keep as the frame itself.

/// Windows that a capture has whatever it holds: 14 hours of the default length.
const FREE: u64 = 10_000;
/// Beyond these, so many packets for a window: what is kept is then no larger than some times the capture itself.
const PACKETS: u64 = 16;

/// What is left of a capture's windows, in packets.
#[derive(Debug)]
pub(super) struct Allowance(u64);

impl Default for Allowance {
    fn default() -> Self {
        Self(FREE * PACKETS)
    }
}

impl Allowance {
    /// A packet came.
    #[inline]
    pub(super) const fn packet(&mut self) {
        self.0 = self.0.saturating_add(1);
    }

    /// Whether the open window may be closed, and another one opened; else it goes on.
    pub(super) const fn window(&mut self) -> bool {
        match self.0.checked_sub(PACKETS) {
            Some(left) => {
                self.0 = left;
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
            windows += u64::from(packet % of_each == of_each - 1 && allowance.window());
        }
        windows
    }

    #[test]
    fn windows_are_bounded_by_packets_and_those_with_enough_are_all_there() {
        assert_eq!(windows(1_000_000, 20), 50_000);
        assert_eq!(windows(9_000, 1), 9_000);
        assert_eq!(windows(100_000, 1), FREE + 100_000 / PACKETS);
    }
}

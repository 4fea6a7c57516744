//! The time of a pcapng interface: ticks of its own resolution from its own zero.

/// Turns an interface's timestamps into nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    tick: Tick,
    offset_s: i64,
}

#[derive(Clone, Copy, Debug)]
enum Tick {
    /// So many nanoseconds.
    Nanoseconds(u64),
    /// So many make a nanosecond.
    PerNanosecond(u128),
    /// Two to so many make a second.
    BinaryPerSecond(u32),
}

impl Clock {
    /// `resolution` is if_tsresol: a negative power of ten, or of two when the top bit is set; `offset_s` is if_tsoffset, in
    /// seconds. draft-ietf-opsawg-pcapng, section 4.2. (pcap-parser 0.17 refuses every power of two.)
    pub(super) fn new(resolution: u8, offset_s: i64) -> Self {
        let exponent = u32::from(resolution & 0x7f);
        let tick = if resolution & 0x80 != 0 {
            Tick::BinaryPerSecond(exponent)
        } else if exponent <= 9 {
            Tick::Nanoseconds(10_u64.pow(9 - exponent))
        } else {
            Tick::PerNanosecond(10_u128.checked_pow(exponent - 9).unwrap_or(u128::MAX))
        };
        Self { tick, offset_s }
    }

    #[inline]
    pub(super) fn time_ns(self, ticks: u64) -> u64 {
        let since_zero = match self.tick {
            Tick::Nanoseconds(ns) => u128::from(ticks) * u128::from(ns),
            Tick::PerNanosecond(count) => u128::from(ticks) / count,
            Tick::BinaryPerSecond(bits) => (u128::from(ticks) * NS_PER_SECOND as u128) >> bits,
        };
        if self.offset_s == 0 {
            return number(since_zero);
        }
        // 2^64 ticks of a second are less than 2^94 nanoseconds.
        let time = since_zero.cast_signed() + i128::from(self.offset_s) * NS_PER_SECOND;
        number(time.max(0).cast_unsigned())
    }
}

/// Of what is too late for 64 bits the lower ones, with the highest one set: no time, but one as long after another as it was.
fn number(ns: u128) -> u64 {
    u64::try_from(ns).unwrap_or(ns as u64 | 1 << 63)
}

const NS_PER_SECOND: i128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::Clock;

    #[test]
    fn decimal_resolutions() {
        assert_eq!(Clock::new(0, 0).time_ns(7), 7_000_000_000);
        assert_eq!(Clock::new(3, 0).time_ns(7), 7_000_000);
        assert_eq!(Clock::new(6, 0).time_ns(7), 7_000);
        assert_eq!(Clock::new(9, 0).time_ns(7), 7);
        assert_eq!(Clock::new(12, 0).time_ns(7_999), 7);
        assert_eq!(Clock::new(127, 0).time_ns(u64::MAX), 0);
    }

    #[test]
    fn binary_resolutions() {
        assert_eq!(Clock::new(0x80, 0).time_ns(3), 3_000_000_000);
        assert_eq!(Clock::new(0x81, 0).time_ns(3), 1_500_000_000);
        assert_eq!(Clock::new(0xa0, 0).time_ns(1 << 31), 500_000_000);
        assert_eq!(Clock::new(0xff, 0).time_ns(u64::MAX), 0);
    }

    #[test]
    fn offsets_and_times_that_are_too_late() {
        assert_eq!(Clock::new(6, 2).time_ns(1), 2_000_001_000);
        assert_eq!(Clock::new(6, -2).time_ns(3_000_000), 1_000_000_000);
        assert_eq!(Clock::new(6, i64::MIN).time_ns(1), 0);
        let late = Clock::new(6, 0);
        let first = u64::MAX - 7_000_000;
        for clock in [Clock::new(0, i64::MAX), Clock::new(0, 0), late] {
            assert!(clock.time_ns(first) > i64::MAX as u64, "{clock:?}");
        }
        assert_eq!(late.time_ns(first + 5_000_000) - late.time_ns(first), 5_000_000_000);
    }
}

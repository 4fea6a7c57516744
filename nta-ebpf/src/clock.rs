//! The two clocks of accounting, live.

use aya_ebpf::helpers::generated::{bpf_jiffies64, bpf_ktime_get_ns};
use nta_common::Clock;

use crate::settings;

/// Jiffies and exact nanoseconds of one moment.
#[inline(always)]
pub(crate) fn both() -> [u64; 2] {
    // SAFETY: helpers without arguments.
    unsafe { [bpf_jiffies64(), bpf_ktime_get_ns()] }
}

/// Live: jiffies, which the verifier inlines as one load, and the exact clock only where it is asked for.
pub(crate) struct KernelClock;

impl Clock for KernelClock {
    #[inline(always)]
    fn coarse_ns(&self) -> u64 {
        // SAFETY: a helper without arguments.
        let jiffies = unsafe { bpf_jiffies64() };
        jiffies.wrapping_mul(settings::jiffy_ns()).wrapping_sub(settings::jiffies_origin_ns())
    }

    #[inline(always)]
    fn exact_ns(&self) -> u64 {
        // SAFETY: a helper without arguments.
        unsafe { bpf_ktime_get_ns() }
    }
}

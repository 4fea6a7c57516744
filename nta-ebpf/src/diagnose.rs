//! The program's own diagnostics, by aya-log: only in an object built with the feature `debug-log`. In the shipped one
//! the macro is nothing, and costs nothing.

/// Reports a packet that was counted in no flow: the ledger's counter by number, and the interface by its slot.
#[cfg(feature = "debug-log")]
macro_rules! diagnose {
    ($ctx:expr, $counted:expr, $slot:expr) => {
        if $counted != nta_common::Counter::Flow {
            aya_log_ebpf::debug!($ctx, "slot {}: packet in no flow, counter {}", $slot, $counted as u32);
        }
    };
}

#[cfg(not(feature = "debug-log"))]
macro_rules! diagnose {
    ($ctx:expr, $counted:expr, $slot:expr) => {
        let _ = $counted;
    };
}

//! The userspace half of nta: what turns packets and kernel counters into windows, findings and alerts.

pub mod source;

//! Logs that cannot be compared, and why.

/// Why this log is not compared with this capture.
pub(crate) fn reason(_capture: &str, _log: &str) -> Option<&'static str> {
    None
}

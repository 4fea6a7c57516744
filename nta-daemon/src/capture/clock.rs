//! The wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

use nta_core::domain::Timestamp;

/// Now, by the wall clock.
pub fn now() -> Timestamp {
    Timestamp::from_nanos(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64))
}

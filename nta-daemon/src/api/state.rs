//! What every handler may read.

use tokio::sync::watch;

use crate::domain::{Status, Timestamp};
use crate::store::Store;

/// Shared by all requests; cheap to clone.
#[derive(Clone, Debug)]
pub struct ApiState {
    pub(super) store: Store,
    status: watch::Receiver<Status>,
}

impl ApiState {
    /// Serves this store and this status.
    pub const fn new(store: Store, status: watch::Receiver<Status>) -> Self {
        Self { store, status }
    }

    /// The pipeline's last published status.
    pub(super) fn status(&self) -> Status {
        self.status.borrow().clone()
    }
}

/// The wall clock. Answers carry the time at which they were given; nothing else here depends on it.
pub(super) fn now() -> Timestamp {
    Timestamp::from_nanos(u64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or_default())
}

/// Version of the daemon.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

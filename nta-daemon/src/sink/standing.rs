//! How the daemon is: why it does not count and keep, or what is away while the rest goes on. `/health` says it, and a gateway says it to whom it ships.

use std::sync::Arc;

use tokio::sync::watch;

use super::Counters;
use crate::store::Store;
use nta_core::domain::Status;

/// What tells how the daemon is; clones share it.
#[derive(Clone, Debug)]
pub struct Standing {
    status: watch::Receiver<Status>,
    store: Store,
    outputs: Arc<[Arc<Counters>]>,
}

impl Standing {
    /// By what the pipeline publishes, what the store counts, and what becomes of what goes to others.
    pub fn new(status: watch::Receiver<Status>, store: Store, outputs: Arc<[Arc<Counters>]>) -> Self {
        Self { status, store, outputs }
    }

    /// Why packets are not counted, or why what is counted is lost.
    pub fn failures(&self) -> Vec<String> {
        let failure = self.status.borrow().failure.clone();
        let mut reasons: Vec<String> = failure.map(|failure| format!("capture: {failure}")).into_iter().collect();
        let store = self.store.stats();
        if store.failing && !store.waits_on_disk() {
            let since = store.last_error_at.as_deref().unwrap_or("the start");
            reasons.push(format!(
                "store: the database takes no writes and nothing else keeps them (last tried at {since}), see `last_error` in /api/status"
            ));
        }
        reasons
    }

    /// What is away, or stopped by request, while nothing of the rest is lost; that nothing can be shipped who ships says.
    pub fn degraded(&self) -> Vec<String> {
        let mut reasons: Vec<String> = {
            let status = self.status.borrow();
            let away = status.degraded.iter().map(|reason| format!("capture: {reason}"));
            away.chain(status.stopped.iter().cloned()).collect()
        };
        for output in self.outputs.iter().filter(|output| output.is_failing()) {
            let (kind, why) = (output.kind(), output.last_error().unwrap_or_default());
            reasons.push(format!("{}: {} does not take {}: {why}", kind.name, output.to(), kind.unit));
        }
        let store = self.store.stats();
        if store.failing {
            let waiting = store.batches_waiting;
            let last = store.last_error_at.as_deref().unwrap_or("the start");
            reasons.push(format!(
                "store: the database takes no writes (last tried at {last}), {waiting} batches wait on disk"
            ));
        }
        if let Some(reason) = store.spool_error {
            let left = store.spool_passed_over;
            reasons.push(format!(
                "store: the spool cannot be read or changed ({reason}), {left} batches in it wait until it can"
            ));
        }
        reasons
    }

    /// Why all is not well.
    pub fn reasons(&self) -> Vec<String> {
        let failures = self.failures();
        if failures.is_empty() { self.degraded() } else { failures }
    }
}

//! The spool of a writer: opened when it begins, and where that fails tried again.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::Store;
use super::spool::Spool;

/// Wait after the first failed attempt; doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(if cfg!(test) { 10 } else { 1000 });
/// Longest wait between attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// When a spool that could not be opened is tried again.
#[derive(Debug)]
pub(super) struct Opening {
    at: Instant,
    wait: Duration,
    failures: u64,
}

impl Opening {
    pub(super) fn new(now: Instant) -> Self {
        Self { at: now, wait: FIRST_WAIT, failures: 0 }
    }

    /// When the next attempt is due; `None` where the spool is open, or there is to be none.
    pub(super) fn due(&self, store: &Store, spool: Option<&Spool>) -> Option<Instant> {
        (spool.is_none() && store.spool.is_some()).then_some(self.at)
    }

    /// Opens the spool where it is due. What an earlier run left in it is written before what waits in memory.
    pub(super) fn open(&mut self, store: &Store, spool: &mut Option<Spool>, now: Instant) {
        if self.due(store, spool.as_ref()).is_none_or(|at| now < at) {
            return;
        }
        let Some((folder, most)) = &store.spool else { return };
        match Spool::open(folder, *most) {
            Ok(opened) => {
                if self.failures > 0 {
                    info!(folder = %folder.display(), batches = opened.len(), "store: the spool is open now");
                }
                store.counters.set_spool_error(None);
                *spool = Some(opened);
            }
            Err(error) => {
                self.failures += 1;
                if self.failures.is_power_of_two() {
                    let failures = self.failures;
                    warn!(folder = %folder.display(), %error, failures, "store: there is no spool, it is tried again");
                }
                store.counters.set_spool_error(Some(&format!("{}: {error}", folder.display())));
                self.at = now + self.wait;
                self.wait = (self.wait * 2).min(LONGEST_WAIT);
            }
        }
    }
}

//! Memory of windows that are over, for those that come: the kernel need not find as much again.

use std::sync::{Arc, Mutex};

use super::HostStats;
use crate::domain::FlowObservation;

/// Emptied vectors with their memory. Who takes from it says how much it keeps.
#[derive(Debug)]
pub(super) struct Pool<T>(Arc<Mutex<Vec<Vec<T>>>>);

/// What the windows of one run share.
#[derive(Clone, Debug, Default)]
pub(super) struct Pools {
    pub(super) flows: Pool<FlowObservation>,
    pub(super) hosts: Pool<HostStats>,
}

impl<T> Pool<T> {
    /// One of them, if there is one.
    pub(super) fn take(&self) -> Option<Vec<T>> {
        self.0.lock().ok()?.pop()
    }

    /// Changes what is kept.
    pub(super) fn keep(&self, change: impl FnOnce(&mut Vec<Vec<T>>)) {
        if let Ok(mut kept) = self.0.lock() {
            change(&mut kept);
        }
    }
}

/// A clone is the same pool.
impl<T> Clone for Pool<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_hands_out_what_was_given_to_the_other_and_another_pool_does_not() {
        let pool: Pool<u8> = Pool::default();
        let other = pool.clone();
        other.keep(|kept| kept.push(Vec::with_capacity(64)));
        assert_eq!(Pool::<u8>::default().take(), None);
        assert!(pool.take().is_some_and(|room| room.capacity() >= 64));
        assert_eq!((pool.take(), other.take()), (None, None));
    }
}

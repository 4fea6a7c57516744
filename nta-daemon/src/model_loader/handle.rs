//! The models that judge now, for whoever judges: the pipeline, analyses of uploads, jobs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::load;
use crate::config::Config;
use nta_core::model::Models;

/// Shared by all who judge; cheap to clone.
#[derive(Clone, Debug)]
pub struct ModelHandle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    shared: Mutex<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// None until somebody asks.
    models: Option<Models>,
    /// How often they were changed.
    changes: u64,
}

impl ModelHandle {
    /// Those that the configuration asks for, which are loaded when somebody needs them.
    pub fn new(config: &Config) -> Self {
        Self(Arc::new(Inner { config: config.clone(), shared: Mutex::default() }))
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that judge now.
    pub fn current(&self) -> Models {
        self.lock().models.get_or_insert_with(|| load(&self.0.config)).clone()
    }

    /// The same, and how often they were changed.
    pub fn now(&self) -> (Models, u64) {
        let models = self.current();
        (models, self.lock().changes)
    }

    /// Has these judge from now on; a pipeline takes them between two windows.
    pub fn set(&self, models: Models) {
        let mut shared = self.lock();
        shared.models = Some(models);
        shared.changes += 1;
    }

    /// Those that judge now, where they were changed since this was asked last; `seen` is what it noted.
    pub fn changed(&self, seen: &mut u64) -> Option<Models> {
        let shared = self.lock();
        if shared.changes == *seen {
            return None;
        }
        *seen = shared.changes;
        shared.models.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nta_core::domain::ModelState;

    #[test]
    fn a_change_is_seen_once_by_each_who_asks() {
        let handle = ModelHandle::new(&Config::default());
        let (mut one, mut other) = (0, 0);
        assert!(handle.changed(&mut one).is_none());
        let named = |name: &str| Models {
            state: ModelState { name: name.to_owned(), ..Default::default() },
            ..Default::default()
        };
        handle.set(named("a"));
        assert_eq!(handle.changed(&mut one).map(|models| models.state.name).as_deref(), Some("a"));
        assert!(handle.changed(&mut one).is_none());
        handle.set(named("b"));
        handle.set(named("c"));
        for seen in [&mut one, &mut other] {
            assert_eq!(handle.changed(seen).map(|models| models.state.name).as_deref(), Some("c"));
        }
        assert_eq!(handle.current().state.name, "c");
    }
}

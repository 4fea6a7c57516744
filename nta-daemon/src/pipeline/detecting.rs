//! What is looked for, shared by the pipeline, which asks between two windows, and those who change it.

use std::sync::{Arc, PoisonError, RwLock};

use nta_core::detect::DetectConfig;

/// The settings of now; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct DetectHandle(Arc<RwLock<Arc<DetectConfig>>>);

impl DetectHandle {
    /// These hold from the next window on.
    pub fn set(&self, config: DetectConfig) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    /// Those of now.
    pub fn now(&self) -> Arc<DetectConfig> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl From<DetectConfig> for DetectHandle {
    fn from(config: DetectConfig) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(config))))
    }
}

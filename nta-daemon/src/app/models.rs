//! Which models judge when a capture begins.

use super::App;
use crate::model_loader::{ModelHandle, Registry};
use nta_core::model::Models;

impl App {
    /// Has these models judge, or those that were chosen before: from now on they are changed through what this answers.
    pub async fn choose_models(&self, configured: Models) -> ModelHandle {
        let handle = self.uploads.models().clone();
        handle.set(configured);
        Registry::new(&self.store, &self.config, handle.clone()).restore(&self.sensor).await;
        self.status.send_modify(|status| status.model = handle.current().state);
        handle
    }
}

//! Models and settings of detection that are changed while the pipeline runs: it goes by others from a window on, and says so.

use std::sync::Arc;

use super::Pipeline;
use super::detecting::DetectHandle;
use super::judge::Judge;
use crate::model_loader::ModelHandle;
use nta_core::detect::DetectConfig;

/// Where the pipeline learns that others judge.
pub(super) struct Followed {
    handle: ModelHandle,
    /// What was seen of its changes.
    seen: u64,
    detect: DetectHandle,
    /// What is looked for up to now.
    known: Arc<DetectConfig>,
}

impl Pipeline {
    /// Asks the models of the handle, from the next window on where they changed since `seen`; looks for what `detect` says, which
    /// the pipeline was made with.
    pub fn follow_models(&mut self, (handle, seen): (ModelHandle, u64), detect: DetectHandle) {
        let known = detect.now();
        self.followed = Some(Followed { handle, seen, detect, known });
    }

    /// Between two windows.
    pub(super) fn take_models(&mut self) {
        let (Some(followed), Judge::Here(analysis)) = (&mut self.followed, &mut self.judge) else { return };
        let now = followed.detect.now();
        if !Arc::ptr_eq(&now, &followed.known) {
            let (models, seen) = followed.handle.now();
            analysis.set_detect(&followed.known, &now, &models);
            (followed.known, followed.seen) = (now, seen);
            self.status.model = models.state;
        } else if let Some(models) = followed.handle.changed(&mut followed.seen) {
            analysis.set_models(&followed.known, &models);
            self.status.model = models.state;
        }
    }
}

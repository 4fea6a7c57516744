//! Models that are changed while the pipeline runs: it asks others from a window on, and says so.

use nta_core::detect::DetectConfig;

use super::Pipeline;
use super::judge::Judge;
use crate::model_loader::ModelHandle;

/// Where the pipeline learns that others judge.
pub(super) struct Followed {
    handle: ModelHandle,
    /// What was seen of its changes.
    seen: u64,
    detect: DetectConfig,
}

impl Pipeline {
    /// Asks the models of the handle, from the next window on where they changed since `seen`.
    pub fn follow_models(&mut self, (handle, seen): (ModelHandle, u64), detect: DetectConfig) {
        self.followed = Some(Followed { handle, seen, detect });
    }

    /// Between two windows.
    pub(super) fn take_models(&mut self) {
        let (Some(followed), Judge::Here(analysis)) = (&mut self.followed, &mut self.judge) else { return };
        if let Some(models) = followed.handle.changed(&mut followed.seen) {
            analysis.set_models(&followed.detect, &models);
            self.status.model = models.state;
        }
    }
}

//! What an App serves and starts beside its work: the API, webhooks, shipping, recordings, jobs.

use tokio::task::JoinHandle;

use super::App;
use crate::api::{self, AnalysisAccess};
use crate::capture::clock;
use crate::config::RecordingsConfig;
use crate::jobs::{Jobs, KINDS};
use crate::recording::{Recorder, Ring, ring_folder};
use crate::sink::Standing;
use crate::sink::ship::Shipping;
use crate::sink::webhook::Webhooks;
use nta_core::domain::Mode;

impl App {
    /// Serves where it listens, and starts what works beside the capture or replay.
    pub(super) fn serve(&mut self) -> JoinHandle<std::io::Result<()>> {
        let Some(served) = self.served.take() else { return tokio::spawn(std::future::pending()) };
        let access = AnalysisAccess {
            baselines: self.baselines.clone(),
            mutes: self.mutes.clone(),
            metrics: self.metrics.clone(),
            detect: self.detect.clone(),
            baseline: self.config.baseline.clone(),
        };
        let state = served.state(&self.config, self.store.clone(), self.status.subscribe(), access);
        let state = state.with_uploads(self.uploads.clone());
        let state = state.with_reload(self.current.clone(), self.reload.clone());
        let mut state = state.with_run(self.data).with_sensor(self.sensor.clone());
        if self.status.borrow().mode == Mode::Replay {
            state = state.with_progress(self.progress.clone()).with_replayed(std::mem::take(&mut self.replayed));
        } else {
            // Also where there are none: a reload may bring some.
            let webhooks = Webhooks::new(self.store.clone(), self.sensor.clone(), &self.config.webhooks);
            webhooks.start(Some(self.run), &self.stop);
            self.webhooks = Some(webhooks.clone());
            state = state.with_webhooks(webhooks);
        }
        if self.status.borrow().mode == Mode::Live && !self.config.ship.to.is_empty() {
            let shipping = Shipping::new(self.store.clone(), self.sensor.clone(), &self.config.ship);
            let outputs = self.outputs.counters().into();
            let standing = Standing::new(self.status.subscribe(), self.store.clone(), outputs);
            // Past the end of all else: the last window, and that the run ends, are shipped as well.
            shipping.start(standing, &self.ship);
            self.shipping = Some(shipping.clone());
            state = state.with_shipping(shipping);
        }
        if self.status.borrow().mode == Mode::Live {
            let RecordingsConfig { max_bytes, quota_bytes, .. } = self.config.recordings;
            let folder = self.config.recordings.folder(self.store.path());
            state = state.with_packets(vec![folder.clone(), ring_folder(&folder)]);
            if let Some(ring) = Ring::configured(&self.config.capture, &folder) {
                state = state.with_ring(ring.counts());
                tokio::spawn(ring.follow(self.status.subscribe(), self.stop.clone()));
            }
            let (uploads, runtime) = (self.uploads.clone(), tokio::runtime::Handle::current());
            let recorder = Recorder::new(folder, max_bytes, quota_bytes).by(self.config.capture.loader());
            let recorder = recorder.with_end(move |recording| {
                let (uploads, files) = (uploads.clone(), recording.files.clone());
                runtime.spawn(async move {
                    if let Err(error) = uploads.adopt(&files).await {
                        tracing::warn!(%error, "a recording is not among the captures; the next start takes it");
                    }
                });
            });
            state = state.with_recorder(recorder);
        }
        if let Some(capture) = self.capture.take() {
            state = state.with_capture(capture);
        }
        if let Some(mirror) = &self.outputs.mirror {
            state = state.with_mirror(mirror.counters());
        }
        state = state.with_outputs(self.outputs.counters());
        let results = state.tools().results.clone();
        tokio::spawn(results.keep(self.sensor.clone(), self.stop.clone(), clock::now));
        let jobs = Jobs::new(state.tools().clone(), self.run, KINDS);
        self.jobs = Some(jobs.clone());
        state = state.with_jobs(jobs.clone());
        self.outputs.begin(&state, &self.stop);
        let uploads = self.uploads.clone();
        self.say_where("serving");
        tokio::spawn(async move {
            if let Err(error) = jobs.take_over().await {
                tracing::warn!(error = error.chain(), "jobs of a daemon that ended are not taken over");
            }
            // Behind it: what a job of before analyses nobody else does.
            uploads.keep().await;
        });
        tokio::spawn(api::serve(served.listener, state, self.stop.clone().cancelled_owned()))
    }
}

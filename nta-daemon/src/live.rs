//! Live capture: attached programs, windows by the wall clock.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::capture::clock::now;

use crate::pipeline::baselines::BaselineHandle;
use crate::pipeline::{Output, Pipeline, PipelineOptions, Telling};
use crate::source::kernel::device::Device;
use crate::source::kernel::{AttachedKernel, KernelFlows};
use crate::source::{FlowSource as _, SourceError};
use nta_core::baseline::BaselineConfig;
use nta_core::detect::DetectConfig;
use nta_core::domain::{Mode, NicCounts, Status};
use nta_core::model::Models;
use nta_core::window::Seed;

/// How often the log of a debug build of the programs is read.
const DIAGNOSTICS_EVERY: Duration = Duration::from_millis(200);

/// How often events are taken out of their ring, which holds 4 MiB unless configured otherwise.
const EVENTS_EVERY: Duration = Duration::from_millis(100);

/// Programs that count, and the maps they count into.
pub struct Live {
    /// Keeps the programs attached.
    pub attached: AttachedKernel,
    /// What they count.
    pub flows: KernelFlows,
    /// Length of a window in nanoseconds.
    pub window_ns: u64,
    /// What is looked for.
    pub detect: DetectConfig,
    /// How baselines are learned.
    pub baseline: BaselineConfig,
    /// Models that judge beside the rules.
    pub models: Models,
    /// Where baselines are shown, and imports of them taken from.
    pub baselines: BaselineHandle,
}

impl Live {
    /// What is told before the first window closes.
    pub fn status(window_ns: u64, models: &Models) -> Status {
        Status {
            mode: Mode::Live,
            engine: "live".to_owned(),
            started: now(),
            window_ns,
            model: models.state.clone(),
            ..Status::default()
        }
    }

    /// What each attached interface has counted itself.
    fn nics(&self) -> Vec<NicCounts> {
        self.attached.attachments.iter().map(|attachment| Device::counts(&attachment.interface)).collect()
    }

    /// Closes a window whenever its time is over, until `stop` is cancelled; then closes the open one
    /// early, ends every flow, and detaches or hands over to the next daemon.
    pub fn run(mut self, stop: &CancellationToken, output: &mut dyn Output) -> Result<(), SourceError> {
        let options = PipelineOptions {
            span_ns: self.window_ns,
            detect: self.detect.clone(),
            baseline: self.baseline.clone(),
            models: self.models.clone(),
            baselines: Some(self.baselines.clone()),
            telling: Telling::AtOnce,
            seed: Seed::random(),
        };
        let attachments = self.attached.attachments.clone();
        let status = Status { attachments, ..Self::status(self.window_ns, &self.models) };
        let mut pipeline = Pipeline::new(&options, status);
        self.attached.take_over();
        pipeline.begin_from(&self.flows.ledger()?);
        let attached_at = self.nics();
        loop {
            pipeline.open_at(now());
            let end = pipeline.window_end().unwrap_or_else(now);
            let mut wait = Duration::from_nanos(end.since(now())).min(EVENTS_EVERY);
            if self.attached.kernel().has_diagnostics() {
                self.attached.kernel().flush_diagnostics();
                wait = wait.min(DIAGNOSTICS_EVERY);
            }
            std::thread::sleep(wait);
            if stop.is_cancelled() {
                break;
            }
            if now() < end {
                pipeline.take_events(&mut self.flows, output)?;
            } else {
                let nics = self.nics();
                pipeline.hold_against(nics.iter().zip(&attached_at).map(|(now, then)| now.since(then)).collect());
                pipeline.close(&mut self.flows, output)?;
            }
        }
        if self.attached.stays() {
            self.flows.leave();
            pipeline.leave();
        }
        pipeline.finish(&mut self.flows, output)?;
        self.attached.hand_over(&self.flows)
    }
}

/// The host's name, as a sensor's name may have it; `sensor` where there is none.
pub fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || ".-_".contains(*c)).take(48).collect();
    if name.is_empty() { "sensor".to_owned() } else { name }
}

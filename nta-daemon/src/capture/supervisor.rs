//! The capture supervisor: attaches to the interfaces that are to be watched, follows them as they come, go, are renamed,
//! go down and up, and turns the pipeline's loop by the clock. Time enters the pipeline here: the monotonic clock's, which
//! the wall clock only labels.
//!
//! When the set of interfaces changes, programs for the new set take the place of those before over the same maps, so that
//! those that stay miss nothing. While no interface is there, nothing is counted, and the windows say so.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::watch::Sender;
use tokio_util::sync::CancellationToken;

use super::attacher::{Attacher, ByLoader, Inside as InProcess};
use super::choice::Choice;
use super::clock;
use super::control::{CaptureHandle, Captured, Ended, Orders};
use super::follow::Refused;
use super::inside::Inside;
use super::source::LiveSource;
use super::watch::Matches;
use crate::config::{Config, InterfacePattern};
use crate::model_loader::ModelHandle;
use crate::pipeline::baselines::BaselineHandle;
use crate::pipeline::mutes::MuteHandle;
use crate::pipeline::{Delivery, Fanout, Pipeline, PipelineOptions};
use crate::source::kernel::device::Device;
use crate::source::kernel::topology::Topology;
use crate::source::kernel::{
    AttachOptions, Attached, KernelFlows, KernelOptions, LinkEvents, LiveClock, Memory, Pinning, Stop,
};
use crate::source::{FlowSource as _, SourceError};
use nta_common::LedgerSlot;
use nta_common::limits::MAX_INTERFACES;
use nta_core::alerting::EarlierAlert;
use nta_core::domain::{Attachment, IdentityScope, Ledger, Mode, NicCounts, Readings, Resume, Status, Timestamp};
use nta_core::model::Models;
use nta_core::window::Seed;

/// How often the log of a debug build of the programs is read.
const DIAGNOSTICS_EVERY: Duration = Duration::from_millis(200);
/// How often events are taken out of their ring, which holds 4 MiB unless configured otherwise, and links looked after.
const EVENTS_EVERY: Duration = Duration::from_millis(100);

/// Owns the attachments.
pub struct Supervisor {
    /// What is to be captured.
    pub(super) choice: Choice,
    /// What is asked for, and where it is shown what is captured.
    pub(super) orders: Orders,
    pub(super) attacher: Box<dyn Attacher>,
    pub(super) attached: Option<Attached>,
    /// How the attached interfaces lie on one another.
    pub(super) topology: Topology,
    pub(super) source: LiveSource,
    pub(super) clock: LiveClock,
    pub(super) found: Matches,
    links: Option<LinkEvents>,
    inside: Inside,
    /// What the attached interfaces had counted themselves when they were attached.
    pub(super) attached_at: Vec<(u32, NicCounts)>,
    /// The interfaces that are captured, by index.
    pub(super) captured: Vec<(u32, Captured)>,
    /// Captures by request whose time was over.
    pub(super) ended: Vec<Ended>,
    /// What interfaces dropped that are captured no more.
    pub(super) dropped: BTreeMap<String, u64>,
    pub(super) refused: Option<Refused>,
}

/// How windows are cut and judged.
pub struct Judging {
    /// The configuration.
    pub config: Config,
    /// Models that judge beside the rules, and may be changed meanwhile.
    pub models: ModelHandle,
    /// Where baselines are shown, and imports of them taken from.
    pub baselines: BaselineHandle,
    /// What no alert is raised about for a while.
    pub mutes: MuteHandle,
    /// Names flows and alerts.
    pub ids: IdentityScope,
    /// Alerts of runs before that may come back.
    pub earlier: Vec<EarlierAlert>,
}

/// What the API says before the first window closes.
pub fn status(window_ns: u64, models: &Models) -> Status {
    Status {
        mode: Mode::Live,
        engine: "live".to_owned(),
        started: clock::now(),
        window_ns,
        model: models.state.clone(),
        ..Status::default()
    }
}

impl Supervisor {
    /// Attaches to what the patterns select now; an interface that is not there yet is waited for. It ends between two steps, and
    /// before anything is attached, once `stop` is cancelled. By the handle it is asked for other interfaces while it runs.
    ///
    /// # Errors
    /// When the programs cannot be loaded or attached, or it was asked to end.
    pub fn begin(
        patterns: Vec<InterfacePattern>,
        attach: AttachOptions,
        config: &Config,
        object: Option<Vec<u8>>,
        resume: Option<Resume>,
        stop: &CancellationToken,
    ) -> Result<(Self, CaptureHandle), SourceError> {
        let (map_memory_mib, tunnels) = (config.capture.map_memory_mib, config.capture.tunnel_ports());
        let (events, stop) = (config.event_settings(), stop.clone());
        let stop = Stop::when(move || stop.is_cancelled());
        let options = KernelOptions { map_memory_mib, tunnels, events, object, stop, ..KernelOptions::default() };
        let attacher: Box<dyn Attacher> = match config.capture.loader() {
            Some(path) if attach.pinning != Pinning::Ignored => Box::new(ByLoader::new(path, attach, options)),
            _ => Box::new(InProcess { attach, options, attached: None }),
        };
        let links = LinkEvents::listen();
        if let Err(error) = &links {
            tracing::warn!(%error, "interfaces are looked at once a window: the kernel sends no link events");
        }
        let clock = LiveClock::begin();
        let (handle, orders) = CaptureHandle::new(&patterns);
        let mut new = Self {
            choice: Choice::new(patterns),
            orders,
            attacher,
            attached: None,
            topology: Topology::default(),
            source: LiveSource::new(clock.offset_ns()),
            clock,
            found: Matches::default(),
            links: links.ok(),
            inside: Inside::new(config),
            attached_at: Vec::new(),
            captured: Vec::new(),
            ended: Vec::new(),
            dropped: BTreeMap::new(),
            refused: None,
        };
        new.found = new.found.look(&mut new.choice, &[]);
        if let Some(resume) = &resume {
            new.clock.go_on_from(resume.readings.clock_offset_ns);
            new.source = LiveSource::new(new.clock.offset_ns());
        }
        new.inside.look(true);
        new.attach(resume)?;
        Ok((new, handle))
    }

    /// Whether it goes on with the flows of a run before that was killed.
    pub fn is_resumed(&self) -> bool {
        self.attached.as_ref().and_then(|attached| attached.pinned.as_ref()).is_some_and(|pinned| pinned.is_resumed)
    }

    /// What a start that is killed before its first window leaves to the next one, where the maps outlive this process: nothing of
    /// them was reported that the run before had not. `None` where the run before was killed, as that is stored.
    pub fn begun(&self) -> Option<Readings> {
        let attached = self.attached.as_ref()?;
        let pinned = attached.pinned.as_ref().filter(|pinned| !pinned.is_resumed)?;
        let mut ledger = pinned.base.clone();
        ledger.resize(MAX_INTERFACES, LedgerSlot::default());
        let time_ns = pinned.handed_over_ns.unwrap_or(attached.since_ns);
        Some(Readings { maps: pinned.maps.clone(), time_ns, clock_offset_ns: self.clock.offset_ns(), ledger })
    }

    /// Why nothing is counted at the start, if so.
    pub fn failure(&self) -> Option<String> {
        self.attached.is_none().then(|| self.found.missing.join("; "))
    }

    /// Attaches to what was found, and goes on from where a run before was.
    pub(super) fn attach(&mut self, resume: Option<Resume>) -> Result<(), SourceError> {
        let what = if self.found.devices.is_empty() { "nothing is counted yet" } else { "not everything is counted" };
        for reason in &self.found.missing {
            tracing::warn!(reason, "{what}");
        }
        if self.found.devices.is_empty() {
            return Ok(());
        }
        let readings = resume.as_ref().map(|resume| &resume.readings);
        let (attached, handles) = self.attacher.attach(&self.found.devices, readings)?;
        let flows = KernelFlows::begin(&attached, handles, self.attacher.connections(), resume)?;
        for a in &attached.attachments {
            let (interface, ingress, egress, reason) = (&a.interface, &a.ingress, &a.egress, &a.reason);
            tracing::info!(interface, ingress, egress, count_basis = a.count_basis, reason, "attached");
        }
        self.source.begin(flows);
        self.topology = Topology::of(&self.found.devices);
        self.attached = Some(attached);
        self.note_nics();
        Ok(())
    }

    /// What each attached interface has counted itself.
    pub(super) fn nics(&self) -> Vec<(u32, NicCounts)> {
        self.attachments().iter().map(|a| (a.index, Device::counts(&a.interface))).collect()
    }

    /// Notes where the interfaces' own counters are, of those that were just attached.
    pub(super) fn note_nics(&mut self) {
        let known = std::mem::take(&mut self.attached_at);
        let then = |(index, now)| (index, known.iter().find(|(of, _)| *of == index).map_or(now, |(_, then)| *then));
        self.attached_at = self.nics().into_iter().map(then).collect();
    }

    pub(super) fn attachments(&self) -> &[Attachment] {
        self.attached.as_ref().map_or(&[], |attached| &attached.attachments)
    }

    /// Closes a window whenever its time is over, until `stop` is cancelled; then closes the open one early, ends every
    /// flow, and detaches or hands over to the next daemon.
    ///
    /// # Errors
    /// When what is counted cannot be read.
    pub fn run(
        mut self,
        judging: &Judging,
        stop: &CancellationToken,
        published: &Sender<Status>,
        output: &mut Fanout<'_>,
    ) -> Result<(), SourceError> {
        let Judging { config, models, baselines, mutes, ids, earlier } = judging;
        let (judging, seen) = models.now();
        let options = PipelineOptions {
            span_ns: config.windows.span_ns(),
            detect: config.detect.clone(),
            baseline: config.baseline.clone(),
            models: judging.clone(),
            baselines: Some(baselines.clone()),
            mutes: Some(mutes.clone()),
            delivery: Delivery::Immediate,
            seed: Seed::random(),
            ids: *ids,
            earlier: earlier.clone(),
        };
        self.source.identify(*ids);
        let mut pipeline = Pipeline::new(&options, status(options.span_ns, &judging));
        pipeline.follow_models((models.clone(), seen), config.detect.clone());
        self.report(&mut pipeline)?;
        published.send_replace(pipeline.status().clone());
        self.note_captured(&Ledger::default());
        self.show(&mut pipeline, published);
        match (self.source.flows().and_then(|flows| flows.resumed_ns()), self.counted_since()) {
            (Some(since_ns), _) => pipeline.resume(self.clock.at(since_ns), self.clock.now()),
            (None, Some(since)) => pipeline.begin(since),
            (None, None) => {
                let now = self.clock.now();
                pipeline.begin(now);
                pipeline.stop_counting(now);
            }
        }
        let mut memory = Memory::default();
        loop {
            pipeline.open_next();
            let now = self.clock.now();
            let end = pipeline.window_end().unwrap_or(now);
            let mut wait = Duration::from_nanos(end.since(now)).min(EVENTS_EVERY);
            if self.attacher.flush_diagnostics() {
                wait = wait.min(DIAGNOSTICS_EVERY);
            }
            let order = self.orders.wait(wait);
            if stop.is_cancelled() {
                break;
            }
            if let Some(by_ns) = self.clock.step() {
                tracing::warn!(by_s = by_ns as f64 / 1e9, "the wall clock was set");
                pipeline.clock_set(self.clock.ahead_ns());
            }
            let closes = self.clock.now() >= end;
            let heard = self.links.as_ref().is_some_and(LinkEvents::heard);
            self.inside.look(heard);
            if let Some(order) = order {
                self.carry_out(order, &mut pipeline, published)?;
            }
            if self.expire() || heard || closes || self.is_due() {
                self.follow(&mut pipeline)?;
                self.show(&mut pipeline, published);
            }
            if closes {
                pipeline.close_at(self.clock.now(), &mut self.source, output)?;
                memory.window(pipeline.status().flows_active);
            } else {
                pipeline.take_events(&mut self.source, output)?;
            }
        }
        if !self.choice.is_configured() {
            let interfaces = self.configured();
            tracing::info!(interfaces, "what was asked for about the capture ends here: the next start captures these");
        }
        let stays = self.attached.is_some() && self.attacher.stays();
        if let Some(flows) = self.source.flows().filter(|_| stays) {
            flows.leave();
            pipeline.leave();
        }
        let now = self.clock.now();
        pipeline.finish(now, &mut self.source, output)?;
        let until_ns = now.as_nanos().wrapping_sub(self.clock.offset_ns());
        match self.source.flows() {
            Some(flows) => self.attacher.hand_over(flows.last_ledger(), until_ns),
            None => Ok(()),
        }
    }

    /// Since when the attached programs count.
    pub(super) fn counted_since(&self) -> Option<Timestamp> {
        let attached = self.attached.as_ref().filter(|attached| !attached.attachments.is_empty());
        attached.map(|attached| self.clock.at(attached.since_ns))
    }

    /// Reports to the pipeline what is attached.
    pub(super) fn report(&mut self, pipeline: &mut Pipeline) -> Result<(), SourceError> {
        let attachments = self.attachments().to_vec();
        pipeline.attach(attachments, &self.source.ledger()?);
        pipeline.miss(self.found.missing.clone());
        Ok(())
    }
}

//! The interfaces as they come, go and are renamed: what is attached follows them.

use std::time::{Duration, Instant};

use super::supervisor::Supervisor;
use crate::pipeline::Pipeline;
use crate::source::kernel::device::Device;
use crate::source::kernel::topology::Topology;
use crate::source::{FlowSource as _, SourceError};
use nta_core::domain::Interface;

/// Wait before attaching is tried again; doubles with each failure.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Attaching failed.
pub(super) struct Refused {
    reason: String,
    /// When it is tried again, unless the interfaces change before, and how long to wait after that.
    due: Instant,
    next_wait: Duration,
    /// The interfaces that were to be attached to.
    wanted: Vec<(u32, String)>,
}

/// What a change of the set brought about.
#[derive(Default)]
struct Changed {
    /// The ledger's rows of names that are counted no more.
    rows: Vec<Interface>,
    /// Interfaces that cannot be attached, a reason each; the others are.
    refused: Vec<SourceError>,
    /// From when to when an interface that stays was not counted.
    uncounted_ns: Option<(u64, u64)>,
}

impl Supervisor {
    /// Looks at the interfaces, and attaches to others where they are others than before; answers why to some it cannot.
    pub(super) fn follow(&mut self, pipeline: &mut Pipeline) -> Result<Vec<SourceError>, SourceError> {
        let watched: Vec<(u32, String)> = self.attachments().iter().map(|a| (a.index, a.interface.clone())).collect();
        let indices: Vec<u32> = watched.iter().map(|(index, _)| *index).collect();
        let found = self.found.look(&mut self.choice, &indices);
        for reason in found.renamed.iter().filter(|reason| !self.found.renamed.contains(reason)) {
            tracing::warn!(reason, "an interface has another name");
        }
        self.found = found;
        let wanted: Vec<(u32, String)> = self.found.devices.iter().map(|d| (d.index, d.name.clone())).collect();
        let topology = Topology::of(&self.found.devices);
        let lies_same = self.attached.is_none() || self.topology == topology;
        let is_same = watched.len() == wanted.len() && watched.iter().all(|known| wanted.contains(known)) && lies_same;
        let mut cannot = Vec::new();
        let away = self.keep_attacher()?;
        if is_same {
            self.refused = None;
        } else if self.is_due() || self.refused.as_ref().is_none_or(|refused| refused.wanted != wanted) {
            cannot = self.change(pipeline, wanted)?;
        }
        let nics = self.nics();
        let since = nics.iter().zip(&self.attached_at).map(|((_, now), (_, then))| now.since(then));
        pipeline.hold_against(since.collect());
        let refused = self.refused.iter().map(|refused| refused.reason.clone());
        pipeline.miss(self.found.missing.iter().cloned().chain(refused).chain(away).collect());
        Ok(cannot)
    }

    /// Attaches to what was found, beside what stays attached.
    fn change(&mut self, pipeline: &mut Pipeline, wanted: Vec<(u32, String)>) -> Result<Vec<SourceError>, SourceError> {
        let ledger = self.source.ledger()?;
        let names = wanted.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>().join(",");
        tracing::info!(interfaces = names, "the interfaces have changed");
        let before: Vec<u32> = self.attachments().iter().map(|attachment| attachment.index).collect();
        let was_attached = !before.is_empty();
        let began = self.clock.now();
        let changed = match self.attached.is_some() {
            true => self.change_attached(),
            false => self.attach(None).map(|()| Changed::default()),
        };
        let cannot = match changed {
            Ok(Changed { rows, refused, uncounted_ns }) => {
                self.source.keep(rows);
                if let Some((from_ns, to_ns)) = uncounted_ns.filter(|_| was_attached) {
                    pipeline.stop_counting(self.clock.at(from_ns));
                    pipeline.go_on_counting(self.clock.at(to_ns));
                }
                refused
            }
            Err(error) => vec![error],
        };
        let reason = cannot.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        let waited = self.refused.take().map_or(FIRST_WAIT, |refused| refused.next_wait);
        if !reason.is_empty() {
            tracing::warn!(reason, again_in_s = waited.as_secs(), "cannot attach yet");
            let next_wait = (waited * 2).min(LONGEST_WAIT);
            self.refused = Some(Refused { reason, due: Instant::now() + waited, next_wait, wanted });
        }
        if self.attachments().is_empty() {
            // One that is stopped by request counts until it is detached; one that is gone does not even when it is looked for.
            let is_there = before.iter().any(|index| Device::name_of(*index).is_some());
            pipeline.stop_counting(if is_there { self.clock.now() } else { began });
        } else if let Some(since) = self.counted_since().filter(|_| !was_attached) {
            pipeline.go_on_counting(since);
        }
        self.keep_drops(&pipeline.status().attachments.clone());
        self.note_nics();
        self.note_captured(&ledger);
        self.report(pipeline)?;
        Ok(cannot)
    }

    /// Has what is attached changed to what was found, and reads on from there.
    fn change_attached(&mut self) -> Result<Changed, SourceError> {
        let (attached, change, handles) = self.attacher.change(&self.found.devices)?;
        let connections = self.attacher.connections();
        let mut rows = Vec::new();
        if let Some(flows) = self.source.flows() {
            rows.extend(change.assigned.into_iter().filter_map(|assigned| flows.assign(assigned)));
            if change.joins_translated {
                flows.join_translated(handles, connections)?;
            }
        }
        self.topology = Topology::of(&self.found.devices);
        self.attached = Some(attached);
        Ok(Changed { rows, refused: change.refused, uncounted_ns: change.uncounted_ns })
    }

    /// Why who attaches cannot be asked, if so.
    ///
    /// # Errors
    /// When it counts in other maps from now on: the next start reads those.
    fn keep_attacher(&mut self) -> Result<Option<String>, SourceError> {
        if self.attacher.is_there() {
            return Ok(None);
        }
        let attachments = self.attachments();
        let devices: Vec<Device> = attachments.iter().filter_map(|a| Device::find(&a.interface).ok()).collect();
        let readings = self.source.readings();
        match self.attacher.ask_anew(&devices, readings.as_ref()) {
            Ok(true) => Ok(None),
            Ok(false) => Err(SourceError::Unsupported("nta-loader counts in other maps than before".to_owned())),
            Err(error) => Ok(Some(format!("{error}; what is attached goes on counting"))),
        }
    }

    pub(super) fn is_due(&self) -> bool {
        self.refused.as_ref().is_some_and(|refused| Instant::now() >= refused.due)
    }
}

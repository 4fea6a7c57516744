//! What the supervisor does by request: interfaces started and stopped, and the end of those that were started for a time. Orders are
//! carried out between two readings of the maps, one after another, by the same change of the set as when an interface comes or goes.
//! So what was counted before a stop is read with the open window, and nothing is counted by two programs.

use std::time::{Duration, Instant};

use tokio::sync::watch::Sender;

use super::choice::{Asked, Until};
use super::clock;
use super::control::{CaptureError, CaptureState, Captured, Changed, Ended, MOST_DROPPED, MOST_ENDED, Order, Wish};
use super::supervisor::Supervisor;
use crate::config::InterfacePattern;
use crate::pipeline::Pipeline;
use crate::source::SourceError;
use crate::source::kernel::device::Device;
use nta_common::Counter;
use nta_core::domain::{Attachment, Ledger, Status};

/// Characters of a name that are repeated.
const MAX_SHOWN: usize = 64;

impl Supervisor {
    /// Carries an order out and answers it.
    ///
    /// # Errors
    /// What ends the capture.
    pub(super) fn carry_out(
        &mut self,
        order: Order,
        pipeline: &mut Pipeline,
        published: &Sender<Status>,
    ) -> Result<(), SourceError> {
        if order.is_late() {
            order.answer(Err(CaptureError::Late));
            return Ok(());
        }
        let before = self.orders.published();
        let asked = Asked { by: order.by.clone(), at: clock::now() };
        let known = self.choice.clone();
        // Whatever was to be tried again later is tried now.
        self.refused = None;
        let outcome = match order.wish.clone() {
            Wish::Start { interface, duration } => self.start(&interface, &asked, duration, pipeline)?,
            Wish::Stop { interface: Some(interface) } => self.stop(&interface, asked, pipeline)?,
            Wish::Stop { interface: None } => self.stop_all(asked, pipeline)?,
            Wish::Select { patterns } => {
                self.choice.select(patterns);
                self.leave(pipeline)?
            }
        };
        if outcome.is_err() && self.choice != known {
            self.choice = known;
            self.follow(pipeline)?;
        }
        self.show(pipeline, published);
        let answer = outcome.map(|()| Changed { before, after: self.orders.published() });
        let (action, interface, by) = (order.wish.action(), order.wish.interface(), &order.by);
        let until = || {
            let captured = self.captured.iter().find(|(_, captured)| Some(captured.interface.as_str()) == interface)?;
            captured.1.started.as_ref()?.until
        };
        match (&answer, until()) {
            (Ok(_), Some(until)) => tracing::info!(
                interface,
                by,
                %until,
                "capture {action} by request, until {until} or the next start, whichever is first: that captures {}",
                self.configured()
            ),
            (Ok(_), None) => tracing::info!(
                interface,
                by,
                "capture {action} by request, until the next start: that captures {}",
                self.configured()
            ),
            (Err(error), _) => tracing::warn!(interface, by, %error, "capture not {action}"),
        }
        order.answer(answer);
        Ok(())
    }

    fn start(
        &mut self,
        name: &str,
        asked: &Asked,
        duration: Option<Duration>,
        pipeline: &mut Pipeline,
    ) -> Result<Result<(), CaptureError>, SourceError> {
        let Ok(device) = Device::find(name) else { return Ok(Err(unknown(name))) };
        if let Some((_, captured)) = self.captured.iter().find(|(index, _)| *index == device.index) {
            let (interface, since) = (captured.interface.clone(), captured.since);
            return Ok(Err(CaptureError::Running { interface, since }));
        }
        let until = || {
            let since = clock::now();
            let at = |duration: Duration| since.plus(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
            duration.map(|duration| Until { due: Instant::now() + duration, at: at(duration) })
        };
        self.choice.start(&device, asked.clone(), until());
        let mut refused = self.follow(pipeline)?;
        if self.attachments().iter().any(|attachment| attachment.index == device.index) {
            // Its time begins now that it is captured.
            self.choice.start(&device, asked.clone(), until());
            self.note_captured(&Ledger::default());
            return Ok(Ok(()));
        }
        Ok(Err(match refused.pop() {
            Some(error) => CaptureError::Refused(error),
            None => {
                let about = |reason: &&String| reason.starts_with(&format!("{} ", device.name));
                let reason = self.found.missing.iter().find(about);
                CaptureError::Unable(reason.cloned().unwrap_or_else(|| format!("{name} is gone")))
            }
        }))
    }

    fn stop(
        &mut self,
        name: &str,
        asked: Asked,
        pipeline: &mut Pipeline,
    ) -> Result<Result<(), CaptureError>, SourceError> {
        let device = Device::find(name).ok();
        let index = device.as_ref().map(|device| device.index);
        let is_named = self.choice.names().contains(&name);
        let is_selected = match &device {
            Some(device) => self.found.is_selected(&self.choice, device),
            None => self.choice.patterns().iter().any(|pattern| pattern.is_name() && pattern.as_str() == name),
        };
        let is_wanted = match &device {
            Some(device) => self.choice.wants(device.index, is_selected),
            None => is_named,
        };
        if !is_wanted {
            let interface = name.chars().take(MAX_SHOWN).collect();
            let error = if device.is_some() { CaptureError::Idle { interface } } else { unknown(name) };
            return Ok(Err(error));
        }
        self.choice.stop(name, index, is_selected, asked);
        self.leave(pipeline)
    }

    fn stop_all(&mut self, asked: Asked, pipeline: &mut Pipeline) -> Result<Result<(), CaptureError>, SourceError> {
        if let Some(Asked { by, at }) = self.choice.stopped_by() {
            return Ok(Err(CaptureError::Stopped { by: by.clone(), since: *at }));
        }
        if self.attachments().is_empty() {
            return Ok(Err(CaptureError::Nothing));
        }
        self.choice.stop_all(asked);
        self.leave(pipeline)
    }

    /// Detaches from what is not to be captured any more.
    fn leave(&mut self, pipeline: &mut Pipeline) -> Result<Result<(), CaptureError>, SourceError> {
        let refused = self.follow(pipeline)?;
        let wanted = |index: u32| self.found.devices.iter().any(|device| device.index == index);
        let stays = self.attachments().iter().any(|attachment| !wanted(attachment.index));
        let reasons = || refused.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        Ok(if stays { Err(CaptureError::Unable(reasons())) } else { Ok(()) })
    }

    /// Ends what was started for a time that is over; whether anything was.
    pub(super) fn expire(&mut self) -> bool {
        let over = self.choice.expire(Instant::now(), clock::now());
        for Ended { interface, asked } in &over {
            tracing::info!(interface, by = asked.by, "capture by request ends: its time is over");
        }
        let is_any = !over.is_empty();
        self.ended.extend(over);
        let most = self.ended.len().saturating_sub(MOST_ENDED);
        self.ended.drain(..most);
        is_any
    }

    /// Keeps what interfaces dropped that are captured no more: the totals since the start do not fall.
    pub(super) fn keep_drops(&mut self, before: &[Attachment]) {
        let stays = |gone: &Attachment| self.attachments().iter().any(|attachment| attachment.index == gone.index);
        let gone: Vec<_> = before.iter().filter(|attachment| !stays(attachment)).collect();
        for Attachment { interface, nic, .. } in gone {
            let is_known = self.dropped.contains_key(interface) || self.dropped.len() < MOST_DROPPED;
            let name = if is_known { interface.as_str() } else { "" };
            *self.dropped.entry(name.to_owned()).or_default() += nic.rx_dropped;
        }
    }

    /// Notes since when each interface is captured. `ledger` is from before those that are new were attached.
    pub(super) fn note_captured(&mut self, ledger: &Ledger) {
        let now = clock::now();
        let since = self.counted_since().map(|since| since.offset(self.clock.ahead_ns()));
        let is_first = self.captured.is_empty();
        let known = std::mem::take(&mut self.captured);
        let captured = self.attachments().iter().map(|attachment| {
            let (index, interface) = (attachment.index, &attachment.interface);
            let same = known.iter().find(|(at, captured)| *at == index && captured.interface == *interface);
            let mut captured = same.map_or_else(
                || Captured {
                    interface: interface.clone(),
                    since: since.filter(|_| is_first).unwrap_or(now),
                    before: seen(ledger, interface),
                    started: None,
                },
                |(_, captured)| captured.clone(),
            );
            captured.started = self.choice.started(index);
            (index, captured)
        });
        self.captured = captured.collect();
    }

    /// Shows what is captured, and why something is not.
    pub(super) fn show(&self, pipeline: &mut Pipeline, published: &Sender<Status>) {
        let stopped = self.choice.stops(&self.found.set_aside, !self.attachments().is_empty());
        let restart = "POST /api/control/capture/start begins it again, and so does a restart";
        // Everybody may read it: who it was stands in /api/control/capture/status.
        let reasons = stopped.iter().map(|(interface, Asked { at, .. })| match interface {
            None => format!("capture stopped by request since {at}: {restart}"),
            Some(interface) => format!("{interface}: capture stopped by request since {at}: {restart}"),
        });
        pipeline.stopped(reasons.collect());
        let captured = self.captured.iter().map(|(_, captured)| captured.clone()).collect();
        let (ended, dropped) = (self.ended.clone(), self.dropped.clone());
        self.orders.publish(CaptureState { captured, stopped, ended, dropped });
        published.send_modify(|published| {
            let status = pipeline.status();
            published.failure.clone_from(&status.failure);
            published.degraded.clone_from(&status.degraded);
            published.stopped.clone_from(&status.stopped);
            published.attachments.clone_from(&status.attachments);
            published.ledger.clone_from(&status.ledger);
        });
    }

    /// What the next start captures.
    pub(super) fn configured(&self) -> String {
        self.choice.patterns().iter().map(InterfacePattern::as_str).collect::<Vec<_>>().join(",")
    }
}

/// Packets and bytes that the ledger has under a name.
fn seen(ledger: &Ledger, name: &str) -> [u64; 2] {
    let rows = ledger.interfaces.iter().filter(|row| row.name == name);
    rows.fold([0; 2], |[packets, bytes], row| [packets + row.counts.get(Counter::Seen), bytes + row.counts.seen_bytes])
}

fn unknown(name: &str) -> CaptureError {
    CaptureError::Unknown { name: name.chars().take(MAX_SHOWN).collect(), there_are: Device::there_are() }
}

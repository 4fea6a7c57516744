//! The one loop: flows that changed go into the open window and out to whoever listens; windows close, by event time in
//! replay and by the wall clock live. It reads like the data path.

use std::time::Instant;

use crate::domain::{FlowUpdate, Status, Timestamp};
use crate::source::{FlowSource, SourceError};
use crate::window::{Arrival, Window, Windows};

/// How often flows that are over are looked for, in event time.
const EXPIRE_EVERY_NS: u64 = 10_000_000_000;

/// Takes what the pipeline produces, in order.
pub trait Output {
    /// A flow changed or ended.
    fn flow(&mut self, update: &FlowUpdate<'_>);

    /// A window closed, after all its flows; `status` is the pipeline's state behind it.
    fn window(&mut self, window: Window, status: &Status);
}

/// Windows over one source.
pub struct Pipeline {
    windows: Windows,
    status: Status,
    last_expiry: Timestamp,
}

impl Pipeline {
    /// A pipeline with windows of `span_ns`; `status` says what it runs on.
    pub fn new(span_ns: u64, status: Status) -> Self {
        let status = Status { window_ns: span_ns, ..status };
        Self { windows: Windows::new(span_ns), status, last_expiry: Timestamp::default() }
    }

    /// What the pipeline tells about itself.
    pub const fn status(&self) -> &Status {
        &self.status
    }

    /// Records why capture does not work.
    pub fn fail(&mut self, reason: String) {
        self.status.failure = Some(reason);
    }

    /// End of the open window.
    pub fn window_end(&self) -> Option<Timestamp> {
        self.windows.end()
    }

    /// Opens the window of `time`, unless one is open.
    pub fn open_at(&mut self, time: Timestamp) {
        self.windows.open_at(time);
        self.status.window_open_since = Some(time);
    }

    /// Makes room for a packet of this time: closes the open window if the packet lies beyond it.
    pub fn arrive<S: FlowSource + ?Sized>(
        &mut self,
        time: Timestamp,
        source: &mut S,
        output: &mut dyn Output,
    ) -> Result<(), SourceError> {
        match self.windows.arrival(time) {
            Arrival::Inside => {}
            Arrival::Late => {
                self.windows.note_late();
                self.status.late_packets += 1;
                return Ok(());
            }
            Arrival::Closes => {
                let end = self.windows.end();
                self.close(source, output)?;
                // Behind a pause, what ended in it must be gone before this packet is counted.
                if end.is_some_and(|end| time.since(end) >= self.status.window_ns) {
                    source.expire(time, &mut |update| output.flow(&update))?;
                    self.last_expiry = time;
                }
            }
        }
        if self.windows.end().is_none() {
            self.open_at(time);
        }
        Ok(())
    }

    /// Closes the open window: drains the source into it, and ends flows that are over.
    pub fn close<S: FlowSource + ?Sized>(
        &mut self,
        source: &mut S,
        output: &mut dyn Output,
    ) -> Result<(), SourceError> {
        let Some(end) = self.windows.end() else { return Ok(()) };
        let windows = &mut self.windows;
        let flows_total = &mut self.status.flows_total;
        let mut sink = |update: FlowUpdate<'_>| {
            *flows_total += u64::from(update.delta.is_some_and(|delta| delta.is_new));
            windows.add(&update);
            output.flow(&update);
        };
        let began = Instant::now();
        source.drain(&mut sink)?;
        self.status.last_drain_ns = began.elapsed().as_nanos() as u64;
        if end.since(self.last_expiry) >= EXPIRE_EVERY_NS {
            source.expire(end, &mut sink)?;
            self.last_expiry = end;
        }
        self.status.ledger = source.ledger()?;
        let Some(window) = self.windows.close(&self.status.ledger.total()) else { return Ok(()) };
        self.status.windows_closed += 1;
        self.status.last_window_end = Some(end);
        self.status.window_open_since = None;
        self.status.flows_active = source.active();
        self.status.maps = source.maps();
        output.window(window, &self.status);
        Ok(())
    }

    /// Closes the open window and ends every flow.
    pub fn finish<S: FlowSource + ?Sized>(
        &mut self,
        source: &mut S,
        output: &mut dyn Output,
    ) -> Result<(), SourceError> {
        self.close(source, output)?;
        source.finish(&mut |update| output.flow(&update));
        self.status.flows_active = 0;
        Ok(())
    }
}

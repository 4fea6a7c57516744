//! What is counted live, over attachments that come and go: the flows of the programs that are attached, behind a ledger
//! that has rows of interfaces that are gone as well.

use crate::source::kernel::KernelFlows;
use crate::source::{FlowSource, Sink, SourceError};
use nta_core::domain::{
    FlowRecord, IdentityScope, Interface, Ledger, MapFill, OverflowDelta, PacketEvent, Readings, Timestamp,
};

/// Interfaces that are gone and have a row of the ledger of their own; what others counted is summed up.
const MAX_ROWS: usize = 64;
/// The name of that sum.
const OTHERS: &str = "(gone)";

/// The flows of attached programs, if any are attached.
#[derive(Default)]
pub struct LiveSource {
    flows: Option<KernelFlows>,
    ids: IdentityScope,
    /// Turns the kernel's clock into the run's time.
    clock_offset_ns: u64,
    /// What was counted under names that are counted no more.
    before: Vec<Interface>,
}

impl LiveSource {
    /// Nothing is attached yet; this turns the kernel's clock into the run's time.
    pub fn new(clock_offset_ns: u64) -> Self {
        Self { clock_offset_ns, ..Self::default() }
    }

    /// Counts by programs that were just attached.
    pub fn begin(&mut self, mut flows: KernelFlows) {
        flows.identify(self.ids);
        flows.set_clock(self.clock_offset_ns);
        self.flows = Some(flows);
    }

    /// The flows of the attached programs.
    pub fn flows(&mut self) -> Option<&mut KernelFlows> {
        self.flows.as_mut()
    }

    /// Keeps rows of the ledger under names that are counted no more.
    pub fn keep(&mut self, rows: Vec<Interface>) {
        rows.into_iter().for_each(|row| add(&mut self.before, row));
        while self.before.len() > MAX_ROWS {
            let row = self.before.remove(0);
            add(&mut self.before, Interface { name: OTHERS.to_owned(), ..row });
        }
    }
}

/// Adds a row to that of its name.
fn add(rows: &mut Vec<Interface>, row: Interface) {
    match rows.iter_mut().find(|known| known.name == row.name) {
        Some(known) => known.counts.merge(&row.counts),
        None => rows.push(row),
    }
}

impl FlowSource for LiveSource {
    fn identify(&mut self, ids: IdentityScope) {
        self.ids = ids;
        if let Some(flows) = &mut self.flows {
            flows.identify(ids);
        }
    }

    fn drain(&mut self, sink: &mut Sink<'_>) -> Result<(), SourceError> {
        self.flows.as_mut().map_or(Ok(()), |flows| flows.drain(sink))
    }

    fn overflows(&mut self, sink: &mut dyn FnMut(OverflowDelta)) -> Result<(), SourceError> {
        self.flows.as_mut().map_or(Ok(()), |flows| flows.overflows(sink))
    }

    fn events(&mut self, sink: &mut dyn FnMut(PacketEvent)) -> Result<(), SourceError> {
        self.flows.as_mut().map_or(Ok(()), |flows| flows.events(sink))
    }

    fn expire(&mut self, now: Timestamp, sink: &mut Sink<'_>) -> Result<(), SourceError> {
        self.flows.as_mut().map_or(Ok(()), |flows| flows.expire(now, sink))
    }

    fn finish(&mut self, sink: &mut Sink<'_>) {
        if let Some(flows) = &mut self.flows {
            flows.finish(sink);
        }
    }

    fn ledger(&mut self) -> Result<Ledger, SourceError> {
        let mut interfaces = match &mut self.flows {
            Some(flows) => flows.ledger()?.interfaces,
            None => Vec::new(),
        };
        for row in &self.before {
            add(&mut interfaces, row.clone());
        }
        Ok(Ledger { interfaces })
    }

    fn gone(&mut self) -> Vec<FlowRecord> {
        self.flows.as_mut().map(KernelFlows::gone).unwrap_or_default()
    }

    fn readings(&self) -> Option<Readings> {
        self.flows.as_ref().and_then(KernelFlows::readings)
    }

    fn maps(&self) -> Vec<MapFill> {
        self.flows.as_ref().map(KernelFlows::maps).unwrap_or_default()
    }

    fn active(&self) -> u64 {
        self.flows.as_ref().map_or(0, KernelFlows::active)
    }
}

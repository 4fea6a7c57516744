//! Maps of another size that a run before counted in: read out once, behind which they go. Their flows end; those of which more comes
//! go on as flows of this run.

use std::os::fd::AsFd as _;

use aya::maps::{Map, MapData, PerCpuArray};
use nta_common::{CpuSlot, FlowKey4, FlowKey6, OverflowKey, Volume};
use nta_loader::{Handles, LeftBehind, monotonic_ns};

use super::flow_map::{FlowMap, Reading, recall};
use super::maps::{counted, map_error};
use super::read::MapReader;
use super::tracker::Tracker;
use crate::source::{Sink, SourceError};
use nta_core::domain::{EndReason, FlowKey, Interface, Origin, OverflowDelta};

/// What the programs of before have counted.
pub(super) struct LeftMaps {
    state: LeftBehind,
    v4: FlowMap<FlowKey4>,
    v6: FlowMap<FlowKey6>,
    overflow: MapData,
    ledger: PerCpuArray<MapData, CpuSlot>,
}

impl LeftMaps {
    pub(super) fn take(state: LeftBehind, mut handles: Handles) -> Result<Self, SourceError> {
        let (ledger, _places) = handles.take_map("LEDGER")?;
        Ok(Self {
            state,
            v4: FlowMap::take(&mut handles, ["FLOWS4", "EMBRYOS4"])?,
            v6: FlowMap::take(&mut handles, ["FLOWS6", "EMBRYOS6"])?,
            overflow: handles.take_map("OVERFLOW")?.0,
            ledger: PerCpuArray::try_from(Map::PerCpuArray(ledger)).map_err(|error| map_error("LEDGER", error))?,
        })
    }

    /// What was counted since it was reported, a row a name.
    pub(super) fn rows(&self) -> Result<Vec<Interface>, SourceError> {
        let named = self.state.slots.iter().enumerate().filter(|(_, name)| !name.is_empty());
        let row = |(place, name): (usize, &String)| {
            let counts = self.state.since(place, &counted(&self.ledger, place)?);
            Ok(Interface { name: name.clone(), counts })
        };
        named.map(row).collect()
    }

    /// Reports their flows, and that they end.
    pub(super) fn read_flows(
        &mut self,
        tracker: &mut Tracker,
        origin: &Origin,
        sink: &mut Sink<'_>,
    ) -> Result<(), SourceError> {
        recall((&mut self.v4, &mut self.v6), tracker, origin)?;
        tracker.rewind(monotonic_ns());
        let mut keys = Vec::new();
        let mut read = |key: FlowKey, reading: Reading<'_>| {
            keys.push(key);
            tracker.read(key, reading, origin, sink)
        };
        self.v4.drain(|key, reading| read(FlowKey::V4(*key), reading))?;
        self.v6.drain(|key, reading| read(FlowKey::V6(*key), reading))?;
        for key in keys {
            let last = match &key {
                FlowKey::V4(v4) => self.v4.remove(v4, key.proto())?,
                FlowKey::V6(v6) => self.v6.remove(v6, key.proto())?,
            };
            tracker.remove(&key, last.as_ref(), EndReason::Shutdown, origin, sink);
        }
        Ok(())
    }

    /// Reports what found their flow maps full.
    pub(super) fn read_overflows(self, sink: &mut dyn FnMut(OverflowDelta)) -> Result<(), SourceError> {
        let report = |key: &OverflowKey, counted: &Volume| {
            let counts = counted.since(&Volume::default());
            if counts.packets > 0 {
                sink(OverflowDelta::new(key, counts));
            }
        };
        let read = MapReader::new().for_each(self.overflow.fd().as_fd(), report);
        read.map_err(|source| SourceError::Map { name: "OVERFLOW", source })
    }
}

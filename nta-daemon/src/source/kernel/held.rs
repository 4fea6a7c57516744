//! What the kernel holds of connections that packets were translated by: asked through a program, for the memory of the kernel
//! is read by programs alone.

use std::os::fd::AsFd as _;

use aya::maps::{Map, MapData};
use aya::programs::{TestRun as _, TestRunOptions};
use nta_common::held::{Asked, Held};
use nta_common::{Conntrack, Settings};

use super::elements::{lookup, update};
use super::load::{Kernel, alone};
use crate::source::SourceError;

const PROGRAM: &str = "nta_connections";
const MAP: &str = "CONNECTIONS";
/// The smallest frame that a test run takes.
const FRAME: [u8; 64] = [0; 64];

/// The program and what it writes.
pub(super) struct Connections {
    kernel: Kernel,
    map: MapData,
    asked: Box<Asked>,
}

impl Connections {
    /// The program, with these offsets into the kernel's structures.
    pub(super) fn load(conntrack: Conntrack) -> Result<Self, SourceError> {
        let mut kernel = alone(&Settings { conntrack, ..Settings::default() })?;
        kernel.xdp(PROGRAM)?;
        let Some(Map::Array(map)) = kernel.take_map(MAP) else { return Err(SourceError::Missing("map CONNECTIONS")) };
        Ok(Self { kernel, map, asked: Box::new(Asked::NONE) })
    }

    /// The tick of the kernel's clock that it is now.
    pub(super) fn tick(&mut self) -> Result<u64, SourceError> {
        self.ask(&[]).map(|(tick, _)| tick)
    }

    /// What the kernel holds at these places, at most [`Asked::MOST`], and the tick at which that was read.
    pub(super) fn ask(&mut self, places: &[u64]) -> Result<(u64, &[Held]), SourceError> {
        let failed = |source| SourceError::Map { name: MAP, source };
        self.asked.connections.fill(0);
        for (place, asked) in places.iter().zip(&mut self.asked.connections) {
            *asked = *place;
        }
        update(self.map.fd().as_fd(), &0_u32, &*self.asked).map_err(failed)?;
        let options = TestRunOptions { data_in: Some(&FRAME), ..TestRunOptions::new() };
        let run = self.kernel.xdp(PROGRAM)?.test_run(options);
        run.map_err(|source| SourceError::Program { name: PROGRAM, source })?;
        if let Some(answer) = lookup(self.map.fd().as_fd(), &0_u32).map_err(failed)? {
            *self.asked = answer;
        }
        Ok((self.asked.tick, &self.asked.held[..places.len().min(Asked::MOST)]))
    }
}

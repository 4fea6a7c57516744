//! What the kernel holds of connections that packets were translated by: asked through a program, for the memory of the kernel
//! is read by programs alone.

use std::os::fd::{AsFd as _, OwnedFd};

use aya::maps::MapData;
use nta_common::held::{Asked, Held};
use nta_loader::elements::{lookup, test_run, update};
use nta_loader::{CONNECTIONS_MAP, CONNECTIONS_PROGRAM, Handles};

use crate::source::SourceError;

/// The smallest frame that a test run takes.
const FRAME: [u8; 64] = [0; 64];

/// The program and what it writes.
pub(super) struct Connections {
    program: OwnedFd,
    map: MapData,
    asked: Box<Asked>,
}

impl Connections {
    pub(super) fn take(handles: &mut Handles) -> Result<Self, SourceError> {
        let (map, _one) = handles.take_map(CONNECTIONS_MAP)?;
        Ok(Self { program: handles.take(CONNECTIONS_PROGRAM)?, map, asked: Box::new(Asked::NONE) })
    }

    /// The tick of the kernel's clock that it is now.
    pub(super) fn tick(&mut self) -> Result<u64, SourceError> {
        self.ask(&[]).map(|(tick, _)| tick)
    }

    /// What the kernel holds at these places, at most [`Asked::MOST`], and the tick at which that was read.
    pub(super) fn ask(&mut self, places: &[u64]) -> Result<(u64, &[Held]), SourceError> {
        let failed = |source| SourceError::Map { name: CONNECTIONS_MAP, source };
        self.asked.connections.fill(0);
        for (place, asked) in places.iter().zip(&mut self.asked.connections) {
            *asked = *place;
        }
        let map = self.map.fd().as_fd();
        update(map, &0_u32, &*self.asked).map_err(failed)?;
        test_run(self.program.as_fd(), &FRAME)
            .map_err(|error| SourceError::Unsupported(format!("program {CONNECTIONS_PROGRAM}: {error}")))?;
        if let Some(answer) = lookup(map, &0_u32).map_err(failed)? {
            *self.asked = answer;
        }
        Ok((self.asked.tick, &self.asked.held[..places.len().min(Asked::MOST)]))
    }
}

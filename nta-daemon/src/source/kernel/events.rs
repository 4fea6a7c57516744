//! The ring buffer of events.

use aya::maps::{Map, MapData, RingBuf};
use nta_common::EventHead;
use nta_loader::Handles;

use crate::source::SourceError;
use crate::source::event::decode;
use nta_core::domain::{MapFill, PacketEvent};

/// The reading end of the ring.
pub(super) struct EventRing {
    ring: RingBuf<MapData>,
    bytes: u32,
}

impl EventRing {
    pub(super) fn take(handles: &mut Handles) -> Result<Self, SourceError> {
        let (map, bytes) = handles.take_map("EVENTS")?;
        let ring = RingBuf::try_from(Map::RingBuf(map)).map_err(|e| super::maps::map_error("EVENTS", e))?;
        Ok(Self { ring, bytes })
    }

    /// Reports what is in the ring; what comes meanwhile may be left to the next call, so that it ends under any load.
    pub(super) fn read(&mut self, offset_ns: u64, sink: &mut dyn FnMut(PacketEvent)) {
        let mut left = self.bytes as usize / size_of::<EventHead>();
        while left > 0
            && let Some(item) = self.ring.next()
        {
            left -= 1;
            let Some((head, data)) = item.split_first_chunk::<{ size_of::<EventHead>() }>() else { continue };
            // SAFETY: as many bytes as the structure has, and any bytes are valid for its integers.
            let head: EventHead = unsafe { std::ptr::read_unaligned(head.as_ptr().cast()) };
            let data = data.get(..head.data_len as usize).unwrap_or_default();
            if let Some(event) = decode(&head, data, offset_ns) {
                sink(event);
            }
        }
    }

    /// The ring's memory; what is in it changes all the time.
    pub(super) fn fill(&self) -> MapFill {
        MapFill { name: "EVENTS".to_owned(), entries: 0, max_entries: 0, memory_bytes: u64::from(self.bytes) }
    }
}

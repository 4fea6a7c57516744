//! Events of the user engine: kept until they are asked for.

use nta_common::{EventBuffer, EventHead, Events, Kind};

use crate::source::EventSettings;
use crate::source::event::decode;
use nta_core::domain::PacketEvent;

/// What was emitted and not yet read. The replay asks every few thousand frames, each of which makes at most two.
pub(super) struct UserEvents {
    settings: EventSettings,
    emitted: Vec<(EventHead, Vec<u8>)>,
}

impl UserEvents {
    pub(super) const fn new(settings: EventSettings) -> Self {
        Self { settings, emitted: Vec::new() }
    }

    pub(super) fn read(&mut self, sink: &mut dyn FnMut(PacketEvent)) {
        for (head, data) in self.emitted.drain(..) {
            if let Some(event) = decode(&head, &data, 0) {
                sink(event);
            }
        }
    }
}

impl Events for UserEvents {
    fn sample(&self) -> u32 {
        self.settings.sample
    }

    fn raw_every(&self) -> u32 {
        self.settings.raw_every
    }

    fn per_second(&self, kind: Kind) -> u32 {
        self.settings.per_second[kind as usize]
    }

    fn put<const N: usize>(&mut self, fill: impl FnOnce(&mut EventBuffer<N>)) -> bool {
        let mut event = EventBuffer { head: EventHead::default(), data: [0; N] };
        fill(&mut event);
        let data = event.data.get(..event.head.data_len as usize).unwrap_or_default();
        self.emitted.push((event.head, data.to_vec()));
        true
    }
}

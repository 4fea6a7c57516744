//! Events into the ring buffer.

use nta_common::{EventBuffer, Events, Kind};

use crate::maps::EVENTS;
use crate::settings;

/// `BPF_RB_NO_WAKEUP`: the daemon looks by itself, a wake-up would cost more than the event.
const NO_WAKEUP: u64 = 1;

/// The ring, with the daemon's settings.
pub(crate) struct KernelEvents;

impl Events for KernelEvents {
    #[inline(always)]
    fn sample(&self) -> u32 {
        settings::sample()
    }

    #[inline(always)]
    fn raw_every(&self) -> u32 {
        settings::raw_every()
    }

    #[inline(always)]
    fn per_second(&self, kind: Kind) -> u32 {
        settings::events_per_second(kind)
    }

    #[inline(always)]
    fn put<const N: usize>(&mut self, fill: impl FnOnce(&mut EventBuffer<N>)) -> bool {
        let Some(mut room) = EVENTS.reserve::<EventBuffer<N>>(0) else { return false };
        // SAFETY: the ring's own memory, of the size of an event, and any bytes make one.
        fill(unsafe { &mut *room.as_mut_ptr() });
        room.submit(NO_WAKEUP);
        true
    }
}

//! What flows have to do with tunnels that are opened: a tunnel is a flow, and so is what it carries.

use nta_common::Volume;
use nta_common::flow::Counts;

use super::FlowId;

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Packets.
    pub packets: u64,
    /// Frame bytes on the wire.
    pub bytes: u64,
}

/// Of one flow, in the order of its sides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nesting {
    /// In which flow each side's packets come; 0 stands for none. A flow may have one around it for each direction.
    outer: [FlowId; 2],
    /// What of each side's packets carries others, and is counted in their flows.
    pub opened: [Load; 2],
}

impl Nesting {
    /// Within these flows, and carrying so much.
    pub fn within(outer: [Option<FlowId>; 2], opened: [Load; 2]) -> Self {
        Self { outer: outer.map(|id| id.unwrap_or(FlowId::NONE)), opened }
    }

    /// In which flow each side's packets come.
    pub fn outer(&self) -> [Option<FlowId>; 2] {
        self.outer.map(|id| (id != FlowId::NONE).then_some(id))
    }

    /// The flows around it, each once.
    pub fn parents(&self) -> impl Iterator<Item = FlowId> + use<> {
        let [one, other] = self.outer;
        let other = if other == one { FlowId::NONE } else { other };
        [one, other].into_iter().filter(|id| *id != FlowId::NONE)
    }

    /// Whether it carries other flows.
    pub fn is_tunnel(&self) -> bool {
        self.opened.iter().any(|load| load.packets != 0)
    }

    /// With the sides exchanged.
    #[must_use]
    pub fn reversed(mut self) -> Self {
        self.outer.reverse();
        self.opened.reverse();
        self
    }
}

/// What is kept of such a flow between two readings, in the order of its key.
#[derive(Clone, Debug, Default)]
pub(super) struct Nested {
    outer: [FlowId; 2],
    /// What was opened, at the last reading and in all.
    volumes: [Volume; 2],
    opened: [Counts; 2],
    /// What was reported as the flow's own.
    own: [Counts; 2],
}

impl Nested {
    /// Goes on from what a run before reported.
    pub(super) fn resumed(reported: &Nesting, sent: [Counts; 2]) -> Self {
        let opened = std::array::from_fn(|i| {
            let (Load { packets, bytes }, all) = (reported.opened[i], sent[i]);
            // The packets of a tunnel have headers of one length: this much of them are IP's.
            let ip_bytes = (u128::from(all.ip_bytes) * u128::from(packets)).checked_div(all.packets.into());
            Counts { packets, bytes, ip_bytes: ip_bytes.and_then(|bytes| bytes.try_into().ok()).unwrap_or(bytes) }
        });
        Self {
            outer: reported.outer,
            volumes: opened.map(|counts| Volume::default().plus(&counts)),
            opened,
            own: std::array::from_fn(|i| less(sent[i], opened[i])),
        }
    }

    /// It lies within these flows from now on, by direction; where that is not known, within those of before.
    pub(super) fn put_within(&mut self, outer: [Option<FlowId>; 2]) {
        for (place, id) in self.outer.iter_mut().zip(outer) {
            *place = id.unwrap_or(*place);
        }
    }

    /// Takes a new reading of what was opened; `before` is all that was sent up to the last one, `counts` what came since then.
    /// Returns what of that is counted in no other flow. A packet may be read as opened before it is read as sent.
    pub(super) fn take(&mut self, volumes: [Volume; 2], before: [Counts; 2], counts: [Counts; 2]) -> [Counts; 2] {
        if self.volumes == [Volume::default(); 2] {
            self.own = before;
        }
        std::array::from_fn(|i| {
            let mut total = before[i];
            total += counts[i];
            self.opened[i] += volumes[i].since(&self.volumes[i]);
            self.volumes[i] = volumes[i];
            let new = less(less(total, self.opened[i]), self.own[i]);
            self.own[i] += new;
            new
        })
    }

    /// All that is counted in no other flow; `None` where that is everything.
    pub(super) fn own(&self) -> Option<[Counts; 2]> {
        (self.volumes != [Volume::default(); 2]).then_some(self.own)
    }

    pub(super) fn nesting(&self) -> Nesting {
        let load = |counts: Counts| Load { packets: counts.packets, bytes: counts.bytes };
        Nesting { outer: self.outer, opened: self.opened.map(load) }
    }
}

const fn less(all: Counts, part: Counts) -> Counts {
    Counts {
        packets: all.packets.saturating_sub(part.packets),
        bytes: all.bytes.saturating_sub(part.bytes),
        ip_bytes: all.ip_bytes.saturating_sub(part.ip_bytes),
    }
}

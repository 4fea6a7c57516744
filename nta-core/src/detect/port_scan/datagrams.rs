//! Which hosts send another so many datagrams that it is a flood and no scan.

use std::net::IpAddr;

use nta_common::flow::Counts;
use nta_common::packet::proto;

use super::Target;
use crate::detect::View;
use crate::detect::attempt::SourcePorts;
use crate::detect::recent::{Map, address};
use crate::domain::Endpoint;

/// UDP packets from one host to another in a second from which on they are a flood; half as many from as many source ports.
const FLOOD_RATE: f64 = 1_000.0;

type Pair = (IpAddr, IpAddr);

/// The datagrams of a window.
#[derive(Debug, Default)]
pub(super) struct Datagrams {
    sent: Map<Pair, (u64, SourcePorts)>,
    /// Who flooded in the window before: its last packets come in this one.
    flooding: Map<Pair, ()>,
}

impl Datagrams {
    pub(super) fn add(&mut self, from: &Endpoint, to: &Endpoint, sent: &Counts) {
        let (packets, source_ports) = self.sent.entry((from.address, to.address)).or_default();
        *packets += sent.packets;
        source_ports.add(from.port);
    }

    /// Leaves out what belongs to a flood; the window is over.
    pub(super) fn leave_out(&mut self, view: &View<'_>, tried: &mut Vec<(u128, Target)>) {
        // In a window that was closed late a flood is over long before it: as many packets as in one of its kind are enough.
        let window = &view.snapshot.window;
        let most = FLOOD_RATE * window.judged_ns().min(window.span_ns()) as f64 / 1e9;
        let before = std::mem::take(&mut self.flooding);
        self.sent.retain(|pair, (packets, source_ports)| {
            let floods = *packets as f64 >= if source_ports.are_many() { most / 2.0 } else { most };
            if floods {
                self.flooding.insert(*pair, ());
            }
            floods || before.contains_key(pair)
        });
        if !self.sent.is_empty() {
            tried.retain(|(source, target)| {
                target.proto != proto::UDP || !self.sent.contains_key(&(address(*source), target.host))
            });
            self.sent.clear();
        }
    }
}

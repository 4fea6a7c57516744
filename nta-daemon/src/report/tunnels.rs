//! Tunnels: which of them carry what where they are opened, and how much is in those that are not.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;
use nta_common::packet::proto;
use serde::Serialize;

use super::tally::Volume;
use super::{Share, Tally, service_name, share};
use crate::json::protocol_name;
use nta_core::domain::{FlowId, FlowRecord, Load, server_port};

/// Tunnels that are kept apart. Those that come when there are so many are counted only.
const MOST_KEPT: usize = 4_096;
/// Services in one of them that are; what comes then is summed up as another.
const MOST_SERVICES: usize = 64;
/// Services that are named.
const MOST_NAMED: usize = 4;

const BY_PROTOCOL: [(u8, &str); 4] = [(4, "IP in IP"), (41, "IPv6 in IP"), (47, "GRE"), (115, "L2TPv3")];
const BY_PORT: [(u16, &str); 10] = [
    (1701, "L2TP"),
    (2152, "GTP-U"),
    (3544, "Teredo"),
    (4754, "GRE in UDP"),
    (4789, "VXLAN"),
    (4790, "VXLAN-GPE"),
    (5072, "AYIYA"),
    (6081, "Geneve"),
    (8472, "VXLAN"),
    (37008, "TZSP"),
];

/// A tunnel that was opened.
#[derive(Debug, Serialize)]
pub(super) struct Tunnel {
    /// Identity of its flow.
    id: String,
    /// What it is, by protocol and port.
    pub(super) kind: &'static str,
    pub(super) source: String,
    pub(super) source_port: u16,
    pub(super) destination: String,
    pub(super) destination_port: u16,
    /// Packets that were opened, and their bytes with the tunnel's headers.
    pub(super) packets: u64,
    pub(super) bytes: u64,
    /// Flows inside.
    pub(super) flows: u64,
    /// What these are, most bytes first; shares are of the tunnel's bytes.
    pub(super) carries: Vec<Share>,
}

/// The tunnels of a capture.
#[derive(Debug, Default)]
pub(super) struct Tunnels {
    kept: HashMap<FlowId, Carrier, RandomState>,
    /// Tunnels that found no room.
    others: u64,
}

/// A tunnel, and what is known of the flows inside, in whatever order they end.
#[derive(Debug, Default)]
struct Carrier {
    flow: Option<FlowRecord>,
    flows: u64,
    /// By protocol and the server's port.
    services: BTreeMap<Option<(u8, Option<u16>)>, Volume>,
}

impl Tunnels {
    /// A flow that is over.
    pub(super) fn flow(&mut self, flow: &FlowRecord) {
        if flow.nesting.is_tunnel() {
            match self.carrier(flow.id) {
                Some(carrier) => carrier.flow = Some(*flow),
                None => self.others += 1,
            }
        }
        let sent = [&flow.originator.sent, &flow.responder.sent];
        let outer = flow.nesting.outer();
        for parent in flow.nesting.parents() {
            let Some(carrier) = self.carrier(parent) else { continue };
            carrier.flows += 1;
            let service = match flow.proto {
                proto::TCP | proto::UDP | proto::SCTP | proto::UDP_LITE => {
                    Some(server_port(flow.proto, [flow.originator.port, flow.responder.port]))
                }
                _ => None,
            };
            let mut service = Some((flow.proto, service));
            if carrier.services.len() >= MOST_SERVICES && !carrier.services.contains_key(&service) {
                service = None;
            }
            let carried = carrier.services.entry(service).or_default();
            carried.flows += 1;
            for (side, _) in outer.iter().enumerate().filter(|(_, id)| **id == Some(parent)) {
                carried.packets += sent[side].packets;
                carried.bytes += sent[side].bytes;
            }
        }
    }

    fn carrier(&mut self, id: FlowId) -> Option<&mut Carrier> {
        if self.kept.len() >= MOST_KEPT && !self.kept.contains_key(&id) {
            return None;
        }
        Some(self.kept.entry(id).or_default())
    }

    /// How many there were.
    pub(super) fn seen(&self) -> u64 {
        self.kept.values().filter(|carrier| carrier.flow.is_some()).count() as u64 + self.others
    }

    /// Those with the most bytes.
    pub(super) fn top(&self, count: usize) -> Vec<Tunnel> {
        let mut all: Vec<Tunnel> = self.kept.values().filter_map(Carrier::tunnel).collect();
        all.sort_by(|a, b| (b.bytes, b.packets, &a.id).cmp(&(a.bytes, a.packets, &b.id)));
        all.truncate(count);
        all
    }
}

impl Carrier {
    fn tunnel(&self) -> Option<Tunnel> {
        let flow = self.flow.as_ref()?;
        let [Load { packets, bytes }, back] = flow.nesting.opened;
        let (packets, bytes) = (packets + back.packets, bytes + back.bytes);
        let named = |(service, volume): (&Option<(u8, Option<u16>)>, &Volume)| {
            let name = match service {
                None => "others".to_owned(),
                Some((proto, None)) => protocol_name(*proto),
                Some((proto, Some(port))) => service_name(*proto, *port),
            };
            share(name, volume, bytes)
        };
        let mut carries: Vec<Share> = self.services.iter().map(named).collect();
        carries.sort_by(|a, b| (b.bytes, b.packets, &a.name).cmp(&(a.bytes, a.packets, &b.name)));
        carries.truncate(MOST_NAMED);
        Some(Tunnel {
            id: flow.id.to_string(),
            kind: kind(flow),
            source: flow.originator.address.to_string(),
            source_port: flow.originator.port,
            destination: flow.responder.address.to_string(),
            destination_port: flow.responder.port,
            packets,
            bytes,
            flows: self.flows,
            carries,
        })
    }
}

fn kind(flow: &FlowRecord) -> &'static str {
    let by_port = |port: u16| BY_PORT.iter().find(|(known, _)| *known == port).map(|(_, name)| *name);
    if flow.proto == proto::UDP {
        return by_port(flow.responder.port).or_else(|| by_port(flow.originator.port)).unwrap_or("over UDP");
    }
    BY_PROTOCOL.iter().find(|(known, _)| *known == flow.proto).map_or("tunnel", |(_, name)| name)
}

/// Packets of tunnels that the parser could open and did not.
pub(super) fn closed(tally: &Tally) -> BTreeMap<&'static str, u64> {
    let mut closed = BTreeMap::new();
    for ((_, number), volume) in &tally.protocols {
        if let Some((_, name)) = BY_PROTOCOL.iter().find(|(known, _)| known == number) {
            *closed.entry(*name).or_default() += volume.packets;
        }
    }
    for ((number, port), volume) in tally.services() {
        let known = BY_PORT.iter().find(|(known, _)| *known == port);
        if let (proto::UDP, Some((_, name))) = (number, known) {
            *closed.entry(*name).or_default() += volume.packets;
        }
    }
    closed
}

//! A flow as it is stored and shown: seen from its originator.

use std::net::{IpAddr, SocketAddr};

use nta_common::flow::Counts;

use super::words::{ConnState, History};
use super::zeek::Zeek;
use super::{Beginning, EndReason, FlowId, FlowUpdate, Nesting, Service, TcpCounts, Timestamp, both};

/// One side of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Address.
    pub address: IpAddr,
    /// Port; ICMP type (or code) for ICMP.
    pub port: u16,
    /// What this side sent.
    pub sent: Counts,
    /// TCP events in what it sent.
    pub tcp: TcpCounts,
    /// Payload bytes: of TCP by sequence numbers; `None` when unknown.
    pub payload_bytes: Option<u64>,
    /// What the gateway makes of address and port: how the other side of the gateway knows this end.
    pub translated: Option<SocketAddr>,
}

/// Everything that is reported of a flow, cumulative since its first packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowRecord {
    /// Identity; stays the same over all updates.
    pub id: FlowId,
    /// IP protocol number.
    pub proto: u8,
    /// Who began.
    pub originator: Endpoint,
    /// Who was asked.
    pub responder: Endpoint,
    /// What it has to do with tunnels that are opened.
    pub nesting: Nesting,
    /// VLAN id of the outermost tag, 0 without one.
    pub vlan: u16,
    /// First packet.
    pub first: Timestamp,
    /// Last packet so far.
    pub last: Timestamp,
    /// Round trip of the TCP handshake to the responder and to the originator, in microseconds; 0 when not seen.
    pub handshake_us: [u32; 2],
    /// What the first payload bytes say it is; `None` when they do not say it.
    pub service: Option<Service>,
    /// Zeek's word for how far the connection came.
    pub conn_state: ConnState,
    /// Zeek's letters for what happened in which order.
    pub history: History,
    /// Why it ended; `None` while it is alive.
    pub ended: Option<EndReason>,
}

impl FlowRecord {
    /// The record of a flow after an update.
    pub fn of(update: &FlowUpdate<'_>) -> Self {
        let FlowUpdate { key, flow, reading, ended, .. } = *update;
        let (endpoints, translated) = (flow.endpoints(key), flow.translated());
        let zeek = Zeek::of(update);
        let tcp = flow.tcp_totals();
        let side = |i: usize, payload_bytes| Endpoint {
            address: endpoints[i].0,
            port: endpoints[i].1,
            sent: flow.totals[i],
            tcp: tcp[i],
            payload_bytes,
            translated: translated[i],
        };
        let nesting = flow.nesting();
        Self {
            nesting: if zeek.originator == 0 { nesting } else { nesting.reversed() },
            id: flow.id,
            proto: key.proto(),
            originator: side(zeek.originator, zeek.payload_bytes[0]),
            responder: side(1 - zeek.originator, zeek.payload_bytes[1]),
            vlan: reading.vlan,
            first: flow.first,
            last: flow.seen,
            handshake_us: [reading.tcp.handshake_responder_us, reading.tcp.handshake_originator_us],
            service: update.service_of(zeek.originator),
            conn_state: zeek.conn_state,
            history: zeek.history,
            ended,
        }
    }

    /// Originator and responder as the packet path counts them: as the first packet named them when it came in.
    pub fn counted_as(&self) -> [(IpAddr, u16); 2] {
        let Self { originator, responder, .. } = self;
        // Of the originator that is its own name, of the responder the one that the originator calls it by.
        let responder_as = responder.translated.map(|name| (name.ip(), name.port()));
        [(originator.address, originator.port), responder_as.unwrap_or((responder.address, responder.port))]
    }
}

impl FlowUpdate<'_> {
    /// What the first payload bytes say the flow is, whose originator is the endpoint of the key with this index.
    pub fn service_of(&self, originator: usize) -> Option<Service> {
        let sides = [originator, 1 - originator];
        let endpoints = self.flow.endpoints(self.key);
        Service::of(&Beginning {
            proto: self.key.proto(),
            ports: both(|i| endpoints[sides[i]].1),
            openings: both(|i| &self.reading.openings[sides[i]]),
        })
    }
}

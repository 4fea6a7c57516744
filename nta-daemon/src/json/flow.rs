//! A flow as JSON, seen from its originator; the directions are named as Zeek does.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use nta_common::packet::proto;

use super::{protocol_name, seconds, words};
use nta_core::domain::{EndReason, FlowRecord, Nesting, TcpCounts, community_id};

/// A flow, cumulative since its first packet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FlowJson {
    /// Identity; stays the same over all updates.
    #[schema(pattern = "^[0-9a-f]{16}$")]
    pub id: String,
    /// Name of the IP protocol, such as `tcp`; its number where it has none.
    pub protocol: String,
    /// IP protocol number.
    pub protocol_number: u8,
    /// Address of the originator.
    pub source: String,
    /// Port of the originator; ICMP type for ICMP.
    pub source_port: u16,
    /// Address of the responder.
    pub destination: String,
    /// Port of the responder; ICMP code for ICMP.
    pub destination_port: u16,
    /// Address that a gateway gives the originator on its other side, where it translates (RFC 3022).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_nat: Option<NatJson>,
    /// The same of the responder: what the originator calls it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination_nat: Option<NatJson>,
    /// Identities of the flows of the tunnel that carries this one, where tunnels are opened: one, or one for each direction.
    /// Null outside of tunnels.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    pub tunnel_parents: Option<Vec<String>>,
    /// Of a tunnel that is opened, what of it is counted in the flows that it carries. Null for all other flows.
    #[serde(default)]
    pub carried: Option<CarriedJson>,
    /// Packets of both directions.
    pub packets: u64,
    /// Frame bytes of both directions.
    pub bytes: u64,
    /// IP bytes of both directions.
    pub ip_bytes: u64,
    /// Packets from the originator.
    pub orig_packets: u64,
    /// Frame bytes from the originator.
    pub orig_bytes: u64,
    /// IP bytes from the originator.
    pub orig_ip_bytes: u64,
    /// Packets from the responder.
    pub resp_packets: u64,
    /// Frame bytes from the responder.
    pub resp_bytes: u64,
    /// IP bytes from the responder.
    pub resp_ip_bytes: u64,
    /// Payload bytes from the originator: of TCP by sequence numbers; null when unknown.
    pub orig_payload_bytes: Option<u64>,
    /// Payload bytes from the responder.
    pub resp_payload_bytes: Option<u64>,
    /// First packet.
    #[schema(format = DateTime)]
    pub first_time: String,
    /// Last packet so far.
    #[schema(format = DateTime)]
    pub last_time: String,
    /// Between them.
    pub duration_s: f64,
    /// VLAN id of the outermost tag; null without one.
    pub vlan: Option<u16>,
    /// Whether it goes on, or why it ended.
    #[schema(value_type = words::FlowState)]
    pub state: String,
    /// What the first payload bytes of both sides say it is, whatever the port, by Zeek's name where Zeek has one: `ssh`, `ssl`,
    /// `http` …; null when they do not say it.
    #[serde(default)]
    #[schema(pattern = "^[a-z0-9_]{2,12}$")]
    pub service: Option<String>,
    /// Zeek's word for how far the connection came: `S0`, `S1`, `SF`, `REJ` …; `OTH` without connections.
    #[schema(pattern = "^[A-Z0-9]{2,7}$")]
    pub conn_state: String,
    /// Zeek's letters for what happened, in order, the originator's in upper case; null without any.
    pub history: Option<String>,
    /// Community ID, version 1, seed 0; null of many flows.
    pub community_id: Option<String>,
    /// TCP events; null for other protocols.
    pub tcp: Option<TcpJson>,
}

impl From<&FlowRecord> for FlowJson {
    fn from(flow: &FlowRecord) -> Self {
        let (orig, resp) = (&flow.originator.sent, &flow.responder.sent);
        Self {
            id: flow.id.to_string(),
            protocol: protocol_name(flow.proto),
            protocol_number: flow.proto,
            source: flow.originator.address.to_string(),
            source_port: flow.originator.port,
            destination: flow.responder.address.to_string(),
            destination_port: flow.responder.port,
            source_nat: flow.originator.translated.map(|name| NatJson::new(name, flow.proto)),
            destination_nat: flow.responder.translated.map(|name| NatJson::new(name, flow.proto)),
            tunnel_parents: Some(flow.nesting.parents().map(|id| id.to_string()).collect::<Vec<_>>())
                .filter(|parents| !parents.is_empty()),
            carried: flow.nesting.is_tunnel().then(|| CarriedJson::from(&flow.nesting)),
            packets: orig.packets + resp.packets,
            bytes: orig.bytes + resp.bytes,
            ip_bytes: orig.ip_bytes + resp.ip_bytes,
            orig_packets: orig.packets,
            orig_bytes: orig.bytes,
            orig_ip_bytes: orig.ip_bytes,
            resp_packets: resp.packets,
            resp_bytes: resp.bytes,
            resp_ip_bytes: resp.ip_bytes,
            orig_payload_bytes: flow.originator.payload_bytes,
            resp_payload_bytes: flow.responder.payload_bytes,
            first_time: flow.first.to_string(),
            last_time: flow.last.to_string(),
            duration_s: seconds(flow.last.since(flow.first)),
            vlan: (flow.vlan != 0).then_some(flow.vlan),
            state: state_name(flow.ended).to_owned(),
            service: flow.service.map(|service| service.name().to_owned()),
            conn_state: flow.conn_state.as_str().to_owned(),
            history: Some(flow.history.to_string()).filter(|history| !history.is_empty()),
            community_id: Some(community_id(flow)),
            tcp: (flow.proto == proto::TCP).then(|| TcpJson::from(flow)),
        }
    }
}

/// The name of one end of a connection on the other side of a gateway that translates addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NatJson {
    /// Address.
    pub address: String,
    /// Port; null for a protocol without ports, such as ICMP.
    #[serde(default)]
    pub port: Option<u16>,
}

impl NatJson {
    fn new(name: SocketAddr, proto: u8) -> Self {
        let has_ports = matches!(proto, proto::TCP | proto::UDP | proto::SCTP | proto::UDP_LITE);
        Self { address: name.ip().to_string(), port: has_ports.then_some(name.port()) }
    }
}

/// What of a tunnel is counted in the flows that it carries, and in windows, hosts and alerts there alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CarriedJson {
    /// Packets from the originator.
    pub orig_packets: u64,
    /// Frame bytes from the originator.
    pub orig_bytes: u64,
    /// Packets from the responder.
    pub resp_packets: u64,
    /// Frame bytes from the responder.
    pub resp_bytes: u64,
}

impl From<&Nesting> for CarriedJson {
    fn from(nesting: &Nesting) -> Self {
        let [orig, resp] = nesting.opened;
        Self { orig_packets: orig.packets, orig_bytes: orig.bytes, resp_packets: resp.packets, resp_bytes: resp.bytes }
    }
}

/// TCP events of a flow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TcpJson {
    /// What the originator sent.
    pub orig: TcpSideJson,
    /// What the responder sent.
    pub resp: TcpSideJson,
    /// Round trips of the handshake.
    pub handshake: HandshakeJson,
}

impl From<&FlowRecord> for TcpJson {
    fn from(flow: &FlowRecord) -> Self {
        let [to_responder, to_originator] = flow.handshake_us;
        let milliseconds = |us: u32| (us != 0).then(|| f64::from(us) / 1000.0);
        Self {
            orig: TcpSideJson::from(&flow.originator.tcp),
            resp: TcpSideJson::from(&flow.responder.tcp),
            handshake: HandshakeJson {
                resp_rtt_ms: milliseconds(to_responder),
                orig_rtt_ms: milliseconds(to_originator),
            },
        }
    }
}

/// Round trips of the TCP handshake as seen from the gateway; null when that part was not seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct HandshakeJson {
    /// Gateway to responder and back (SYN to SYN-ACK).
    pub resp_rtt_ms: Option<f64>,
    /// Gateway to originator and back (SYN-ACK to ACK).
    pub orig_rtt_ms: Option<f64>,
}

/// TCP events in what one side sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TcpSideJson {
    /// SYN without ACK, retries included.
    pub syn: u32,
    /// SYN-ACK, retries included.
    pub syn_ack: u32,
    /// SYN or SYN-ACK sent again.
    pub syn_retries: u32,
    /// FIN.
    pub fin: u32,
    /// RST.
    pub rst: u32,
    /// Segments sent again.
    pub retransmissions: u32,
    /// Segments that arrived late.
    pub out_of_order: u32,
    /// Duplicate ACKs sent.
    pub duplicate_acks: u32,
    /// Segments that announced a window of 0.
    pub zero_windows: u32,
    /// Segments that passed twice, as mirror ports deliver them; the second counts as nothing else.
    #[serde(default)]
    pub duplicates: u32,
}

impl From<&TcpCounts> for TcpSideJson {
    fn from(tcp: &TcpCounts) -> Self {
        Self {
            syn: tcp.syn,
            syn_ack: tcp.syn_ack,
            syn_retries: tcp.syn_retry,
            fin: tcp.fin,
            rst: tcp.rst,
            retransmissions: tcp.retransmissions,
            out_of_order: tcp.out_of_order,
            duplicate_acks: tcp.dup_acks,
            zero_windows: tcp.zero_windows,
            duplicates: tcp.duplicates,
        }
    }
}

fn state_name(ended: Option<EndReason>) -> &'static str {
    match ended {
        None => "active",
        Some(EndReason::Closed) => "closed",
        Some(EndReason::Idle) => "idle",
        Some(EndReason::Shutdown) => "shutdown",
        Some(EndReason::Interrupted) => "interrupted",
    }
}

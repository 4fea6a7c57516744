//! Community ID, version 1: a name for a flow that other tools derive alike from addresses and ports.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nta_common::packet::proto;
use sha1::{Digest as _, Sha1};

use super::{Endpoint, FlowRecord};

/// Of a flow, with seed 0.
pub fn community_id(flow: &FlowRecord) -> String {
    let (orig, resp) = (&flow.originator, &flow.responder);
    let ordered = (orig.address, orig.port) <= (resp.address, resp.port);
    let sides = if ordered || is_one_way(flow) { [orig, resp] } else { [resp, orig] };
    let mut hash = Sha1::new();
    hash.update([0, 0]);
    for side in sides {
        match side.address {
            IpAddr::V4(address) => hash.update(address.octets()),
            IpAddr::V6(address) => hash.update(address.octets()),
        }
    }
    hash.update([flow.proto, 0]);
    if has_ports(flow.proto) {
        for Endpoint { port, .. } in sides {
            hash.update(port.to_be_bytes());
        }
    }
    format!("1:{}", STANDARD.encode(hash.finalize()))
}

const fn has_ports(number: u8) -> bool {
    matches!(number, proto::TCP | proto::UDP | proto::SCTP | proto::ICMP | proto::ICMPV6)
}

/// Whether it is an ICMP message that knows no answer: those keep their direction.
fn is_one_way(flow: &FlowRecord) -> bool {
    match flow.proto {
        proto::ICMP => !matches!(flow.originator.port, 0 | 8 | 9 | 10 | 13..=18),
        proto::ICMPV6 => !matches!(flow.originator.port, 128..=131 | 133..=136 | 139 | 140 | 144 | 145),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::domain::{FlowId, Timestamp};

    fn flow(proto: u8, from: ([u8; 4], u16), to: ([u8; 4], u16)) -> FlowRecord {
        let side = |(address, port): ([u8; 4], u16)| Endpoint {
            address: Ipv4Addr::from(address).into(),
            port,
            sent: nta_common::flow::Counts::default(),
            tcp: crate::domain::TcpCounts::default(),
            payload_bytes: None,
            translated: None,
        };
        FlowRecord {
            id: FlowId(1),
            proto,
            originator: side(from),
            responder: side(to),
            nesting: Default::default(),
            vlan: 0,
            first: Timestamp::from_nanos(0),
            last: Timestamp::from_nanos(0),
            handshake_us: [0, 0],
            service: None,
            conn_state: crate::domain::ConnState::Oth,
            history: crate::domain::History::default(),
            ended: None,
        }
    }

    /// Values of the specification's reference implementation.
    #[test]
    fn equals_the_reference() {
        let [a, b] = [([128, 232, 110, 120], 34_855), ([66, 35, 250, 204], 80)];
        assert_eq!(community_id(&flow(6, a, b)), "1:LQU9qZlK+B5F3KDmev6m5PMibrg=");
        assert_eq!(community_id(&flow(6, b, a)), "1:LQU9qZlK+B5F3KDmev6m5PMibrg=");
    }
}

//! Connections that are older than the programs: the kernel's table of connections, read by netlink when the programs are
//! attached. Later ones are learned from their packets.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use nta_common::nat::Tuple;

use crate::netlink::{attribute, begin_dump, read_dump};

/// linux/netfilter/nfnetlink.h, nfnetlink_conntrack.h
const NFNL_SUBSYS_CTNETLINK: u16 = 1;
const IPCTNL_MSG_CT_GET: u16 = 1;
const NFGENMSG_BYTES: usize = 4;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_STATUS: u16 = 3;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4: [u16; 2] = [1, 2];
const CTA_IP_V6: [u16; 2] = [3, 4];
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_PORTS: [u16; 2] = [2, 3];
/// Identifier, type and code.
const CTA_PROTO_ICMP: [u16; 3] = [4, 5, 6];
const CTA_PROTO_ICMPV6: [u16; 3] = [7, 8, 9];
/// linux/netfilter/nf_conntrack_common.h: source or destination is translated.
const IPS_NAT_MASK: u32 = 1 << 4 | 1 << 5;
/// The kernel answers at once, or not at all.
const PATIENCE: Duration = Duration::from_secs(2);

/// A connection: how its first packet came in, and how the answers come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// Of IPv4.
    V4([Tuple<u32>; 2]),
    /// Of IPv6.
    V6([Tuple<[u64; 2]>; 2]),
}

/// Asks for the table. Asking takes `CAP_NET_ADMIN`, reading what comes does not.
pub fn open() -> io::Result<OwnedFd> {
    let kind = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET;
    begin_dump(libc::NETLINK_NETFILTER, kind, &[0; NFGENMSG_BYTES], PATIENCE)
}

/// Calls `visit` for each connection, with whether it is translated, until that says that it has enough.
pub fn read(table: &OwnedFd, mut visit: impl FnMut(Connection, bool) -> bool) -> io::Result<()> {
    read_dump(table, |message| {
        let attributes = message.get(NFGENMSG_BYTES..).unwrap_or_default();
        connection(attributes).is_none_or(|(connection, is_translated)| visit(connection, is_translated))
    })
}

/// What a message of the dump says, and whether the connection is a translated one.
fn connection(attributes: &[u8]) -> Option<(Connection, bool)> {
    let status = u32::from_be_bytes(attribute(attributes, CTA_STATUS)?.try_into().ok()?);
    let is_translated = status & IPS_NAT_MASK != 0;
    let [first, answer] = [attribute(attributes, CTA_TUPLE_ORIG)?, attribute(attributes, CTA_TUPLE_REPLY)?];
    if let (Some(first), Some(answer)) = (tuple(first, CTA_IP_V4, v4), tuple(answer, CTA_IP_V4, v4)) {
        return Some((Connection::V4([first, answer]), is_translated));
    }
    Some((Connection::V6([tuple(first, CTA_IP_V6, v6)?, tuple(answer, CTA_IP_V6, v6)?]), is_translated))
}

fn tuple<A>(nested: &[u8], ends: [u16; 2], address: fn(&[u8]) -> Option<A>) -> Option<Tuple<A>> {
    let [ip, transport] = [attribute(nested, CTA_TUPLE_IP)?, attribute(nested, CTA_TUPLE_PROTO)?];
    let byte = |kind| attribute(transport, kind).and_then(|value| value.first().copied());
    let port = |kind| attribute(transport, kind).and_then(|value| Some(u16::from_be_bytes(value.try_into().ok()?)));
    let icmp = [CTA_PROTO_ICMP, CTA_PROTO_ICMPV6].into_iter().find_map(|[id, kind, code]| {
        // As in the kernel's structure: type and code are one number.
        Some([port(id)?, u16::from_be_bytes([byte(kind)?, byte(code)?])])
    });
    let [source_port, destination_port] = icmp.unwrap_or_else(|| CTA_PROTO_PORTS.map(|kind| port(kind).unwrap_or(0)));
    let [source, destination] = ends.map(|kind| attribute(ip, kind).and_then(address));
    let (source, destination) = (source?, destination?);
    Some(Tuple { source, destination, source_port, destination_port, proto: byte(CTA_PROTO_NUM)? })
}

fn v4(bytes: &[u8]) -> Option<u32> {
    Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).to_bits())
}

fn v6(bytes: &[u8]) -> Option<[u64; 2]> {
    let bits = Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_bits();
    Some([(bits >> 64) as u64, bits as u64])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = [(4 + value.len() as u16).to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// Nested attributes carry a flag in their kind.
    fn nested(kind: u16, values: &[Vec<u8>]) -> Vec<u8> {
        with(kind | 1 << 15, &values.concat())
    }

    fn end(kind: u16, addresses: [&[u8]; 2], ip: [u16; 2], transport: &[Vec<u8>]) -> Vec<u8> {
        let addresses = [with(ip[0], addresses[0]), with(ip[1], addresses[1])];
        nested(kind, &[nested(CTA_TUPLE_IP, &addresses), nested(CTA_TUPLE_PROTO, transport)])
    }

    #[test]
    fn a_translated_connection_has_two_names() {
        let ports = |from: u16, to: u16| vec![with(1, &[6]), with(2, &from.to_be_bytes()), with(3, &to.to_be_bytes())];
        let [inside, server, outside]: [&[u8]; 3] = [&[192, 0, 2, 2], &[198, 51, 100, 2], &[203, 0, 113, 1]];
        let message = |status: u32| {
            [
                end(CTA_TUPLE_ORIG, [inside, server], CTA_IP_V4, &ports(40000, 443)),
                end(CTA_TUPLE_REPLY, [server, outside], CTA_IP_V4, &ports(443, 61000)),
                with(CTA_STATUS, &status.to_be_bytes()),
            ]
            .concat()
        };
        let name = |source, destination, source_port, destination_port| Tuple {
            source,
            destination,
            source_port,
            destination_port,
            proto: 6,
        };
        let (first, answer) = (name(0xc000_0202, 0xc633_6402, 40000, 443), name(0xc633_6402, 0xcb00_7101, 443, 61000));
        for (status, is_translated) in [(0x18e, false), (0x19e, true), (0x1ae, true)] {
            let whole = message(status);
            assert_eq!(connection(&whole), Some((Connection::V4([first, answer]), is_translated)));
            for length in 0..whole.len() - 8 {
                assert_eq!(connection(&whole[..length]), None, "cut at {length}");
            }
        }
    }

    #[test]
    fn an_echo_is_named_by_identifier_and_type() {
        let echo =
            |kind: u8, id: u16| vec![with(1, &[58]), with(7, &id.to_be_bytes()), with(8, &[kind]), with(9, &[0])];
        let [inside, server] = [[0x20; 16], [0x21; 16]];
        let message = [
            end(CTA_TUPLE_ORIG, [&inside, &server], CTA_IP_V6, &echo(128, 7)),
            end(CTA_TUPLE_REPLY, [&server, &inside], CTA_IP_V6, &echo(129, 300)),
            with(CTA_STATUS, &0x19e_u32.to_be_bytes()),
        ]
        .concat();
        let Some((Connection::V6(names), _)) = connection(&message) else { panic!("a connection of IPv6") };
        assert_eq!(names.map(|name| (name.source_port, name.destination_port)), [(7, 128 << 8), (300, 129 << 8)]);
        assert_eq!(names[0].source, [0x2020_2020_2020_2020; 2]);
    }
}

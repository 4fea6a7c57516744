//! Builders of captures.

use std::io::Write;

use flate2::write::GzEncoder;

/// Writes numbers in one byte order.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    Little,
    Big,
}

pub(super) const ORDERS: [Order; 2] = [Order::Little, Order::Big];

impl Order {
    pub(super) fn u16(self, value: u16) -> [u8; 2] {
        match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        }
    }

    pub(super) fn u32(self, value: u32) -> [u8; 4] {
        match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        }
    }

    pub(super) fn i64(self, value: i64) -> [u8; 8] {
        match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        }
    }
}

pub(super) const MICROSECONDS: u32 = 0xa1b2_c3d4;
pub(super) const NANOSECONDS: u32 = 0xa1b2_3c4d;
pub(super) const MODIFIED: u32 = 0xa1b2_cd34;

pub(super) fn pcap_header(order: Order, magic: u32, version: (u16, u16), link: u32) -> Vec<u8> {
    let versions = [order.u16(version.0), order.u16(version.1)].concat();
    let fields = [0, 0, 65_535, link].map(|field| order.u32(field)).concat();
    [&order.u32(magic)[..], &versions, &fields].concat()
}

pub(super) fn record(order: Order, fields: [u32; 4], data: &[u8]) -> Vec<u8> {
    [&fields.map(|field| order.u32(field)).concat(), data].concat()
}

/// A pcap file of Ethernet frames, one a second from 1 on.
pub(super) fn pcap(link: u32, packets: &[&[u8]]) -> Vec<u8> {
    let mut file = pcap_header(Order::Little, MICROSECONDS, (2, 4), link);
    for (second, data) in (1..).zip(packets) {
        let len = data.len() as u32;
        file.extend(record(Order::Little, [second, 0, len, len], data));
    }
    file
}

pub(super) fn block(order: Order, kind: u32, body: &[u8]) -> Vec<u8> {
    let padded = body.len().next_multiple_of(4);
    let length = order.u32(padded as u32 + 12);
    let padding = vec![0; padded - body.len()];
    [&order.u32(kind)[..], &length, body, &padding, &length].concat()
}

pub(super) fn section(order: Order, version: (u16, u16)) -> Vec<u8> {
    let versions = [order.u16(version.0), order.u16(version.1)].concat();
    block(order, 0x0a0d_0d0a, &[&order.u32(0x1a2b_3c4d)[..], &versions, &order.i64(-1)].concat())
}

pub(super) fn interface(order: Order, link: u16, snaplen: u32, options: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = [&order.u16(link)[..], &[0; 2], &order.u32(snaplen)].concat();
    for (code, value) in options {
        body.extend([order.u16(*code), order.u16(value.len() as u16)].concat());
        body.extend(*value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    block(order, 1, &body)
}

pub(super) fn enhanced(order: Order, interface: u32, ticks: u64, wire_len: u32, data: &[u8]) -> Vec<u8> {
    let fields = [interface, (ticks >> 32) as u32, ticks as u32, data.len() as u32, wire_len];
    block(order, 6, &[&fields.map(|field| order.u32(field)).concat(), data].concat())
}

pub(super) fn obsolete(order: Order, interface: u16, ticks: u64, wire_len: u32, data: &[u8]) -> Vec<u8> {
    let drops = [order.u16(interface), order.u16(7)].concat();
    let fields = [(ticks >> 32) as u32, ticks as u32, data.len() as u32, wire_len].map(|field| order.u32(field));
    block(order, 2, &[&drops, &fields.concat(), data].concat())
}

pub(super) fn simple(order: Order, wire_len: u32, data: &[u8]) -> Vec<u8> {
    block(order, 3, &[&order.u32(wire_len), data].concat())
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn zstd(bytes: &[u8]) -> Vec<u8> {
    ::zstd::encode_all(bytes, 1).unwrap()
}

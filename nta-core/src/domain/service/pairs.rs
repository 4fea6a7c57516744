//! What the first bytes of both sides say together, and the port where a protocol has no mark of its own.

use super::{Service, masked};

/// What both sides begin with, of streams that were seen from their beginning.
pub(super) struct Both<'a> {
    pub(super) client: &'a [u8],
    pub(super) server: &'a [u8],
    pub(super) is_udp: bool,
    /// The server's.
    pub(super) port: u16,
    pub(super) ports: [u16; 2],
}

impl Both<'_> {
    /// The bytes of the client, or of the server where there are no others.
    const fn first(&self) -> &[u8] {
        if self.client.is_empty() { self.server } else { self.client }
    }
}

/// Whether both sides begin as a service does.
pub(super) type Fits = fn(&Both<'_>) -> bool;

/// What the bytes of one side leave open.
pub(super) const PAIRS: &[(Service, Fits)] = &[
    (Service::Http, |both| !both.is_udp && both.client.starts_with(b"OPTIONS ")),
    (Service::Ftp, |both| {
        let asks = [&b"USER "[..], b"AUTH TLS", b"AUTH SSL", b"FEAT\r\n", b"SYST\r\n", b"OPTS "];
        let asks = asks.iter().any(|ask| both.client.starts_with(ask));
        let greets = both.server.starts_with(b"220");
        let is_known = both.port == 21 && (both.client.is_empty() || both.client.starts_with(b"QUIT"));
        !both.is_udp && (greets && (asks || is_known) || asks && both.server.is_empty() && both.port == 21)
    }),
    (Service::Smtp, |both| {
        let greets = [&b"220"[..], b"421", b"554"].iter().any(|code| both.server.starts_with(code));
        !both.is_udp && greets && matches!(both.port, 25 | 465 | 587)
    }),
    (Service::Telnet, |both| {
        // A side that negotiates: IAC, then WILL to DONT, and one of the options that there are.
        let negotiates = |bytes: &[u8]| {
            bytes.len() >= 3
                && bytes.chunks_exact(3).all(|option| option[0] == 0xff && option[1] >= 0xfa && option[2] < 0x40)
        };
        !both.is_udp && (negotiates(both.server) || negotiates(both.client))
    }),
    (Service::Redis, |both| !both.is_udp && both.port == 6379 && both.server.starts_with(b"-ERR")),
    (Service::Memcached, |both| {
        let asks = [&b"get "[..], b"gets ", b"set ", b"add ", b"stats", b"version", b"flush_al"];
        let answers =
            [&b"VALUE "[..], b"END\r\n", b"STORED\r\n", b"STAT ", b"VERSION ", b"OK\r\n", b"ERROR\r\n", b"NOT_STO"];
        let fits = |texts: &[&[u8]], bytes: &[u8]| texts.iter().any(|text| bytes.starts_with(text));
        let is_binary = both.client.first() == Some(&0x80) && both.server.first() == Some(&0x81);
        // Over UDP a head: number of the request, number of the datagram, how many there are, two bytes of zero.
        let is_head = |bytes: &[u8]| matches!(bytes, [_, _, a, b, c, d, 0, 0] if [c, d] > [a, b]);
        let sides = [both.client, both.server];
        let pairs = sides.iter().all(|side| side.is_empty() || is_head(side) && side[..2] == both.first()[..2]);
        !both.is_udp && (fits(&asks, both.client) && fits(&answers, both.server) || is_binary && both.port == 11211)
            || both.is_udp && both.ports.contains(&11211) && pairs
    }),
    (Service::Socks, |both| {
        let methods = both.client.get(1).copied().unwrap_or_default();
        let asks = both.client.first() == Some(&5) && both.client.len() == usize::from(methods) + 2;
        !both.is_udp && methods != 0 && asks && both.server.len() == 2 && both.server[0] == 5
    }),
    (Service::Modbus, |both| {
        let head = |bytes: &[u8]| {
            masked(bytes, &[0, 0, 0, 0, 0, 0, 0, 0], &[0, 0, 0xff, 0xff, 0xff, 0, 0, 0x80])
                && bytes[5] >= 2
                && bytes[7] != 0
        };
        let answers = both.server.len() == 8
            && both.client.len() == 8
            && both.server[..5] == both.client[..5]
            && both.server[7] & 0x7f == both.client[7];
        !both.is_udp && head(both.client) && (answers || both.server.is_empty() && both.port == 502)
    }),
    (Service::Dns, |both| {
        // Over TCP a length stands in front.
        let message =
            |bytes: &'_ [u8]| -> Option<[u8; 6]> { bytes.get(if both.is_udp { 0..6 } else { 2..8 })?.try_into().ok() };
        // A query asks something. The names of NetBIOS are registered and released with kinds of their own.
        let is_query = |message: [u8; 6]| message[2] & 0x80 == 0 && message[4] == 0 && message[5] != 0;
        let is_answer = |message: [u8; 6]| message[2] & 0x80 != 0 && message[4] == 0;
        let is_kind = |message: [u8; 6]| {
            matches!((message[2] >> 3 & 15, both.ports.contains(&137)), (0 | 2 | 4 | 5, _) | (6..=8, true))
        };
        let is_one = |message: [u8; 6]| is_kind(message) && (is_query(message) || is_answer(message));
        let at_port = both.ports.iter().any(|port| matches!(port, 53 | 137 | 5353 | 5355));
        match (message(both.client), message(both.server)) {
            (Some(query), Some(answer)) => {
                let pairs = query[..2] == answer[..2] && query[2] & 0x80 == 0 && answer[2] & 0x80 != 0;
                let is_plain = query[2] & 0x78 == 0 && query[5] == 1;
                is_one(query) && is_one(answer) && (at_port || pairs && is_plain)
            }
            (Some(one), None) | (None, Some(one)) => at_port && is_one(one),
            (None, None) => false,
        }
    }),
    (Service::Ntp, |both| {
        let is_ntp = |bytes: &[u8]| bytes.is_empty() || bytes[0] & 7 != 0 && matches!(bytes[0] >> 3 & 7, 1..=4);
        both.is_udp && both.ports.contains(&123) && is_ntp(both.client) && is_ntp(both.server)
    }),
    (Service::Dhcp, |both| {
        let is_dhcp = |bytes: &[u8]| matches!(bytes, [1 | 2, 1, 6, ..]);
        both.is_udp
            && both.ports.iter().any(|port| matches!(port, 67 | 68))
            && (is_dhcp(both.client) || is_dhcp(both.server))
    }),
    (Service::BitTorrent, |both| {
        // uTP: a SYN, and the state that answers it, of the same connection.
        let begins = matches!(both.client, [0x41, 0..=2, ..]) && matches!(both.server, [0x21, 0..=2, ..]);
        both.is_udp && begins && both.client.get(2..4) == both.server.get(2..4)
    }),
    (Service::Rtp, |both| {
        // Version 2 both ways, the same kind of payload, no port of a known service.
        let kind = |bytes: &[u8]| match bytes {
            [head, kind, ..] if bytes.len() == 8 && head & 0xef == 0x80 => Some(kind & 0x7f),
            _ => None,
        };
        let is_media = |kind: u8| !(35..96).contains(&kind);
        let media = kind(both.client).filter(|kind| is_media(*kind));
        both.is_udp && media.is_some() && media == kind(both.server) && both.ports.iter().all(|port| *port >= 1024)
    }),
];

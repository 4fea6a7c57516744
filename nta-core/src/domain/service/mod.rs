//! The service of a flow, by the first payload bytes of both directions: whatever its port. Names are Zeek's where Zeek has one.
//!
//! A row of [`RULES`] is what one side begins with. What one side's bytes do not decide, [`PAIRS`] asks of both, and of the port
//! where a protocol has no mark of its own (NTP, DHCP). Sources are in `docs/SERVICES.md`.

mod names;
mod pairs;
mod registered;

pub use names::Service;
use pairs::{Both, PAIRS};
pub use registered::{registered, server_port, service_name};

use nta_common::opening::Opening;
use nta_common::packet::proto;

/// What is known of a flow's beginning; the client is its originator.
#[derive(Clone, Copy, Debug)]
pub struct Beginning<'a> {
    /// IP protocol number.
    pub proto: u8,
    /// Ports of client and server.
    pub ports: [u16; 2],
    /// What client and server begin with.
    pub openings: [&'a Opening; 2],
}

impl Service {
    /// The service of a flow, `None` where the bytes do not say it. A stream of which the beginning was not seen is named only by
    /// what no other protocol sends.
    pub fn of(beginning: &Beginning<'_>) -> Option<Self> {
        if beginning.openings.iter().all(|opening| opening.len == 0) {
            return None;
        }
        let is_udp = beginning.proto == proto::UDP;
        let rule = RULES.iter().find(|rule| rule.is_udp.is_none_or(|udp| udp == is_udp) && rule.fits(beginning));
        if let Some(rule) = rule {
            return Some(rule.service);
        }
        let [client, server] =
            beginning.openings.map(|opening| if opening.from_start == 0 { &[] } else { opening.bytes() });
        let both = Both { client, server, is_udp, port: beginning.ports[1], ports: beginning.ports };
        PAIRS.iter().find(|(_, fits)| fits(&both)).map(|(service, _)| *service)
    }

    /// The service of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|service| service.name() == name)
    }
}

/// Which side's bytes a rule is about.
#[derive(Clone, Copy)]
enum Side {
    Client,
    Server,
    Either,
}
use Side::{Client, Either, Server};

/// What one side begins with: bytes, of which `mask` says which bits count.
struct Rule {
    service: Service,
    /// Over datagrams, over TCP, or over both.
    is_udp: Option<bool>,
    side: Side,
    /// Whether it names a stream from the middle as well.
    anywhere: bool,
    bytes: &'static [u8],
    mask: &'static [u8],
}

impl Rule {
    fn fits(&self, beginning: &Beginning<'_>) -> bool {
        let sides: &[usize] = match self.side {
            Client => &[0],
            Server => &[1],
            Either => &[0, 1],
        };
        sides.iter().any(|side| {
            let opening = beginning.openings[*side];
            (self.anywhere || opening.from_start != 0) && masked(opening.bytes(), self.bytes, self.mask)
        })
    }
}

/// Whether bytes begin with these, in the bits that the mask names; where it is shorter, in all.
fn masked(bytes: &[u8], value: &[u8], mask: &[u8]) -> bool {
    let bit = |at: usize| mask.get(at).copied().unwrap_or(0xff);
    bytes.len() >= value.len() && value.iter().enumerate().all(|(at, byte)| (bytes[at] ^ byte) & bit(at) == 0)
}

const fn tcp(service: Service, side: Side, bytes: &'static [u8], mask: &'static [u8]) -> Rule {
    Rule { service, is_udp: Some(false), side, anywhere: false, bytes, mask }
}

const fn udp(service: Service, side: Side, bytes: &'static [u8], mask: &'static [u8]) -> Rule {
    Rule { service, is_udp: Some(true), side, anywhere: false, bytes, mask }
}

/// Text that nothing else sends.
const fn sure(service: Service, text: &'static [u8]) -> Rule {
    Rule { service, is_udp: Some(false), side: Either, anywhere: true, bytes: text, mask: &[] }
}

/// Text over TCP or datagrams.
const fn text(service: Service, text: &'static [u8]) -> Rule {
    Rule { service, is_udp: None, side: Either, anywhere: false, bytes: text, mask: &[] }
}

/// What one side begins with, the first that fits.
const RULES: &[Rule] = &[
    sure(Service::Ssh, b"SSH-"),
    sure(Service::Http, b"HTTP/1."),
    sure(Service::Http, b"GET /"),
    sure(Service::Http, b"GET http"),
    sure(Service::Http, b"POST /"),
    sure(Service::Http, b"POST htt"),
    sure(Service::Http, b"HEAD /"),
    sure(Service::Http, b"PUT /"),
    sure(Service::Http, b"DELETE /"),
    sure(Service::Http, b"PATCH /"),
    sure(Service::Http, b"PROPFIND"),
    sure(Service::Http, b"PRI * HT"),
    tcp(Service::Http, Client, b"CONNECT ", &[]),
    // A record of TLS: type, version 3.x, length; then the message. Application data name a stream from the middle.
    tcp(Service::Ssl, Client, &[0x16, 3, 0, 0, 0, 1], &[0xff, 0xff, 0xf8, 0x80, 0, 0xff]),
    tcp(Service::Ssl, Server, &[0x16, 3, 0, 0, 0, 2], &[0xff, 0xff, 0xf8, 0x80, 0, 0xff]),
    tcp(Service::Ssl, Server, &[0x15, 3, 0, 0, 2], &[0xff, 0xff, 0xf8, 0xff, 0xff]),
    Rule { anywhere: true, ..tcp(Service::Ssl, Either, &[0x17, 3, 3, 0], &[0xff, 0xff, 0xff, 0x80]) },
    // The greeting of SSL 2, with which clients of SSL 3 began: a length, its type, version 2 or 3.
    tcp(Service::Ssl, Client, &[0x80, 0, 1, 3, 0, 0], &[0x80, 0, 0xff, 0xff, 0xfc, 0xff]),
    tcp(Service::Ssl, Client, &[0x80, 0, 1, 0, 2, 0], &[0x80, 0, 0xff, 0xff, 0xff, 0xff]),
    Rule { anywhere: true, ..tcp(Service::Smb, Either, b"\0\0\0\0\xffSMB", &[0xff, 0, 0, 0]) },
    Rule { anywhere: true, ..tcp(Service::Smb, Either, b"\0\0\0\0\xfeSMB", &[0xff, 0, 0, 0]) },
    tcp(Service::Cotp, Client, &[3, 0, 0, 0x16, 0x11, 0xe0], &[]),
    tcp(Service::Rdp, Client, &[3, 0, 0, 0, 0, 0xe0, 0, 0], &[0xff, 0xff, 0xff, 0, 0]),
    tcp(Service::Postgresql, Client, &[0, 0, 0, 0, 0, 3, 0, 0], &[0xff, 0xff, 0xf0, 0]),
    tcp(Service::Postgresql, Client, &[0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f], &[]),
    tcp(Service::Postgresql, Client, &[0, 0, 0, 8, 4, 0xd2, 0x16, 0x30], &[]),
    tcp(Service::Postgresql, Client, &[0, 0, 0, 16, 4, 0xd2, 0x16, 0x2e], &[]),
    // A greeting of protocol 10 with a version such as 8.0, or a refusal by its number.
    tcp(Service::Mysql, Server, &[0, 0, 0, 0, 10, 0x30], &[0, 0xff, 0xff, 0xff, 0xff, 0xf0]),
    tcp(Service::Mysql, Server, &[0, 0, 0, 0, 0xff, 0, 4], &[0, 0xff, 0xff, 0xff, 0xff, 0, 0xff]),
    tcp(Service::Mssql, Client, &[0x12, 1, 0, 0, 0, 0, 0, 0], &[0xff, 0xff, 0xff, 0, 0xff, 0xff, 0xfe, 0xff]),
    tcp(Service::Redis, Client, b"*0\r\n$", &[0xff, 0xf0]),
    tcp(Service::Redis, Server, b"+PONG\r\n", &[]),
    tcp(Service::Redis, Server, b"-NOAUTH ", &[]),
    tcp(Service::Mqtt, Client, b"\x10\0\0\x04MQTT", &[0xff, 0x80]),
    tcp(Service::Mqtt, Client, b"\x10\x80\0\0\x04MQT", &[0xff, 0x80, 0x80]),
    tcp(Service::Mqtt, Client, b"\x10\0\0\x06MQIs", &[0xff, 0x80]),
    tcp(Service::Amqp, Client, b"AMQP", &[]),
    tcp(Service::Rfb, Either, b"RFB 00", &[]),
    tcp(Service::Rsync, Either, b"@RSYNCD:", &[]),
    tcp(Service::Xmpp, Either, b"<stream:", &[]),
    tcp(Service::Xmpp, Client, b"<?xml ve", &[]),
    tcp(Service::Irc, Client, b"NICK ", &[]),
    tcp(Service::Irc, Client, b"CAP LS", &[]),
    tcp(Service::Dnp3, Either, &[5, 0x64, 0, 0x40], &[0xff, 0xff, 0, 0x40]),
    Rule { anywhere: true, ..tcp(Service::BitTorrent, Either, b"\x13BitTorr", &[]) },
    udp(Service::BitTorrent, Either, b"d1:ad2:i", &[]),
    udp(Service::BitTorrent, Either, b"d1:rd2:i", &[]),
    udp(Service::BitTorrent, Either, b"d2:ip6:", &[]),
    udp(Service::BitTorrent, Either, b"d2:ip4:", &[]),
    udp(Service::BitTorrent, Client, &[0, 0, 4, 0x17, 0x27, 0x10, 0x19, 0x80], &[]),
    // A long header of QUIC: versions 1 and 2, drafts, Google's.
    udp(Service::Quic, Either, &[0xc0, 0, 0, 0, 1], &[0xc0]),
    udp(Service::Quic, Either, &[0xc0, 0x6b, 0x33, 0x43, 0xcf], &[0xc0]),
    udp(Service::Quic, Either, &[0xc0, 0xff, 0, 0, 0], &[0xc0, 0xff, 0xff, 0xff, 0xc0]),
    udp(Service::Quic, Either, b"\x80Q0", &[0x80]),
    Rule {
        service: Service::Stun,
        is_udp: None,
        side: Either,
        anywhere: true,
        bytes: &[0, 0, 0, 0, 0x21, 0x12, 0xa4, 0x42],
        mask: &[0xc0, 0, 0, 3],
    },
    udp(Service::Dtls, Either, &[0x16, 0xfe, 0xfc], &[0xff, 0xff, 0xfc]),
    udp(Service::WireGuard, Client, &[1, 0, 0, 0], &[]),
    udp(Service::Ssdp, Either, b"M-SEARCH", &[]),
    udp(Service::Ssdp, Either, b"NOTIFY *", &[]),
    udp(Service::Sip, Client, b"OPTIONS ", &[]),
    text(Service::Sip, b"SIP/2.0 "),
    text(Service::Sip, b"REGISTER"),
    text(Service::Sip, b"INVITE s"),
    text(Service::Sip, b"SUBSCRIB"),
    text(Service::Sip, b"NOTIFY s"),
    text(Service::Sip, b"ACK sip:"),
    text(Service::Sip, b"BYE sip:"),
    text(Service::Sip, b"CANCEL s"),
    text(Service::Rtsp, b"RTSP/1.0"),
    text(Service::Rtsp, b"DESCRIBE"),
    // SNMP: a sequence, version 1, 2c or 3, then the community (or the header of version 3); by the length of the length.
    udp(Service::Snmp, Either, &[0x30, 0, 2, 1, 0, 4], &[0xff, 0x80, 0xff, 0xff, 0xfe, 0xff]),
    udp(Service::Snmp, Either, &[0x30, 0, 2, 1, 3, 0x30], &[0xff, 0x80]),
    udp(Service::Snmp, Either, &[0x30, 0x81, 0, 2, 1, 0, 4], &[0xff, 0xff, 0, 0xff, 0xff, 0xfe, 0xff]),
    udp(Service::Snmp, Either, &[0x30, 0x81, 0, 2, 1, 3, 0x30], &[0xff, 0xff, 0]),
    udp(Service::Snmp, Either, &[0x30, 0x82, 0, 0, 2, 1, 0, 4], &[0xff, 0xff, 0, 0, 0xff, 0xff, 0xfe, 0xff]),
    // LDAP: a sequence, the message's number, then a bind (0x60) or a search (0x63), and their answers.
    tcp(Service::Ldap, Client, &[0x30, 0, 2, 1, 0, 0x60], &[0xff, 0x80, 0xff, 0xff, 0, 0xfc]),
    tcp(Service::Ldap, Client, &[0x30, 0, 2, 1, 0, 0x77], &[0xff, 0x80, 0xff, 0xff, 0]),
    tcp(Service::Ldap, Client, &[0x30, 0x84, 0, 0, 0, 0, 2, 1], &[0xff, 0xff, 0xff, 0xff, 0, 0]),
    udp(Service::LdapUdp, Client, &[0x30, 0, 2, 1, 0, 0x63], &[0xff, 0x80, 0xff, 0xff, 0]),
    udp(Service::LdapUdp, Client, &[0x30, 0x84, 0, 0, 0, 0, 2, 1], &[0xff, 0xff, 0xff, 0xff, 0, 0]),
    tcp(Service::Smtp, Client, b"EHLO ", &[]),
    tcp(Service::Smtp, Client, b"HELO ", &[]),
    tcp(Service::Pop3, Server, b"+OK", &[]),
    tcp(Service::Imap, Server, b"* OK", &[]),
    tcp(Service::Imap, Server, b"* PREAUT", &[]),
    tcp(Service::Imap, Server, b"* BYE ", &[]),
];

#[cfg(test)]
mod tests;

//! Whether a capture point sees both directions: with asymmetric routing, or one fibre of a TAP, it sees one. There nothing
//! that goes without an answer says anything.

use nta_common::packet::proto;

use super::{Endpoint, FlowObservation};

/// Ports from which public servers answer, and are made to answer strangers (CISA TA14-017A, US-CERT's table of
/// amplification factors; Rossow 2014): quote, chargen, DNS, TFTP, portmapper, NTP, NetBIOS, SNMP, CLDAP, RIP,
/// SSDP, ARD, WS-Discovery, mDNS, CoAP, memcached.
pub const REFLECTOR_PORTS: [u16; 16] =
    [17, 19, 53, 69, 111, 123, 137, 161, 389, 520, 1900, 3283, 3702, 5353, 5683, 11_211];

/// Packets in a window that make a flow a conversation.
const MIN_PACKETS: u64 = 10;
/// Ports below are a server's.
const FIRST_CLIENT_PORT: u16 = 1024;
/// From this share of conversations with one side on, the capture point is one-sided.
const ONE_SIDED_SHARE: f64 = 0.9;
/// Of so many conversations the older half is forgotten, so that a change of routes shows.
const REMEMBERED: u64 = 10_000;

/// Conversations of a protocol, a flow counted in each window in which it has ten packets. A flow with one side is one only
/// where the other must have talked: TCP with payload; UDP from a server's port, but for those of reflectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conversations {
    /// Of which both sides were seen.
    pub whole: u64,
    /// Of which one was.
    pub half: u64,
}

/// What the conversations at a capture point show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Visibility {
    /// TCP.
    pub tcp: Conversations,
    /// UDP.
    pub udp: Conversations,
}

impl Conversations {
    /// Share of which both sides were seen; `None` without any.
    pub fn answered(&self) -> Option<f64> {
        let all = self.whole + self.half;
        (all > 0).then(|| self.whole as f64 / all as f64)
    }

    /// Whether hardly anything that is said here is seen to be answered.
    pub fn is_one_sided(&self) -> bool {
        self.answered().is_some_and(|share| share <= 1.0 - ONE_SIDED_SHARE)
    }

    const fn merge(&mut self, other: Self) {
        self.whole += other.whole;
        self.half += other.half;
        if self.whole + self.half > REMEMBERED {
            self.whole /= 2;
            self.half /= 2;
        }
    }
}

impl Visibility {
    /// Whether one of the protocols is.
    pub fn is_one_sided(&self) -> bool {
        self.tcp.is_one_sided() || self.udp.is_one_sided()
    }

    /// Takes a flow of a window.
    pub fn add(&mut self, seen: &FlowObservation) {
        let of = match seen.flow.proto {
            proto::TCP => &mut self.tcp,
            proto::UDP => &mut self.udp,
            _ => return,
        };
        if seen.packets() < MIN_PACKETS || is_group(&seen.flow.responder) || is_group(&seen.flow.originator) {
            return;
        }
        let (orig, resp) = (&seen.flow.originator, &seen.flow.responder);
        let (talks, silent) = match (orig.sent.packets, resp.sent.packets) {
            (_, 0) => (orig, resp),
            (0, _) => (resp, orig),
            _ => {
                of.whole += 1;
                return;
            }
        };
        let must_be_answered = if seen.flow.proto == proto::TCP {
            seen.flow.history.has(b"Dd")
        } else {
            talks.port < FIRST_CLIENT_PORT && silent.port >= FIRST_CLIENT_PORT && !REFLECTOR_PORTS.contains(&talks.port)
        };
        of.half += u64::from(must_be_answered);
    }

    /// Adds what another window shows.
    pub const fn merge(&mut self, other: &Self) {
        self.tcp.merge(other.tcp);
        self.udp.merge(other.udp);
    }
}

const fn is_group(side: &Endpoint) -> bool {
    side.address.is_multicast() || matches!(side.address, std::net::IpAddr::V4(v4) if v4.octets()[3] == 255)
}

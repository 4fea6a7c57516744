//! Whether an attempt to reach a service came to something, as its flow shows: the common ground of scans and floods.

use std::net::IpAddr;

use nta_common::flow::Counts;
use nta_common::packet::proto;

pub(super) use crate::domain::REFLECTOR_PORTS;
use crate::domain::{Endpoint, FlowObservation};

/// A packet that asks whether somebody is there, by its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// Nothing came of it: silence, a refusal, or a handshake that its originator never finished.
    Futile,
    /// They talked.
    Answered,
}

/// UDP ports from here on belong to sessions, not services: the lowest that RTP is given by default.
pub(super) const FIRST_SESSION_PORT: u16 = 16_384;
/// More packets than this are no probe: nmap sends a UDP probe up to 10 times (`--max-retries`).
const MAX_PROBE_PACKETS: u64 = 11;
/// A TCP probe without SYN is sent twice at most by nmap's defaults for a silent target.
const MAX_BARE_PACKETS: u64 = 2;
/// UDP ports of traceroute: 33434 and, three for each of 30 hops, what follows.
const TRACEROUTE_PORTS: std::ops::RangeInclusive<u16> = 33_434..=33_534;
/// Ports below are a server's.
const FIRST_CLIENT_PORT: u16 = 1024;

/// Source ports that were used, as one bit each of 64.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SourcePorts(u64);

impl SourcePorts {
    /// As many bits as 45 ports set.
    const MANY: u32 = 32;

    pub(super) const fn add(&mut self, port: u16) {
        self.0 |= 1 << (port % 64);
    }

    /// Whether they are more than scanners use, which keep one for all ports that they try, and another when they try again
    /// (nmap, masscan, unicornscan).
    pub(super) const fn are_many(self) -> bool {
        self.0.count_ones() >= Self::MANY
    }
}

/// Who sent, and to whom, in a flow, and what each sent in the window: its originator, but in UDP. There a datagram from a
/// server's port is taken for an answer, and its target for who asked; if that never said a word, it did not ask.
pub(super) const fn sides(seen: &FlowObservation) -> [(&Endpoint, &Counts); 2] {
    let flow = &seen.flow;
    let (originator, responder) = ((&flow.originator, &seen.sent[0]), (&flow.responder, &seen.sent[1]));
    if flow.proto == proto::UDP && flow.originator.sent.packets == 0 {
        [responder, originator]
    } else {
        [originator, responder]
    }
}

/// What a flow that began in the window says, who tried and what; `None` when it is no attempt or says nothing.
pub(super) fn judge(seen: &FlowObservation) -> Option<(Attempt, &Endpoint, &Endpoint)> {
    let flow = &seen.flow;
    let [(source, _), (target, _)] = sides(seen);
    if !seen.is_new || is_group(target.address) {
        return None;
    }
    let silent = target.sent.packets == 0;
    let attempt = match flow.proto {
        proto::TCP if flow.originator.tcp.syn > 0 => {
            Some(if is_futile(seen) { Attempt::Futile } else { Attempt::Answered })
        }
        proto::TCP => is_bare_probe(seen).then_some(Attempt::Futile),
        proto::UDP if !silent => Some(Attempt::Answered),
        proto::UDP => is_udp_probe(source, target).then_some(Attempt::Futile),
        proto::ICMP if flow.originator.port == 8 => Some(if silent { Attempt::Futile } else { Attempt::Answered }),
        proto::ICMPV6 if flow.originator.port == 128 => Some(if silent { Attempt::Futile } else { Attempt::Answered }),
        _ => None,
    };
    attempt.map(|attempt| (attempt, source, target))
}

/// Whether a TCP flow with a SYN came to nothing: its originator sent SYNs and resets, and never an ACK or data. An
/// answer that the capture does not show still shows in the ACK to it.
pub(super) fn is_futile(seen: &FlowObservation) -> bool {
    let flow = &seen.flow;
    flow.originator.tcp.syn > 0 && !flow.history.has(b"ADF")
}

/// A lone ACK, FIN, or nothing at all, to which nobody or only a reset answered: nmap's -sA, -sF, -sN, -sX.
fn is_bare_probe(seen: &FlowObservation) -> bool {
    let flow = &seen.flow;
    let (own, back) = (&flow.originator, &flow.responder);
    let letters = flow.history.as_str();
    own.sent.packets > 0
        && own.sent.packets <= MAX_BARE_PACKETS
        && own.payload_bytes.unwrap_or(0) == 0
        && back.tcp.syn_ack == 0
        && back.sent.packets <= u64::from(back.tcp.rst)
        && letters.chars().all(|letter| matches!(letter, 'A' | 'F' | 'Q' | 'I' | 'T' | 'W' | 'r'))
}

fn is_udp_probe(source: &Endpoint, target: &Endpoint) -> bool {
    let (from, to, sent) = (source.port, target.port, &source.sent);
    // nping sends from port 53 by default, and the datagram is empty.
    let headers = if source.address.is_ipv4() { 28 } else { 48 };
    let is_empty = sent.ip_bytes <= sent.packets * headers;
    let is_answer =
        !is_empty && to >= FIRST_CLIENT_PORT && (from < FIRST_CLIENT_PORT || REFLECTOR_PORTS.contains(&from));
    sent.packets <= MAX_PROBE_PACKETS && !is_answer && !TRACEROUTE_PORTS.contains(&to)
}

/// Whether an address stands for several hosts. The last of a /24 counts as one: that costs a scan one host.
pub(super) fn is_group(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_multicast() || address.octets()[3] == 255,
        IpAddr::V6(address) => address.is_multicast(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Flow, host};
    use super::{Attempt, judge};
    use crate::domain::FlowObservation;

    fn attempt(seen: &FlowObservation) -> Option<Attempt> {
        judge(seen).map(|(attempt, ..)| attempt)
    }

    #[test]
    fn what_flows_say() {
        let tcp = |history: &str| attempt(&Flow::tcp(1, 40_000, 2, 80).history(history).seen());
        for futile in ["S", "Sr", "ShR", "STr", "SR", "A", "Ar", "F", "", "Fr"] {
            assert_eq!(tcp(futile), Some(Attempt::Futile), "{futile}");
        }
        for answered in ["ShA", "ShADadFf", "SAD"] {
            assert_eq!(tcp(answered), Some(Attempt::Answered), "{answered}");
        }
        for neither in ["h", "hR", "^r", "R", "Aa", "AD", "Da"] {
            assert_eq!(tcp(neither), None, "{neither}");
        }
    }

    #[test]
    fn udp_answers_groups_and_traceroutes_are_no_probes() {
        let udp = |from, to| attempt(&Flow::udp(1, from, 2, to).seen());
        assert_eq!(udp(40_000, 161), Some(Attempt::Futile));
        assert_eq!(udp(61_000, 5_000), Some(Attempt::Futile));
        assert_eq!(udp(53, 5_000), None);
        assert_eq!(udp(40_000, 33_440), None);
        assert_eq!(attempt(&Flow::udp(1, 40_000, 255, 161).seen()), None);
        assert_eq!(attempt(&Flow::udp(1, 40_000, 2, 161).answered(1, 60).seen()), Some(Attempt::Answered));
    }

    #[test]
    fn a_datagram_from_a_servers_port_is_its_senders_if_nobody_asked() {
        // As Zeek turns it round: the target seems to have begun.
        let unasked = |to, bytes| Flow::udp(2, to, 1, 53).sent(0, 0).answered(1, bytes).seen();
        let (tried, low, high) = (unasked(161, 60), unasked(161, 60), unasked(5_000, 60));
        assert_eq!(judge(&tried).map(|(_, source, target)| (source.address, target.port)), Some((host(1), 161)));
        assert_eq!((attempt(&low), attempt(&high)), (Some(Attempt::Futile), None));
        assert_eq!(attempt(&unasked(5_000, 28)), Some(Attempt::Futile), "with nothing in it, it answers nothing");
    }
}

//! Names of ICMP messages (IANA "ICMP Type Numbers", "ICMPv6 Parameters"): type and code stand where other protocols have ports.

use nta_common::packet::proto;

/// What a flow of this type and code consists of; a question and its answer are one flow. The number where it has no name.
pub(crate) fn message(protocol: u8, kind: u16, code: u16) -> String {
    let name = if protocol == proto::ICMPV6 { v6(kind, code) } else { v4(kind, code) };
    name.map_or_else(|| format!("type {kind} code {code}"), str::to_owned)
}

const fn v4(kind: u16, code: u16) -> Option<&'static str> {
    Some(match (kind, code) {
        (8, _) => "echo",
        (0, _) => "echo reply",
        (3, 0) => "net unreachable",
        (3, 1) => "host unreachable",
        (3, 2) => "protocol unreachable",
        (3, 3) => "port unreachable",
        (3, 4) => "fragmentation needed",
        (3, 9 | 10 | 13) => "prohibited",
        (3, _) => "unreachable",
        (4, _) => "source quench",
        (5, _) => "redirect",
        (9, _) => "router advertisement",
        (10, _) => "router solicitation",
        (11, 1) => "reassembly timed out",
        (11, _) => "time exceeded",
        (12, _) => "parameter problem",
        (13, _) => "timestamp",
        (14, _) => "timestamp reply",
        (15 | 16, _) => "information",
        (17 | 18, _) => "address mask",
        (42, _) => "extended echo",
        (43, _) => "extended echo reply",
        _ => return None,
    })
}

const fn v6(kind: u16, code: u16) -> Option<&'static str> {
    Some(match (kind, code) {
        (128, _) => "echo",
        (129, _) => "echo reply",
        (1, 0) => "no route",
        (1, 1) => "prohibited",
        (1, 3) => "address unreachable",
        (1, 4) => "port unreachable",
        (1, _) => "unreachable",
        (2, _) => "packet too big",
        (3, 1) => "reassembly timed out",
        (3, _) => "time exceeded",
        (4, _) => "parameter problem",
        (130, _) => "listener query",
        (131, _) => "listener report",
        (132, _) => "listener done",
        (133, _) => "router solicitation",
        (134, _) => "router advertisement",
        (135, _) => "neighbor solicitation",
        (136, _) => "neighbor advertisement",
        (137, _) => "redirect",
        (143, _) => "listener report v2",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_names() {
        assert_eq!(message(proto::ICMP, 8, 0), "echo");
        assert_eq!(message(proto::ICMP, 3, 3), "port unreachable");
        assert_eq!(message(proto::ICMPV6, 3, 0), "time exceeded");
        assert_eq!(message(proto::ICMPV6, 155, 2), "type 155 code 2");
    }
}

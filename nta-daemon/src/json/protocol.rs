//! Names of IP protocols.

use nta_common::packet::proto;

/// IANA's keyword in lower case, the number as text where there is none.
///
/// Keywords are those of IANA's "Assigned Internet Protocol Numbers" (`ospf` is OSPFIGP there), without protocols of which the
/// registry says that nobody uses them any more. The headers of IPv6's extensions are no protocols: what follows them is.
pub fn protocol_name(number: u8) -> String {
    match NAMES.binary_search_by_key(&number, |(known, _)| *known) {
        Ok(at) => NAMES[at].1.to_owned(),
        Err(_) => number.to_string(),
    }
}

/// The number of a name that [`protocol_name`] gives, in capitals or not, or of a number as text. ICMP of IPv6 has three names.
pub fn protocol_number(name: &str) -> Option<u8> {
    let is_named = |number: &u8| protocol_name(*number).eq_ignore_ascii_case(name);
    let of_v6 = || ["icmpv6", "icmp6"].iter().any(|other| other.eq_ignore_ascii_case(name)).then_some(proto::ICMPV6);
    name.parse().ok().or_else(|| (0..=u8::MAX).find(is_named)).or_else(of_v6)
}

const NAMES: &[(u8, &str)] = &[
    (proto::ICMP, "icmp"),
    (2, "igmp"),
    (3, "ggp"),
    (4, "ipv4"),
    (5, "st"),
    (proto::TCP, "tcp"),
    (7, "cbt"),
    (8, "egp"),
    (9, "igp"),
    (12, "pup"),
    (proto::UDP, "udp"),
    (20, "hmp"),
    (22, "xns-idp"),
    (27, "rdp"),
    (29, "iso-tp4"),
    (33, "dccp"),
    (36, "xtp"),
    (41, "ipv6"),
    (46, "rsvp"),
    (47, "gre"),
    (48, "dsr"),
    (50, "esp"),
    (51, "ah"),
    (54, "narp"),
    (55, "min-ipv4"),
    (proto::ICMPV6, "ipv6-icmp"),
    (59, "ipv6-nonxt"),
    (88, "eigrp"),
    (89, "ospf"),
    (94, "ipip"),
    (97, "etherip"),
    (98, "encap"),
    (103, "pim"),
    (108, "ipcomp"),
    (112, "vrrp"),
    (113, "pgm"),
    (115, "l2tp"),
    (124, "isis"),
    (proto::SCTP, "sctp"),
    (133, "fc"),
    (134, "rsvp-e2e-ignore"),
    (proto::UDP_LITE, "udplite"),
    (137, "mpls-in-ip"),
    (138, "manet"),
    (139, "hip"),
    (140, "shim6"),
    (141, "wesp"),
    (142, "rohc"),
    (143, "ethernet"),
    (144, "aggfrag"),
    (145, "nsh"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_numbers() {
        assert!(NAMES.is_sorted_by(|(one, _), (other, _)| one < other));
        for number in 0..=u8::MAX {
            let name = protocol_name(number);
            assert_eq!(protocol_number(&name), Some(number), "{name}");
            assert_eq!(protocol_number(&number.to_string()), Some(number));
        }
        let names = [88, 89, 103, 112, 115, 0, 253].map(protocol_name);
        assert_eq!(names, ["eigrp", "ospf", "pim", "vrrp", "l2tp", "0", "253"]);
    }

    /// Debian's /etc/protocols (package netbase) follows the registry too.
    #[test]
    fn names_are_those_of_the_systems_table() {
        // A name of its own for what is IPv4 in the registry.
        const OTHERS: [&str; 1] = ["ipencap"];
        let Ok(text) = std::fs::read_to_string("/etc/protocols") else {
            return println!("not run: names_are_those_of_the_systems_table: no /etc/protocols");
        };
        let mut compared = 0;
        for line in text.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let (Some(name), Some(Ok(number))) = (words.next(), words.next().map(str::parse::<u8>)) else { continue };
            let own = protocol_name(number);
            if own != number.to_string() {
                compared += 1;
                assert!(own == name || OTHERS.contains(&name), "{number}: {own} is {name}");
            }
        }
        assert!(compared > 30, "{compared}");
    }
}

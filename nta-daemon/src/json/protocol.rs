//! Names of IP protocols.

use nta_common::packet::proto;

/// IANA's keyword in lower case for the protocols that a gateway meets, the number as text for all others.
pub fn protocol_name(number: u8) -> String {
    let name = match number {
        proto::ICMP => "icmp",
        2 => "igmp",
        4 => "ipv4",
        proto::TCP => "tcp",
        proto::UDP => "udp",
        41 => "ipv6",
        47 => "gre",
        50 => "esp",
        51 => "ah",
        proto::ICMPV6 => "ipv6-icmp",
        89 => "ospf",
        103 => "pim",
        112 => "vrrp",
        proto::SCTP => "sctp",
        proto::UDP_LITE => "udplite",
        other => return other.to_string(),
    };
    name.to_owned()
}

/// The number of a name that [`protocol_name`] gives, or of a number as text.
pub fn protocol_number(name: &str) -> Option<u8> {
    name.parse().ok().or_else(|| (0..=u8::MAX).find(|number| protocol_name(*number) == name))
}

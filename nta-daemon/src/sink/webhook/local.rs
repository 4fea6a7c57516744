//! Which addresses a webhook may lead to. What is looked at is the address that is connected to, and not the name: a name
//! can lead to another address the next time it is asked for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why nothing is sent to an address unless the configuration allows it in words; `None` where it may be.
pub(super) fn refusal(address: IpAddr) -> Option<&'static str> {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4_refusal(v4),
        IpAddr::V6(v6) => v6_refusal(v6),
    }
}

const fn v4_refusal(v4: Ipv4Addr) -> Option<&'static str> {
    match v4.octets() {
        [127, ..] => Some("a loopback address"),
        // Instance metadata of most clouds lies among these.
        [169, 254, ..] => Some("a link-local address"),
        [0, ..] => Some("an address of this machine"),
        [100, 100, 100, 200] | [192, 0, 0, 192] => Some("an address of instance metadata"),
        [224..=255, ..] => Some("a multicast or reserved address"),
        _ => None,
    }
}

fn v6_refusal(v6: Ipv6Addr) -> Option<&'static str> {
    let segments = v6.segments();
    if v6.is_loopback() {
        return Some("a loopback address");
    }
    if v6.is_unspecified() {
        return Some("an address of this machine");
    }
    if segments[0] & 0xffc0 == 0xfe80 || segments[0] & 0xffc0 == 0xfec0 {
        return Some("a link-local address");
    }
    if v6.is_multicast() {
        return Some("a multicast or reserved address");
    }
    // AWS and Google.
    if segments == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] || segments == [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254] {
        return Some("an address of instance metadata");
    }
    embedded(v6).and_then(v4_refusal)
}

/// The IPv4 address to which a gateway would lead this one: NAT64 (RFC 6052), 6to4, and what was once called compatible.
fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = v6.segments();
    let of = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match segments {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0, 0, 0, 0, 0, 0, high, low] => Some(of(high, low)),
        [0x64, 0xff9b, 1, .., high, low] => Some(of(high, low)),
        [0x2002, high, low, ..] => Some(of(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_its_link_and_metadata_are_refused_in_every_spelling() {
        for text in [
            "127.0.0.1",
            "127.8.9.1",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "169.254.1.1",
            "224.0.0.1",
            "255.255.255.255",
            "100.100.100.200",
            "::1",
            "::",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::a9fe:a9fe",
            "2002:7f00:1::",
            "::7f00:1",
            "fd00:ec2::254",
            "fd20:ce::254",
        ] {
            let address: IpAddr = text.parse().expect("an address");
            assert!(refusal(address).is_some(), "{text}");
        }
        for text in ["192.0.2.1", "10.0.0.1", "192.168.1.1", "8.8.8.8", "2001:db8::1", "fd00::1", "64:ff9b::808:808"] {
            assert_eq!(refusal(text.parse().expect("an address")), None, "{text}");
        }
    }
}

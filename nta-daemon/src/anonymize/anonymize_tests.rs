//! Prefixes, keys, objects and frames.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::json;

use super::*;

fn anonymizer() -> Anonymizer {
    let mut key = [7; KEY_BYTES];
    key[0] = 1;
    Anonymizer::new(key).expect("halves that differ")
}

fn v4(anonymizer: &mut Anonymizer, text: &str) -> u32 {
    match anonymizer.address(text.parse().expect("an address")) {
        IpAddr::V4(v4) => v4.to_bits(),
        IpAddr::V6(v6) => panic!("{v6}"),
    }
}

#[test]
fn addresses_share_afterwards_what_they_shared_before() {
    let mut all = anonymizer();
    let texts = ["192.0.2.1", "192.0.2.200", "192.0.3.1", "198.51.100.7", "10.0.0.1", "10.0.0.2"];
    for a in texts {
        for b in texts {
            let shared = |a: u32, b: u32| (a ^ b).leading_zeros();
            let before =
                shared(a.parse::<Ipv4Addr>().expect("a").to_bits(), b.parse::<Ipv4Addr>().expect("b").to_bits());
            let after = shared(v4(&mut all, a), v4(&mut all, b));
            assert_eq!(before, after, "{a} {b}");
        }
        assert_ne!(v4(&mut all, a), a.parse::<Ipv4Addr>().expect("a").to_bits(), "{a}");
    }
    let v6 = |all: &mut Anonymizer, text: &str| match all.address(text.parse().expect("an address")) {
        IpAddr::V6(v6) => v6.to_bits(),
        IpAddr::V4(v4) => panic!("{v4}"),
    };
    let [a, b] = ["2001:db8::1", "2001:db8::2"].map(|text| v6(&mut all, text));
    assert_eq!((a ^ b).leading_zeros(), 126);
    for everybodys in ["0.0.0.0", "127.0.0.1", "224.0.0.251", "255.255.255.255", "::1", "ff02::1"] {
        let address: IpAddr = everybodys.parse().expect("an address");
        assert_eq!(all.address(address), address);
    }
}

/// What an address is, whoever has it.
fn class(address: IpAddr) -> (bool, bool, bool, bool) {
    let (is_link_local, is_directed) = match address {
        IpAddr::V4(v4) => (false, v4.octets()[3] == 255),
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), false),
    };
    (address.is_multicast(), address.is_loopback(), is_link_local, is_directed)
}

/// Whatever the key: 1 in 16 random ones would make a group of a host, and a scan of it no scan.
#[test]
fn no_key_makes_a_group_or_this_machine_of_a_host() {
    let texts = [
        "10.0.0.1",
        "10.0.0.254",
        "10.0.0.255",
        "100.64.3.127",
        "126.255.255.255",
        "128.0.0.1",
        "172.16.9.128",
        "192.168.1.1",
        "192.168.1.253",
        "203.0.113.255",
        "223.255.255.254",
        "240.0.0.1",
        "2001:db8::1",
        "fd00::1",
        "fe80::1",
        "fe00::1",
        "fec0::1",
        "febf::ff02:1",
        "f800::1",
    ];
    let addresses = texts.map(|text| text.parse::<IpAddr>().expect(text));
    for number in 0..2_000_u32 {
        let key: [u8; 32] = Sha256::digest(number.to_be_bytes()).into();
        let mut all = Anonymizer::new(key).expect("halves that differ");
        let others = addresses.map(|address| all.address(address));
        let bits = |address: IpAddr| match address {
            IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
            IpAddr::V6(v6) => v6.to_bits(),
        };
        for (at, (address, other)) in addresses.iter().zip(others).enumerate() {
            assert_eq!(class(*address), class(other), "{address} became {other} by key {number}");
            for (second, other_second) in addresses.iter().zip(others).take(at) {
                if second.is_ipv4() == address.is_ipv4() {
                    let shared = (bits(*address) ^ bits(*second)).leading_zeros();
                    assert_eq!((bits(other) ^ bits(other_second)).leading_zeros(), shared, "{address} {second}");
                }
            }
        }
    }
}

#[test]
fn a_key_is_made_once_for_its_owner_alone_and_what_is_none_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("key");
    let made = Anonymizer::from_file(&path).expect("made");
    assert_eq!(std::fs::metadata(&path).expect("the file").permissions().mode() & 0o777, 0o600);
    assert_eq!(Anonymizer::from_file(&path).expect("read").key, made.key);
    for wrong in ["", "12", &"ab".repeat(32), &"zz".repeat(32)] {
        std::fs::write(&path, wrong).expect("written");
        let refused = Anonymizer::from_file(&path).expect_err("refused").to_string();
        assert!(refused.contains("64 hexadecimal digits") && refused.contains("key"), "{wrong}: {refused}");
    }
}

#[test]
fn no_address_is_left_in_an_object_wherever_it_stood() {
    let mut all = anonymizer();
    let mut alert = json!({
        "id": "0123456789abcdef", "sensor": "gate-berlin", "source": "192.0.2.7", "destination": "192.0.2.0/24",
        "status_by": "ann", "community_id": "1:abc=", "port": 22, "windows": 3, "tunnel_parents": ["0123456789abcdef"],
        "why": { "summary": "192.0.2.7 tried 40 ports of 192.0.2.9, 2001:db8::7 and 02:00:5e:10:00:01.",
            "contributors": [{ "what": "192.0.2.9:443", "amount": 3.5 }], "facts": { "rate": "12.5 a second", "at": "deadbeef" } },
        "first_time": "2026-01-31T12:00:00.000000Z",
    });
    all.item(&mut alert);
    let text = alert.to_string();
    for gone in ["192.0.2", "2001:db8", "02:00:5e", "gate-berlin", "ann", "0123456789abcdef", "abc="] {
        assert!(!text.contains(gone), "{gone} in {text}");
    }
    let source = alert["source"].as_str().expect("text").to_owned();
    assert!(
        alert["why"]["summary"].as_str().expect("text").starts_with(&format!("{source} tried 40 ports of ")),
        "{text}"
    );
    let network: ipnet::IpNet = alert["destination"].as_str().expect("text").parse().expect("a network");
    assert!(network.contains(&source.parse::<IpAddr>().expect("an address")) && network.prefix_len() == 24, "{text}");
    assert_eq!(alert["id"], alert["tunnel_parents"][0], "the same is the same afterwards");
    assert_eq!(alert["first_time"], "2026-01-31T12:00:00.000000Z");
    assert_eq!(alert["why"]["facts"], json!({ "rate": "12.5 a second", "at": "deadbeef" }));
    assert!(alert["why"]["contributors"][0]["what"].as_str().expect("text").ends_with(":443"));
}

/// The ones' complement sum over a pseudo header and a segment, which is all ones where the checksum holds.
fn holds(pseudo: &[u8], segment: &[u8]) -> bool {
    let mut sum: u32 = pseudo
        .chunks(2)
        .chain(segment.chunks(2))
        .map(|w| u32::from(w[0]) << 8 | u32::from(*w.get(1).unwrap_or(&0)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum == 0xffff
}

/// An Ethernet frame with a UDP datagram over IPv4, whose checksums hold.
fn datagram(payload: &[u8]) -> Vec<u8> {
    let length = 8 + payload.len() as u16;
    let mut udp = [[0x30, 0x39, 0, 53], [(length >> 8) as u8, length as u8, 0, 0]].concat();
    udp.extend(payload);
    let mut ip = vec![0x45, 0, 0, 20 + length as u8, 0, 1, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 198, 51, 100, 9];
    let pseudo = [&ip[12..20], &[0, 17, (length >> 8) as u8, length as u8]].concat();
    let checksum = |bytes: &[u8]| {
        let mut sum: u32 = bytes.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(*w.get(1).unwrap_or(&0))).sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        (!(sum as u16)).to_be_bytes()
    };
    let sum = checksum(&[pseudo, udp.clone()].concat());
    udp[6..8].copy_from_slice(&sum);
    let sum = checksum(&ip);
    ip[10..12].copy_from_slice(&sum);
    [vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x81, 0, 0, 5, 8, 0], ip, udp].concat()
}

#[test]
fn a_frame_keeps_its_headers_with_other_addresses_and_loses_its_payload() {
    let mut all = anonymizer();
    let payload = b"secret 192.0.2.1 in here";
    let before = datagram(payload);
    let mut frame = before.clone();
    all.frame(&mut frame);
    assert_eq!(frame.len(), before.len() - payload.len());
    assert_ne!(frame[..12], before[..12], "the stations too");
    assert_eq!(frame[12..18], before[12..18], "tag and type");
    let (ip, was) = (&frame[18..38], &before[18..38]);
    assert_eq!(
        [ip[12..16].to_vec(), ip[16..20].to_vec()],
        ["192.0.2.1", "198.51.100.9"].map(|text| v4(&mut all, text).to_be_bytes().to_vec())
    );
    assert_eq!(ip[..10], was[..10]);
    assert!(holds(&[], ip), "the checksum of the header");
    let udp = [&frame[38..], payload].concat();
    let length = (udp.len() as u16).to_be_bytes();
    assert!(holds(&[&ip[12..20], &[0, 17], &length].concat(), &udp), "that of the whole datagram");
}

#[test]
fn what_is_no_packet_loses_all_that_is_behind_the_stations() {
    let mut all = anonymizer();
    for (frame, length) in [
        (vec![0; 5], 0),
        ([&[2; 12][..], &[0x88, 0xcc], b"name of a switch"].concat(), 14),
        ([&[2; 12][..], &[8, 0], &[0x45, 0, 0, 40, 1]].concat(), 14),
        ([&[2; 12][..], &[0x81, 0, 0]].concat(), 12),
        (datagram(b"x")[..30].to_vec(), 18),
    ] {
        let mut shown = frame.clone();
        all.frame(&mut shown);
        assert_eq!(shown.len(), length, "{frame:?}");
    }
}

#[test]
fn neighbours_are_asked_for_by_other_names() {
    let mut all = anonymizer();
    let asked: Vec<u8> = [
        &[255; 6][..],
        &[2, 0, 0, 0, 0, 1],
        &[8, 6],
        &[0, 1, 8, 0, 6, 4, 0, 1],
        &[2, 0, 0, 0, 0, 1],
        &[192, 0, 2, 1],
        &[0; 6],
        &[192, 0, 2, 2],
        &[9; 18],
    ]
    .concat();
    let mut frame = asked;
    all.frame(&mut frame);
    assert_eq!(
        (frame.len(), &frame[..6], &frame[32..38]),
        (42, &[255; 6][..], &[0; 6][..]),
        "padding goes, groups stay"
    );
    assert_eq!(frame[6..12], frame[22..28], "the sender is the same in both places");
    assert_eq!(frame[28..32], v4(&mut all, "192.0.2.1").to_be_bytes());
    let v6: Ipv6Addr = "2001:db8::1".parse().expect("an address");
    let mut six = [
        &[2; 12][..],
        &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 6, 64],
        &v6.octets(),
        &v6.octets(),
        &[0; 12],
        &[0x50, 2, 0, 0, 0, 0, 0, 0],
        b"data",
    ]
    .concat();
    all.frame(&mut six);
    assert_eq!(six.len(), 14 + 40 + 20);
    assert!(!six.windows(4).any(|four| four == &v6.octets()[..4]));
}

//! The numbers at first sight, in `--format json` and in the text, against those of capinfos and tshark.

use nta_tests::case::{folders, input};
use nta_tests::cases;
use nta_tests::daemon::{Run, run};
use nta_tests::packet::{ethernet, ipv4, udp};
use nta_tests::pcap::{ETHERNET, Frame, pcap};
use serde_json::Value;
use tempfile::TempDir;

fn replay(format: &str, path: &std::path::Path) -> Run {
    let run = run(["replay".as_ref(), "--format".as_ref(), format.as_ref(), path.as_os_str()]);
    assert!(run.is_read(), "{run:?}");
    run
}

fn document(path: &std::path::Path) -> Value {
    replay("json", path).json().remove(0)
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_else(|| panic!("{name} in {value}"))
}

/// Name, packets and bytes of each part.
fn parts(document: &Value, list: &str) -> Vec<(String, u64, u64)> {
    let parts = document["report"][list].as_array().expect("a list").iter();
    parts
        .map(|part| {
            let name = part["name"].as_str().expect("a name").to_owned();
            (name, number(part, "packets"), number(part, "bytes"))
        })
        .collect()
}

/// By `LC_ALL=C capinfos -M tests/cases/demo/input.pcap` (capinfos 4).
#[test]
fn a_capture_as_capinfos_describes_it() {
    let document = document(&cases().join("demo/input.pcap"));
    let capture = &document["captures"][0];
    assert_eq!(capture["sha256"], "47233458ddd850bd5a64cdbb81e9d25345371dd77af00f54737362a811dc1a2e");
    assert_eq!((number(capture, "file_bytes"), &capture["format"]), (515_047, &"pcap".into()));
    let interface = &capture["interfaces"][0];
    assert_eq!((number(interface, "link_type"), number(interface, "snap_length")), (1, 160));
    assert_eq!(number(interface, "time_digits"), 6);
    assert_eq!((number(&document, "packets"), number(&document, "bytes")), (4_200, 1_464_396));
    assert_eq!(document["first_time"], "2026-11-20T10:21:43.267313Z");
    assert_eq!(document["last_time"], "2026-11-20T10:24:53.807907Z");
    let near = |name: &str, wanted: f64| {
        let found = document["report"][name].as_f64().expect("a number");
        assert!((found - wanted).abs() < 0.005, "{name}: {found}, capinfos says {wanted}");
    };
    near("duration_s", 190.540_594);
    near("bits_per_s", 61_483.84);
    near("mean_packet_bytes", 348.67);
    near("packets_per_s", 22.04);
}

/// By `tshark -r tests/cases/demo/input.pcap -q -z io,phs` (tshark 4).
#[test]
fn protocols_are_those_of_tsharks_hierarchy() {
    let document = document(&cases().join("demo/input.pcap"));
    let named = |parts: &[(&str, u64, u64)]| -> Vec<(String, u64, u64)> {
        parts.iter().map(|(name, packets, bytes)| ((*name).to_owned(), *packets, *bytes)).collect()
    };
    assert_eq!(
        parts(&document, "network"),
        named(&[("IPv4", 2_343, 767_492), ("IPv6", 1_853, 696_736), ("ARP", 4, 168)])
    );
    // tcp, udp: 1,876 and 392 frames of IPv4, 1,756 and 24 of IPv6.
    assert_eq!(
        parts(&document, "protocols"),
        named(&[
            ("tcp", 1_876 + 1_756, 726_386 + 686_242),
            ("udp", 392 + 24, 33_756 + 2_640),
            ("ipv6-icmp", 73, 7_854),
            ("icmp", 75, 7_350),
        ])
    );
    let services = parts(&document, "services");
    for wanted in named(&[("domain (udp/53)", 392, 33_756), ("ntp (udp/123)", 24, 2_640)]) {
        assert!(services.contains(&wanted), "{wanted:?} in {services:?}");
    }
    // tshark -Y 'tcp.flags.reset == 1', and -Y tcp.analysis.retransmission: 11 and 0 frames.
    let tcp = &document["report"]["tcp"];
    assert_eq!((number(tcp, "resets"), number(tcp, "retransmissions")), (11, 0));
}

/// By `tshark -q -z endpoints,ip -z endpoints,ipv6 -z conv,ip -z conv,ipv6`.
#[test]
fn talkers_and_conversations_are_those_of_tshark() {
    let document = document(&cases().join("demo/input.pcap"));
    let hosts = document["report"]["hosts"].as_array().expect("hosts");
    let found: Vec<(&str, [u64; 4])> = hosts
        .iter()
        .map(|host| {
            let counts = ["packets_sent", "bytes_sent", "packets_received", "bytes_received"];
            (host["address"].as_str().expect("address"), counts.map(|name| number(host, name)))
        })
        .collect();
    let wanted = [
        ("203.0.113.80", [905, 655_360, 1_043, 78_082]),
        ("fd20::2", [1_010, 94_781, 822, 600_173]),
        ("2001:db8:80::80", [809, 598_767, 1_009, 94_695]),
        ("10.20.0.2", [738, 55_939, 636, 346_316]),
        ("10.20.0.3", [504, 37_321, 465, 327_916]),
        ("10.20.0.1", [196, 18_872, 0, 0]),
        ("198.51.100.53", [0, 0, 196, 14_884]),
    ];
    assert_eq!(found[..7], wanted);
    assert_eq!(number(&document["report"], "hosts_seen"), 17);
    assert_eq!(number(&document["report"], "conversations_seen"), 17);
    let pair = &document["report"]["conversations"][1];
    assert_eq!((&pair["a"], &pair["b"]), (&"10.20.0.2".into(), &"203.0.113.80".into()));
    assert_eq!((number(pair, "packets_a_to_b"), number(pair, "packets_b_to_a")), (630, 531));
    assert!((pair["start_s"].as_f64().expect("start") - 2.033_829).abs() < 1e-6, "{pair}");
    assert!((pair["duration_s"].as_f64().expect("duration") - 188.506_8).abs() < 1e-4, "{pair}");
}

/// By `tshark -r tests/cases/demo/input.pcap -q -z plen,tree`.
#[test]
fn packet_lengths_are_those_of_tshark() {
    let ranges = |document: &Value| -> Vec<(u64, Option<u64>, u64)> {
        let ranges = document["report"]["packet_lengths"].as_array().expect("ranges").iter();
        ranges
            .map(|range| (number(range, "min_bytes"), range["max_bytes"].as_u64(), number(range, "packets")))
            .collect()
    };
    let path = cases().join("demo/input.pcap");
    let wanted = [
        (40, Some(79), 1_215),
        (80, Some(159), 1_774),
        (160, Some(319), 366),
        (320, Some(639), 69),
        (640, Some(1_279), 128),
        (1_280, Some(2_559), 648),
    ];
    assert_eq!(ranges(&document(&path)), wanted);
    let text = String::from_utf8(replay("text", &path).stdout).expect("text");
    assert!(text.contains("  packets   share  packet lengths\n    1,215  28.9 %  40 to 79 bytes\n"), "{text}");
}

/// By tshark's `-z conv,ip` and frames' times: bytes of each direction over the time from the pair's first packet to its last.
#[test]
fn conversations_have_rates_over_their_own_time() {
    let path = cases().join("demo/input.pcap");
    let document = document(&path);
    let pair = &document["report"]["conversations"][1];
    let near = |name: &str, wanted: f64| {
        let found = pair[name].as_f64().expect("a rate");
        assert!((found - wanted).abs() < 0.01, "{name}: {found} instead of {wanted}");
    };
    near("bits_per_s_a_to_b", 2_022.717_9);
    near("bits_per_s_b_to_a", 14_267.286_4);
    let text = String::from_utf8(replay("text", &path).stdout).expect("text");
    let row = text.lines().find(|line| line.ends_with("10.20.0.2 <> 203.0.113.80")).expect("the pair's row");
    assert!(row.contains("2.02 kbit/s  14.3 kbit/s"), "{text}");
}

/// A single packet has no rate, and none is made up.
#[test]
fn a_conversation_without_time_has_no_rate() {
    let frame = ethernet(0x0800, &ipv4(17, &[], 0, &udp(&[0; 18])));
    let folder = TempDir::new().expect("folder");
    let path = folder.path().join("one.pcap");
    let only = Frame { time_ns: 1_000_000_000, wire_len: frame.len() as u32, data: frame };
    std::fs::write(&path, pcap(ETHERNET, &[only])).expect("written");
    let document = document(&path);
    let pair = &document["report"]["conversations"][0];
    assert_eq!(number(pair, "flows"), 1);
    for name in ["bits_per_s_a_to_b", "bits_per_s_b_to_a"] {
        assert_eq!(pair.get(name), Some(&Value::Null), "{pair}");
    }
    let text = String::from_utf8(replay("text", &path).stdout).expect("text");
    assert!(!text.contains("bit/s"), "{text}");
}

/// As `tshark -T fields -e _ws.col.Protocol` names them.
#[test]
fn protocols_of_routers_have_names() {
    let named = [(88, "eigrp"), (89, "ospf"), (103, "pim"), (112, "vrrp"), (115, "l2tp"), (253, "253")];
    let frames = named.iter().zip(1..).map(|((protocol, _), n)| {
        let data = ethernet(0x0800, &ipv4(*protocol, &[], 0, &[0; 40]));
        Frame { time_ns: n * 1_000_000_000, wire_len: data.len() as u32, data }
    });
    let folder = TempDir::new().expect("folder");
    let path = folder.path().join("routers.pcap");
    std::fs::write(&path, pcap(ETHERNET, &frames.collect::<Vec<_>>())).expect("written");
    let document = document(&path);
    let mut found: Vec<String> = parts(&document, "protocols").into_iter().map(|part| part.0).collect();
    let mut wanted: Vec<String> = named.iter().map(|(_, name)| (*name).to_owned()).collect();
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted);
}

/// No packet is in no part, and none in two: of every capture that is bundled.
#[test]
fn parts_add_up() {
    for folder in folders() {
        let document = document(&input(&folder));
        let (packets, bytes) = (number(&document, "packets"), number(&document, "bytes"));
        let sum = |list: &str| {
            let parts = parts(&document, list);
            let all = parts.iter().fold((0, 0), |(packets, bytes), part| (packets + part.1, bytes + part.2));
            (all, parts)
        };
        let (network, by_version) = sum("network");
        assert_eq!(network, (packets, bytes), "{}: {by_version:?}", folder.display());
        let of_ip = by_version.iter().filter(|part| part.0.starts_with("IPv"));
        let of_ip = of_ip.fold((0, 0), |(packets, bytes), part| (packets + part.1, bytes + part.2));
        assert_eq!(sum("protocols").0, of_ip, "{}", folder.display());
        assert_eq!(of_ip.0, number(&document["ledger"]["total"], "flow"), "{}", folder.display());
        let timeline = &document["report"]["timeline"];
        for (list, wanted) in [("packets", packets), ("bytes", bytes)] {
            let steps = timeline[list].as_array().expect("steps").iter();
            assert_eq!(steps.map(|step| step.as_u64().expect("a count")).sum::<u64>(), wanted, "{}", folder.display());
        }
        let states = document["report"]["connections"].as_object().expect("states");
        let connections: u64 = states.values().map(|many| many.as_u64().expect("a count")).sum();
        let flows = document["report"]["protocols"].as_array().expect("protocols");
        let of_tcp = flows.iter().find(|part| part["name"] == "tcp").map_or(0, |part| number(part, "flows"));
        assert_eq!(connections, of_tcp, "{}", folder.display());
    }
}

#[test]
fn a_million_packets() {
    const PACKETS: u64 = 1_000_000;
    let frame = ethernet(0x0800, &ipv4(17, &[], 0, &udp(&[0; 18])));
    let bytes = frame.len() as u64;
    let frames: Vec<Frame> = (0..PACKETS)
        .map(|n| Frame { time_ns: 1_000_000_000 + n * 10_000, wire_len: bytes as u32, data: frame.clone() })
        .collect();
    let folder = TempDir::new().expect("folder");
    let path = folder.path().join("million.pcap");
    std::fs::write(&path, pcap(ETHERNET, &frames)).expect("written");
    drop(frames);
    let text = String::from_utf8(replay("text", &path).stdout).expect("text");
    assert!(text.contains("packets   1,000,000, 100,000 packets/s, mean length 60 bytes\n"), "{text}");
    assert!(text.contains("bytes     60,000,000 (60.0 MB), 48.0 Mbit/s\n"), "{text}");
    assert!(text.contains("  1,000,000  60,000,000  100.0 %      1  IPv4\n"), "{text}");
    assert!(text.contains("domain (udp/53)\n"), "{text}");
}

//! What may lie around the packets of a capture: a mirrored feed, a pseudowire, LLC and SNAP. Both engines look inside.

use std::fs;
use std::path::Path;

use nta_tests::cases;
use nta_tests::daemon::run;
use nta_tests::packet::{ethernet, ipv4, ipv6, udp};
use nta_tests::pcap::{ETHERNET, Frame, pcap};
use nta_tests::served::scan_frames;
use serde_json::Value;

use crate::time::ENGINES;

/// The TCP flows, all flows and the kinds of alerts of a capture.
fn replay(engine: &str, input: &Path, tunnels: bool) -> (usize, usize, Vec<Value>) {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("nta.toml");
    fs::write(&config, format!("[capture]\ntunnels = {tunnels}\nvxlan_ports = [4789, 5000]\n"))
        .expect("a configuration");
    let arguments = ["replay", "--format", "jsonl", "--engine", engine, "--config"].map(AsRef::as_ref);
    let run = run(arguments.into_iter().chain([config.as_os_str(), input.as_os_str()]));
    assert_eq!(run.status, Some(0), "{run:?}");
    let lines = run.json();
    let flows: Vec<&Value> = lines.iter().filter(|line| line["type"] == "flow").collect();
    let tcp = flows.iter().filter(|flow| flow["protocol"] == "tcp").count();
    let alerts = lines.iter().filter(|line| line["type"] == "alert").map(|line| line["alert"]["type"].clone());
    (tcp, flows.len(), alerts.collect())
}

#[test]
fn a_mirrored_scan_is_seen_where_tunnels_are_opened() {
    let folder = tempfile::tempdir().expect("a folder");
    // GRE with a sequence number, and the headers of ERSPAN I (without one), II and III.
    let headers: [(&str, &[u8]); 3] = [
        ("i", &[0, 0, 0x88, 0xbe]),
        ("ii", &[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 1, 0, 2, 0, 0, 0, 3]),
        ("iii", &[0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 1, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0]),
    ];
    for (name, header) in headers {
        let wrap = |frame: Frame| {
            let mirrored = ethernet(0x0800, &ipv4(47, &[], 0, &[header, &frame.data].concat()));
            Frame { wire_len: mirrored.len() as u32, data: mirrored, ..frame }
        };
        let frames: Vec<Frame> = scan_frames(1_000_000_000).into_iter().map(wrap).collect();
        let input = folder.path().join(name);
        fs::write(&input, pcap(ETHERNET, &frames)).expect("written");
        for engine in ENGINES {
            let (tcp, flows, alerts) = replay(engine, &input, true);
            assert_eq!((tcp, flows), (200, 201), "{engine}: {name}: the tunnel is one more");
            assert!(alerts.iter().any(|kind| kind == "port_scan"), "{engine}: {name}: {alerts:?}");
            let (tcp, flows, _) = replay(engine, &input, false);
            assert_eq!((tcp, flows), (0, 1), "{engine}: {name}: the tunnel itself");
        }
    }
}

/// What tunnels put before a packet: protocol and port of the outer one (0 without UDP), header, whether a frame follows.
const WRAPPERS: [(&str, u8, u16, &[u8], bool); 9] = [
    ("ipip", 4, 0, &[], false),
    ("pptp", 47, 0, &[0x20, 1, 0x88, 0x0b, 0, 60, 0, 1, 0xff, 3, 0, 0x21], false),
    ("l2tp", 17, 1701, &[0x40, 2, 0, 60, 0, 1, 0, 2, 0xff, 3, 0, 0x21], false),
    ("l2tp v3", 115, 0, &[0, 0, 0, 9, 0, 0, 0, 0], true),
    ("gre in udp", 17, 4754, &[0, 0, 8, 0], false),
    ("tzsp", 17, 37_008, &[1, 0, 0, 1, 10, 1, 200, 1], true),
    ("ayiya", 17, 5072, &[0x44, 2, 1, 4, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16], false),
    ("vxlan at a port of its own", 17, 5000, &[8, 0, 0, 0, 0, 0, 7, 0], true),
    ("vxlan-gpe", 17, 4790, &[0x0c, 0, 0, 3, 0, 0, 7, 0], true),
];

#[test]
fn a_scan_in_any_tunnel_and_in_one_within_another_is_seen_by_both_engines() {
    let folder = tempfile::tempdir().expect("a folder");
    let wrap = |frame: &[u8], (_, proto, port, header, whole): (&str, u8, u16, &[u8], bool)| {
        let payload = [header, if whole { frame } else { &frame[14..] }].concat();
        let mut datagram = udp(&payload);
        datagram[2..4].copy_from_slice(&port.to_be_bytes());
        let payload = if port == 0 { payload } else { datagram };
        ethernet(0x0800, &ipv4(proto, &[], 0, &payload))
    };
    for wrapper in WRAPPERS {
        // In GRE once more, which is opened as well.
        for outer in [None, Some(("gre", 47, 0, &[0, 0, 8, 0][..], false))] {
            let wrapped = |frame: Frame| {
                let data = wrap(&frame.data, wrapper);
                let data = outer.map_or_else(|| data.clone(), |outer| wrap(&data, outer));
                Frame { wire_len: data.len() as u32, data, ..frame }
            };
            let frames: Vec<Frame> = scan_frames(1_000_000_000).into_iter().map(wrapped).collect();
            let input = folder.path().join("scan.pcap");
            fs::write(&input, pcap(ETHERNET, &frames)).expect("written");
            // The kernel's engine takes its time to load; both tunnels are enough for it.
            for engine in ENGINES.iter().filter(|engine| outer.is_some() || **engine == "user") {
                let (tcp, flows, alerts) = replay(engine, &input, true);
                let case = (engine, wrapper.0, outer.is_some());
                // One of GRE between the same ends is the same.
                let tunnels = if outer.is_some() && wrapper.1 != 47 { 2 } else { 1 };
                assert_eq!((tcp, flows), (200, 200 + tunnels), "{case:?}");
                assert!(alerts.iter().any(|kind| kind == "port_scan"), "{case:?}: {alerts:?}");
            }
        }
    }
}

/// VXLAN around a frame, within GRE.
fn in_two_tunnels(frame: &[u8]) -> Vec<u8> {
    let mut vxlan = udp(&[&[8, 0, 0, 0, 0, 0, 7, 0], frame].concat());
    vxlan[2..4].copy_from_slice(&4789_u16.to_be_bytes());
    let mut between = ipv4(17, &[], 0, &vxlan);
    between[12..20].copy_from_slice(&[10, 1, 0, 1, 10, 1, 0, 2]);
    let mut outside = ipv4(47, &[], 0, &[&[0, 0, 8, 0][..], &between].concat());
    outside[12..20].copy_from_slice(&[203, 0, 113, 1, 203, 0, 113, 2]);
    ethernet(0x0800, &outside)
}

#[test]
fn a_tunnel_is_a_flow_that_those_inside_name_and_no_packet_counts_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = folder.path().join("tunnel.pcap");
    let wrap = |frame: Frame| {
        let data = in_two_tunnels(&frame.data);
        Frame { wire_len: data.len() as u32, data, ..frame }
    };
    let mut frames: Vec<Frame> = scan_frames(1_000_000_000).into_iter().take(20).map(wrap).collect();
    // What is no packet inside: a question of ARP. It is counted in the tunnel within which it was not opened.
    let last = Frame { time_ns: 1_500_000_000, ..Frame::at(0, ethernet(0x0806, &[0; 28])) };
    frames.push(wrap(last));
    fs::write(&input, pcap(ETHERNET, &frames)).expect("written");
    let config = folder.path().join("nta.toml");
    fs::write(&config, "[capture]\ntunnels = true\n").expect("a configuration");
    for engine in ENGINES {
        let run = |format: &str| {
            let arguments = ["replay", "--format", format, "--engine", engine, "--config"].map(AsRef::as_ref);
            let run = run(arguments.into_iter().chain([config.as_os_str(), input.as_os_str()]));
            assert_eq!(run.status, Some(0), "{run:?}");
            run
        };
        let lines = run("jsonl").json();
        let flows: Vec<&Value> = lines.iter().filter(|line| line["type"] == "flow").collect();
        let one = |protocol: &str| {
            let mut found = flows.iter().filter(|flow| flow["protocol"] == protocol);
            let flow = found.next().unwrap_or_else(|| panic!("{engine}: no flow of {protocol}"));
            assert!(found.next().is_none(), "{engine}: several flows of {protocol}");
            *flow
        };
        let (gre, vxlan) = (one("gre"), one("udp"));
        assert_eq!((&gre["packets"], &gre["source"]), (&21.into(), &"203.0.113.1".into()), "{engine}: {gre}");
        assert_eq!((&gre["tunnel_parents"], &gre["carried"]["orig_packets"]), (&Value::Null, &21.into()), "{gre}");
        let bytes: usize = frames.iter().map(|frame| frame.data.len()).sum();
        assert_eq!((&gre["bytes"], &vxlan["bytes"]), (&bytes.into(), &bytes.into()), "{engine}: the whole frames");
        assert_eq!((&vxlan["packets"], &vxlan["destination_port"]), (&21.into(), &4789.into()), "{engine}: {vxlan}");
        assert_eq!(vxlan["carried"]["orig_packets"], 20, "{engine}: what was not opened is its own: {vxlan}");
        assert_eq!(vxlan["tunnel_parents"], serde_json::json!([gre["id"]]), "{engine}");
        let tcp: Vec<_> = flows.iter().filter(|flow| flow["protocol"] == "tcp").collect();
        assert_eq!((tcp.len(), flows.len()), (10, 12), "{engine}");
        for flow in tcp {
            assert_eq!(flow["tunnel_parents"], serde_json::json!([vxlan["id"]]), "{engine}: {flow}");
            assert_eq!(flow["carried"], Value::Null, "{engine}: {flow}");
        }
        // Once in the ledger, in windows, and among hosts.
        let sum = |name: &str| {
            let windows = lines.iter().filter(|line| line["type"] == "window");
            windows.map(|window| window[name].as_u64().expect("a number")).sum::<u64>()
        };
        let summary = lines.last().expect("a summary");
        assert_eq!((sum("packets"), sum("bytes")), (21, bytes as u64), "{engine}");
        assert_eq!((&summary["ledger"]["balanced"], &summary["ledger"]["total"]["flow"]), (&true.into(), &21.into()));
        let report = &summary["report"];
        let hosts = report["hosts"].as_array().expect("hosts");
        assert!(hosts.iter().all(|host| host["address"] != "203.0.113.1"), "{engine}: {hosts:?}");
        let tunnels = report["tunnels"].as_array().expect("tunnels");
        let kinds: Vec<&Value> = tunnels.iter().map(|tunnel| &tunnel["kind"]).collect();
        assert_eq!(kinds, ["GRE", "VXLAN"], "{engine}: {tunnels:?}");
        assert_eq!((&tunnels[1]["flows"], &tunnels[1]["packets"]), (&10.into(), &20.into()), "{engine}");
        let text = String::from_utf8(run("text").stdout).expect("text");
        assert!(text.contains("GRE 203.0.113.1 <> 203.0.113.2: vxlan (udp/4789)"), "{engine}: {text}");
    }
}

#[test]
fn a_damaged_packet_in_a_tunnel_is_counted_in_the_flow_around_it() {
    let whole = ipv4(17, &[], 0, &udp(b"question"));
    let with = |at: usize, byte: u8| {
        let mut packet = whole.clone();
        packet[at] = byte;
        packet
    };
    // Cut within the header, a header of 16 bytes, a packet shorter than its header; the same of IPv6, cut.
    let damaged = [whole[..19].to_vec(), with(0, 0x44), with(3, 19), ipv6(17, &udp(b"question"))[..39].to_vec()];
    let folder = tempfile::tempdir().expect("a folder");
    let input = folder.path().join("damaged.pcap");
    for (number, inner) in damaged.iter().enumerate() {
        let protocol = if inner[0] >> 4 == 6 { 41 } else { 4 };
        let frames = [ipv4(protocol, &[], 0, inner), ipv4(protocol, &[], 0, &whole)];
        fs::write(&input, pcap(ETHERNET, &[Frame::at(1, ethernet(0x0800, &frames[0]))])).expect("written");
        for engine in ENGINES {
            assert_eq!(replay(engine, &input, true).1, 1, "{engine}: damage {number}: the tunnel's own packet");
        }
        if protocol == 4 {
            fs::write(&input, pcap(ETHERNET, &[Frame::at(1, ethernet(0x0800, &frames[1]))])).expect("written");
            assert_eq!(replay("user", &input, true).1, 2, "undamaged it is opened");
        }
    }
}

#[test]
fn frames_in_mpls_and_behind_llc_and_snap_are_seen_always() {
    for engine in ENGINES {
        for (case, connections) in [("eompls", 5), ("llc-snap", 6)] {
            let (tcp, flows, _) = replay(engine, &cases().join(case).join("input.pcap"), false);
            assert_eq!((tcp, flows), (connections, connections), "{engine}: {case}");
        }
    }
}

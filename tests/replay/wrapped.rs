//! What may lie around the packets of a capture: a mirrored feed, a pseudowire, LLC and SNAP. Both engines look inside.

use std::fs;
use std::path::Path;

use nta_tests::cases;
use nta_tests::daemon::run;
use nta_tests::packet::{ethernet, ipv4, udp};
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
            assert_eq!((tcp, flows), (200, 200), "{engine}: {name}");
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
                assert_eq!((tcp, flows), (200, 200), "{case:?}");
                assert!(alerts.iter().any(|kind| kind == "port_scan"), "{case:?}: {alerts:?}");
            }
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

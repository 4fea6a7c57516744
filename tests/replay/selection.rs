//! `--filter`, `--from` and `--to`: what tcpdump and tshark take of a capture is analysed, the rest is counted.

use std::fs;
use std::path::Path;
use std::process::Command;

use nta_tests::capture_list::{ABSENT, all, captures};
use nta_tests::daemon::{Run, run};
use nta_tests::packet::{ethernet, ipv4, tcp, udp};
use nta_tests::pcap::{ETHERNET, Frame, pcap};
use nta_tests::{cases, installed, not_run};
use serde_json::Value;
use tempfile::TempDir;

fn replay(path: &Path, flags: &[&str]) -> Run {
    let flags = ["replay", "--format", "json"].iter().chain(flags).map(AsRef::as_ref);
    run(flags.chain([path.as_os_str()]))
}

fn document(path: &Path, flags: &[&str]) -> Value {
    let run = replay(path, flags);
    assert!(run.is_read(), "{flags:?}: {run:?}");
    run.json().remove(0)
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_else(|| panic!("{name} in {value}"))
}

/// Says so where libpcap is missing.
fn has_libpcap(test: &str) -> bool {
    let run = replay(&cases().join("demo/input.pcap"), &["--filter", "ip"]);
    let is_missing = run.stderr.contains("needs libpcap");
    assert!(!is_missing || run.is_refused() && run.stderr.contains("libpcap0.8"), "{run:?}");
    if is_missing {
        not_run(test, "libpcap is not installed");
    }
    !is_missing
}

#[test]
fn a_filter_takes_what_tcpdump_takes() {
    if !has_libpcap("a_filter_takes_what_tcpdump_takes") {
        return;
    }
    let demo = cases().join("demo/input.pcap");
    // Lines of `tcpdump -nr tests/cases/demo/input.pcap FILTER` (tcpdump 4.99, libpcap 1.10).
    for (filter, packets) in [
        ("udp port 53", 392),
        ("tcp[tcpflags] & tcp-rst != 0", 11),
        ("greater 1000", 719),
        ("ip6 and tcp", 1_756),
        ("host 10.20.0.2 and not port 80", 1_018),
        ("ether src a2:a4:a1:7c:0c:17 and arp", 2),
    ] {
        let document = document(&demo, &["--filter", filter]);
        let selection = &document["selection"];
        assert_eq!(
            (number(&document, "packets"), number(selection, "filtered")),
            (packets, 4_200 - packets),
            "{filter}"
        );
        assert_eq!((&selection["filter"], number(&document["ledger"]["total"], "seen")), (&filter.into(), packets));
        assert_eq!(number(&document["captures"][0], "packets"), 4_200, "the file has what it has");
    }
}

/// Frames are looked at as they were captured, whatever their link header.
#[test]
fn a_filter_takes_what_tcpdump_takes_of_every_link_type() {
    let test = "a_filter_takes_what_tcpdump_takes_of_every_link_type";
    if !has_libpcap(test) {
        return;
    }
    let packet = |last: u8| {
        let segment = if last.is_multiple_of(2) { tcp(2, &[], &[]) } else { udp(&[0; 20]) };
        let protocol = if last.is_multiple_of(2) { 6 } else { 17 };
        ipv4(protocol, &[], 0, &segment)
    };
    let headers: [(u32, &[u8]); 7] = [
        (101, &[]),
        (228, &[]),
        (0, &[2, 0, 0, 0]),
        (108, &[0, 0, 0, 2]),
        (113, &[0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 8, 0]),
        (276, &[8, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0]),
        (104, &[0x0f, 0, 8, 0]),
    ];
    let folder = TempDir::new().expect("folder");
    for (link_type, header) in headers {
        let path = folder.path().join(format!("{link_type}.pcap"));
        let frames: Vec<Frame> = (0..7).map(|n| Frame::at(u64::from(n) + 1, [header, &packet(n)].concat())).collect();
        fs::write(&path, pcap(link_type, &frames)).expect("written");
        let document = document(&path, &["--filter", "udp dst port 53"]);
        assert_eq!((number(&document, "packets"), number(&document["selection"], "filtered")), (3, 4), "{link_type}");
    }
    // There are no Ethernet addresses in raw IP: tcpdump refuses that, too.
    let refused = replay(&folder.path().join("101.pcap"), &["--filter", "ether host 02:00:00:00:00:01"]);
    assert!(refused.is_refused() && refused.stderr.contains("ethernet addresses supported only"), "{refused:?}");
    if !installed("tcpdump") {
        return not_run(test, "tcpdump is not installed: captures of the collection are not compared");
    }
    let Some(collection) = captures() else { return not_run(test, ABSENT) };
    let mut compared = 0;
    for name in all(&collection).iter().filter(|name| name.starts_with("parsing/libpcap/")) {
        let capture = collection.join(name);
        let mut listing = Command::new("tcpdump");
        let listed = listing.args(["-nn", "-t", "-q", "-r"]).arg(&capture).arg("ip or ip6").output().expect("tcpdump");
        let run = replay(&capture, &["--filter", "ip or ip6"]);
        if !listed.status.success() || run.status != Some(0) {
            continue;
        }
        let lines = listed.stdout.split(|byte| *byte == b'\n');
        let packets = lines.filter(|line| line.first().is_some_and(|first| !first.is_ascii_whitespace())).count();
        assert_eq!(number(&run.json()[0], "packets"), packets as u64, "{name}");
        compared += 1;
    }
    assert!(compared > 0, "no capture of the folder can be compared");
}

#[test]
fn a_filter_that_is_none_is_refused_with_its_fault() {
    if !has_libpcap("a_filter_that_is_none_is_refused_with_its_fault") {
        return;
    }
    for (filter, fault) in
        [("udp prt 53", "syntax error"), ("port 99999", "illegal port number"), ("(", "syntax error")]
    {
        let run = replay(&cases().join("demo/input.pcap"), &["--filter", filter]);
        assert!(run.is_refused() && run.stderr.contains(fault) && run.stderr.contains(filter), "{run:?}");
    }
}

/// Frames of `tshark -r tests/cases/demo/input.pcap -Y 'frame.time_relative >= 10 && frame.time_relative < 20'`, and so on.
#[test]
fn a_time_takes_what_tshark_takes() {
    let demo = cases().join("demo/input.pcap");
    let parts: [(&[&str], u64); 6] = [
        (&["--from", "+10s", "--to", "+20"], 303),
        (&["--from", "1795170113", "--to", "1795170123.5"], 314),
        (&["--from", "2026-11-20T10:21:53Z", "--to", "2026-11-20T11:22:03.5+01:00"], 314),
        (&["--from", "2026-11-20 10:21:53", "--to", "2026-11-20 10:22:03.5"], 314),
        (&["--to", "2000-01-01T00:00:00Z"], 0),
        (&["--from", "+0s"], 4_200),
    ];
    for (flags, packets) in parts {
        let document = document(&demo, flags);
        let outside = number(&document["selection"], "outside");
        assert_eq!((number(&document, "packets"), outside), (packets, 4_200 - packets), "{flags:?}");
    }
    let refused = replay(&demo, &["--from", "+20s", "--to", "+10s"]);
    assert!(refused.is_refused() && refused.stderr.contains("--from is not before --to"), "{refused:?}");
    let refused = replay(&demo, &["--from", "yesterday"]);
    assert!(refused.status == Some(2) && refused.stderr.contains("'yesterday' is no time"), "{refused:?}");
}

/// A time counts from the first packet of all, whether or not the filter takes it; of a folder as of a file.
#[test]
fn filter_and_time_and_folder_together() {
    if !has_libpcap("filter_and_time_and_folder_together") {
        return;
    }
    let folder = TempDir::new().expect("folder");
    fs::copy(cases().join("demo/input.pcap"), folder.path().join("a.pcap")).expect("copied");
    let late = Frame::at(1_795_170_114, ethernet(0x0800, &ipv4(17, &[], 0, &udp(&[0; 10]))));
    fs::write(folder.path().join("b.pcap"), pcap(ETHERNET, &[late])).expect("written");
    let flags = ["--filter", "udp port 53", "--from", "+10s", "--to", "+20s"];
    let document = document(folder.path(), &flags);
    // tshark: 24 with udp.port == 53 in that time; and the one of the other file.
    assert_eq!((number(&document, "packets"), number(&document["selection"], "filtered")), (25, 4_200 - 392));
    assert_eq!(number(&document["selection"], "outside"), 392 - 24);
    let args = ["replay"].iter().chain(&flags).map(AsRef::as_ref).chain([folder.path().as_os_str()]);
    let text = String::from_utf8(run(args).stdout).expect("text");
    let squeezed: Vec<&str> = text.split_whitespace().collect();
    let squeezed = squeezed.join(" ");
    assert!(
        squeezed.contains("selected 25 of 4,201 packets; 3,808 left out by the filter 'udp port 53'; 368 not in"),
        "{text}"
    );
}

/// Parts of a capture are analyses of their own: alerts and flows are not those of the whole.
#[test]
fn a_part_is_another_analysis() {
    let demo = cases().join("demo/input.pcap");
    let folder = TempDir::new().expect("folder");
    let database = format!("sqlite://{}", folder.path().join("nta.db").display());
    let stored = |flags: &[&str]| {
        let mut all = vec!["--database", &database];
        all.extend(flags);
        document(&demo, &all)
    };
    assert_eq!(number(&stored(&[]), "packets"), 4_200);
    // Answered from what is there, this would have 4,200.
    assert_eq!(
        number(&stored(&["--to", "+10s"]), "packets"),
        4_200 - number(&document(&demo, &["--from", "+10s"]), "packets")
    );
    let flow = |flags: &[&str]| {
        let flags = ["replay", "--format", "jsonl"].iter().chain(flags).map(AsRef::as_ref);
        let lines = run(flags.chain([demo.as_os_str()])).json();
        lines.iter().find(|line| line["type"] == "flow").expect("a flow")["id"].clone()
    };
    assert_ne!(flow(&["--to", "+100s"]), flow(&[]));
    assert_eq!(flow(&["--to", "+100s"]), flow(&["--to", "+100s"]));
}

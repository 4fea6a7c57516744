//! Feature vectors beside those that `tests/tools/features.py` computes from tshark's lists alone. The golden files are
//! committed, so the comparison needs no tshark; a second test computes them anew where tshark is installed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use nta_tests::daemon::{collect, run};
use nta_tests::{cases, installed, not_run, root};

/// Captures that come with the workspace, and the length of the windows that are compared.
const BUNDLED: [(&str, u32); 6] = [
    ("cut-off/input.pcap", 5),
    ("demo/input.pcap", 5),
    ("demo/input.pcap", 30),
    ("ftp-over-ipv6/input.pcap", 5),
    ("http-in-qinq/input.pcap", 5),
    ("port-scan/input.pcap", 5),
];
/// Captures of the collection: DNS, a closed window, an interception, time exceeded.
const COLLECTED: [(&str, u32); 4] = [
    ("attacks/dns-tunnel/ndpi_bad-dns-traffic.pcap", 30),
    ("tcp/chrissanders_tcp_zerowindowrecovery.pcapng", 5),
    ("attacks/arp-spoof/chrissanders_arppoison.pcapng", 5),
    ("tcp/ppa_icmp-tracert-slow.pcap", 5),
];
/// Not in the golden files: which round trips are sampled, and when a flow is over, are rules of the daemon's own.
const OWN: [&str; 3] = ["rtt_mean", "rtt_p95", "flow_duration_mean"];
/// Sums are taken in another order.
const TOLERANCE: f64 = 1e-9;

/// Values by name, of each host in each window (by its start in seconds since 1970).
type Vectors = BTreeMap<(i64, String), BTreeMap<String, f64>>;

fn golden(text: &str) -> Vectors {
    let mut lines = text.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let header = lines.next().expect("a header");
    let row = |fields: Vec<&str>| {
        let start = fields[0].parse().expect("seconds");
        let values = header.iter().zip(&fields).skip(3);
        let values = values.map(|(name, value)| ((*name).to_owned(), value.parse().expect("a number")));
        ((start, fields[2].to_owned()), values.collect())
    };
    lines.map(row).collect()
}

fn ours(capture: &Path, span_s: u32) -> Vectors {
    let replayed =
        run(["replay", "--format", "jsonl", "--features"].map(AsRef::as_ref).into_iter().chain([capture.as_os_str()]));
    let lines = replayed.json();
    let wanted = lines.iter().filter(|line| line["type"] == "features" && line["span_s"] == f64::from(span_s));
    let vector = |line: &serde_json::Value| {
        assert_eq!(line["schema"], 1);
        let start: jiff::Timestamp = line["start"].as_str().expect("a time").parse().expect("RFC 3339");
        let host = line["host"].as_str().expect("an address").to_owned();
        let values = line["features"].as_object().expect("values").iter();
        let values = values.filter(|(name, _)| !OWN.contains(&name.as_str()));
        let values = values.map(|(name, value)| (name.clone(), value.as_f64().expect("a number")));
        ((start.as_second(), host), values.collect())
    };
    wanted.map(vector).collect()
}

fn compare(capture: &Path, expected: &Vectors, span_s: u32) {
    let name = capture.display();
    let found = ours(capture, span_s);
    assert!(!expected.is_empty(), "{name}: nothing to compare");
    assert!(found.keys().eq(expected.keys()), "{name}: {:?} and {:?}", found.keys(), expected.keys());
    for (host, values) in &found {
        let golden = &expected[host];
        assert!(values.keys().eq(golden.keys()), "{name}: {:?} and {:?}", values.keys(), golden.keys());
        for (feature, value) in values {
            let other = golden[feature];
            let near = (value - other).abs() <= TOLERANCE * value.abs().max(other.abs());
            assert!(near, "{name}: {feature} of {host:?}: {value}, by tshark {other}");
        }
    }
}

fn golden_file(capture: &str, span_s: u32) -> PathBuf {
    let name = capture.replace("/input.pcap", "").replace('/', "_");
    root().join(format!("tests/detection/features/{name}-{span_s}s.tsv"))
}

fn read_golden(capture: &str, span_s: u32) -> String {
    let path = golden_file(capture, span_s);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The captures of the collection, if it is there.
fn collection(test: &str) -> Option<PathBuf> {
    let captures = std::env::var_os("NTA_CAPTURES").map_or_else(|| root().join("../shared/captures"), PathBuf::from);
    if captures.join("attacks").is_dir() {
        return Some(captures);
    }
    not_run(test, &format!("{} is not there", captures.display()));
    None
}

#[test]
fn vectors_of_the_bundled_captures_are_those_by_tshark() {
    for (capture, span_s) in BUNDLED {
        compare(&cases().join(capture), &golden(&read_golden(capture, span_s)), span_s);
    }
}

#[test]
fn vectors_of_collected_captures_are_those_by_tshark() {
    let Some(folder) = collection("features of collected captures") else { return };
    for (capture, span_s) in COLLECTED {
        compare(&folder.join(capture), &golden(&read_golden(capture, span_s)), span_s);
    }
}

#[test]
fn the_golden_files_are_what_the_tool_computes() {
    let test = "golden feature vectors anew";
    if let Some(program) = ["tshark", "python3"].into_iter().find(|program| !installed(program)) {
        not_run(test, &format!("{program} is not installed"));
        return;
    }
    for (capture, span_s) in BUNDLED {
        let mut command = Command::new("python3");
        command.arg(root().join("tests/tools/features.py")).arg(cases().join(capture)).arg(span_s.to_string());
        let computed = collect(command, &[]);
        assert_eq!(computed.status, Some(0), "{capture}: {}", computed.stderr);
        assert!(computed.stdout == read_golden(capture, span_s).as_bytes(), "{capture}: the golden file differs");
    }
}

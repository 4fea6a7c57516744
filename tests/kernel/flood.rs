//! Millions of packets with made-up sources in one window, against maps of the default size: what went where stays exact,
//! and memory stays bounded.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::process::{Command, Stdio};

use nta_tests::daemon::daemon;
use nta_tests::packet::{ethernet, ipv4, tcp, udp};
use nta_tests::{is_long, not_run};
use serde_json::Value;

use super::why_not;

/// Far more than there is room for in maps of the default size; of `cargo xtask ci` four times as many.
const PACKETS: u32 = 2_500_000;
/// Everything lies in the window that begins here, in Unix time.
const SECOND: u32 = 1_700_000_000;
/// The daemon may use this much, the maps themselves are the kernel's: flows of one packet as last read and as detectors see them (180,000 at
/// 0.2 and 0.45 KiB, and half of the former once more while a table grows), 131,072 hosts at most at 0.5 KiB in each of three spans.
const MAX_RSS_KIB: u64 = 450 * 1024;
const SYN: u8 = 2;

#[test]
fn millions_of_random_sources_are_counted_exactly_where_they_went() {
    if let Some(reason) = why_not() {
        return not_run("millions_of_random_sources_are_counted_exactly_where_they_went", &reason);
    }
    let mut child = Command::new(daemon())
        .args(["replay", "--engine", "kernel", "--format", "jsonl", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("the daemon starts");
    let pid = child.id();
    let input = child.stdin.take().expect("a pipe");
    let packets = if is_long() { 4 * PACKETS } else { PACKETS };
    let writer = std::thread::spawn(move || flood(packets, BufWriter::with_capacity(1 << 20, input)));
    let watcher = std::thread::spawn(move || peak_rss_kib(pid));
    let output = child.wait_with_output().expect("the daemon ends");
    let (sent, peak) = (writer.join().expect("the writer"), watcher.join().expect("the watcher"));
    assert!(output.status.success());

    let mut reported: BTreeMap<(String, u64, String), u64> = BTreeMap::new();
    let mut add = |destination: &Value, port: &Value, protocol: &Value, packets: &Value| {
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let number = |value: &Value| value.as_u64().expect("a number");
        *reported.entry((text(destination), number(port), text(protocol))).or_default() += number(packets);
    };
    let mut summary = Value::Null;
    let (mut flows, mut windows) = (0_u64, 0_u64);
    for line in output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let line: Value = serde_json::from_slice(line).expect("JSON");
        match line["type"].as_str() {
            Some("flow") => {
                flows += 1;
                add(&line["destination"], &line["destination_port"], &line["protocol"], &line["orig_packets"]);
            }
            Some("window") => {
                windows += 1;
                for aggregate in line["overflow"].as_array().expect("overflow") {
                    add(&aggregate["destination"], &aggregate["port"], &aggregate["protocol"], &aggregate["packets"]);
                }
            }
            _ => summary = line,
        }
    }
    assert_eq!(reported, sent, "by destination, port and protocol");
    assert_eq!((windows, &summary["packets"]), (1, &Value::from(packets)));
    assert_eq!(summary["ledger"]["balanced"], true);
    let peak = peak.expect("the daemon's peak memory");
    assert!(peak < MAX_RSS_KIB, "{peak} KiB");
    println!(
        "{packets} packets, {flows} in flows of their own, the rest in the aggregate; {} MiB at the peak",
        peak >> 10
    );
}

/// Writes the capture and says what went where.
fn flood(packets: u32, mut out: impl Write) -> BTreeMap<(String, u64, String), u64> {
    let mut sent = BTreeMap::new();
    let header: [u32; 6] = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 262_144, 1];
    out.write_all(&header.map(u32::to_le_bytes).concat()).expect("the daemon reads");
    let frame = |protocol: u8, payload: &[u8]| ethernet(0x0800, &ipv4(protocol, &[], 0, payload));
    let mut frames = [frame(6, &tcp(SYN, &[], &[])), frame(17, &udp(&[0; 18]))];
    let mut state = 0x2545_f491_u32;
    for n in 0..packets {
        // xorshift32 (Marsaglia 2003): every source once before any comes twice.
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let is_udp = n % 4 == 0;
        let frame = &mut frames[usize::from(is_udp)];
        let target = (n % 7) as u8;
        frame[26..30].copy_from_slice(&state.to_be_bytes());
        frame[30..34].copy_from_slice(&[198, 51, 100, target]);
        let len = frame.len() as u32;
        out.write_all(&[SECOND, n % 1_000_000, len, len].map(u32::to_le_bytes).concat()).expect("the daemon reads");
        out.write_all(frame).expect("the daemon reads");
        let (port, protocol) = if is_udp { (53, "udp") } else { (443, "tcp") };
        *sent.entry((format!("198.51.100.{target}"), port, protocol.to_owned())).or_default() += 1;
    }
    out.flush().expect("the daemon reads");
    sent
}

/// The highest memory use that could be read until the process ended.
fn peak_rss_kib(pid: u32) -> Option<u64> {
    let mut peak = None;
    while let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) {
        let Some(line) = status.lines().find_map(|line| line.strip_prefix("VmHWM:")) else { break };
        peak = line.split_whitespace().next().and_then(|kib| kib.parse().ok()).or(peak);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    peak
}

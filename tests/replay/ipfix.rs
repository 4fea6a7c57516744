//! `--format ipfix`: a collector that others wrote reads the flows that the other formats have.

use std::collections::BTreeMap;
use std::fs;
use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

use nta_tests::cases;
use nta_tests::daemon::run;
use nta_tests::netns::{output, wait_for};
use nta_tests::process::Process;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(30);

/// Protocol, ends, ports or type and code, packets and IP bytes of both directions, first and last time in milliseconds.
type Row = (u64, [String; 2], [u64; 2], [u64; 4], [String; 2]);

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

/// Times without zone, to the millisecond.
fn time(value: &Value) -> String {
    let text = value.as_str().unwrap_or_default().trim_end_matches('Z');
    let (seconds, part) = text.split_once('.').unwrap_or((text, ""));
    format!("{seconds}.{:0<3}", part.get(..3).unwrap_or(part))
}

/// What nfdump read.
fn collected(flow: &Value) -> Row {
    let address = |end: &str| {
        let known = flow.get(format!("{end}4_addr")).or_else(|| flow.get(format!("{end}6_addr")));
        known.and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let ports = if flow.get("icmp_type").is_some() { ["icmp_type", "icmp_code"] } else { ["src_port", "dst_port"] };
    (
        number(&flow["proto"]),
        ["src", "dst"].map(address),
        ports.map(|name| number(&flow[name])),
        ["in_packets", "in_bytes", "out_packets", "out_bytes"].map(|name| number(&flow[name])),
        ["first", "last"].map(|name| time(&flow[name])),
    )
}

/// What the other formats say.
fn printed(flow: &Value) -> Row {
    let protocol = number(&flow["protocol_number"]);
    let mut ports = ["source_port", "destination_port"].map(|name| number(&flow[name]));
    let asks_or_answers = match protocol {
        1 => matches!(ports[0], 0 | 8..=10 | 13..=18),
        58 => matches!(ports[0], 128..=136 | 139 | 140 | 144 | 145),
        _ => false,
    };
    if asks_or_answers {
        // The type of the counterpart stands for the port, and the code is 0 (RFC 792, 950, 1256, 4443, 4861).
        ports[1] = 0;
    }
    (
        protocol,
        ["source", "destination"].map(|name| flow[name].as_str().unwrap_or_default().to_owned()),
        if matches!(protocol, 1 | 6 | 17 | 58 | 132) { ports } else { [0; 2] },
        ["orig_packets", "orig_ip_bytes", "resp_packets", "resp_ip_bytes"].map(|name| number(&flow[name])),
        ["first_time", "last_time"].map(|name| time(&flow[name])),
    )
}

fn count(rows: impl Iterator<Item = Row>) -> BTreeMap<Row, u32> {
    let mut counts = BTreeMap::new();
    rows.for_each(|row| *counts.entry(row).or_default() += 1);
    counts
}

/// Bytes that wait at a UDP port of the loopback, if somebody listens there.
fn waiting(port: u16) -> Option<bool> {
    let place = format!("0100007F:{port:04X}");
    let table = fs::read_to_string("/proc/net/udp").unwrap_or_default();
    let line = table.lines().find(|line| line.contains(&place))?;
    line.split_whitespace().nth(4).map(|queues| !queues.ends_with(":00000000"))
}

#[test]
fn a_collector_reads_the_flows_of_the_other_formats() {
    if output(Command::new("sh").args(["-c", "command -v nfcapd nfdump"])).stdout.is_empty() {
        println!("not run: a_collector_reads_the_flows_of_the_other_formats: nfdump is not installed");
        return;
    }
    for case in ["port_scan-hit", "ftp-over-ipv6", "icmp_tunnel-hit", "nd_spoof-hit", "http-in-qinq", "dns_tunnel-hit"]
    {
        let folder = tempfile::tempdir().expect("a folder");
        let inputs = fs::read_dir(cases().join(case)).expect("a case").map(|file| file.expect("a file").path());
        let input = inputs
            .filter(|file| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("input.")))
            .min()
            .expect("an input");
        let replay = |format: &str| {
            let run = run([std::ffi::OsStr::new("replay"), "--format".as_ref(), format.as_ref(), input.as_os_str()]);
            assert_eq!(run.status, Some(0), "{case}: {}", run.stderr);
            run
        };
        let port = UdpSocket::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("an address").port();
        let mut collector = Command::new("nfcapd");
        collector.args(["-b", "127.0.0.1", "-t", "86400", "-w"]).arg(folder.path()).args(["-p", &port.to_string()]);
        let logs = tempfile::tempdir().expect("a folder");
        let mut collector = Process::start(&mut collector, logs.path(), "nfcapd.log");
        wait_for("a collector", SOON, || waiting(port));
        let messages = replay("ipfix").stdout;
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let mut rest = messages.as_slice();
        while let [_, _, high, low, ..] = rest {
            let (message, behind) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])));
            socket.send_to(message, ("127.0.0.1", port)).expect("sent");
            rest = behind;
            wait_for("a collector that reads", SOON, || (waiting(port) == Some(false)).then_some(()));
        }
        assert!(collector.stop("INT", SOON).success(), "{}", collector.log());
        let said = collector.log();
        assert!(said.contains("Sequence Errors: 0, Bad Packets: 0"), "{case}: {said}");
        let read = output(Command::new("nfdump").args(["-o", "json", "-R"]).arg(folder.path()));
        let read: Value = serde_json::from_slice(&read.stdout).expect("a document");
        let read = count(read.as_array().expect("flows").iter().map(collected));
        let flows = replay("jsonl").json();
        let flows = count(flows.iter().filter(|line| line["type"] == "flow").map(printed));
        assert!(!flows.is_empty(), "{case}");
        assert_eq!(read, flows, "{case}");
    }
}

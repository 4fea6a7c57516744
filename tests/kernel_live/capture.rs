//! What tcpdump records beside the daemon, added up by tshark: the truth that flows are compared with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nta_tests::netns::{Namespace, run, wait_for};
use serde_json::Value;

use crate::daemon::{number, time};
use nta_tests::process::Process;

/// One direction of a conversation: protocol, source and destination with their ports (0 but for TCP and UDP).
pub(crate) type Direction = (u64, String, u64, String, u64);

/// Packets, frame bytes, and when the first and the last of them came, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sums {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) first_s: f64,
    pub(crate) last_s: f64,
}

/// Everything that a capture holds.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) arp: u64,
    pub(crate) non_ip: u64,
    pub(crate) directions: BTreeMap<Direction, Sums>,
}

/// A running tcpdump.
pub(crate) struct Capture {
    process: Process,
    file: PathBuf,
}

impl Capture {
    /// Returns when it records.
    pub(crate) fn start(namespace: &Namespace, folder: &Path, interface: &str) -> Self {
        let file = folder.join(format!("{interface}.pcap"));
        let mut command = namespace.command("tcpdump");
        // Packet by packet to the file, and a buffer that holds all traffic of a test: nothing is lost at the end.
        command.args([
            "-n",
            "-U",
            "--immediate-mode",
            "-s",
            "128",
            "-B",
            "131072",
            "-Z",
            "root",
            "-i",
            interface,
            "-w",
        ]);
        let mut process = Process::start(command.arg(&file), folder, &format!("tcpdump-{interface}.log"));
        wait_for("tcpdump", Duration::from_secs(10), || {
            assert!(process.ended().is_none(), "tcpdump ended: {}", process.log());
            process.log().contains("listening on").then_some(())
        });
        Self { process, file }
    }

    /// Stops it when nothing more comes, and adds up what it has; fails if it lost a packet.
    pub(crate) fn finish(self) -> Truth {
        let (file, packets) = self.end();
        let truth = Truth::read(&file);
        assert_eq!(truth.packets, packets);
        truth
    }

    /// The same without adding up: the file.
    pub(crate) fn stop(self) -> PathBuf {
        self.end().0
    }

    fn end(mut self) -> (PathBuf, u64) {
        let mut last = (0, Instant::now());
        wait_for("silence", Duration::from_secs(20), || {
            let bytes = std::fs::metadata(&self.file).map_or(0, |file| file.len());
            if bytes != last.0 {
                last = (bytes, Instant::now());
            }
            (last.1.elapsed() > SILENCE).then_some(())
        });
        self.process.stop("INT", Duration::from_secs(10));
        let report = self.process.log();
        let count = |what: &str| {
            let line = report.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("{what}: {report}"));
            line.split(' ').next().and_then(|n| n.parse::<u64>().ok()).expect("a count")
        };
        assert_eq!(count("dropped by kernel"), 0, "tcpdump lost packets: {report}");
        assert_eq!(count("captured"), count("received by filter"), "tcpdump left packets behind: {report}");
        (self.file, count("captured"))
    }
}

impl Truth {
    fn read(file: &Path) -> Self {
        let mut tshark = Command::new("tshark");
        tshark.args(["-n", "-T", "fields", "-E", "occurrence=f", "-r"]).arg(file);
        for field in FIELDS {
            tshark.args(["-e", field]);
        }
        let mut truth = Self::default();
        for line in run(&mut tshark).lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            let number = |i: usize| fields[i].parse::<u64>().ok();
            truth.packets += 1;
            let (at_s, bytes) = (fields[0].parse::<f64>().expect("a time"), number(1).expect("a length"));
            truth.bytes += bytes;
            let protocol = number(6).or_else(|| if fields[8].is_empty() { number(7) } else { number(8) });
            let Some(protocol) = protocol else {
                *(if fields[9].is_empty() { &mut truth.non_ip } else { &mut truth.arp }) += 1;
                continue;
            };
            let text = |v4: usize, v6: usize| fields[if fields[v4].is_empty() { v6 } else { v4 }].to_owned();
            let ports = match protocol {
                TCP => [number(10), number(11)],
                UDP => [number(12), number(13)],
                _ => [None, None],
            };
            let [from, to] = ports.map(Option::unwrap_or_default);
            let sums = Sums { packets: 1, bytes, first_s: at_s, last_s: at_s };
            add(&mut truth.directions, (protocol, text(2, 4), from, text(3, 5), to), sums);
        }
        truth
    }
}

/// Flows of the API by direction, in the form of the truth.
pub(crate) fn directions(flows: &[Value]) -> BTreeMap<Direction, Sums> {
    let mut directions = BTreeMap::new();
    for flow in flows {
        let protocol = number(&flow["protocol_number"]);
        let port = |name: &str| if matches!(protocol, TCP | UDP) { number(&flow[name]) } else { 0 };
        let text = |name: &str| flow[name].as_str().expect("an address").to_owned();
        let there = (protocol, text("source"), port("source_port"), text("destination"), port("destination_port"));
        let back = (protocol, there.3.clone(), there.4, there.1.clone(), there.2);
        let at = |name: &str| time(&flow[name]).as_nanosecond() as f64 / 1e9;
        for (key, side) in [(there, "orig"), (back, "resp")] {
            let count = |what: &str| number(&flow[format!("{side}_{what}").as_str()]);
            let (packets, bytes) = (count("packets"), count("bytes"));
            if packets > 0 {
                let sums = Sums { packets, bytes, first_s: at("first_time"), last_s: at("last_time") };
                add(&mut directions, key, sums);
            }
        }
    }
    directions
}

fn add(directions: &mut BTreeMap<Direction, Sums>, key: Direction, sums: Sums) {
    let all = directions.entry(key).or_insert(Sums { packets: 0, bytes: 0, ..sums });
    all.packets += sums.packets;
    all.bytes += sums.bytes;
    all.first_s = all.first_s.min(sums.first_s);
    all.last_s = all.last_s.max(sums.last_s);
}

/// Packets and bytes alone, to compare exactly.
pub(crate) fn counts(directions: &BTreeMap<Direction, Sums>) -> BTreeMap<&Direction, (u64, u64)> {
    directions.iter().map(|(key, sums)| (key, (sums.packets, sums.bytes))).collect()
}

const TCP: u64 = 6;
const UDP: u64 = 17;
/// A capture that did not grow for so long is complete.
const SILENCE: Duration = Duration::from_millis(400);
const FIELDS: [&str; 14] = [
    "frame.time_epoch",
    "frame.len",
    "ip.src",
    "ip.dst",
    "ipv6.src",
    "ipv6.dst",
    "ip.proto",
    "ipv6.nxt",
    "ipv6.hopopts.nxt",
    "arp.opcode",
    "tcp.srcport",
    "tcp.dstport",
    "udp.srcport",
    "udp.dstport",
];

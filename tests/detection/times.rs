//! From when to when an alert says that something happened, against the frames of the capture as tshark lists them: no earlier
//! than the first one of its parties, no later than the last, and where the whole of it is in memory exactly from the first one on.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use nta_tests::case::{folders, input};
use nta_tests::daemon::{collect, run};
use nta_tests::{installed, not_run};
use serde_json::Value;

#[test]
fn no_alert_begins_before_its_first_packet_or_ends_after_its_last() {
    if !installed("tshark") {
        return not_run("no_alert_begins_before_its_first_packet_or_ends_after_its_last", "tshark is not installed");
    }
    let with_alerts: Vec<PathBuf> =
        folders().into_iter().filter(|folder| folder.join("alerts.json").is_file()).collect();
    let checked = nta_tests::pool::map(&with_alerts, |folder| check(folder));
    let alerts: usize = checked.iter().map(|(alerts, _)| alerts).sum();
    assert!(alerts >= LEAST, "only {alerts} alerts");
    let wrong: Vec<&str> = checked.iter().flat_map(|(_, wrong)| wrong).map(String::as_str).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Alerts that go by more than their windows: where they began is the first packet between the parties.
const FROM_THE_FIRST: [(&str, &str, &str); 11] = [
    ("slow_scan-hit", "122.224.112.162", "*"),
    ("neighbor_sweep-hit", "198.51.100.9", "*"),
    ("dns_tunnel-hit", "10.77.1.2", "10.77.1.1"),
    ("data_exfiltration-hit", "10.20.0.16", "192.0.2.9"),
    ("data_exfiltration-hit", "10.20.0.14", "203.0.113.200"),
    ("icmp_tunnel-hit", "10.20.0.11", "203.0.113.66"),
    ("icmp_tunnel-hit", "10.20.0.12", "203.0.113.67"),
    ("icmp_tunnel-hit", "10.20.0.13", "203.0.113.68"),
    ("dga-hit", "10.20.0.11", "10.20.0.1"),
    ("dga-hit", "10.20.0.12", "10.20.0.1"),
    ("dns-water-torture", "*", "198.51.100.53"),
];
/// Alerts that the cases raise together, at least.
const LEAST: usize = 80;
/// Times are printed in microseconds.
const PRINTED_NS: i128 = 1_000;
/// Whatever stands for a station or a host in a frame.
const PARTIES: [&str; 11] = [
    "ip.src",
    "ip.dst",
    "ipv6.src",
    "ipv6.dst",
    "arp.src.proto_ipv4",
    "arp.dst.proto_ipv4",
    "eth.src",
    "arp.src.hw_mac",
    "icmpv6.nd.ns.target_address",
    "icmpv6.nd.na.target_address",
    "icmpv6.opt.linkaddr",
];

/// When a frame came in nanoseconds since 1970, and who is named in it.
type Frame = (i128, BTreeSet<String>);

/// Alerts of a case, and what is wrong with their times.
fn check(folder: &Path) -> (usize, Vec<String>) {
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let run = run(["replay".as_ref(), "--format".as_ref(), "json".as_ref(), input(folder).as_os_str()]);
    assert_eq!(run.status, Some(0), "{name}: {}", run.stderr);
    let document = run.json();
    let alerts = document[0]["alerts"].as_array().expect("alerts");
    if alerts.is_empty() {
        return (0, Vec::new());
    }
    let frames = frames(&input(folder));
    let mut wrong: Vec<String> = alerts.iter().filter_map(|alert| wrong(alert, &frames)).collect();
    wrong.extend(late(&name, alerts, &frames));
    (alerts.len(), wrong.into_iter().map(|what| format!("{name}: {what}")).collect())
}

fn wrong(alert: &Value, frames: &[Frame]) -> Option<String> {
    let parties = [&alert["source"], &alert["destination"]].map(|party| party.as_str().unwrap_or("*"));
    let hosts: Vec<&str> = parties.into_iter().filter(|party| *party != "*" && !party.contains('/')).collect();
    let of = |is_one: &dyn Fn(&BTreeSet<String>) -> bool| -> Vec<i128> {
        frames.iter().filter(|(_, ends)| is_one(ends)).map(|(time, _)| *time).collect()
    };
    let together = of(&|ends| hosts.iter().all(|host| ends.contains(*host)));
    // Two servers that do the same have no packet in common.
    let times = if together.is_empty() { of(&|ends| hosts.iter().any(|host| ends.contains(*host))) } else { together };
    let (Some(first), Some(last)) = (times.iter().min(), times.iter().max()) else {
        return Some(format!("{} of {parties:?} without a packet", alert["type"]));
    };
    let [first_seen, last_seen] = ["first_seen", "last_seen"].map(|name| nanos(&alert[name]));
    let is_right = first_seen >= first - PRINTED_NS && last_seen <= last + PRINTED_NS;
    let text = || {
        let said = [&alert["first_seen"], &alert["last_seen"]];
        format!("{} of {parties:?}: {said:?}, the packets {first} to {last}", alert["type"])
    };
    (!is_right).then(text)
}

/// Where the first alert between two parties begins later than their first packet.
fn late(case: &str, alerts: &[Value], frames: &[Frame]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (_, source, destination) in FROM_THE_FIRST.iter().filter(|(of, ..)| *of == case) {
        let is_of = |alert: &&Value| alert["source"] == *source && alert["destination"] == *destination;
        let begins = alerts.iter().filter(is_of).map(|alert| nanos(&alert["first_seen"])).min();
        let ends = [*source, *destination].into_iter().filter(|party| *party != "*").map(str::to_owned);
        let ends: BTreeSet<String> = ends.collect();
        let first = frames.iter().filter(|(_, of)| ends.is_subset(of)).map(|(time, _)| *time).min();
        let (Some(begins), Some(first)) = (begins, first) else {
            wrong.push(format!("{source} to {destination}: no alert, or no packet"));
            continue;
        };
        if begins.abs_diff(first) > PRINTED_NS.unsigned_abs() {
            wrong.push(format!("{source} to {destination} begins at {begins}, the first packet is of {first}"));
        }
    }
    wrong
}

/// When each frame came, and who is named in it.
fn frames(capture: &Path) -> Vec<Frame> {
    let mut command = Command::new("tshark");
    command.args(["-n", "-T", "fields", "-E", "occurrence=a", "-e", "frame.time_epoch"]);
    command.args(PARTIES.iter().flat_map(|field| ["-e", field])).arg("-r").arg(capture);
    let listed = collect(command, &[]);
    let text = String::from_utf8_lossy(&listed.stdout);
    let frame = |line: &str| {
        let mut fields = line.split('\t');
        let time = fields.next()?;
        let (seconds, rest) = time.split_once('.')?;
        let nanos: i128 = format!("{seconds}{rest:0<9}").parse().ok()?;
        Some((nanos, fields.flat_map(|field| field.split(',')).map(str::to_owned).collect()))
    };
    text.lines().filter_map(frame).collect()
}

fn nanos(time: &Value) -> i128 {
    let text = time.as_str().unwrap_or_default();
    text.parse::<jiff::Timestamp>().unwrap_or_else(|error| panic!("{text}: {error}")).as_nanosecond()
}

//! `manifest.json`: what was made, with which tools, by which command lines.

use std::process::Command;

use serde_json::{Map, Value, json};

use super::run::Outcome;
use super::scenario::Scenario;
use crate::process;

/// The Debian packages whose versions matter.
const PACKAGES: &[&str] = &[
    "nmap",
    "hping3",
    "hydra",
    "ncrack",
    "zmap",
    "netcat-openbsd",
    "slowhttptest",
    "dsniff",
    "iodine",
    "python3-scapy",
    "python3-paramiko",
    "iputils-ping",
    "iperf3",
    "bind9-dnsutils",
    "curl",
    "openssh-client",
    "openssh-server",
    "sshpass",
    "lighttpd",
    "dnsmasq-base",
    "tcpdump",
    "python3-minimal",
    "iproute2",
    "fping",
    "monitoring-plugins-basic",
    "haproxy",
    "mosquitto",
    "udhcpc",
    "rsync",
    "nftables",
];

/// The whole text.
pub(crate) fn text(seed: u64, wall_s: f64, done: &[(Scenario, Outcome)], failed: &[(String, String)]) -> String {
    let captured = done.iter().fold(0.0, |sum, (_, outcome)| sum + outcome.seconds());
    let made: Vec<Value> = done.iter().map(|(scenario, outcome)| entry(scenario, outcome)).collect();
    let failed: Vec<Value> = failed.iter().map(|(name, why)| json!({ "name": name, "why": why })).collect();
    let manifest = json!({
        "seed": seed,
        "wall_seconds": wall_s.round(),
        "captured_seconds": captured.round(),
        "tools": versions(),
        "scenarios": made,
        "failed": failed,
    });
    format!("{manifest:#}\n")
}

fn entry(scenario: &Scenario, outcome: &Outcome) -> Value {
    let mut entry = scenario.json();
    if let Some(entry) = entry.as_object_mut() {
        entry.insert("file".into(), json!(outcome.file));
        entry.insert("sha256".into(), json!(outcome.sha256));
        entry.insert("frames".into(), json!(outcome.all.frames));
        entry.insert("captured_seconds".into(), json!(outcome.seconds()));
        entry.insert("dropped_frames".into(), json!(outcome.dropped));
        entry.insert("attack_frames".into(), json!(outcome.attacks.iter().map(|span| span.frames).collect::<Vec<_>>()));
    }
    entry
}

fn versions() -> Value {
    let mut command = Command::new("dpkg-query");
    command.args(["-W", "-f", "${Package}\t${Version}\n"]).args(PACKAGES);
    // Elsewhere than on Debian there is none.
    let listed = process::output(&mut command).unwrap_or_default();
    let pairs = listed.lines().filter_map(|line| line.split_once('\t'));
    Value::Object(pairs.map(|(name, version)| (name.to_owned(), json!(version))).collect::<Map<_, _>>())
}

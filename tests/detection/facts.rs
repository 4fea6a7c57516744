//! The numbers that alerts tell, against what tshark counts in the same capture over the same time.

use std::collections::BTreeSet;
use std::process::Command;

use nta_tests::daemon::{collect, run};
use nta_tests::{case, cases, installed, not_run};
use serde_json::Value;

#[test]
fn the_numbers_of_alerts_are_those_that_tshark_counts() {
    if !installed("tshark") {
        return not_run("the_numbers_of_alerts_are_those_that_tshark_counts", "tshark is not installed");
    }
    let wrong: Vec<String> = nta_tests::pool::map(&FACTS, check).into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// How frames become a number.
#[derive(Clone, Copy, Debug)]
enum Count {
    Frames,
    /// Different values of these fields.
    Different(&'static [&'static str]),
    /// The sum of the frames' lengths.
    Bytes,
}

/// What an alert tells, and which frames it tells it of.
struct Fact {
    case: &'static str,
    detector: &'static str,
    /// Of the alerts about this source, or about all.
    source: Option<&'static str>,
    /// The measure, or facts by their names; of several the sum.
    told: &'static [&'static str],
    /// Frames, with `{s}`, `{d}` and `{p}` for the alert's source, destination and port.
    filter: &'static str,
    /// Seconds up to the end of the window that decided.
    seconds: i128,
    count: Count,
}

const OPENED: &str = "tcp.flags.syn==1 && tcp.flags.ack==0 && ip.dst=={d} && tcp.dstport=={p}";
const FORTH: &str = "ip.src=={s} && ip.dst=={d}";
const MEASURE: &[&str] = &["observed"];

const fn fact(
    [case, detector]: [&'static str; 2],
    told: &'static [&'static str],
    filter: &'static str,
    seconds: i128,
    count: Count,
) -> Fact {
    Fact { case, detector, source: None, told, filter, seconds, count }
}

/// Numbers that are counted by packet. Left out are estimates: different values beyond 190, and sums over 30 s whose first
/// window lies in them only in part.
const FACTS: [Fact; 17] = [
    fact(["icmp_flood-hit", "icmp_flood"], MEASURE, "icmp.type==8 && ip.src=={s} && ip.dst=={d}", 30, Count::Frames),
    fact(
        ["icmp_flood-hit", "icmp_flood"],
        &["answers"],
        "icmp.type==0 && ip.src=={d} && ip.dst=={s}",
        30,
        Count::Frames,
    ),
    fact(["syn_flood-hit", "syn_flood"], &["observed", "answered"], OPENED, 30, Count::Frames),
    fact(
        ["udp_flood-hit", "udp_flood"],
        MEASURE,
        "udp && ip.src=={s} && ip.dst=={d} && udp.dstport=={p}",
        30,
        Count::Different(&["udp.srcport"]),
    ),
    fact(["amplification-hit", "amplification"], MEASURE, "udp.srcport==53 && ip.dst=={d}", 30, Count::Frames),
    fact(["amplification-hit", "amplification"], &["bytes"], "udp.srcport==53 && ip.dst=={d}", 30, Count::Bytes),
    Fact {
        source: Some("10.20.0.66"),
        ..fact(["rogue_server-hit", "rogue_server"], MEASURE, "udp.srcport==67 && ip.src=={s}", 3_600, Count::Frames)
    },
    Fact {
        source: Some("fe80::66"),
        ..fact(["rogue_server-hit", "rogue_server"], MEASURE, "icmpv6.type==134 && ipv6.src=={s}", 3_600, Count::Frames)
    },
    Fact {
        source: Some("*"),
        ..fact(["rogue_server-hit", "rogue_server"], MEASURE, "icmpv6.type==134 && ipv6.dst=={d}", 30, Count::Frames)
    },
    fact(
        ["port_scan-hit", "port_scan"],
        MEASURE,
        "ip.src=={s} && ip.dst=={d} && (tcp || udp) && !icmp",
        60,
        Count::Different(&["ip.proto", "tcp.dstport", "udp.dstport"]),
    ),
    fact(["ssh_brute_force-hit", "ssh_brute_force"], MEASURE, OPENED, 300, Count::Frames),
    fact(["brute_force-hit", "brute_force"], MEASURE, OPENED, 300, Count::Frames),
    Fact { source: Some("203.0.113.66"), ..fact(["http_flood-hit", "http_flood"], MEASURE, OPENED, 30, Count::Frames) },
    fact(["data_exfiltration-hit", "data_exfiltration"], MEASURE, FORTH, 180, Count::Bytes),
    fact(
        ["data_exfiltration-hit", "data_exfiltration"],
        &["bytes_received"],
        "ip.src=={d} && ip.dst=={s}",
        180,
        Count::Bytes,
    ),
    fact(
        ["neighbor_sweep-hit", "neighbor_sweep"],
        &["hosts_tried"],
        "arp.opcode==1 && arp.src.proto_ipv4=={s} && arp.dst.proto_ipv4!={s}",
        60,
        Count::Different(&["arp.dst.proto_ipv4"]),
    ),
    fact(["dga-hit", "dga"], MEASURE, "dns.flags.rcode==3 && ip.dst=={s}", 600, Count::Different(&["dns.qry.name"])),
];
const NANOS: i128 = 1_000_000_000;

/// Where an alert tells another number than the frames.
fn check(fact: &Fact) -> Vec<String> {
    let capture = case::input(&cases().join(fact.case));
    let run = run(["replay".as_ref(), "--format".as_ref(), "json".as_ref(), capture.as_os_str()]);
    assert_eq!(run.status, Some(0), "{}: {}", fact.case, run.stderr);
    let document = run.json();
    let is_meant =
        |alert: &&Value| alert["detector"] == fact.detector && fact.source.is_none_or(|one| alert["source"] == one);
    let alerts: Vec<&Value> = document[0]["alerts"].as_array().expect("alerts").iter().filter(is_meant).collect();
    if alerts.is_empty() {
        return vec![format!("{}: no alert by {}", fact.case, fact.detector)];
    }
    let compare = |alert: &&Value| {
        let told: f64 = fact.told.iter().map(|name| number(alert, name)).sum();
        let counted = counted(fact, &capture, alert);
        let text = || format!("{}: {:?} is {told}, tshark counts {counted}", fact.case, fact.told);
        ((told - counted).abs() > 1e-6).then(text)
    };
    alerts.iter().filter_map(compare).collect()
}

fn number(alert: &Value, name: &str) -> f64 {
    let why = &alert["why"];
    let fact = || why["facts"][name].as_str()?.parse().ok();
    why[name].as_f64().or_else(fact).unwrap_or_else(|| panic!("no number {name} in {why}"))
}

fn counted(fact: &Fact, capture: &std::path::Path, alert: &Value) -> f64 {
    let text = |name: &str| alert[name].as_str().unwrap_or_default().to_owned();
    let port = alert["port"].to_string();
    let filter = fact.filter.replace("{s}", &text("source")).replace("{d}", &text("destination")).replace("{p}", &port);
    let fields: &[&str] = match fact.count {
        Count::Frames => &[],
        Count::Different(fields) => fields,
        Count::Bytes => &["frame.len"],
    };
    let mut command = Command::new("tshark");
    command.args(["-n", "-T", "fields", "-e", "frame.time_epoch", "-Y", &filter]);
    command.args(fields.iter().flat_map(|field| ["-e", field])).arg("-r").arg(capture);
    let listed = collect(command, &[]);
    let listed = String::from_utf8_lossy(&listed.stdout);
    let end = alert["why"]["window_end"].as_str().unwrap_or_default();
    // The end is printed in microseconds, and one that a capture cuts is its last packet's.
    let end = end.parse::<jiff::Timestamp>().expect("a time").as_nanosecond() + 1_000;
    let is_within = |line: &&str| {
        let time = line.split('\t').next().and_then(|time| time.split_once('.'));
        let time = time.and_then(|(seconds, rest)| format!("{seconds}{rest:0<9}").parse::<i128>().ok());
        time.is_some_and(|time| time >= end - fact.seconds * NANOS && time < end)
    };
    let lines = listed.lines().filter(is_within);
    let rest = |line: &str| line.split_once('\t').map_or_else(String::new, |(_, rest)| rest.to_owned());
    match fact.count {
        Count::Frames => lines.count() as f64,
        Count::Different(_) => lines.map(rest).collect::<BTreeSet<_>>().len() as f64,
        Count::Bytes => lines.filter_map(|line| rest(line).parse::<f64>().ok()).sum(),
    }
}

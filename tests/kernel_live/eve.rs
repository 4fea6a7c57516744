//! `[eve]`: a reader that is no part of the daemon gets what the database has.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use nta_tests::eve::strange;
use nta_tests::netns::{alone, output, wait_for};
use nta_tests::process::Process;
use serde_json::Value;

use super::daemon::{Daemon, command};
use super::{Pair, can_run};

const SOON: Duration = Duration::from_secs(30);

/// Writes each line that comes over TCP into a file, and ends at what is no JSON.
const READER: &str = r#"
import json, socket, sys
server = socket.create_server(("127.0.0.1", 9000))
out = open(sys.argv[1], "a")
while True:
    for line in server.accept()[0].makefile("r"):
        json.loads(line)
        out.write(line)
        out.flush()
"#;

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// What is stored, by `export`.
fn stored(pair: &Pair, folder: &Path, what: &[&str]) -> Vec<Value> {
    let database = format!("sqlite:{}", folder.join("nta.db").display());
    let flags = ["export", "--format", "ndjson", "--database", &database, "--config"];
    let written = output(command(&pair.inside, &flags).arg(folder.join("nta.toml")).arg("--what").args(what));
    assert!(written.status.success(), "{written:?}");
    String::from_utf8(written.stdout)
        .expect("text")
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

fn of<'a>(events: &'a [Value], kind: &'static str) -> impl Iterator<Item = &'a Value> {
    events.iter().filter(move |event| event["event_type"] == kind)
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

#[test]
fn a_reader_over_tcp_gets_every_flow_alert_window_and_dns_message_although_it_comes_late() {
    let test = "a_reader_over_tcp_gets_every_flow_alert_window_and_dns_message_although_it_comes_late";
    if !can_run(test, &["python3", "ping", "nmap", "dig"]) {
        return;
    }
    let (_alone, pair, folder) = (alone(), Pair::silent(), tempfile::tempdir().expect("a folder"));
    let config = folder.path().join("nta.toml");
    std::fs::write(&config, "[eve]\nto = \"tcp://127.0.0.1:9000\"\n[windows]\nseconds = 2\n").expect("written");
    let mut daemon = Daemon::start_with(&pair.inside, folder.path(), "v0", "tcx", &config);
    pair.peer.run("ping -q -c 20 -i 0.01 -W 2 10.77.1.1");
    // Nobody answers.
    output(pair.peer.command("dig").args(["+tries=1", "+timeout=1", "@10.77.1.1", "eve.example.org"]));
    daemon.wait_for_window();
    let failing = || {
        let status = daemon.status();
        let eve = status["outputs"].as_array()?.iter().find(|output| output["name"] == "eve")?.clone();
        (eve["failing"] == true).then_some(eve)
    };
    let eve = wait_for("a status that says that nobody reads", SOON, failing);
    assert_eq!((&eve["sent"], &eve["dropped"], &eve["to"]), (&0.into(), &0.into(), &"tcp://127.0.0.1:9000".into()));
    assert_eq!(daemon.get("/health")["status"], "degraded");

    let read = folder.path().join("read.json");
    let mut reader = pair.inside.command("python3");
    let mut reader = Process::start(reader.args(["-c", READER]).arg(&read), folder.path(), "reader.log");
    wait_for("events that waited", SOON, || (!lines(&read).is_empty()).then_some(()));
    pair.peer.run("nmap -n -Pn -sS -p 1-1000 10.77.1.1");
    let has_alert = || lines(&read).iter().any(|event| event["event_type"] == "alert").then_some(());
    wait_for("an alert", SOON, has_alert);
    let metrics = output(pair.inside.command("curl").args(["-s", "http://127.0.0.1:5000/metrics"])).stdout;
    let metrics = String::from_utf8(metrics).expect("text");
    assert!(metrics.contains("nta_eve_events_total{outcome=\"dropped\"} 0"), "{metrics}");
    assert!(daemon.stop().success());
    // It was connected to while it was there.
    assert!(reader.ended().is_none(), "{}", reader.log());

    let windows = stored(&pair, folder.path(), &["windows", "--span", "2"]);
    let packets = windows.iter().map(|window| number(&window["packets"])).sum::<u64>();
    let all = || {
        let events = lines(&read);
        let last = events.iter().rfind(|event| event["event_type"] == "stats")?;
        (number(&last["stats"]["decoder"]["pkts"]) == packets).then_some(())
    };
    wait_for("the last window", SOON, all);
    reader.stop("TERM", SOON);
    let events = lines(&read);
    for event in &events {
        assert_eq!(strange(event), [""; 0], "{event}");
        assert_eq!(event["host"], windows[0]["sensor"], "{event}");
    }
    assert_eq!(of(&events, "stats").count(), windows.len());
    let key = |id: u64, packets: [u64; 2], community: &Value| (id, packets, community.to_string());
    let mut read: Vec<_> = of(&events, "flow")
        .map(|event| {
            let flow = &event["flow"];
            let packets = ["pkts_toserver", "pkts_toclient"].map(|name| number(&flow[name]));
            key(number(&event["flow_id"]), packets, &event["community_id"])
        })
        .collect();
    let mut kept: Vec<_> = stored(&pair, folder.path(), &["flows"])
        .iter()
        .map(|flow| {
            let id = u64::from_str_radix(flow["id"].as_str().expect("an identity"), 16).expect("hexadecimal");
            let packets = ["orig_packets", "resp_packets"].map(|name| number(&flow[name]));
            key(id & ((1 << 51) - 1), packets, &flow["community_id"])
        })
        .collect();
    read.sort();
    kept.sort();
    assert!(kept.len() > 1000);
    assert_eq!(read, kept);
    let by_kind = |kinds: Vec<String>| {
        kinds.into_iter().fold(BTreeMap::<_, u32>::new(), |mut counts, kind| {
            *counts.entry(kind).or_default() += 1;
            counts
        })
    };
    let raised = of(&events, "alert").map(|event| event["alert"]["metadata"]["nta_alert"][0].to_string()).collect();
    let alerts = stored(&pair, folder.path(), &["alerts"]).iter().map(|alert| alert["id"].to_string()).collect();
    assert_eq!(by_kind(raised), by_kind(alerts));
    assert!(of(&events, "dns").any(|event| event["dns"]["rrname"] == "eve.example.org"), "{events:?}");
}

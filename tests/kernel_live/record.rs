//! Recording by request, and the files of JSON lines.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nta_tests::netns::{Namespace, alone, output, run, wait_for};
use serde_json::{Value, json};

use crate::daemon::{Daemon, binary, number};
use crate::{Pair, can_run};

const SOON: Duration = Duration::from_secs(30);

/// Sends UDP datagrams in VLAN 7. The receiving kernel takes the tag out of a frame before anybody sees it.
const TAGGED: &str = r#"
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((sys.argv[1], 0))
ip = bytes.fromhex("4500001c000100004011000001020304") + bytes([5, 6, 7, 8])
for _ in range(20):
    s.send(b"\xff" * 6 + s.getsockname()[4] + bytes.fromhex("810000070800") + ip + bytes.fromhex("0035003500080000") + bytes(18))
"#;

/// Posts a body; status and answer.
pub(crate) fn post(namespace: &Namespace, path: &str, body: &Value) -> (u16, Value) {
    let url = format!("http://127.0.0.1:5000{path}");
    let mut curl = namespace.command("curl");
    curl.args(["-s", "-m", "10", "-w", "\n%{http_code}", "-H", "Content-Type: application/json", "-d"]);
    let answer = output(curl.arg(body.to_string()).arg(url));
    let text = String::from_utf8(answer.stdout).expect("text");
    let (document, status) = text.rsplit_once('\n').expect("a status behind the document");
    (status.parse().expect("a status"), serde_json::from_str(document).unwrap_or_default())
}

fn start(namespace: &Namespace, body: &Value) -> (u16, Value) {
    post(namespace, "/api/analysis/start-tcpdump", body)
}

fn stop(namespace: &Namespace) -> (u16, Value) {
    post(namespace, "/api/analysis/stop-tcpdump", &json!({}))
}

/// The files of a recording, in their folder beside the database.
fn files(folder: &Path, recording: &Value) -> Vec<std::path::PathBuf> {
    let names = recording["files"].as_array().expect("files").iter();
    let names = names.map(|file| file["name"].as_str().expect("a name"));
    names.map(|name| folder.join("nta.db.recordings").join(name)).collect()
}

/// How many packets of a file tcpdump reads with this filter.
fn read(file: &Path, filter: &str) -> usize {
    let answer = output(Command::new("tcpdump").args(["-n", "-t", "-r"]).arg(file).arg(filter));
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    answer.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count()
}

#[test]
fn a_recording_has_the_packets_that_its_filter_takes_and_says_what_cannot_be() {
    if !can_run("a_recording_has_the_packets_that_its_filter_takes_and_says_what_cannot_be", &["ping", "tcpdump"]) {
        return;
    }
    let (_alone, pair, folder) = (alone(), Pair::silent(), tempfile::tempdir().expect("a folder"));
    let mut daemon = Daemon::start(&pair.inside, folder.path(), "v0", "tcx");
    let (status, refused) = start(&pair.inside, &json!({ "interface": "v7" }));
    assert_eq!((status, &refused["field"]), (422, &"interface".into()), "{refused}");
    assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains("v0")), "{refused}");
    let (status, refused) = start(&pair.inside, &json!({ "interface": "v0", "filter": "icmp and and" }));
    assert_eq!((status, &refused["field"]), (422, &"filter".into()), "{refused}");
    assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains("syntax error")), "{refused}");
    assert_eq!(stop(&pair.inside).0, 409, "nothing runs");

    let request = json!({ "interface": "v0", "filter": "icmp", "snaplen": 60 });
    let (status, begun) = start(&pair.inside, &request);
    assert_eq!((status, &begun["ended_at"]), (200, &Value::Null), "{begun}");
    let (status, refused) = start(&pair.inside, &request);
    assert!(status == 409 && refused["detail"].as_str().is_some_and(|detail| detail.contains("v0")), "{refused}");
    pair.peer.run("ping -q -c 20 -i 0.01 -W 2 10.77.1.1");
    pair.peer.run("ping -q -c 20 -i 0.01 -W 2 fd77:1::1");
    let (status, recording) = stop(&pair.inside);
    assert_eq!((status, &recording["ended"]), (200, &"stopped".into()), "{recording}");
    assert_eq!((&recording["packets"], &recording["dropped_by_kernel"]), (&40.into(), &0.into()), "{recording}");
    let files = files(folder.path(), &recording);
    assert_eq!(
        files.iter().map(|file| read(file, "icmp and host 10.77.1.2")).sum::<usize>(),
        40,
        "and nothing of IPv6"
    );
    let captured = std::fs::metadata(&files[0]).expect("the file").len();
    assert_eq!(captured, 24 + 40 * (16 + 60), "no packet is longer than asked for");
    let replay = output(Command::new(binary()).args(["replay", "--format", "json"]).args(&files));
    let document: Value = serde_json::from_slice(&replay.stdout).expect("a document");
    assert_eq!((&document["packets"], &document["flows"]), (&40.into(), &1.into()), "{document:.300}");
    assert!(daemon.stop().success());
}

#[test]
fn a_recording_has_vlan_tags_and_ends_when_its_time_is_over() {
    if !can_run("a_recording_has_vlan_tags_and_ends_when_its_time_is_over", &["python3", "tcpdump"]) {
        return;
    }
    let (_alone, pair, folder) = (alone(), Pair::silent(), tempfile::tempdir().expect("a folder"));
    let mut daemon = Daemon::start(&pair.inside, folder.path(), "v0", "tcx");
    assert_eq!(start(&pair.inside, &json!({ "interface": "v0" })).0, 200);
    run(pair.peer.command("python3").args(["-c", TAGGED, "v1"]));
    let (status, recording) = stop(&pair.inside);
    assert_eq!(status, 200, "{recording}");
    let tagged: usize = files(folder.path(), &recording).iter().map(|file| read(file, "vlan 7 and udp")).sum();
    assert_eq!(tagged, 20, "{recording}");

    assert_eq!(start(&pair.inside, &json!({ "interface": "v0", "duration": 1 })).0, 200);
    wait_for("the end of the recording", SOON, || daemon.process.log().contains("reason=\"duration\"").then_some(()));
    let (status, recording) = stop(&pair.inside);
    assert_eq!((status, &recording["ended"]), (200, &"duration".into()), "{recording}");
    assert_eq!(stop(&pair.inside).0, 409, "it is answered once");
    assert!(daemon.stop().success());
}

#[test]
fn windows_are_mirrored_as_json_lines() {
    if !can_run("windows_are_mirrored_as_json_lines", &["ping"]) {
        return;
    }
    let (_alone, pair, folder) = (alone(), Pair::silent(), tempfile::tempdir().expect("a folder"));
    let lines = folder.path().join("lines");
    let config = folder.path().join("nta.toml");
    std::fs::write(&config, format!("[jsonl]\nfolder = {:?}\n", lines.display().to_string())).expect("written");
    let mut daemon = Daemon::start_with(&pair.inside, folder.path(), "v0", "tcx", &config);
    pair.peer.run("ping -q -c 20 -i 0.01 -W 2 10.77.1.1");
    daemon.wait_for_window();
    let windows = daemon.windows();
    let metrics = output(pair.inside.command("curl").args(["-s", "http://127.0.0.1:5000/metrics"])).stdout;
    let metrics = String::from_utf8(metrics).expect("text");
    assert!(metrics.contains("nta_jsonl_lines_total{file=\"metrics.jsonl\",outcome=\"written\"}"), "{metrics}");
    assert!(daemon.stop().success());
    let text = std::fs::read_to_string(lines.join("metrics.jsonl")).expect("the file");
    let mirrored: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("a line")).collect();
    for window in &windows {
        let line = mirrored.iter().find(|line| line["start"] == window["start"]).expect("a line for each window");
        for field in ["sensor", "end", "packets", "bytes", "flows", "protocols", "ledger"] {
            assert_eq!(line[field], window[field], "{field}");
        }
    }
    assert!(mirrored.iter().map(|line| number(&line["packets"])).sum::<u64>() >= 40);
    assert!(lines.join("anomalies.jsonl").is_file());
}

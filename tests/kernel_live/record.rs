//! Recording by request, and the files of JSON lines.

use std::path::{Path, PathBuf};
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
fn files(folder: &Path, recording: &Value) -> Vec<PathBuf> {
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
    is_a_capture(&pair.inside, &recording, &files);
    assert!(daemon.stop().success());
}

/// What was recorded is listed, downloaded, analysed, and deleted like what was sent.
fn is_a_capture(inside: &Namespace, recording: &Value, files: &[PathBuf]) {
    let get = |path: &str| output(inside.command("curl").args(["-s", "-m", "10", &url(path)])).stdout;
    let json = |path: &str| serde_json::from_slice::<Value>(&get(path)).unwrap_or_default();
    let file_id = recording["files"][0]["file_id"].as_str().expect("its name among the captures").to_owned();
    let list = json("/api/captures");
    let item = &list["items"][0];
    assert_eq!(
        (&item["file_id"], &item["origin"], &item["state"]),
        (&file_id.as_str().into(), &"recording".into(), &"recorded".into())
    );
    let bytes = std::fs::read(&files[0]).expect("the file");
    assert_eq!((&item["bytes"], &list["recordings"]["used_bytes"]), (&bytes.len().into(), &bytes.len().into()));
    let sum = output(Command::new("sha256sum").arg(&files[0])).stdout;
    assert!(String::from_utf8_lossy(&sum).starts_with(item["sha256"].as_str().expect("a hash")), "{item}");
    assert_eq!(get(&format!("/api/captures/{file_id}/file")), bytes, "byte by byte");
    let report = format!("/report/{file_id}");
    assert!(json(&report)["detail"].as_str().is_some_and(|detail| detail.contains("nobody has asked")));
    let analysis = format!("/analysis/{file_id}");
    wait_for("the analysis", SOON, || (json(&analysis)["state"] == "complete").then_some(()));
    let report = json(&report);
    assert_eq!((&report["totals"]["packets"], &report["sha256"]), (&40.into(), &item["sha256"]), "{report:.300}");
    let flows = |query: &str| json(&format!("/api/flows?{query}"))["items"].as_array().map(Vec::len);
    assert_eq!(flows(&format!("capture={file_id}")), Some(1));
    run(inside.command("curl").args(["-s", "-f", "-X", "DELETE", &url(&format!("/api/captures/{file_id}"))]));
    assert!(!files[0].exists() && json("/api/captures")["items"] == json!([]));
}

fn url(path: &str) -> String {
    format!("http://127.0.0.1:5000{path}")
}

/// The packets of an alert are those that the buffer has of it, and it takes no more room than it may.
#[test]
fn the_packet_buffer_has_the_packets_of_a_live_alert() {
    if !can_run("the_packet_buffer_has_the_packets_of_a_live_alert", &["nmap", "ping", "tcpdump"]) {
        return;
    }
    let (_alone, pair, folder) = (alone(), Pair::silent(), tempfile::tempdir().expect("a folder"));
    let config = folder.path().join("nta.toml");
    std::fs::write(&config, "[capture]\nring = 1\nring_snaplen = 96\n").expect("written");
    let mut daemon = Daemon::start_with(&pair.inside, folder.path(), "v0", "tcx", &config);
    let ring = folder.path().join("nta.db.recordings/ring");
    let files = || std::fs::read_dir(&ring).into_iter().flatten().flatten().map(|file| file.path());
    daemon.wait_for_window();
    // The buffer is there once it has a packet.
    wait_for("the packet buffer", SOON, || {
        pair.peer.run("ping -q -c 1 -W 2 10.77.1.1");
        files().next().map(drop)
    });
    pair.peer.run("nmap -n -Pn -sS -T4 --max-retries 0 -p 1-400 10.77.1.1");
    let get = |path: &str| output(pair.inside.command("curl").args(["-s", "-m", "10", &url(path)])).stdout;
    let json = |path: &str| serde_json::from_slice::<Value>(&get(path)).unwrap_or_default();
    let id =
        wait_for("an alert", SOON, || json("/api/alerts?type=port_scan")["items"][0]["id"].as_str().map(str::to_owned));
    let found = folder.path().join("found.pcap");
    std::fs::write(&found, get(&format!("/api/alerts/{id}/evidence.pcap"))).expect("written");
    let probes = read(&found, "src host 10.77.1.2 and tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn");
    assert!(probes >= 300, "{probes} of 400 probes");
    assert_eq!(read(&found, "greater 97 and not host 10.77.1.2"), 0);
    let metrics = String::from_utf8(get("/metrics")).expect("text");
    let kept = "nta_ring_packets_total{interface=\"v0\",outcome=\"kept\"}";
    assert!(metrics.contains(kept) && metrics.contains("outcome=\"dropped_by_kernel\"} 0"), "{metrics}");

    // A flood takes no more room than a MiB, and the oldest goes.
    pair.peer.run("ping -q -f -c 20000 10.77.1.1");
    let bytes: u64 = files().filter_map(|file| file.metadata().ok()).map(|about| about.len()).sum();
    assert!((1 << 19..=1 << 20).contains(&bytes), "{bytes}");
    assert!(daemon.stop().success());

    // Switched off, it keeps nothing.
    std::fs::write(&config, "").expect("written");
    let mut daemon = Daemon::start_with(&pair.inside, folder.path(), "v0", "tcx", &config);
    daemon.wait_for_window();
    assert!(!ring.exists());
    let why = json(&format!("/api/alerts/{id}/evidence.pcap"));
    assert!(why["detail"].as_str().is_some_and(|detail| detail.contains("capture.ring")), "{why}");
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

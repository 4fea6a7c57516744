//! A pipe is followed like a live source: its windows close by the clock, and alerts come at once.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nta_tests::daemon::daemon;
use nta_tests::netns::wait_for;
use nta_tests::pcap::{ETHERNET, Frame, pcap};
use nta_tests::served::{Served, scan_frames};

const SOON: Duration = Duration::from_secs(30);

#[test]
fn a_pipe_that_falls_silent_has_its_windows_closed_by_the_clock_and_its_scan_reported_at_once() {
    let (served, mut pipe) = Served::follow(1);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
    pipe.write_all(&pcap(ETHERNET, &scan_frames(now.as_nanos() as u64))).expect("the daemon reads");
    pipe.flush().expect("the daemon reads");
    let count = |path: &str| served.get(path)["items"].as_array().map_or(0, Vec::len);
    // Nothing more comes, and the pipe stays open.
    wait_for("the alert", SOON, || (count("/api/alerts?type=port_scan") == 1).then_some(()));
    let before = count("/api/metrics?span=1&limit=250");
    wait_for("more windows", SOON, || (count("/api/metrics?span=1&limit=250") >= before + 2).then_some(()));
    // What comes then is in the window of its time.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
    pipe.write_all(&pcap(ETHERNET, &scan_frames(now.as_nanos() as u64))[24..]).expect("the daemon reads");
    wait_for("the packets", SOON, || {
        let windows = served.get("/api/metrics?span=1&limit=250");
        let packets = windows["items"].as_array()?.iter().filter_map(|window| window["packets"].as_u64());
        (packets.sum::<u64>() == 800).then_some(())
    });
    let windows = served.get("/api/metrics?span=1&limit=250&sort=time");
    let windows = windows["items"].as_array().expect("windows");
    let ends: Vec<_> = windows.iter().map(|window| (window["start"].as_str(), window["end"].as_str())).collect();
    assert!(ends.windows(2).all(|pair| pair[0].1 == pair[1].0), "one window follows the other: {ends:?}");
    // A signal ends it while the pipe is open and silent: that was not all of it.
    served.stop_with(3);
}

#[test]
fn a_packet_now_and_then_closes_windows_and_delivers_alerts_while_the_pipe_is_silent() {
    let (served, mut pipe) = Served::follow(1);
    pipe.write_all(&pcap(ETHERNET, &[])).expect("the daemon reads");
    let packets = || {
        let windows = served.get("/api/metrics?span=1&limit=250");
        let packets =
            windows["items"].as_array().expect("windows").iter().filter_map(|window| window["packets"].as_u64());
        packets.sum::<u64>()
    };
    // Each comes alone, and the next one only when the window of the one before can be read: nothing but the clock closed it.
    for number in 1..=4 {
        pipe.write_all(&record(&scan_frames(now_ns())[0])).expect("the daemon reads");
        wait_for("the window of a packet", SOON, || (packets() == number).then_some(()));
    }
    let scan: Vec<u8> = scan_frames(now_ns()).iter().flat_map(record).collect();
    pipe.write_all(&scan).expect("the daemon reads");
    wait_for("the alert", SOON, || {
        let alerts = served.get("/api/alerts?type=port_scan");
        (alerts["items"].as_array().map_or(0, Vec::len) == 1).then_some(())
    });
    served.stop_with(3);
}

/// `tcpdump -w -` without `-U`: what it has seen for seconds comes at once, long after the clock has passed its windows.
#[test]
fn packets_that_come_in_blocks_are_in_the_windows_of_their_times() {
    // A file: a pipe that nobody reads would hold the daemon up.
    let output = tempfile::NamedTempFile::new().expect("a file");
    let mut command = Command::new(daemon());
    command.args(["replay", "-", "--format", "jsonl", "--window", "1"]).env_remove("NTA_CONFIG").env("NTA_LOG", "warn");
    command.stdin(Stdio::piped()).stdout(output.reopen().expect("the file")).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the daemon starts");
    let mut pipe = child.stdin.take().expect("piped");
    let frame = |time_ns| scan_frames(time_ns).swap_remove(0);
    let (began, second) = (now_ns(), 1_000_000_000);
    let first: Vec<Frame> = (0..20).rev().map(|ago| frame(began - ago * second)).collect();
    pipe.write_all(&pcap(ETHERNET, &first)).expect("the daemon reads");
    // Seen as they pass, written together.
    let held: Vec<u8> = (0..70)
        .flat_map(|_| {
            sleep(Duration::from_millis(200));
            record(&frame(now_ns()))
        })
        .collect();
    pipe.write_all(&held).expect("the daemon reads");
    drop(pipe);
    let done = child.wait_with_output().expect("its output");
    let lines = std::fs::read_to_string(output.path()).expect("text");
    let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let summary = lines.iter().find(|line| line["type"] == "summary").expect("a summary");
    assert_eq!((&summary["packets"], &summary["late_packets"]), (&90.into(), &0.into()));
    let log = String::from_utf8_lossy(&done.stderr);
    assert!(log.contains("tcpdump -U"), "{log}");
}

fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_nanos() as u64
}

/// A frame as it stands in a file.
fn record(frame: &Frame) -> Vec<u8> {
    pcap(ETHERNET, std::slice::from_ref(frame)).split_off(24)
}

//! Time that goes wrong under the daemon: a wall clock that is set back and forth, and a process that is held up.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use nta_tests::netns::{alone, wait_for};
use nta_tests::process::Process;
use serde_json::Value;

use crate::daemon::{self, Daemon, WINDOW_S, number, time};
use crate::{Pair, can_run};

/// Connects to forty ports.
const SCAN: &str = "
import socket
for port in range(1000, 1040):
    s = socket.socket()
    s.settimeout(0.05)
    try:
        s.connect(('10.77.1.1', port))
    except OSError:
        pass
";

#[test]
fn a_wall_clock_that_is_set_stops_nothing_and_repeats_nothing() {
    const TEST: &str = "a_wall_clock_that_is_set_stops_nothing_and_repeats_nothing";
    if !can_run(TEST, &["ping", "python3"]) {
        return;
    }
    let Some(library) = faketime() else {
        println!("not run: {TEST}: libfaketime is not installed");
        return;
    };
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let pair = Pair::silent();
    let clock = Clock { file: folder.path().join("clock") };
    clock.set(600);
    let mut command = pair.inside.command("env");
    command.args(clock.environment(&library));
    command.arg(daemon::binary()).args(daemon::arguments(folder.path(), "v0", "auto"));
    let mut daemon = Daemon::start_command(&pair.inside, folder.path(), &mut command);
    let _pings = pings(&pair, folder.path());
    more_windows(&daemon, 2);

    clock.set(-3000);
    more_windows(&daemon, 3);
    pair.peer.command("python3").args(["-c", SCAN]).status().expect("a scan");
    let raised = wait_for("an alert of the scan", Duration::from_secs(20), || {
        let alerts = daemon.get("/api/alerts?type=port_scan");
        alerts["items"].get(0).map(|alert| time(&alert["raised_at"]))
    });
    let wall = Timestamp::now().as_second() - 3000;
    assert!((wall - 60..=wall + 5).contains(&raised.as_second()), "raised {raised}, by the clock that was set back");
    let log = daemon.process.log();
    assert!(log.lines().any(|line| line.contains("WARN") && line.contains("port_scan")), "the log has it too: {log}");

    clock.set(90_000);
    more_windows(&daemon, 2);
    // To 1970 and 2266, further apart than nanoseconds in 64 bits with a sign, and back: what is in these years is as the database
    // can have it, and what comes after is labelled as if nothing had been.
    let now = Timestamp::now().as_second();
    let before = in_order(&daemon).len();
    for away in [30_000_000 - now, 9_364_000_000 - now, 90_000] {
        clock.set(away);
        more_windows(&daemon, 2);
    }
    let wall = Timestamp::now().as_second() + 90_000;
    let last = time(&in_order(&daemon).last().expect("a window")["end"]).as_second();
    assert!((wall - 60..=wall + 5).contains(&last), "the clock says {wall}, the window ends at {last}");
    let windows = in_order(&daemon);
    let mut steps = Vec::new();
    for pair in windows[..before].windows(2) {
        let (before, after) = (&pair[0], &pair[1]);
        let step_s = before["clock_step_s"].as_f64().unwrap_or(0.0);
        let apart_s = (time(&after["start"]) - time(&before["end"])).total(jiff::Unit::Second).expect("seconds");
        assert!((apart_s - step_s).abs() < 0.5, "labels follow the clock and nothing else: {before} {after}");
        assert!((1.0..=3.0).contains(&seconds(after)), "{after}");
        if step_s != 0.0 {
            steps.push(step_s.round());
        }
    }
    assert_eq!(steps, [-3600.0, 93_000.0]);
    let flows = daemon.all("/api/flows?host=10.77.1.2&proto=icmp");
    assert_eq!(flows.len(), 1, "a flow goes on over both: {flows:?}");
    assert!(daemon.stop().success());
}

#[test]
fn a_daemon_that_was_held_up_sees_one_long_window_and_no_spike() {
    if !can_run("a_daemon_that_was_held_up_sees_one_long_window_and_no_spike", &["ping"]) {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let pair = Pair::silent();
    let daemon = Daemon::start(&pair.inside, folder.path(), "v0", "auto");
    let _pings = pings(&pair, folder.path());
    more_windows(&daemon, 3);
    daemon.process.signal("STOP");
    std::thread::sleep(Duration::from_secs(9));
    daemon.process.signal("CONT");
    more_windows(&daemon, 3);
    let windows = in_order(&daemon);
    let long: Vec<&Value> = windows.iter().filter(|window| seconds(window) > 6.0).collect();
    assert_eq!(long.len(), 1, "{windows:?}");
    assert_eq!(long[0]["not_whole"], "late");
    assert!(number(&long[0]["folded"]) >= 2, "it stands for those that were missed: {}", long[0]);
    assert!(windows.windows(2).all(|pair| pair[0]["end"] == pair[1]["start"]), "each ends where the next begins");
    let rates: Vec<f64> = windows[1..].iter().map(|window| window["packets_per_s"].as_f64().expect("a rate")).collect();
    let [least, most] = [rates.iter().copied().fold(f64::MAX, f64::min), rates.iter().copied().fold(0.0, f64::max)];
    assert!(most < least * 1.6, "a stall is no spike: {rates:?}");
    assert_eq!(daemon.get("/api/alerts")["items"], Value::Array(Vec::new()));
}

#[test]
fn a_window_that_a_restart_cuts_is_one_window_with_its_gap() {
    if !can_run("a_window_that_a_restart_cuts_is_one_window_with_its_gap", &["ping"]) {
        return;
    }
    let _alone = alone();
    for signal in ["TERM", "KILL"] {
        let folder = tempfile::tempdir().expect("a folder");
        let pair = Pair::silent();
        let mut daemon = Daemon::start(&pair.inside, folder.path(), "v0", "auto");
        let _pings = pings(&pair, folder.path());
        more_windows(&daemon, 2);
        // Well within the next window.
        std::thread::sleep(Duration::from_millis(700));
        daemon.process.stop(signal, Duration::from_secs(10));
        let mut daemon = Daemon::start(&pair.inside, folder.path(), "v0", "auto");
        // And again, as likely as not within the same one.
        daemon.process.stop("TERM", Duration::from_secs(10));
        let daemon = Daemon::start(&pair.inside, folder.path(), "v0", "auto");
        let longer = || daemon.all(&format!("/api/metrics?span={}", 6 * WINDOW_S));
        wait_for("the longer window", Duration::from_secs(6 * WINDOW_S as u64 + 15), || {
            longer().iter().any(|window| window["not_whole"] == "interrupted").then_some(())
        });
        // A window may close between the two answers: they fit soon, or never.
        let (base, longer, cut) = wait_for("a window that is the sum of its parts", Duration::from_secs(10), || {
            let (base, longer) = (in_order(&daemon), longer());
            let cut = longer.iter().find(|window| window["not_whole"] == "interrupted")?.clone();
            let (start, end) = (time(&cut["start"]), time(&cut["end"]));
            let parts = base.iter().filter(|window| time(&window["start"]) >= start && time(&window["start"]) < end);
            let packets: u64 = parts.map(|window| number(&window["packets"])).sum();
            (number(&cut["packets"]) == packets).then_some((base, longer, cut))
        });
        for windows in [&base, &longer] {
            let mut starts: Vec<&str> =
                windows.iter().map(|window| window["start"].as_str().expect("a start")).collect();
            starts.sort_unstable();
            assert!(starts.windows(2).all(|pair| pair[0] != pair[1]), "{signal}: twice the same start: {starts:?}");
        }
        let gap_s = cut["gap_s"].as_f64().unwrap_or(0.0);
        assert!(gap_s > 0.1 && seconds(&cut) < 12.1, "{signal}: {cut}");
        // Five echoes and their answers a second; in a part of a window one more at most.
        for window in &base {
            let most = 10.0 * seconds(window) + 4.0;
            assert!(number(&window["packets"]) as f64 <= most, "{signal}: {window} in {base:?}");
        }
        let ids = longer.iter().map(|window| number(&window["id"])).max();
        assert!(ids.is_some_and(|id| daemon.try_get(&format!("/api/metrics/{id}")).is_some()), "{signal}");
    }
}

/// The wall clock that the daemon sees.
pub(crate) struct Clock {
    pub(crate) file: PathBuf,
}

impl Clock {
    /// What a process has to find in its environment to go by it.
    pub(crate) fn environment(&self, library: &Path) -> [String; 5] {
        [
            format!("LD_PRELOAD={}", library.display()),
            format!("FAKETIME_TIMESTAMP_FILE={}", self.file.display()),
            "FAKETIME_NO_CACHE=1".to_owned(),
            "DONT_FAKE_MONOTONIC=1".to_owned(),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
        ]
    }

    /// So many seconds ahead of the real one.
    pub(crate) fn set(&self, seconds: i64) {
        let new = self.file.with_extension("new");
        std::fs::write(&new, format!("{seconds:+}")).expect("a file");
        std::fs::rename(&new, &self.file).expect("in its place");
    }
}

/// The library that gives a process another wall clock.
pub(crate) fn faketime() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?.flatten();
    folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1")).find(|path| path.exists())
}

/// Five echoes a second, one flow, until dropped.
fn pings(pair: &Pair, folder: &Path) -> Process {
    Process::start(pair.peer.command("ping").args(["-q", "-i", "0.2", "10.77.1.1"]), folder, "ping.log")
}

/// Waits until so many more windows can be read, which takes their length and little more.
fn more_windows(daemon: &Daemon<'_>, count: usize) {
    let before = daemon.windows().len();
    let deadline = Duration::from_secs(count as u64 * WINDOW_S as u64 + 10);
    wait_for("windows", deadline, || (daemon.windows().len() >= before + count).then_some(()));
}

/// Base windows by their number.
fn in_order(daemon: &Daemon<'_>) -> Vec<Value> {
    let mut windows = daemon.windows();
    windows.sort_by_key(|window| number(&window["id"]));
    windows
}

fn seconds(window: &Value) -> f64 {
    window["span_s"].as_f64().expect("a length")
}

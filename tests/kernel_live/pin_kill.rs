//! Pinned, and killed: what was counted for a window that nobody stored is in the next one.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nta_tests::netns::{alone, run};
use nta_tests::process::Process;
use serde_json::Value;

use crate::daemon::{Daemon, command, number};
use crate::pin::{Bpffs, PINGS, flows, no_tcx, seen, windows};
use crate::{Pair, can_run, traffic};

#[test]
fn kills_under_traffic_lose_nothing_and_make_no_spike() {
    const TEST: &str = "kills_under_traffic_lose_nothing_and_make_no_spike";
    const ECHOES: u64 = 6000;
    if !can_run(TEST, &["ping"]) || no_tcx(TEST) {
        return;
    }
    let _alone = alone();
    let (folder, bpffs) = (tempfile::tempdir().expect("a folder"), Bpffs::new());
    let pair = Pair::silent();
    let config = bpffs.config(folder.path(), true);
    let mut daemon = Daemon::start_with(&pair.inside, folder.path(), "v0", "tcx", &config);
    let mut ping = pair.peer.command("ping");
    ping.args(["-q", "-i", "0.002", "-W", "2", "-c", &ECHOES.to_string(), "10.77.1.1"]);
    let mut pings = Process::start(&mut ping, folder.path(), "ping.log");
    let mut kills = 0;
    while pings.ended().is_none() {
        daemon.wait_for_window();
        // Anywhere in the next window.
        std::thread::sleep(Duration::from_millis(kills * 370 % 2000));
        daemon.process.stop("KILL", Duration::from_secs(5));
        daemon = Daemon::start_with(&pair.inside, folder.path(), "v0", "tcx", &config);
        kills += 1;
    }
    assert!(pings.wait(Duration::from_secs(1)).success(), "{}", pings.log());
    daemon.wait_for_window();
    daemon.wait_for_window();
    println!("{kills} kills while {} packets passed", 2 * ECHOES);
    assert!(kills > 1, "killed under traffic");
    assert_eq!(windows(&daemon), 2 * ECHOES, "windows");
    assert_eq!(flows(&daemon), 2 * ECHOES, "flows");
    assert_eq!(daemon.all("/api/alltraffic").len(), 1, "the flow goes on over the kills");
    let windows = daemon.windows();
    let rate = |window: &Value| window["packets_per_s"].as_f64().expect("a rate");
    let most = windows.iter().map(rate).fold(0.0, f64::max);
    assert!(
        most < 1000.0 * 1.5,
        "what was counted while nobody read is spread over that time: {most} packets a second"
    );
    assert!(windows.iter().any(|window| window["not_whole"] == "interrupted"), "{windows:?}");
}

#[test]
fn after_a_kill_the_next_start_goes_on_from_the_last_window() {
    const TEST: &str = "after_a_kill_the_next_start_goes_on_from_the_last_window";
    if !can_run(TEST, &["ping"]) || no_tcx(TEST) {
        return;
    }
    let _alone = alone();
    let (folder, bpffs) = (tempfile::tempdir().expect("a folder"), Bpffs::new());
    let pair = Pair::silent();
    let config = bpffs.config(folder.path(), true);
    let mut daemon = Daemon::start_with(&pair.inside, folder.path(), "v0", "tcx", &config);
    traffic::pings(&pair.peer, "10.77.1.1", "fd77:1::1");
    daemon.wait_for_window();
    daemon.process.stop("KILL", Duration::from_secs(5));
    traffic::pings(&pair.peer, "10.77.1.1", "fd77:1::1");
    // One that is killed at once changes nothing.
    let mut early = Daemon::start_with(&pair.inside, folder.path(), "v0", "tcx", &config);
    early.process.stop("KILL", Duration::from_secs(5));
    let mut daemon = Daemon::start_with(&pair.inside, folder.path(), "v0", "tcx", &config);
    let log = daemon.process.log();
    assert!(log.contains("was killed") && log.contains("replaced the program"), "{log}");
    traffic::pings(&pair.peer, "10.77.1.1", "fd77:1::1");
    daemon.wait_for_window();
    assert_eq!((seen(&daemon), windows(&daemon)), (2 * PINGS, 3 * PINGS), "nothing twice, and nothing is missing");
    assert_eq!(flows(&daemon), 3 * PINGS);
    assert!(daemon.stop().success());
    // Switched off, what is pinned goes, and nothing is counted by two programs.
    let config = bpffs.config(folder.path(), false);
    let daemon = Daemon::start_with(&pair.inside, folder.path(), "v0", "tcx", &config);
    assert!(daemon.process.log().contains("capture.pin is off"), "{}", daemon.process.log());
    assert_eq!(bpffs.pinned(), Vec::<String>::new());
    traffic::pings(&pair.peer, "10.77.1.1", "fd77:1::1");
    daemon.wait_for_window();
    assert_eq!(seen(&daemon), PINGS);
}

#[test]
fn a_kill_before_the_first_window_loses_nothing() {
    const TEST: &str = "a_kill_before_the_first_window_loses_nothing";
    if !can_run(TEST, &["ping", "sqlite3"]) || no_tcx(TEST) {
        return;
    }
    let _alone = alone();
    // New maps, those of a clean end, and those of a clean end that another database knows of.
    for before in ["nothing", "a clean end", "a clean end elsewhere"] {
        let (folder, other, bpffs) = (tempfile::tempdir().expect("a"), tempfile::tempdir().expect("b"), Bpffs::new());
        let pair = Pair::silent();
        // Long windows: the kill comes before the first one, but where the clock's minute ends just then.
        let start = |folder: &Path, window: &str| {
            let config = bpffs.config(folder, true);
            let database = format!("sqlite:{}", folder.join("nta.db").display());
            let arguments = ["run", "--interface", "v0", "--attach", "tcx", "--listen", "127.0.0.1:5000"];
            let mut command = command(&pair.inside, &arguments);
            command.args(["--window", window, "--database", &database, "--config"]).arg(config);
            Daemon::start_command(&pair.inside, folder, &mut command)
        };
        let mut sent = 0;
        if before != "nothing" {
            let database = if before == "a clean end" { folder.path() } else { other.path() };
            let mut daemon = start(database, "2");
            traffic::pings(&pair.peer, "10.77.1.1", "fd77:1::1");
            assert!(daemon.stop().success());
            sent += if before == "a clean end" { PINGS } else { 0 };
            traffic::pings(&pair.peer, "10.77.1.1", "fd77:1::1");
            sent += PINGS;
        }
        for _ in 0..2 {
            let mut early = start(folder.path(), "60");
            traffic::pings(&pair.peer, "10.77.1.1", "fd77:1::1");
            early.process.stop("KILL", Duration::from_secs(5));
            traffic::pings(&pair.peer, "10.77.1.1", "fd77:1::1");
            sent += 2 * PINGS;
        }
        let daemon = start(folder.path(), "2");
        daemon.wait_for_window();
        let mut sqlite = Command::new("sqlite3");
        sqlite.args(["-cmd", ".timeout 10000"]).arg(folder.path().join("nta.db"));
        let stored = run(sqlite.arg("SELECT sum(packets) FROM windows WHERE factor = 1"));
        assert_eq!(stored.trim(), sent.to_string(), "{before}: {}", daemon.process.log());
        assert_eq!(flows(&daemon), sent, "{before}");
        assert!(!daemon.process.log().contains("counted by nobody"), "{before}: {}", daemon.process.log());
    }
}

#[test]
fn with_another_database_the_first_window_is_as_long_as_nobody_reported() {
    const TEST: &str = "with_another_database_the_first_window_is_as_long_as_nobody_reported";
    if !can_run(TEST, &["ping"]) || no_tcx(TEST) {
        return;
    }
    let _alone = alone();
    let (folder, other, bpffs) = (tempfile::tempdir().expect("a"), tempfile::tempdir().expect("b"), Bpffs::new());
    let pair = Pair::silent();
    let start = |folder: &Path| {
        let config = bpffs.config(folder, true);
        Daemon::start_with(&pair.inside, folder, "v0", "tcx", &config)
    };
    let mut daemon = start(folder.path());
    assert!(daemon.stop().success());
    let left = Instant::now();
    traffic::pings(&pair.peer, "10.77.1.1", "fd77:1::1");
    let daemon = start(other.path());
    let least_s = left.elapsed().as_secs_f64();
    daemon.wait_for_window();
    let windows = daemon.windows();
    let first = windows.iter().find(|window| number(&window["packets"]) > 0).expect("a window");
    assert_eq!((number(&first["packets"]), &first["not_whole"]), (PINGS, &Value::from("interrupted")), "{first}");
    assert!(first["span_s"].as_f64().is_some_and(|span_s| span_s >= least_s), "{least_s} s: {first}");
}

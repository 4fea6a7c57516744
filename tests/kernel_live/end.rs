//! How a daemon ends: killed at any moment it leaves nothing behind that the next one cannot remove; asked to, it stores
//! what it has and detaches.

use std::fs::File;
use std::time::{Duration, Instant};

use nta_tests::netns::{alone, wait_for};
use nta_tests::process::Process;
use serde_json::Value;

use crate::attached::{Held, filters, xdp};
use crate::daemon::{Daemon, STOP_DEADLINE, number};
use crate::{Pair, can_run, has_tcx, traffic};

/// Kills for each hook.
const KILLS: u32 = 5;

#[test]
fn killed_at_any_moment_it_leaves_nothing_attached() {
    const TEST: &str = "killed_at_any_moment_it_leaves_nothing_attached";
    if !can_run(TEST, &["bpftool", "tc"]) {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let pair = Pair::new();
    let began = Instant::now();
    drop(Daemon::start(&pair.inside, folder.path(), "v0", "auto"));
    let start_up = began.elapsed();
    let mut random = 0x6e74_6100_u64;
    for attach in ["xdp", "tcx", "tc"] {
        if attach == "tcx" && !has_tcx() {
            println!("not run: {TEST}: tcx: TCX came with Linux 6.6");
            continue;
        }
        let mut moments = Vec::new();
        for part in 0..KILLS {
            // A linear congruential generator (Knuth's MMIX), so that the moments are the same in every run.
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let share = (random >> 33) as f64 / f64::from(1_u32 << 31);
            // Spread over the start-up and the time after it.
            let moment = start_up.mul_f64((f64::from(part) + share) / f64::from(KILLS) * 1.4);
            let held = killed_after(&pair, folder.path(), attach, moment);
            moments.push((moment.as_millis(), held.len()));
            held.wait_gone(attach != "tc");
            assert_eq!(xdp(&pair.inside, "v0"), None, "killed after {moment:?} of {attach}");
            if attach != "tc" {
                assert_eq!(filters(&pair.inside, "v0"), [0, 0], "killed after {moment:?} of {attach}");
            }
        }
        println!("{attach}: killed after so many ms, holding (programs, links): {moments:?}");
    }
    leftovers_are_removed(&pair, folder.path());
}

/// Starts a daemon and kills it after a while; returns what it held then.
fn killed_after(pair: &Pair, folder: &std::path::Path, attach: &str, moment: Duration) -> Held {
    let mut daemon = Daemon::spawn(&pair.inside, folder, "v0", attach);
    std::thread::sleep(moment);
    // Stopped first, so that what it holds is what it dies with.
    daemon.process.signal("STOP");
    let held = Held::of(daemon.process.id());
    daemon.process.stop("KILL", Duration::from_secs(5));
    held
}

/// What `tc` leaves behind, the next start takes away, whatever its hook.
fn leftovers_are_removed(pair: &Pair, folder: &std::path::Path) {
    for (attach, count) in [("tc", [1, 1]), ("auto", if has_tcx() { [0, 0] } else { [1, 1] })] {
        drop(Daemon::start(&pair.inside, folder, "v0", "tc"));
        assert_eq!(filters(&pair.inside, "v0"), [1, 1], "left behind by a kill");
        let mut daemon = Daemon::start(&pair.inside, folder, "v0", attach);
        assert_eq!(filters(&pair.inside, "v0"), count, "while {attach} runs");
        assert!(daemon.stop().success());
        assert_eq!(filters(&pair.inside, "v0"), [0, 0], "after {attach}");
    }
}

#[test]
fn asked_to_end_it_stores_the_open_window_and_detaches() {
    const TEST: &str = "asked_to_end_it_stores_the_open_window_and_detaches";
    if !can_run(TEST, &["bpftool", "tc", "ping"]) {
        return;
    }
    let _alone = alone();
    for attach in ["xdp", "auto", "tc"] {
        let folder = tempfile::tempdir().expect("a folder");
        let pair = Pair::silent();
        let mut daemon = Daemon::start(&pair.inside, folder.path(), "v0", attach);
        traffic::pings(&pair.peer, "10.77.1.1", "fd77:1::1");
        let held = Held::of(daemon.process.id());
        let began = Instant::now();
        let status = daemon.stop();
        let took = began.elapsed();
        assert!(status.success(), "{attach}: {status}");
        held.wait_gone(true);
        assert_eq!((xdp(&pair.inside, "v0"), filters(&pair.inside, "v0")), (None, [0, 0]), "{attach}");
        assert!(!daemon.process.log().contains("earlier run"), "its own filters are not those of an earlier run");

        let again = Daemon::start(&pair.inside, folder.path(), "v0", attach);
        let flows = again.all("/api/alltraffic");
        let packets = |items: &[Value]| items.iter().map(|item| number(&item["packets"])).sum::<u64>();
        assert_eq!((flows.len(), packets(&flows)), (2, 80), "{attach}: {flows:?}");
        assert!(flows.iter().all(|flow| flow["state"] == "shutdown"), "{attach}: {flows:?}");
        assert_eq!(packets(&again.windows()), 80, "{attach}: windows");
        println!("{attach}: ended {} ms after SIGTERM", took.as_millis());
    }
}

#[test]
fn asked_to_end_while_it_starts_it_ends_well() {
    if !can_run("asked_to_end_while_it_starts_it_ends_well", &["tc"]) {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let pair = Pair::new();
    let mut daemon = Daemon::spawn(&pair.inside, folder.path(), "v0", "tc");
    wait_for("filters", Duration::from_secs(10), || (filters(&pair.inside, "v0") == [1, 1]).then_some(()));
    let status = daemon.stop();
    assert!(status.success(), "{status}");
    assert_eq!(filters(&pair.inside, "v0"), [0, 0]);
}

#[test]
fn asked_to_end_while_it_waits_for_its_database_it_ends_at_once() {
    if !can_run("asked_to_end_while_it_waits_for_its_database_it_ends_at_once", &["tc"]) {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let pair = Pair::new();
    // What another process has that prepares the database.
    let turn = File::create(folder.path().join("nta.db.migration.lock")).expect("a file");
    turn.lock().expect("the turn");
    let mut daemon = Daemon::spawn(&pair.inside, folder.path(), "v0", "tc");
    wait_for("a daemon that waits", Duration::from_secs(30), || {
        daemon.process.log().contains("another process prepares").then_some(())
    });
    let status = daemon.stop();
    assert!(status.success(), "{status}: {}", daemon.process.log());
    assert!(daemon.process.log().contains("before anything is attached"), "{}", daemon.process.log());
    assert_eq!(filters(&pair.inside, "v0"), [0, 0]);
}

#[test]
fn asked_to_end_before_it_attaches_it_attaches_nothing() {
    /// The signal may come when all is loaded already.
    const TRIES: u32 = 10;
    if !can_run("asked_to_end_before_it_attaches_it_attaches_nothing", &["tc"]) {
        return;
    }
    let _alone = alone();
    let pair = Pair::new();
    let is_in_time = |_| {
        let folder = tempfile::tempdir().expect("a folder");
        let mut daemon = Daemon::spawn(&pair.inside, folder.path(), "v0,absent", "tc");
        // It says this right before it loads the programs; held there, it gets the signal with the rest of the start before it.
        wait_for("the start", Duration::from_secs(30), || daemon.process.log().contains("absent").then_some(()));
        daemon.process.signal("STOP");
        daemon.process.signal("TERM");
        daemon.process.signal("CONT");
        let status = daemon.process.wait(STOP_DEADLINE);
        let log = daemon.process.log();
        assert!(status.success(), "{status}: {log}");
        assert_eq!(filters(&pair.inside, "v0"), [0, 0], "{log}");
        log.contains("nothing was attached") && !log.contains("serving")
    };
    assert!((0..TRIES).any(is_in_time), "each time it went on to the end of the start");
}

#[test]
fn a_reader_that_never_finishes_does_not_hold_up_the_end() {
    if !can_run("a_reader_that_never_finishes_does_not_hold_up_the_end", &["python3", "ping"]) {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let pair = Pair::silent();
    let mut daemon = Daemon::start(&pair.inside, folder.path(), "v0", "auto");
    traffic::pings(&pair.peer, "10.77.1.1", "fd77:1::1");
    // Half a request: the server waits for the rest.
    const HALF: &str = "import socket,time\ns=socket.create_connection(('127.0.0.1',5000))\n\
        s.send(b'GET /api/status HTTP/1.1\\r\\n')\nprint('sent',flush=True)\ntime.sleep(60)";
    let mut reader = pair.inside.command("python3");
    let reader = Process::start(reader.args(["-c", HALF]), folder.path(), "reader.log");
    wait_for("half a request", Duration::from_secs(5), || reader.log().contains("sent").then_some(()));
    let status = daemon.stop();
    assert!(status.success(), "{status}");
    let again = Daemon::start(&pair.inside, folder.path(), "v0", "auto");
    assert_eq!(again.all("/api/alltraffic").len(), 2);
}

#[test]
fn a_hangup_is_said_in_the_log_and_the_daemon_goes_on() {
    if !can_run("a_hangup_is_said_in_the_log_and_the_daemon_goes_on", &[]) {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let pair = Pair::new();
    let config = folder.path().join("nta.toml");
    std::fs::write(&config, "[windows]\nseconds = 2\n").expect("a configuration");
    let mut daemon = Daemon::start_with(&pair.inside, folder.path(), "v0", "auto", &config);
    for (text, said) in [("[windows]\nseconds = 0\n", "not taken"), ("[capture]\nmap_memory_mib = 32\n", "restart")] {
        std::fs::write(&config, text).expect("a configuration");
        daemon.process.signal("HUP");
        wait_for("a line in the log", Duration::from_secs(5), || {
            assert!(daemon.process.ended().is_none(), "{}", daemon.process.log());
            daemon.process.log().lines().any(|line| line.contains("SIGHUP") && line.contains(said)).then_some(())
        });
    }
    daemon.wait_for_window();
    assert!(daemon.stop().success());
}

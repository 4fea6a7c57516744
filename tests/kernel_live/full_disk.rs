//! A disk that fills up under the daemon, and a database file that is deleted: the daemon says so, keeps what it counts where
//! it can, goes on by itself, and what it says is stored is in the file, once.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nta_tests::netns::{Namespace, alone, output, run, wait_for};
use nta_tests::packet::{ethernet, ipv4, udp};
use nta_tests::pcap::{ETHERNET, Frame, pcap};
use serde_json::Value;

use crate::daemon::{Daemon, binary, command, number};
use crate::disk::Disk;
use crate::{Pair, can_run, traffic};

const LISTEN: &str = "127.0.0.1:5000";
/// A few windows and attempts.
const SOON: Duration = Duration::from_secs(60);
/// Packets of [`traffic::pings`].
const PINGS: u64 = 80;
const TOOLS: [&str; 4] = ["ping", "sqlite3", "mount", "umount"];

/// A daemon that captures with windows of a second; its log does not lie on the disk.
fn start<'a>(pair: &'a Pair, folder: &Path, database: &Path, more: &[&str]) -> Daemon<'a> {
    let database = format!("sqlite:{}", database.display());
    let arguments = ["run", "--interface", "v0", "--window", "1", "--listen", LISTEN, "--database", &database];
    Daemon::start_command(&pair.inside, folder, command(&pair.inside, &arguments).args(more))
}

/// Status and document of an answer; `None` while there is none.
fn ask(namespace: &Namespace, method: &str, path: &str, body: &str) -> Option<(u16, Value)> {
    let mut curl = namespace.command("curl");
    curl.args(["-s", "-m", "20", "-w", "\n%{http_code}", "-X", method, "-H", "Content-Type: application/json"]);
    if !body.is_empty() {
        curl.args(["-d", body]);
    }
    let answer = output(curl.arg(format!("http://{LISTEN}{path}")));
    let text = String::from_utf8_lossy(&answer.stdout).into_owned();
    let (document, code) = text.rsplit_once('\n')?;
    Some((code.parse().ok().filter(|code| *code != 0)?, serde_json::from_str(document).ok()?))
}

/// Waits until health answers so, with this in its text.
fn wait_for_health(pair: &Pair, code: u16, part: &str) -> Value {
    wait_for(&format!("health {code} with `{part}`"), SOON, || {
        let (status, health) = ask(&pair.inside, "GET", "/health", "")?;
        (status == code && health.to_string().contains(part)).then_some(health)
    })
}

/// A number out of the database, read by another program.
fn stored(database: &Path, sql: &str) -> u64 {
    let text = run(Command::new("sqlite3").arg("-cmd").arg(".timeout 10000").arg(database).arg(sql));
    text.trim().parse().unwrap_or_else(|_| panic!("{sql}: {text}"))
}

/// Sends packets until this of the store's status is so large; answers the status. All that was sent is added up.
fn send_until(daemon: &Daemon<'_>, pair: &Pair, (name, least): (&str, u64), sent: &mut u64) -> Value {
    wait_for(name, SOON, || {
        traffic::pings(&pair.peer, "10.77.1.1", "fd77:1::1");
        *sent += PINGS;
        let store = daemon.status()["store"].clone();
        (number(&store[name]) >= least).then_some(store)
    })
}

/// Waits until all that was sent is counted.
fn wait_for_packets(daemon: &Daemon<'_>, sent: u64) {
    wait_for("packets", SOON, || (number(&daemon.status()["ledger"]["total"]["seen"]) == sent).then_some(()));
}

/// Every base window of every run is in the file once, and their packets are all that were seen.
fn all_windows_are_stored(database: &Path, seen: u64, what: &str) {
    let windows = |columns: &str| stored(database, &format!("SELECT {columns} FROM windows WHERE factor = 1"));
    let runs = stored(database, "SELECT count(*) FROM runs");
    assert_eq!(windows("count(*)"), windows("count(DISTINCT run_id * 1000000 + number)"), "{what}: twice");
    let last = "SELECT sum(newest) FROM (SELECT max(number) AS newest FROM windows WHERE factor = 1 GROUP BY run_id)";
    assert_eq!(windows("count(*)"), stored(database, last), "{what}: a window is missing");
    assert_eq!(windows("sum(packets)"), seen, "{what}: packets, in {runs} runs");
}

#[test]
fn a_full_disk_is_said_at_once_and_nothing_is_lost_when_there_is_room_again() {
    const TEST: &str = "a_full_disk_is_said_at_once_and_nothing_is_lost_when_there_is_room_again";
    if !can_run(TEST, &TOOLS) {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let disk = Disk::small(folder.path());
    let pair = Pair::silent();
    let mut daemon = start(&pair, folder.path(), &disk.database(), &[]);
    let mut sent = 0;
    // The write-ahead log does not fill a small disk by itself: without a bound these windows have 1.5 MB there.
    let store = send_until(&daemon, &pair, ("windows", 6), &mut sent);
    assert!(number(&store["wal_bytes"]) < 1 << 20, "{store}");
    for round in 1..=2 {
        disk.fill();
        // The spool lies on the same disk.
        wait_for_health(&pair, 503, "store: ");
        let store = send_until(&daemon, &pair, ("batches_waiting", 3), &mut sent);
        assert_eq!(store["failing"], true, "{store}");
        assert!(number(&store["batches_in_memory"]) > 0, "{store}");
        wait_for("a disk without a free byte", SOON, || {
            disk.fill(); // what an attempt that was under way gave back
            (daemon.status()["store"]["disk_free_bytes"] == 0).then_some(())
        });
        disk.give_room();
        wait_for_health(&pair, 200, "\"ok\"");
        wait_for("batches that came back", SOON, || {
            (number(&daemon.status()["store"]["batches_waiting"]) == 0).then_some(())
        });
        let troubles = stored(&disk.database(), "SELECT count(*) FROM events WHERE kind = 'store_trouble'");
        // A file that was given up in the middle of the filling may make room for a batch in between.
        assert!(troubles >= round, "{troubles} of at least {round} troubles are in the event log");
    }
    // Once more, and asked to end while the disk is full: the next start has what the daemon kept on a disk, and here that
    // is none, so it goes on trying for as long as it may.
    disk.fill();
    wait_for_health(&pair, 503, "store: ");
    wait_for_packets(&daemon, sent);
    daemon.process.signal("TERM");
    disk.give_room();
    assert!(daemon.process.wait(SOON).success());
    all_windows_are_stored(&disk.database(), sent, "after SIGTERM");
    assert_eq!(stored(&disk.database(), "SELECT count(*) FROM runs WHERE end_reason = 'stopped'"), 1);
}

#[test]
fn a_spool_on_another_disk_takes_what_a_full_one_does_not_over_a_restart() {
    const TEST: &str = "a_spool_on_another_disk_takes_what_a_full_one_does_not_over_a_restart";
    if !can_run(TEST, &TOOLS) {
        return;
    }
    let _alone = alone();
    // Then there is room again, or the database is removed with the name that it had given the sensor.
    for is_removed in [false, true] {
        a_spool_on_another_disk(is_removed);
    }
}

fn a_spool_on_another_disk(is_removed: bool) {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = Disk::small(folder.path());
    let pair = Pair::silent();
    let config = folder.path().join("nta.toml");
    let spool = folder.path().join("spool");
    std::fs::write(&config, format!("[store]\nspool = \"{}\"\n", spool.display())).expect("a file");
    let config = ["--config", config.to_str().expect("UTF-8")];
    let mut daemon = start(&pair, folder.path(), &disk.database(), &config);
    let mut sent = 0;
    send_until(&daemon, &pair, ("windows", 2), &mut sent);
    disk.fill();
    let health = wait_for_health(&pair, 200, "wait on disk");
    assert_eq!(health["status"], "degraded", "{health}");
    let store = send_until(&daemon, &pair, ("batches_waiting", 3), &mut sent);
    assert_eq!((number(&store["batches_in_memory"]), number(&store["batches_lost"])), (0, 0), "{store}");
    assert!(number(&store["spool_bytes"]) > 0, "{store}");
    assert!(daemon.process.stop("TERM", SOON).success());
    let packets = "SELECT coalesce(sum(packets), 0) FROM windows WHERE factor = 1";
    let before = stored(&disk.database(), packets);
    assert!(before < sent);

    disk.give_room();
    if is_removed {
        std::fs::remove_file(disk.database()).expect("removed");
    }
    let mut daemon = start(&pair, folder.path(), &disk.database(), &config);
    wait_for("batches that came back", SOON, || {
        let store = daemon.status()["store"].clone();
        (number(&store["batches_waiting"]) == 0 && number(&store["batches"]) > 3).then_some(())
    });
    assert!(daemon.process.stop("TERM", SOON).success());
    if is_removed {
        assert_eq!(stored(&disk.database(), packets), sent - before, "what the new database got of the run before");
        assert_eq!(stored(&disk.database(), "SELECT count(DISTINCT sensor) FROM runs"), 1);
        return;
    }
    all_windows_are_stored(&disk.database(), sent, "after a restart");
}

#[test]
fn a_file_system_that_turns_read_only_is_said_and_the_next_start_stores_every_window() {
    const TEST: &str = "a_file_system_that_turns_read_only_is_said_and_the_next_start_stores_every_window";
    if !can_run(TEST, &TOOLS) || !can_run(TEST, &["mkfs.ext4", "e2fsck", "losetup"]) {
        return;
    }
    if !output(Command::new("losetup").arg("-f")).status.success() {
        println!("not run: {TEST}: there is no loop device");
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let disk = Disk::ext4(folder.path());
    let pair = Pair::silent();
    let config = folder.path().join("nta.toml");
    std::fs::write(&config, format!("[store]\nspool = \"{}\"\n", folder.path().join("spool").display()))
        .expect("a file");
    let config = ["--config", config.to_str().expect("UTF-8")];
    let start = || {
        // In this mount namespace, so that it is here that the file system is busy with it.
        let database = format!("sqlite:{}", disk.database().display());
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", pair.inside.name())).arg(binary());
        command.args(["run", "--interface", "v0", "--window", "1", "--listen", LISTEN, "--database", &database]);
        Daemon::start_command(&pair.inside, folder.path(), command.args(config))
    };
    let mut daemon = start();
    let mut sent = 0;
    send_until(&daemon, &pair, ("windows", 3), &mut sent);
    // Nothing is written between the last write that reaches the disk and the failure.
    daemon.process.signal("STOP");
    disk.fails();
    daemon.process.signal("CONT");
    let health = wait_for_health(&pair, 200, "wait on disk");
    assert_eq!(health["status"], "degraded", "{health}");
    let store = send_until(&daemon, &pair, ("batches_waiting", 3), &mut sent);
    assert_eq!((number(&store["batches_in_memory"]), number(&store["batches_lost"])), (0, 0), "{store}");
    let error = store["last_error"].as_str().unwrap_or_default();
    assert!(error.contains("readonly database"), "{error}");
    assert!(daemon.process.stop("TERM", SOON).success(), "{}", daemon.process.log());

    disk.is_repaired();
    let mut daemon = start();
    wait_for("batches that came back", SOON, || {
        let store = daemon.status()["store"].clone();
        (number(&store["batches_waiting"]) == 0 && number(&store["batches"]) > 3).then_some(())
    });
    assert!(daemon.process.stop("TERM", SOON).success());
    all_windows_are_stored(&disk.database(), sent, "after the repair");
}

#[test]
fn a_run_whose_last_windows_neither_database_nor_spool_keeps_ends_with_status_1() {
    const TEST: &str = "a_run_whose_last_windows_neither_database_nor_spool_keeps_ends_with_status_1";
    if !can_run(TEST, &TOOLS) {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let disk = Disk::small(folder.path());
    let pair = Pair::silent();
    let mut daemon = start(&pair, folder.path(), &disk.database(), &[]);
    let mut sent = 0;
    send_until(&daemon, &pair, ("windows", 2), &mut sent);
    disk.fill();
    wait_for_health(&pair, 503, "store: ");
    wait_for("batches that nothing takes, on a disk without a free byte", SOON, || {
        disk.fill(); // what an attempt that was under way gave back
        let store = daemon.status()["store"].clone();
        (number(&store["batches_in_memory"]) > 2 && store["disk_free_bytes"] == 0).then_some(())
    });
    let status = daemon.process.stop("TERM", SOON);
    assert_eq!(status.code(), Some(1), "{}", daemon.process.log());
    let log = daemon.process.log();
    let last = log.lines().last().unwrap_or_default();
    assert!(last.contains("batches of the run are lost"), "{last}");

    // What was stored before is whole, and the next start goes on.
    disk.give_room();
    let mut daemon = start(&pair, folder.path(), &disk.database(), &[]);
    wait_for("a window", SOON, || (number(&daemon.status()["store"]["windows"]) > 0).then_some(()));
    assert!(daemon.process.stop("TERM", SOON).success());
    let windows = |columns: &str| stored(&disk.database(), &format!("SELECT {columns} FROM windows WHERE factor = 1"));
    assert_eq!(windows("count(*)"), windows("count(DISTINCT run_id * 1000000 + number)"));
    assert_eq!(stored(&disk.database(), "SELECT count(*) FROM runs WHERE end_reason = 'interrupted'"), 1);
}

#[test]
fn a_replay_that_its_disk_does_not_hold_prints_its_result_and_ends_with_status_1() {
    /// Flows of a packet each, in windows of 5 s; the database needs more than twice what the disk has for them.
    const FLOWS: u16 = 16_000;
    const TEST: &str = "a_replay_that_its_disk_does_not_hold_prints_its_result_and_ends_with_status_1";
    if !can_run(TEST, &TOOLS) {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let disk = Disk::small(folder.path());
    let frame = |number: u16| {
        let mut data = ethernet(0x0800, &ipv4(17, &[], 0, &udp(b"hello")));
        data[34..36].copy_from_slice(&(1024 + number).to_be_bytes());
        Frame::at(u64::from(number) / 80, data)
    };
    let capture = folder.path().join("flows.pcap");
    std::fs::write(&capture, pcap(ETHERNET, &(0..FLOWS).map(frame).collect::<Vec<_>>())).expect("a file");
    let replay = |database: &Path| {
        let database = format!("sqlite:{}", database.display());
        let arguments = ["replay", "--format", "json", "--database", &database];
        output(Command::new(binary()).args(arguments).arg(&capture))
    };
    let replayed = replay(&disk.database());
    let said = String::from_utf8_lossy(&replayed.stderr);
    assert_eq!(replayed.status.code(), Some(1), "{said}");
    let last = said.lines().last().unwrap_or_default();
    assert!(last.contains("batches of the run are lost"), "{last}");
    let document: Value = serde_json::from_slice(&replayed.stdout).expect("a document");
    assert_eq!(number(&document["ledger"]["total"]["seen"]), u64::from(FLOWS), "the result itself is whole");

    // With room it is analysed once more, since the database has no more than a part.
    disk.grow("64m");
    let replayed = replay(&disk.database());
    assert!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stderr));
    let runs = "SELECT max(n) FROM (SELECT count(*) AS n FROM flows GROUP BY run_id)";
    assert_eq!(stored(&disk.database(), runs), u64::from(FLOWS));
}

#[test]
fn a_database_file_that_is_deleted_is_noticed_and_made_again() {
    const TEST: &str = "a_database_file_that_is_deleted_is_noticed_and_made_again";
    if !can_run(TEST, &TOOLS) {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("nta.db");
    let pair = Pair::silent();
    let mut daemon = start(&pair, folder.path(), &database, &[]);
    wait_for("windows", SOON, || (number(&daemon.status()["store"]["windows"]) >= 2).then_some(()));
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(folder.path().join(format!("nta.db{suffix}"))); // there may be none
    }
    let before = number(&daemon.status()["store"]["windows"]);
    wait_for("windows in the new file", SOON, || {
        (number(&daemon.status()["store"]["windows"]) >= before + 3 && database.exists()).then_some(())
    });
    assert!(daemon.process.log().contains("deleted or replaced"), "it says so");
    assert!(daemon.process.stop("TERM", SOON).success());
    let windows = |columns: &str| stored(&database, &format!("SELECT {columns} FROM windows WHERE factor = 1"));
    assert_eq!(windows("max(number) - min(number) + 1"), windows("count(*)"), "no window behind the first is missing");
    assert!(windows("count(*)") >= 3 && windows("min(number)") <= before + 1);
}

#[test]
fn a_database_and_its_log_that_are_cut_to_nothing_are_set_aside_with_the_cause() {
    const TEST: &str = "a_database_and_its_log_that_are_cut_to_nothing_are_set_aside_with_the_cause";
    if !can_run(TEST, &TOOLS) {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("nta.db");
    let pair = Pair::silent();
    let mut daemon = start(&pair, folder.path(), &database, &[]);
    let mut sent = 0;
    let before = number(&send_until(&daemon, &pair, ("windows", 3), &mut sent)["windows"]);
    for suffix in ["", "-wal"] {
        let path = folder.path().join(format!("nta.db{suffix}"));
        File::options().write(true).open(path).and_then(|file| file.set_len(0)).expect("cut");
    }
    let store = wait_for("another file", SOON, || {
        let store = daemon.status()["store"].clone();
        (number(&store["database_renewals"]) == 1 && number(&store["windows"]) >= before + 3).then_some(store)
    });
    let error = store["last_error"].as_str().unwrap_or_default();
    assert!(error.contains("is damaged: it was cut from") && error.contains("nta.db.damaged-1"), "{store}");
    assert!(folder.path().join("nta.db.damaged-1").exists());
    wait_for_health(&pair, 200, "\"ok\"");
    assert!(daemon.process.stop("TERM", SOON).success(), "{}", daemon.process.log());
    let windows = |columns: &str| stored(&database, &format!("SELECT {columns} FROM windows WHERE factor = 1"));
    assert_eq!(windows("max(number) - min(number) + 1"), windows("count(*)"), "no window behind the first is missing");
    assert!(windows("count(*)") >= 3, "what was counted since is there");
    assert_eq!(stored(&database, "SELECT count(*) FROM events WHERE kind = 'store_trouble'"), 1);
}

#[test]
fn a_change_of_an_alert_on_a_full_disk_is_stored_or_refused() {
    const TEST: &str = "a_change_of_an_alert_on_a_full_disk_is_stored_or_refused";
    if !can_run(TEST, &TOOLS) {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let disk = Disk::small(folder.path());
    let inside = Namespace::new("in");
    let database = format!("sqlite:{}", disk.database().display());
    let capture = nta_tests::root().join("tests/cases/port_scan-hit/input.pcap");
    let arguments = ["replay", "--serve", "--listen", LISTEN, "--database", &database];
    let mut daemon = Daemon::start_command(&inside, folder.path(), command(&inside, &arguments).arg(capture));
    let id =
        wait_for("an alert", SOON, || daemon.try_get("/api/alerts")?["items"][0]["id"].as_str().map(str::to_owned));
    wait_for("the end of the replay", SOON, || daemon.process.log().contains("serving what was found").then_some(()));
    disk.fill();
    let notes = || stored(&disk.database(), "SELECT count(*) FROM alert_notes");
    let body = format!("{{\"note\":\"{}\"}}", "x".repeat(3900));
    let path = format!("/api/alerts/{id}");
    let mut taken = 0;
    let refused = loop {
        let (code, answer) = ask(&inside, "PATCH", &path, &body).expect("an answer");
        if code != 200 {
            break (code, answer);
        }
        taken += 1;
        assert_eq!(notes(), taken, "what was answered with 200 is there");
        assert!(taken < 200, "the disk is full");
    };
    assert!((500..600).contains(&refused.0), "{refused:?}");
    assert_eq!(notes(), taken, "what was refused is not there");
    disk.give_room();
    let (code, answer) = ask(&inside, "PATCH", &path, &body).expect("an answer");
    assert_eq!((code, notes()), (200, taken + 1), "{answer}");
    assert!(daemon.stop().success());
    assert_eq!(notes(), taken + 1);
}

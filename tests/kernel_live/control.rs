//! Capture started and stopped by request, while packets pass: what is counted, what is attached, what health says, what a restart does.

use std::time::Duration;

use nta_tests::netns::{End, Namespace, alone, silent, veth, wait_for};
use nta_tests::process::Process;
use serde_json::{Value, json};

use crate::attached::{filters, xdp};
use crate::daemon::{Daemon, command, number};
use crate::record::post;
use crate::{Pair, can_run, has_tcx, traffic};

/// Packets of [`traffic::pings`].
const PINGS: u64 = 80;
const SOON: Duration = Duration::from_secs(60);

fn start(namespace: &Namespace, body: &Value) -> (u16, Value) {
    post(namespace, "/api/control/capture/start", body)
}

fn stop(namespace: &Namespace, body: &Value) -> (u16, Value) {
    post(namespace, "/api/control/capture/stop", body)
}

fn pings(pair: &Pair) {
    traffic::pings(&pair.peer, "10.77.1.1", "fd77:1::1");
}

fn captured(daemon: &Daemon<'_>) -> Value {
    daemon.get("/api/control/capture/status")
}

/// The interfaces that are captured.
fn names(shown: &Value) -> Vec<String> {
    let all = shown["interfaces"].as_array().expect("interfaces").iter();
    let mut names: Vec<_> = all.map(|one| one["interface"].as_str().expect("a name").to_owned()).collect();
    names.sort();
    names
}

fn row(daemon: &Daemon<'_>, name: &str) -> u64 {
    let rows = daemon.status()["ledger"]["interfaces"].clone();
    let row = rows.as_array().expect("rows").iter().find(|row| row["name"] == name).cloned();
    row.map_or(0, |row| number(&row["seen"]))
}

/// Packets of all base windows: what was drained and not lost on the way.
fn in_windows(daemon: &Daemon<'_>) -> u64 {
    daemon.windows().iter().map(|window| number(&window["packets"])).sum()
}

/// The ledger balances, and windows and the flow have what it has.
fn adds_up(daemon: &Daemon<'_>, what: &str) {
    daemon.wait_for_window();
    let ledger = daemon.status()["ledger"].clone();
    assert_eq!(ledger["balanced"], true, "{what}: {ledger}");
    let counted = number(&ledger["total"]["flow"]) + number(&ledger["total"]["overflow"]);
    assert_eq!(in_windows(daemon), counted, "{what}: {ledger}");
}

/// Programs at an interface, however they are attached.
fn is_attached(namespace: &Namespace, name: &str) -> bool {
    let tcx = || namespace.shell(&format!("bpftool net show dev {name} 2>&1 || true")).contains("nta_");
    xdp(namespace, name).is_some() || filters(namespace, name) != [0, 0] || tcx()
}

#[test]
fn what_passes_while_capture_is_stopped_is_not_counted_and_all_else_is() {
    const TEST: &str = "what_passes_while_capture_is_stopped_is_not_counted_and_all_else_is";
    if !can_run(TEST, &["ping", "tc", "bpftool"]) {
        return;
    }
    let _alone = alone();
    let hooks = if has_tcx() { &["tcx", "tc", "xdp"][..] } else { &["tc"][..] };
    for attach in hooks {
        let (folder, pair) = (tempfile::tempdir().expect("a folder"), Pair::silent());
        let mut daemon = Daemon::start(&pair.inside, folder.path(), "v0", attach);
        silent(&pair.inside, "v0");
        daemon.wait_for_window();
        let (seen, first) = (row(&daemon, "v0"), captured(&daemon));
        assert_eq!((&first["running"], &first["after_restart"]), (&true.into(), &json!(["v0"])), "{attach}: {first}");
        assert!(first["interfaces"][0]["started_by"].is_null(), "{attach}: by the configuration: {first}");
        pings(&pair);
        // What was counted up to the stop is in its answer, before a window closes.
        let (status, stopped) = stop(&pair.inside, &json!({}));
        assert_eq!((status, &stopped["running"]), (200, &false.into()), "{attach}: {stopped}");
        assert_eq!(stopped["stopped"][0]["by"], "anonymous", "{attach}: {stopped}");
        assert_eq!(row(&daemon, "v0"), seen + PINGS, "{attach}");
        assert!(!is_attached(&pair.inside, "v0"), "{attach}: nothing is attached once it is answered");
        pings(&pair);
        let (status, refused) = stop(&pair.inside, &json!({}));
        assert_eq!(status, 409, "{attach}: {refused}");
        let (status, refused) = stop(&pair.inside, &json!({"interface": "v0"}));
        assert_eq!(status, 409, "{attach}: {refused}");
        let health = daemon.get("/health");
        let reason = health["reasons"][0].as_str().unwrap_or_default().to_owned();
        assert_eq!(health["status"], "degraded", "{attach}: {health}");
        assert!(reason.contains("capture stopped by request since "), "{attach}: {health}");
        adds_up(&daemon, attach);
        assert_eq!(row(&daemon, "v0"), seen + PINGS, "{attach}: nothing is counted while it is stopped");
        assert_eq!(daemon.newest_window().expect("a window")["not_whole"], "interrupted", "{attach}");

        let (status, started) = start(&pair.inside, &json!({"interface": "v0"}));
        assert_eq!((status, &started["running"]), (200, &true.into()), "{started}");
        assert_eq!(started["interfaces"][0]["packets"], 0, "{started}");
        assert_eq!(started["packets"], stopped["packets"], "the totals go on: {started}");
        silent(&pair.inside, "v0");
        let (status, refused) = start(&pair.inside, &json!({"interface": "v0"}));
        assert!(status == 409 && refused["detail"].as_str().is_some_and(|said| said.contains("v0")), "{refused}");
        let (status, refused) = start(&pair.inside, &json!({"interface": "v7"}));
        assert!(status == 422 && refused["detail"].as_str().is_some_and(|said| said.contains("v0")), "{refused}");
        pings(&pair);
        adds_up(&daemon, attach);
        assert_eq!(number(&captured(&daemon)["interfaces"][0]["packets"]), PINGS, "{attach}: since the start");
        assert_eq!(row(&daemon, "v0"), seen + 2 * PINGS, "{attach}");
        assert_eq!(daemon.get("/health")["status"], "ok", "{attach}: as the configuration says");
        // That one may have begun before the start.
        daemon.wait_for_window();
        assert!(daemon.newest_window().expect("a window")["gap_s"].is_null(), "{attach}: counted from then on");
        assert!(daemon.stop().success(), "{attach}: {}", daemon.process.log());
    }
}

#[test]
fn a_stop_amid_a_flood_loses_no_packet_and_counts_none_twice() {
    if !can_run("a_stop_amid_a_flood_loses_no_packet_and_counts_none_twice", &["ping"]) {
        return;
    }
    let _alone = alone();
    let (folder, pair) = (tempfile::tempdir().expect("a folder"), Pair::silent());
    let mut daemon = Daemon::start(&pair.inside, folder.path(), "v0", "auto");
    let mut ping = pair.peer.command("ping");
    ping.args(["-q", "-i", "0.001", "-W", "2", "-c", "20000", "10.77.1.1"]);
    let mut pings = Process::start(&mut ping, folder.path(), "ping.log");
    let mut rounds = 0;
    while pings.ended().is_none() {
        let (status, stopped) = stop(&pair.inside, &json!({"interface": "v0"}));
        assert_eq!(status, 200, "{stopped}");
        let seen = row(&daemon, "v0");
        let (status, started) = start(&pair.inside, &json!({"interface": "v0"}));
        assert_eq!(status, 200, "{started}");
        let since = number(&started["interfaces"][0]["packets"]);
        assert!(row(&daemon, "v0") >= seen, "the ledger goes on");
        assert!(since < 20_000, "counted since then, and not before: {started}");
        rounds += 1;
    }
    assert!(rounds > 2, "under traffic");
    adds_up(&daemon, "after the flood");
    let seen = row(&daemon, "v0");
    assert!((1..2 * 20_000).contains(&seen), "what passed while it was stopped is missing: {seen}");
    let flows = daemon.all("/api/flows?host=10.77.1.2&proto=icmp");
    let of_flows: u64 =
        flows.iter().flat_map(|flow| ["orig_packets", "resp_packets"].map(|side| number(&flow[side]))).sum();
    assert!(of_flows <= seen && of_flows + 100 > seen, "flows have {of_flows} of {seen}: {flows:?}");
    assert!(daemon.stop().success());
}

#[test]
fn an_interface_beside_the_configured_one_is_captured_for_a_time_and_one_order_of_two_wins() {
    const TEST: &str = "an_interface_beside_the_configured_one_is_captured_for_a_time_and_one_order_of_two_wins";
    const ECHOES: u64 = 3_000;
    if !can_run(TEST, &["ping"]) {
        return;
    }
    let _alone = alone();
    let (folder, pair) = (tempfile::tempdir().expect("a folder"), Pair::silent());
    pair.inside.ip("link add w5 type veth peer name y5");
    pair.inside.ip("link set w5 up");
    let mut daemon = Daemon::start(&pair.inside, folder.path(), "v0", "auto");
    silent(&pair.inside, "v0");
    daemon.wait_for_window();
    let seen = row(&daemon, "v0");
    let mut ping = pair.peer.command("ping");
    ping.args(["-q", "-i", "0.004", "-W", "2", "-c", &ECHOES.to_string(), "10.77.1.1"]);
    let mut pings = Process::start(&mut ping, folder.path(), "ping.log");
    // Two at once: one is carried out, the other learns that it is so already.
    let both = std::thread::scope(|scope| {
        let order = || start(&pair.inside, &json!({"interface": "w5", "duration": 8}));
        let orders = [scope.spawn(order), scope.spawn(order)];
        orders.map(|order| order.join().expect("no panic"))
    });
    let mut codes = both.clone().map(|(code, _)| code);
    codes.sort_unstable();
    assert_eq!(codes, [200, 409], "{both:?}");
    let (_, started) = both.iter().find(|(code, _)| *code == 200).expect("one");
    assert_eq!(names(started), ["v0", "w5"], "{started}");
    let ends = |of: &str| {
        let one = started["interfaces"].as_array().expect("interfaces").iter().find(|one| one["interface"] == of);
        one.is_some_and(|one| one["until"].is_string())
    };
    assert!(ends("w5") && !ends("v0"), "{started}");
    wait_for("the end of its time", SOON, || (names(&captured(&daemon)) == ["v0"]).then_some(()));
    assert_eq!(daemon.get("/health")["status"], "ok", "nobody misses it");
    assert!(daemon.process.log().contains("its time is over"), "{}", daemon.process.log());
    assert!(pings.wait(Duration::from_secs(60)).success(), "{}", pings.log());
    adds_up(&daemon, "behind it");
    assert_eq!(row(&daemon, "v0") - seen, 2 * ECHOES, "the other one missed nothing");
    assert!(daemon.stop().success());
}

#[test]
fn a_stop_holds_while_interfaces_come_and_go_and_a_restart_follows_the_configuration() {
    const TEST: &str = "a_stop_holds_while_interfaces_come_and_go_and_a_restart_follows_the_configuration";
    if !can_run(TEST, &["ping"]) {
        return;
    }
    let _alone = alone();
    let (folder, pair) = (tempfile::tempdir().expect("a folder"), Pair::silent());
    let mut daemon = Daemon::start(&pair.inside, folder.path(), "v*", "auto");
    assert_eq!(stop(&pair.inside, &json!({})).0, 200);
    daemon.wait_for_window();
    let seen = number(&daemon.status()["ledger"]["total"]["seen"]);
    pair.inside.ip("link set v0 down");
    pair.inside.ip("link set v0 up");
    pair.inside.ip("link add v5 type veth peer name y5");
    pair.inside.ip("link set v5 up");
    pair.inside.ip("link del v0");
    daemon.wait_for_window();
    veth([
        End { namespace: &pair.inside, interface: "v0", v4: "10.77.1.1", v6: "fd77:1::1" },
        End { namespace: &pair.peer, interface: "v1", v4: "10.77.1.2", v6: "fd77:1::2" },
    ]);
    pings(&pair);
    daemon.wait_for_window();
    let shown = captured(&daemon);
    assert_eq!((&shown["running"], &shown["interfaces"]), (&false.into(), &json!([])), "{shown}");
    assert_eq!(number(&daemon.status()["ledger"]["total"]["seen"]), seen, "nothing is counted");
    let health = daemon.get("/health");
    assert_eq!(
        (&health["status"], health["reasons"].as_array().map(Vec::len)),
        (&"degraded".into(), Some(1)),
        "{health}"
    );
    // One of them is captured again, and the other is said to be missing.
    assert_eq!(start(&pair.inside, &json!({"interface": "v0"})).0, 200);
    let health = daemon.get("/health");
    let reason = health["reasons"][0].as_str().unwrap_or_default();
    assert!(reason.starts_with("v5: capture stopped by request since "), "{health}");
    pair.inside.ip("link del v0");
    wait_for("the absence", SOON, || daemon.status()["failure"].as_str()?.contains("v0 does not exist").then_some(()));
    veth([
        End { namespace: &pair.inside, interface: "v0", v4: "10.77.1.1", v6: "fd77:1::1" },
        End { namespace: &pair.peer, interface: "v1", v4: "10.77.1.2", v6: "fd77:1::2" },
    ]);
    wait_for("its return", SOON, || (captured(&daemon)["interfaces"][0]["interface"] == "v0").then_some(()));
    assert!(daemon.stop().success(), "{}", daemon.process.log());
    assert!(daemon.process.log().contains("the next start captures these"), "{}", daemon.process.log());

    let mut daemon = Daemon::start(&pair.inside, folder.path(), "v*", "auto");
    let shown = captured(&daemon);
    assert_eq!(names(&shown), ["v0", "v5"], "{shown}");
    assert_eq!(shown["stopped"], json!([]), "{shown}");
    silent(&pair.inside, "v0");
    daemon.wait_for_window();
    let seen = row(&daemon, "v0");
    pings(&pair);
    daemon.wait_for_window();
    assert_eq!(row(&daemon, "v0") - seen, PINGS, "counted once");
    assert_eq!(daemon.status()["ledger"]["balanced"], true);
    assert!(daemon.stop().success());
}

#[test]
fn an_interface_of_another_daemon_is_captured_once_that_lets_go_and_no_sooner() {
    if !can_run("an_interface_of_another_daemon_is_captured_once_that_lets_go_and_no_sooner", &["ping"]) {
        return;
    }
    let _alone = alone();
    let [folder, others] = [0, 1].map(|_| tempfile::tempdir().expect("a folder"));
    let pair = Pair::silent();
    pair.inside.ip("link add w5 type veth peer name y5");
    pair.inside.ip("link set w5 up");
    let mut daemon = Daemon::start(&pair.inside, folder.path(), "v*", "auto");
    let database = format!("sqlite:{}", others.path().join("nta.db").display());
    let arguments = ["run", "--interface", "w5", "--listen", "127.0.0.1:5001", "--database", &database];
    let mut other = Process::start(&mut command(&pair.inside, &arguments), others.path(), "other.log");
    wait_for("the other one", SOON, || other.log().contains("serving").then_some(()));
    let refused = || {
        let (status, refused) = start(&pair.inside, &json!({"interface": "v5"}));
        assert_eq!(status, 409, "{refused}");
        assert!(refused["detail"].as_str().is_some_and(|said| said.contains("is watched by")), "{refused}");
    };
    let (status, answer) = start(&pair.inside, &json!({"interface": "w5"}));
    assert_eq!(status, 409, "{answer}");
    assert_eq!(daemon.get("/health")["status"], "ok", "what was refused leaves nothing behind");
    // Under this name the configuration selects it: it is tried again and again. Who holds it lets go while it is renamed, which nobody is to use.
    daemon.process.signal("STOP");
    for change in ["down", "name v5", "up"] {
        pair.inside.ip(&format!("link set {} {change}", if change == "up" { "v5" } else { "w5" }));
    }
    let of_other = |path: &str| -> Option<Value> {
        let url = format!("http://127.0.0.1:5001{path}");
        serde_json::from_slice(&pair.inside.command("curl").args(["-s", "-m", "10", &url]).output().ok()?.stdout).ok()
    };
    wait_for("the other one has it again", SOON, || {
        let has_it =
            names(&of_other("/api/control/capture/status")?) == ["v5"] && of_other("/health")?["status"] == "ok";
        has_it.then_some(())
    });
    daemon.process.signal("CONT");
    wait_for("what is tried again", SOON, || {
        let health = daemon.get("/health");
        let mut reasons = health["reasons"].as_array()?.iter().filter_map(|reason| reason.as_str());
        reasons.any(|reason| reason.contains("is watched by")).then_some(())
    });
    refused();
    assert_eq!(daemon.get("/health")["status"], "degraded", "it is still wanted");
    silent(&pair.inside, "v0");
    daemon.wait_for_window();
    let seen = row(&daemon, "v0");
    pings(&pair);
    assert!(other.stop("TERM", Duration::from_secs(10)).success(), "{}", other.log());
    let (status, started) = start(&pair.inside, &json!({"interface": "v5"}));
    // It may have been tried again in between.
    assert!(matches!(status, 200 | 409), "{started}");
    assert_eq!(names(&captured(&daemon)), ["v0", "v5"], "{started}");
    pings(&pair);
    adds_up(&daemon, "two interfaces");
    assert_eq!(row(&daemon, "v0") - seen, 2 * PINGS, "the other one missed nothing");
    assert_eq!(daemon.get("/health")["status"], "ok");
    // One that is waited for is stopped as well.
    pair.inside.ip("link del v5");
    assert_eq!(stop(&pair.inside, &json!({"interface": "v9"})).0, 422);
    assert_eq!(stop(&pair.inside, &json!({})).0, 200);
    assert!(daemon.stop().success());
}

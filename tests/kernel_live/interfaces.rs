//! Interfaces that come, go, are renamed, go down and up under the daemon: it follows them, and says what it does not count.

use std::time::Duration;

use nta_tests::is_long;
use nta_tests::netns::{End, alone, output, silent, veth, wait_for};
use nta_tests::process::Process;
use serde_json::Value;

use crate::daemon::{self, Daemon, number};
use crate::{Pair, can_run, has_tcx, traffic};

/// Packets of [`traffic::pings`].
const PINGS: u64 = 80;
/// A window, attaching, and as much again.
const SOON: Duration = Duration::from_secs(15);

#[test]
fn an_interface_that_goes_and_comes_back_is_counted_again_and_its_absence_is_said() {
    if !can_run("an_interface_that_goes_and_comes_back_is_counted_again_and_its_absence_is_said", &["ping"]) {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let pair = Pair::silent();
    let daemon = Daemon::start(&pair.inside, folder.path(), "v0", "auto");
    counts_pings(&daemon, &pair, "as made");

    pair.inside.ip("link set v0 down");
    says(&daemon, Some("v0 is down"));
    pair.inside.ip("link set v0 up");
    says(&daemon, None);

    pair.inside.ip("link set v0 down");
    pair.inside.ip("link set v0 name w0");
    pair.inside.ip("link set w0 up");
    wait_for("the new name", SOON, || (daemon.status()["interfaces"][0]["name"] == "w0").then_some(()));
    says(&daemon, None);
    pair.inside.ip("link set w0 down");
    pair.inside.ip("link set w0 name v0");
    pair.inside.ip("link set v0 up");
    wait_for("the old name", SOON, || (daemon.status()["interfaces"][0]["name"] == "v0").then_some(()));
    says(&daemon, None);

    let seen_before = seen(&daemon);
    pair.inside.ip("link del v0");
    says(&daemon, Some("v0 does not exist"));
    assert!(seen(&daemon) >= seen_before, "the ledger goes on");
    connect(&pair);
    says(&daemon, None);
    assert!(seen(&daemon) >= seen_before, "the ledger goes on");
    silent(&pair.inside, "v0");
    counts_pings(&daemon, &pair, "made anew");
    let interfaces = daemon.status()["interfaces"].clone();
    let passed = number(&interfaces[0]["nic"]["rx_packets"]);
    assert!((PINGS / 2..10_000).contains(&passed), "no counter wraps: {interfaces}");
}

#[test]
fn an_interface_that_is_absent_at_start_is_waited_for_and_patterns_name_interfaces() {
    if !can_run("an_interface_that_is_absent_at_start_is_waited_for_and_patterns_name_interfaces", &["ping"]) {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let pair = Pair::new();
    pair.inside.ip("link del v0");
    let daemon = Daemon::spawn(&pair.inside, folder.path(), "v*,!vx*", "auto");
    wait_for("a daemon that counts nothing", SOON, || {
        let (code, health) = health(&daemon, &pair)?;
        assert_eq!(code, 503, "{health}");
        health["detail"].as_str()?.contains("v*").then_some(())
    });
    pair.inside.ip("link add vx0 type bridge");
    connect(&pair);
    says(&daemon, None);
    let status = daemon.status();
    let names: Vec<&str> =
        status["interfaces"].as_array().expect("a list").iter().flat_map(|i| i["name"].as_str()).collect();
    assert_eq!(names, ["v0"]);
    silent(&pair.inside, "v0");
    counts_pings(&daemon, &pair, "appeared later");
    // A second one that is down degrades, and the first is counted on.
    pair.inside.ip("link add v5 type bridge");
    wait_for("a degraded daemon", SOON, || {
        let (code, health) = health(&daemon, &pair)?;
        (code == 200 && health["status"] == "degraded" && health["reasons"][0].as_str()?.contains("v5 is down"))
            .then_some(())
    });
    counts_pings(&daemon, &pair, "beside one that is down");
}

#[test]
fn a_name_that_no_pattern_selects_is_said_with_the_one_of_before() {
    if !can_run("a_name_that_no_pattern_selects_is_said_with_the_one_of_before", &["ping"]) {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let pair = Pair::silent();
    let daemon = Daemon::start(&pair.inside, folder.path(), "v*", "auto");
    for _ in 0..2 {
        counts_pings(&daemon, &pair, "before"); // more than it takes to notice that nothing is counted
    }
    pair.inside.ip("link set v0 down");
    pair.inside.ip("link set v0 name w0");
    says(&daemon, Some("w0 is down (v0 was renamed to w0, which v* does not select"));
    says(&daemon, Some("add w0 to capture.interfaces"));
    pair.inside.ip("link set w0 up");
    says(&daemon, None);
    for _ in 0..2 {
        daemon.wait_for_window();
        assert!(
            daemon.status()["failure"].is_null(),
            "what passed under the old name was counted: {}",
            daemon.status()
        );
    }
    assert!(daemon.process.log().contains("v0 was renamed to w0"), "{}", daemon.process.log());
    assert_eq!(daemon.status()["interfaces"][0]["name"], "w0", "it is watched until the next start");
}

#[test]
fn an_interface_that_stays_misses_nothing_while_another_one_comes_is_renamed_and_goes() {
    const TEST: &str = "an_interface_that_stays_misses_nothing_while_another_one_comes_is_renamed_and_goes";
    let echoes: u64 = if is_long() { 8_000 } else { 6_000 };
    if !can_run(TEST, &["ping"]) {
        return;
    }
    let _alone = alone();
    let hooks = if has_tcx() { &["tcx", "tc", "xdp", "xdp-generic"][..] } else { &["tc"][..] };
    for attach in hooks {
        let folder = tempfile::tempdir().expect("a folder");
        let pair = Pair::silent();
        let mut daemon = Daemon::start(&pair.inside, folder.path(), "v*", attach);
        pair.no_offloads();
        let mut ping = pair.peer.command("ping");
        ping.args(["-q", "-i", "0.002", "-W", "2", "-c", &echoes.to_string(), "10.77.1.1"]);
        let mut pings = Process::start(&mut ping, folder.path(), "ping.log");
        let names = |expected: &[&str]| {
            wait_for(&format!("{expected:?} to be watched"), SOON, || {
                let status = daemon.status();
                let names = status["interfaces"].as_array()?.iter().map(|i| i["name"].as_str().unwrap_or_default());
                names.eq(expected.iter().copied()).then_some(())
            });
        };
        let mut changes = 0;
        while pings.ended().is_none() {
            pair.inside.ip("link add v5 type veth peer name y5");
            pair.inside.ip("link set v5 up");
            names(&["v0", "v5"]);
            pair.inside.ip("link set v5 down");
            pair.inside.ip("link set v5 name v6");
            names(&["v0", "v6"]);
            pair.inside.ip("link del v6");
            names(&["v0"]);
            changes += 3;
            if changes == 3 {
                // Some go between the look that finds them and their programs' replacement.
                pair.inside.shell("for i in 10 11 12 13 14 15; do ip link add v$i type veth peer name y$i; done");
                names(&["v0", "v10", "v11", "v12", "v13", "v14", "v15"]);
                pair.inside.shell("for i in 10 11 12 13 14 15; do ip link del v$i; done");
                names(&["v0"]);
            }
        }
        assert!(pings.wait(Duration::from_secs(1)).success(), "{}", pings.log());
        assert!(pings.log().contains(&format!("{echoes} received")), "{}", pings.log());
        daemon.wait_for_window();
        println!("{attach}: {changes} changes while {} packets passed", 2 * echoes);
        assert!(changes > 3, "{attach}: changed under traffic");
        let rows = daemon.status()["ledger"]["interfaces"].clone();
        let row = |name: &str| rows.as_array().expect("rows").iter().find(|row| row["name"] == name).cloned();
        assert_eq!(number(&row("v0").expect("a row")["seen"]), 2 * echoes, "{attach}: {rows}");
        assert!(row("v5").is_some() && row("v6").is_some(), "{attach}: names of before keep their rows: {rows}");
        let flows = daemon.all("/api/flows?host=10.77.1.2&proto=icmp");
        assert_eq!(flows.len(), 1, "{attach}: the flow is whole: {flows:?}");
        let sides = ["orig_packets", "resp_packets"].map(|side| number(&flows[0][side]));
        assert_eq!(sides, [echoes, echoes], "{attach}: {}", flows[0]);
        for window in daemon.windows() {
            assert_ne!(window["not_whole"], "interrupted", "{attach}: {window}");
        }
        assert!(daemon.stop().success());
    }
}

fn connect(pair: &Pair) {
    veth([
        End { namespace: &pair.inside, interface: "v0", v4: "10.77.1.1", v6: "fd77:1::1" },
        End { namespace: &pair.peer, interface: "v1", v4: "10.77.1.2", v6: "fd77:1::2" },
    ]);
}

/// Waits until nothing else is counted any more, then holds what is counted against what is sent.
fn counts_pings(daemon: &Daemon<'_>, pair: &Pair, what: &str) {
    daemon.wait_for_window();
    let before = seen(daemon);
    traffic::pings(&pair.peer, "10.77.1.1", "fd77:1::1");
    daemon.wait_for_window();
    assert_eq!(seen(daemon) - before, PINGS, "{what}");
}

fn seen(daemon: &Daemon<'_>) -> u64 {
    number(&daemon.status()["ledger"]["total"]["seen"])
}

/// Waits until health is what it should be: 503 with this reason, or ok.
fn says(daemon: &Daemon<'_>, reason: Option<&str>) {
    wait_for(&format!("health that says {reason:?}"), SOON, || {
        let failure = daemon.status()["failure"].clone();
        match reason {
            Some(reason) => failure.as_str().is_some_and(|text| text.contains(reason)).then_some(()),
            None => (failure.is_null() && daemon.try_get("/health")?["status"] == "ok").then_some(()),
        }
    });
}

/// Status and document of the health check; `None` while nobody listens.
fn health(_daemon: &Daemon<'_>, pair: &Pair) -> Option<(u16, Value)> {
    let mut curl = pair.inside.command("curl");
    let answer = output(curl.args(["-s", "-m", "5", "-w", "\n%{http_code}", "http://127.0.0.1:5000/health"]));
    let text = String::from_utf8_lossy(&answer.stdout).into_owned();
    let (document, code) = text.rsplit_once('\n')?;
    Some((code.parse().ok().filter(|code| *code != 0)?, serde_json::from_str(document).ok()?))
}

/// A program takes the verifier half a second: what it has seen before the first hook is taken counts everywhere at once.
#[test]
fn the_hooks_of_all_interfaces_are_taken_right_after_one_another() {
    if !can_run("the_hooks_of_all_interfaces_are_taken_right_after_one_another", &[]) {
        return;
    }
    let _alone = alone();
    for attach in ["auto", "xdp", "tc"] {
        let folder = tempfile::tempdir().expect("a folder");
        let pair = Pair::silent();
        pair.inside.ip("link add v5 type veth peer name y5");
        pair.inside.ip("link set v5 up");
        let mut command = daemon::command(&pair.inside, &[]);
        command.args(daemon::arguments(folder.path(), "v*", attach)).args(["--log", "info,nta_loader=debug"]);
        let daemon = Daemon::start_command(&pair.inside, folder.path(), &mut command);
        let steps = || {
            let log = daemon.process.log();
            let steps = log.lines().filter_map(|line| match line {
                line if line.contains("program loaded") => Some('l'),
                line if line.contains(" taken") => Some('T'),
                _ => None,
            });
            steps.collect::<String>()
        };
        assert!(steps().starts_with('l') && steps().ends_with("lTTTT"), "{attach}: {}", steps());
        pair.inside.ip("link add v6 type veth peer name y6");
        pair.inside.ip("link set v6 up");
        wait_for("the third one", SOON, || {
            (daemon.status()["interfaces"].as_array().map(Vec::len) == Some(3)).then_some(())
        });
        assert!(steps().ends_with("lTT"), "{attach}: {}", steps());
    }
}

#[test]
fn what_lies_behind_the_interfaces_that_are_not_the_way_out_is_inside() {
    if !can_run("what_lies_behind_the_interfaces_that_are_not_the_way_out_is_inside", &[]) {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let pair = Pair::silent();
    for command in [
        "link add w0 type veth peer name w1",
        "addr add 203.0.113.2/24 dev w0",
        "link set w0 up",
        "link set w1 up",
        "route add default via 203.0.113.1",
        "addr add 198.51.100.1/24 dev v0",
        "route add 198.18.9.0/24 via 198.51.100.9",
    ] {
        pair.inside.ip(command);
    }
    let daemon = Daemon::start(&pair.inside, folder.path(), "v0", "auto");
    let learned = |wanted: &[&str]| {
        wait_for("the networks", SOON, || {
            let learned = daemon.status()["local_networks"]["learned"].clone();
            let has = |network: &&str| learned.as_array().is_some_and(|all| all.contains(&Value::from(*network)));
            wanted.iter().all(has).then_some(learned)
        })
    };
    let at_start = learned(&["198.18.9.0/24", "198.51.100.0/24", "203.0.113.2/32"]);
    assert!(!at_start.to_string().contains("203.0.113.0/24"), "the provider's network: {at_start}");
    // What changes is read again when an interface changes.
    pair.inside.ip("addr add 198.18.7.1/24 dev v0");
    pair.inside.ip("link set v0 mtu 1400");
    learned(&["198.18.7.0/24"]);
}

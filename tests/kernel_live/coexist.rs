//! Beside programs of others: they are named and left as they are, and each counts what it should.

use std::path::Path;

use nta_tests::netns::{Namespace, alone, output};
use serde_json::Value;

use crate::attached::xdp;
use crate::daemon::{Daemon, command, number};
use crate::foreign::{DROP, Foreign, NEXT, PASS};
use crate::{Pair, can_run, has_tcx, traffic};

/// Echoes of [`traffic::pings`], one way.
const ECHOES: u64 = 40;

#[test]
fn a_foreign_xdp_program_is_named_and_goes_on() {
    if !can_run("a_foreign_xdp_program_is_named_and_goes_on", &["python3", "ping"]) {
        return;
    }
    let _alone = alone();
    let pair = Pair::silent();
    for (name, named) in [("foreign_xdp", "program foreign_xdp id "), ("xdp_dispatcher", "libxdp's dispatcher")] {
        // A database of its own: the window that a daemon stores when it is stopped may end in the future.
        let folder = tempfile::tempdir().expect("a folder");
        let foreign = Foreign::attach(&pair.inside, folder.path(), "v0", "xdp", name, PASS);
        for attach in ["xdp", "xdp-generic"] {
            let arguments = ["run", "--dry-run", "--interface", "v0", "--attach", attach];
            let answer = output(&mut command(&pair.inside, &arguments));
            let line = String::from_utf8_lossy(&answer.stderr);
            assert_eq!(answer.status.code(), Some(1), "{line}");
            assert!(line.contains("v0") && line.contains("busy") && line.contains(named), "{line}");
        }
        pair.no_offloads();
        let mut daemon = Daemon::start(&pair.inside, folder.path(), "v0", "auto");
        counts_pings(&daemon, &pair);
        foreign.wait_count(ECHOES);
        assert!(daemon.stop().success());
    }
    // The other way round: the kernel refuses them, and ours goes on.
    let folder = tempfile::tempdir().expect("a folder");
    let daemon = Daemon::start(&pair.inside, folder.path(), "v0", "xdp");
    let program = xdp(&pair.inside, "v0");
    let mut late = Foreign::start(&pair.inside, folder.path(), "v0", "xdp", "foreign_xdp", PASS);
    assert!(!late.wait(std::time::Duration::from_secs(10)).success(), "the kernel has room for one");
    assert_eq!(xdp(&pair.inside, "v0"), program);
    counts_pings(&daemon, &pair);
}

#[test]
fn beside_programs_at_tcx_everyone_counts_everything() {
    const TEST: &str = "beside_programs_at_tcx_everyone_counts_everything";
    if !can_run(TEST, &["python3", "ping"]) || no_tcx(TEST) {
        return;
    }
    let _alone = alone();
    for (order, named) in
        [("first", "ingress: before program foreign_tcx id"), ("last", "ingress: after program foreign_tcx id")]
    {
        let folder = tempfile::tempdir().expect("a folder");
        let pair = Pair::silent();
        let early = Foreign::attach(&pair.inside, folder.path(), "v0", "tcx", "foreign_tcx", NEXT);
        let daemon = start(&pair.inside, folder.path(), order);
        let reason = reason(&daemon);
        assert!(reason.contains(named), "{order}: {reason}");
        let late = Foreign::attach(&pair.inside, folder.path(), "v0", "tcx", "foreign_late", NEXT);
        counts_pings(&daemon, &pair);
        early.wait_count(ECHOES);
        late.wait_count(ECHOES);
    }
}

#[test]
fn the_order_at_tcx_decides_whether_dropped_packets_are_seen() {
    const TEST: &str = "the_order_at_tcx_decides_whether_dropped_packets_are_seen";
    if !can_run(TEST, &["python3", "ping"]) || no_tcx(TEST) {
        return;
    }
    let _alone = alone();
    for (order, seen) in [("first", 10), ("last", 0)] {
        let folder = tempfile::tempdir().expect("a folder");
        let pair = Pair::silent();
        let foreign = Foreign::attach(&pair.inside, folder.path(), "v0", "tcx", "foreign_tcx", DROP);
        let daemon = start(&pair.inside, folder.path(), order);
        let mut ping = pair.peer.command("ping");
        let answer = output(ping.args(["-q", "-c", "10", "-i", "0.01", "-W", "1", "10.77.1.1"]));
        assert!(!answer.status.success(), "{order}: what it drops stays dropped");
        foreign.wait_count(10);
        daemon.wait_for_window();
        assert_eq!(number(&daemon.status()["ledger"]["total"]["seen"]), seen, "{order}");
    }
}

fn start<'a>(namespace: &'a Namespace, folder: &Path, order: &str) -> Daemon<'a> {
    let config = folder.join("nta.toml");
    std::fs::write(&config, format!("[capture]\ntcx_order = {order:?}\n")).expect("a configuration");
    Daemon::start_with(namespace, folder, "v0", "tcx", &config)
}

fn reason(daemon: &Daemon<'_>) -> String {
    let status = daemon.status();
    let reason = status["interfaces"].get(0).map(|interface| &interface["reason"]);
    reason.and_then(Value::as_str).unwrap_or_else(|| panic!("no reason: {status}")).to_owned()
}

fn counts_pings(daemon: &Daemon<'_>, pair: &Pair) {
    traffic::pings(&pair.peer, "10.77.1.1", "fd77:1::1");
    daemon.wait_for_window();
    assert_eq!(number(&daemon.status()["ledger"]["total"]["seen"]), 2 * ECHOES);
}

fn no_tcx(test: &str) -> bool {
    if !has_tcx() {
        println!("not run: {test}: TCX came with Linux 6.6");
    }
    !has_tcx()
}

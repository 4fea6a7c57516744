//! Every packet and byte of every flow, as tcpdump recorded them at the same time, at each hook.

use nta_tests::netns::alone;
use serde_json::Value;

use crate::capture::{Capture, Truth, counts, directions};
use crate::daemon::{Daemon, number};
use crate::{Pair, can_run, has_tcx, traffic};

/// The programs stamp packets with a clock that ticks every 1 to 10 ms, tcpdump when it gets to see them.
const TIME_TOLERANCE_S: f64 = 0.05;

#[test]
fn native_xdp_counts_what_tcpdump_counts() {
    exact("native_xdp_counts_what_tcpdump_counts", "xdp", "xdp", "wire");
}

#[test]
fn generic_xdp_counts_what_tcpdump_counts() {
    exact("generic_xdp_counts_what_tcpdump_counts", "xdp-generic", "xdp-generic", "wire");
}

#[test]
fn tcx_counts_what_tcpdump_counts() {
    if has_tcx() {
        exact("tcx_counts_what_tcpdump_counts", "tcx", "tcx", "segments");
    } else {
        println!("not run: tcx_counts_what_tcpdump_counts: TCX came with Linux 6.6");
    }
}

#[test]
fn tc_counts_what_tcpdump_counts() {
    exact("tc_counts_what_tcpdump_counts", "tc", "tc", "segments");
}

#[test]
fn auto_takes_tcx_on_veth_and_counts_what_tcpdump_counts() {
    let hook = if has_tcx() { "tcx" } else { "tc" };
    exact("auto_takes_tcx_on_veth_and_counts_what_tcpdump_counts", "auto", hook, "segments");
}

fn exact(test: &str, attach: &str, ingress: &str, basis: &str) {
    if !can_run(test, &["tcpdump", "tshark", "iperf3", "python3", "ping"]) {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let pair = Pair::silent();
    let _servers = traffic::Servers::start(&pair.inside, folder.path());
    let capture = Capture::start(&pair.inside, folder.path(), "v0");
    let mut daemon = Daemon::start(&pair.inside, folder.path(), "v0", attach);
    says_how_it_is_attached(&daemon.status(), ingress, basis);
    pair.no_offloads();

    traffic::everything(&pair.peer, "10.77.1.1", "fd77:1::1", 72);
    traffic::odd_frames(&pair.peer, "v1");

    let truth = capture.finish();
    daemon.wait_for_window();
    let flows = daemon.all("/api/alltraffic");
    let error_s = same_flows(&flows, &truth);
    same_ledger(&daemon.status(), &truth);
    let windows = daemon.windows();
    assert_eq!(windows.iter().map(|window| number(&window["packets"])).sum::<u64>(), truth.packets, "all windows");
    assert!(daemon.stop().success());
    println!(
        "{attach}: {} flows, {} packets and {} bytes as tcpdump has them; times within {:.1} ms",
        flows.len(),
        truth.packets,
        truth.bytes,
        error_s * 1000.0
    );
}

/// Before the first window is over.
fn says_how_it_is_attached(status: &Value, ingress: &str, basis: &str) {
    let interface = &status["interfaces"][0];
    assert_eq!(interface["name"], "v0", "{status}");
    assert_eq!(interface["ingress"], ingress, "{status}");
    let egress = if ingress == "tc" || !has_tcx() { "tc" } else { "tcx" };
    assert_eq!(interface["egress"], egress, "{status}");
    assert_eq!(interface["count_basis"], basis, "{status}");
    assert!(interface["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{status}");
}

/// The largest difference of a first or last time, in seconds.
fn same_flows(flows: &[Value], truth: &Truth) -> f64 {
    let ours = directions(flows);
    assert_eq!(counts(&ours), counts(&truth.directions));
    let mut largest: f64 = 0.0;
    for (key, sums) in &truth.directions {
        // A flow's times are those of both its directions.
        let (protocol, from, from_port, to, to_port) = key.clone();
        let back = truth.directions.get(&(protocol, to, to_port, from, from_port));
        let first_s = back.map_or(sums.first_s, |back| back.first_s.min(sums.first_s));
        let last_s = back.map_or(sums.last_s, |back| back.last_s.max(sums.last_s));
        let error_s = (ours[key].first_s - first_s).abs().max((ours[key].last_s - last_s).abs());
        assert!(error_s < TIME_TOLERANCE_S, "{key:?}: {:?}, tcpdump has {first_s} to {last_s}", ours[key]);
        largest = largest.max(error_s);
    }
    largest
}

fn same_ledger(status: &Value, truth: &Truth) {
    let ledger = &status["ledger"];
    assert_eq!(ledger["balanced"], true, "{ledger}");
    let ours = &ledger["interfaces"][0];
    let expected = [
        ("seen", truth.packets),
        ("seen_bytes", truth.bytes),
        ("arp", truth.arp),
        ("non_ip", truth.non_ip),
        ("flow", truth.directions.values().map(|sums| sums.packets).sum()),
        ("already_counted", 0),
    ];
    for (name, count) in expected {
        assert_eq!(number(&ours[name]), count, "{name} of {ours}");
    }
    assert_eq!((truth.arp, truth.non_ip), (2, 1), "the frames that are no IP");
}

//! A packet that a gateway forwards is counted once, where it came in.

use nta_tests::netns::{End, Namespace, alone, silent, veth};

use crate::capture::{Capture, counts, directions};
use crate::daemon::{Daemon, number};
use crate::{can_run, has_tcx, traffic};

#[test]
fn xdp_counts_a_forwarded_packet_once() {
    forwarded("xdp_counts_a_forwarded_packet_once", "xdp");
}

#[test]
fn tcx_counts_a_forwarded_packet_once() {
    if has_tcx() {
        forwarded("tcx_counts_a_forwarded_packet_once", "tcx");
    } else {
        println!("not run: tcx_counts_a_forwarded_packet_once: TCX came with Linux 6.6");
    }
}

#[test]
fn tc_counts_a_forwarded_packet_once() {
    forwarded("tc_counts_a_forwarded_packet_once", "tc");
}

fn forwarded(test: &str, attach: &str) {
    if !can_run(test, &["tcpdump", "tshark", "iperf3", "python3", "ping"]) {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let [client, gateway, server] = ["client", "gate", "server"].map(Namespace::new);
    let left = End { namespace: &gateway, interface: "left", v4: "10.77.1.1", v6: "fd77:1::1" };
    let right = End { namespace: &gateway, interface: "right", v4: "10.77.2.1", v6: "fd77:2::1" };
    // First, because a router joins more groups.
    gateway.sysctl("ipv4/ip_forward", "1");
    gateway.sysctl("ipv6/conf/all/forwarding", "1");
    veth([left, End { namespace: &client, interface: "v0", v4: "10.77.1.2", v6: "fd77:1::2" }]);
    veth([right, End { namespace: &server, interface: "v0", v4: "10.77.2.2", v6: "fd77:2::2" }]);
    for (end, via) in [(&client, left), (&server, right)] {
        end.ip(&format!("route add default via {}", via.v4));
        end.ip(&format!("-6 route add default via {}", via.v6));
    }
    silent(&gateway, "left");
    silent(&gateway, "right");
    let _servers = traffic::Servers::start(&server, folder.path());
    let captures = [left, right].map(|side| Capture::start(&gateway, folder.path(), side.interface));
    let mut daemon = Daemon::start(&gateway, folder.path(), "left,right", attach);
    for (namespace, interface) in [(&gateway, "left"), (&gateway, "right"), (&client, "v0"), (&server, "v0")] {
        namespace.no_offloads(interface);
    }

    traffic::everything(&client, "10.77.2.2", "fd77:2::2", 24);

    let [left, right] = captures.map(Capture::finish);
    daemon.wait_for_window();
    assert_eq!(counts(&left.directions), counts(&right.directions), "{attach}: both sides carry the same");
    let flows = daemon.all("/api/alltraffic");
    assert_eq!(counts(&directions(&flows)), counts(&left.directions), "{attach}");
    let status = daemon.status();
    let ledger = &status["ledger"];
    assert_eq!(ledger["balanced"], true, "{ledger}");
    assert_eq!(number(&ledger["total"]["seen"]), left.packets, "{attach}: {ledger}");
    assert_eq!(number(&ledger["total"]["already_counted"]), left.packets, "{attach}: {ledger}");
    for interface in ledger["interfaces"].as_array().expect("interfaces") {
        // What one side saw come in, the other saw go out.
        assert!(number(&interface["seen"]) > 0 && number(&interface["already_counted"]) > 0, "{attach}: {ledger}");
        assert_eq!(number(&interface["seen"]) + number(&interface["already_counted"]), left.packets, "{attach}");
    }
    assert!(daemon.stop().success());
    println!("{attach}: {} flows, {} forwarded packets, each counted once", flows.len(), left.packets);
}

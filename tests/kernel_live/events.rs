//! Events and sampling on a live interface: DNS asked by `dig`, ARP, floods beyond what limit and ring take, every Nth
//! packet. The packets are counted exactly all the while.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nta_tests::netns::alone;
use nta_tests::packet::{ethernet, ipv4, udp};
use nta_tests::pcap::{ETHERNET, Frame, pcap};
use serde_json::Value;

use crate::daemon::{Daemon, number};
use crate::{Pair, can_run, traffic};
use nta_tests::process::Process;

/// Answers every query with "no such name".
const NO_SUCH_NAME: &str = r#"
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("10.77.1.1", 53))
print("ready", flush=True)
while True:
    query, client = s.recvfrom(512)
    s.sendto(query[:2] + b"\x81\x83" + query[4:], client)
"#;
const NAMES: u64 = 20;
/// Packets of a flood: 59 MB of events, more than the ring takes between two readings.
const FLOOD: u64 = 100_000;
const FRAMES: u64 = 1_000;

#[test]
fn queries_of_dig_and_arp_arrive_as_events() {
    if !can_run("queries_of_dig_and_arp_arrive_as_events", &["dig", "python3"]) {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let pair = Pair::silent();
    let config = configuration(folder.path(), "[events]\nraw_packets = 10\n");
    let mut daemon = Daemon::start_with(&pair.inside, folder.path(), "v0", "auto", &config);
    let server = Process::start(pair.inside.command("python3").args(["-c", NO_SUCH_NAME]), folder.path(), "dns.log");
    nta_tests::netns::wait_for("a DNS server", Duration::from_secs(10), || {
        server.log().contains("ready").then_some(())
    });
    for n in 0..NAMES {
        pair.peer.run(&format!("dig @10.77.1.1 +tries=1 +time=5 name{n}.example.org"));
    }
    traffic::odd_frames(&pair.peer, "v1");
    daemon.wait_for_window();

    let status = daemon.status();
    let events = &status["events"];
    for (name, count) in [("dns_queries", NAMES), ("dns_responses", NAMES), ("dns_nxdomain", NAMES)] {
        assert_eq!(number(&events[name]), count, "{name} of {events}");
    }
    assert_eq!((number(&events["arp_requests"]), number(&events["dns_malformed"])), (2, 0), "{events}");
    assert_eq!(number(&events["kinds"]["dns"]["reported"]), 2 * NAMES, "{events}");
    let windows = daemon.windows();
    let asked: u64 = windows.iter().map(|window| number(&window["events"]["dns_queries"])).sum();
    assert_eq!(asked, NAMES, "all windows");
    let raw = number(&events["raw_packets"]);
    assert!(raw > 0 && number(&status["store"]["raw_packets"]) == raw, "{raw} heads of frames: {}", status["store"]);
    assert_eq!(status["ledger"]["balanced"], true, "{status}");
    assert!(daemon.stop().success());
}

#[test]
fn a_flood_of_dns_beyond_the_limit_costs_events_and_no_packet() {
    let limited = "[events]\ndns_per_second = 100\n";
    let test = "a_flood_of_dns_beyond_the_limit_costs_events_and_no_packet";
    let Some(ledger) = flooded(test, limited) else { return };
    assert_eq!(number(&ledger["flow"]), FLOOD, "{ledger}");
    let [reported, over, no_room] = fates(&ledger);
    assert!(reported >= 100 && over > FLOOD / 2 && no_room == 0, "{ledger}");
    assert_eq!(reported + over, FLOOD, "{ledger}");
}

#[test]
fn a_flood_of_dns_beyond_the_ring_costs_events_and_no_packet() {
    let small = "[events]\nring_mib = 1\ndns_per_second = 1000000\n";
    let test = "a_flood_of_dns_beyond_the_ring_costs_events_and_no_packet";
    let Some(ledger) = flooded(test, small) else { return };
    assert_eq!(number(&ledger["flow"]), FLOOD, "{ledger}");
    let [reported, over, no_room] = fates(&ledger);
    assert!(reported > 1000 && over == 0 && no_room > 0, "{ledger}");
    assert_eq!(reported + no_room, FLOOD, "{ledger}");
}

#[test]
fn every_fourth_packet_is_accounted_and_the_ledger_balances() {
    let test = "every_fourth_packet_is_accounted_and_the_ledger_balances";
    let Some(ledger) = flooded(test, "[capture]\nsample = 4\n") else { return };
    let parts = ["flow", "sampled_out"].map(|name| number(&ledger[name]));
    assert_eq!(parts, [FLOOD / 4, FLOOD / 4 * 3], "{ledger}");
}

/// The interface's ledger after a flood of DNS queries from one processor; it balances and has every packet.
fn flooded(test: &str, configured: &str) -> Option<Value> {
    if !can_run(test, &["tcpreplay", "taskset"]) {
        return None;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let pair = Pair::silent();
    let config = configuration(folder.path(), configured);
    let flood = folder.path().join("flood.pcap");
    std::fs::write(&flood, pcap(ETHERNET, &queries())).expect("a capture");
    let mut daemon = Daemon::start_with(&pair.inside, folder.path(), "v0", "auto", &config);
    let mut command = pair.peer.command("taskset");
    let repeat = format!("--loop={}", FLOOD / FRAMES);
    command.args(["-c", "0", "tcpreplay", "-q", "--topspeed", "--preload-pcap", &repeat, "-i", "v1"]).arg(flood);
    let mut sender = Process::start(&mut command, folder.path(), "sender.log");
    assert!(sender.wait(Duration::from_secs(60)).success(), "{}", sender.log());
    daemon.wait_for_window();
    let ledger = daemon.status()["ledger"].clone();
    assert_eq!(ledger["balanced"], true, "{ledger}");
    let interface = ledger["interfaces"][0].clone();
    assert_eq!(number(&interface["seen"]), FLOOD, "{interface}");
    assert!(daemon.stop().success());
    println!("{test}: {:?} DNS events reported, over the limit, without room", fates(&interface));
    Some(interface)
}

fn fates(ledger: &Value) -> [u64; 3] {
    ["event_dns", "event_dns_limited", "event_dns_no_room"].map(|name| number(&ledger[name]))
}

fn configuration(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("nta.toml");
    std::fs::write(&path, text).expect("a configuration");
    path
}

/// Queries to nobody for the address of a name.
fn queries() -> Vec<Frame> {
    let query = |id: u16| {
        let header = [id, 0x0100, 1, 0, 0, 0].map(u16::to_be_bytes).concat();
        let question = b"\x07example\x03org\x00\x00\x01\x00\x01";
        ethernet(0x0800, &ipv4(17, &[], 0, &udp(&[&header, &question[..]].concat())))
    };
    (0..FRAMES as u16).map(|id| Frame::at(1, query(id))).collect()
}

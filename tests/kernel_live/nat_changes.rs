//! A port forward that leads elsewhere, and then nowhere, while its caller goes on: each target has a flow of its own, and no packet is lost.

use std::time::Duration;

use nta_tests::netns::{Namespace, alone, run, wait_for};
use nta_tests::process::Process;
use serde_json::Value;

use crate::can_join;
use crate::daemon::{Daemon, STOP_DEADLINE, number};
use crate::nat::{INSIDE, OUTSIDE, SERVER, world};

/// Another host inside.
const OTHER: &str = "10.80.1.3";
/// Packets of a flow by which it is known that it goes on.
const ENOUGH: u64 = 20;

/// Answers at the port 4000 of an address, or calls the port 4001 of one fifty times a second and says how many it has sent and got.
const TALK: &str = r#"
import select, socket, sys, time
role, address = sys.argv[1:3]
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
if role == "answer":
    s.bind((address, 4000))
    print("ready", flush=True)
    while True:
        data, peer = s.recvfrom(512); s.sendto(data, peer)
s.bind(("", 5000)); s.connect((address, 4001)); s.setblocking(False)
sent = got = 0
end = time.time() + 120
while time.time() < end:
    try: s.send(b"x"); sent += 1
    except ConnectionRefusedError: pass
    select.select([s], [], [], 0.02)
    try:
        s.recv(512); got += 1
    except (BlockingIOError, ConnectionRefusedError): pass
    print(sent, got, flush=True)
    time.sleep(0.02)
"#;

/// Removes what the kernel knows of all connections (`conntrack -F`), as those that there are outlive their rules.
const FLUSH: &str = r#"
import socket, struct
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
s.send(struct.pack("=IHHII", 20, 1 << 8 | 2, 5, 1, 0) + struct.pack("=BBH", 2, 0, 0))
error, = struct.unpack_from("=i", s.recv(4096), 16)
assert error == 0, error
"#;

#[test]
fn a_port_forward_that_changes_under_traffic_is_a_flow_for_each_target() {
    let test = "a_port_forward_that_changes_under_traffic_is_a_flow_for_each_target";
    if !can_join(test, &["nft", "python3"]) {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let [client, gateway, server] = world();
    client.ip(&format!("address add {OTHER}/24 dev v0"));
    let mac = client.run("cat /sys/class/net/v0/address");
    gateway.ip(&format!("neigh replace {OTHER} lladdr {} dev left nud permanent", mac.trim()));
    forward(&gateway, Some(INSIDE[0]));
    let talk = |namespace: &Namespace, role: &str, address: &str, log: &str| {
        Process::start(namespace.command("python3").args(["-c", TALK, role, address]), folder.path(), log)
    };
    let answers = [(INSIDE[0], "first.log"), (OTHER, "second.log")].map(|(own, log)| talk(&client, "answer", own, log));
    for service in &answers {
        wait_for("the service", STOP_DEADLINE, || service.log().contains("ready").then_some(()));
    }
    let mut daemon = Daemon::start(&gateway, folder.path(), "left,right", "auto");
    let mut caller = talk(&server, "call", OUTSIDE[0], "caller.log");

    let to_first = goes_on(&daemon, INSIDE[0], true);
    forward(&gateway, Some(OTHER));
    let to_second = goes_on(&daemon, OTHER, true);
    assert_ne!(to_first, to_second);
    forward(&gateway, None);
    let to_gateway = goes_on(&daemon, OUTSIDE[0], false);
    caller.signal("KILL");
    wait_for("the caller's end", STOP_DEADLINE, || caller.ended());
    daemon.wait_for_window();
    daemon.wait_for_window();

    let flows = daemon.all("/api/alltraffic");
    let calls: Vec<&Value> = flows.iter().filter(|flow| flow["protocol"] == "udp").collect();
    let ids: Vec<&str> = calls.iter().filter_map(|flow| flow["id"].as_str()).collect();
    assert_eq!(calls.len(), 3, "a flow for each target: {calls:#?}");
    for (id, target, is_translated) in
        [(&to_first, INSIDE[0], true), (&to_second, OTHER, true), (&to_gateway, OUTSIDE[0], false)]
    {
        assert!(ids.contains(&id.as_str()), "{id} of {ids:?}");
        let flow = calls.iter().find(|flow| flow["id"] == id.as_str()).expect("the flow");
        assert_eq!((&flow["source"], &flow["destination"]), (&SERVER[0].into(), &target.into()), "{flow:#}");
        let name = &flow["destination_nat"];
        assert_eq!(name.is_object(), is_translated, "{flow:#}");
        assert!(!is_translated || name["address"] == OUTSIDE[0] && name["port"] == 4001, "{flow:#}");
        if !is_translated {
            assert_eq!(number(&flow["resp_packets"]), 0, "nobody answers there: {flow:#}");
        }
    }
    // The last line may be cut off by the caller's end.
    let log = caller.log();
    let lines: Vec<&str> = log.lines().collect();
    let whole = if log.ends_with('\n') { lines.len() } else { lines.len() - 1 };
    let said: Vec<u64> = lines[whole - 1].split(' ').filter_map(|number| number.parse().ok()).collect();
    let sums = ["orig_packets", "resp_packets"].map(|way| calls.iter().map(|flow| number(&flow[way])).sum::<u64>());
    let more = [sums[0] - said[0], sums[1] - said[1]];
    assert!(more.iter().all(|more| *more <= 1), "counted {sums:?}, the caller said {said:?}");
    let ledger = daemon.status()["ledger"].clone();
    assert_eq!(ledger["balanced"], true, "{ledger}");
    assert!(daemon.stop().success());
}

/// Leads calls of the gateway's port 4001 there, and has the kernel forget those that were led elsewhere.
fn forward(gateway: &Namespace, target: Option<&str>) {
    let rule =
        target.map(|target| format!("iifname right udp dport 4001 dnat ip to {target}:4000;")).unwrap_or_default();
    let rules = format!(
        "table inet t; flush table inet t; table inet t {{ chain in {{ type nat hook prerouting priority dstnat; {rule} }}; }}"
    );
    run(gateway.command("nft").arg(rules));
    run(gateway.command("python3").args(["-c", FLUSH]));
}

/// Waits until a call to this host goes on, and returns the flow.
fn goes_on(daemon: &Daemon<'_>, target: &str, is_answered: bool) -> String {
    wait_for(&format!("a call to {target}"), Duration::from_secs(45), || {
        let flows = daemon.all("/api/alltraffic");
        let flow = flows.iter().find(|flow| {
            let [sent, answered] = ["orig_packets", "resp_packets"].map(|way| number(&flow[way]));
            let is_of_call = flow["protocol"] == "udp" && flow["source"] == SERVER[0] && flow["destination"] == target;
            is_of_call && sent > ENOUGH && (!is_answered || answered > ENOUGH)
        })?;
        Some(flow["id"].as_str().expect("an identity").to_owned())
    })
}

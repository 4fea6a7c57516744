//! Tunnels between hosts on both sides of a gateway that translates addresses: a tunnel is one flow, and so is what it carries.

use std::path::Path;

use nta_tests::netns::{alone, run, wait_for};
use nta_tests::process::Process;
use serde_json::Value;

use crate::can_join;
use crate::daemon::{Daemon, STOP_DEADLINE, number};
use crate::nat::{INSIDE, OUTSIDE, SERVER, world};

/// Packets each way within each tunnel.
const EACH: u64 = 20;

/// Makes tunnels by hand, so that no kernel needs modules: GRE, IP in IP and VXLAN from its port to its port over IPv4, GRE over IPv6. `server`
/// sends back what it gets, its inside turned round.
const ENDS: &str = r#"
import select, socket, struct, sys
role, peers, each = sys.argv[1], sys.argv[2].split(","), int(sys.argv[3])
def inner(n, back):
    ends = [(f"172.16.{n}.1", 1000), (f"172.16.{n}.2", 2000)]
    (source, sport), (destination, dport) = reversed(ends) if back else ends
    udp = struct.pack("!HHHH", sport, dport, 12, 0) + b"data"
    return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, socket.inet_aton(source), socket.inet_aton(destination)) + udp
GRE = struct.pack("!HH", 0, 0x0800)
VXLAN = struct.pack("!II", 0x08000000, 7 << 8) + b"\2\0\0\0\0\1\2\0\0\0\0\2\x08\0"
tunnels = [(47, GRE, 0), (4, b"", 0), (17, VXLAN, 0), (47, GRE, 1)]
sockets = []
for protocol, header, v6 in tunnels:
    family = socket.AF_INET6 if v6 else socket.AF_INET
    if protocol == 17:
        s = socket.socket(family, socket.SOCK_DGRAM); s.bind(("", 4789))
    else:
        s = socket.socket(family, socket.SOCK_RAW, protocol)
    sockets.append(s)
print("ready", flush=True)
if role == "server":
    while True:
        for s in select.select(sockets, [], [])[0]:
            n = sockets.index(s)
            data, peer = s.recvfrom(2048)
            s.sendto(tunnels[n][1] + inner(n, True), peer[:2] if not tunnels[n][2] else (peer[0], 0))
for _ in range(each):
    for n, (protocol, header, v6) in enumerate(tunnels):
        sockets[n].settimeout(5)
        sockets[n].sendto(header + inner(n, False), (peers[v6], 4789 if protocol == 17 else 0))
        sockets[n].recv(2048)
"#;

#[test]
fn a_masqueraded_tunnel_is_one_flow_with_its_answers_and_carries_one() {
    let test = "a_masqueraded_tunnel_is_one_flow_with_its_answers_and_carries_one";
    if !can_join(test, &["nft", "python3"]) {
        return;
    }
    let _alone = alone();
    for attach in ["auto", "xdp"] {
        for translated in [false, true] {
            through(attach, translated);
        }
    }
}

fn through(attach: &str, translated: bool) {
    let folder = tempfile::tempdir().expect("a folder");
    let [client, gateway, server] = world();
    if translated {
        let rules =
            "table inet t { chain c { type nat hook postrouting priority srcnat; oifname right masquerade; }; }";
        run(gateway.command("nft").arg(rules));
    }
    let config = folder.path().join("nta.toml");
    std::fs::write(&config, "[capture]\ntunnels = true\n").expect("a configuration");
    let ends = |role: &str| ["-c", ENDS, role, &SERVER.join(","), &EACH.to_string()].map(str::to_owned);
    let answers = Process::start(server.command("python3").args(ends("server")), folder.path(), "server.log");
    wait_for("the server", STOP_DEADLINE, || answers.log().contains("ready").then_some(()));
    let mut daemon = Daemon::start_with(&gateway, folder.path(), "left,right", attach, Path::new(&config));

    run(client.command("python3").args(ends("client")));
    daemon.wait_for_window();

    let what = format!("{attach}, translated: {translated}");
    let flows = daemon.all("/api/alltraffic");
    let ledger = daemon.status()["ledger"].clone();
    assert_eq!(ledger["balanced"], true, "{what}: {ledger}");
    let is_of_gateway = |flow: &&Value| OUTSIDE.iter().any(|own| flow["source"] == *own || flow["destination"] == *own);
    let halves: Vec<&Value> = flows.iter().filter(is_of_gateway).collect();
    assert!(halves.is_empty(), "{what}: {halves:#?}");
    for (n, (protocol, family)) in [(47, 0), (4, 0), (17, 0), (47, 1)].into_iter().enumerate() {
        let both_ways = |flow: &Value| {
            let packets = ["orig_packets", "resp_packets"].map(|way| number(&flow[way]));
            assert_eq!(packets, [EACH; 2], "{what}: {flow:#}");
        };
        let outer = the_one(&flows, &what, |flow| {
            number(&flow["protocol_number"]) == protocol
                && flow["source"] == INSIDE[family]
                && flow["destination"] == SERVER[family]
        });
        both_ways(outer);
        assert_eq!(outer["source_nat"].is_object(), translated, "{what}: {outer:#}");
        let [from, to] = [1, 2].map(|end| format!("172.16.{n}.{end}"));
        let inner = the_one(&flows, &what, |flow| flow["source"] == *from && flow["destination"] == *to);
        both_ways(inner);
        assert_eq!(inner["tunnel_parents"], serde_json::json!([outer["id"]]), "{what}: {inner:#}\n{outer:#}");
    }
    assert!(daemon.stop().success());
}

fn the_one<'a>(flows: &'a [Value], what: &str, is: impl Fn(&Value) -> bool) -> &'a Value {
    let found: Vec<&Value> = flows.iter().filter(|flow| is(flow)).collect();
    assert_eq!(found.len(), 1, "{what}: {found:#?} of {flows:#?}");
    found[0]
}

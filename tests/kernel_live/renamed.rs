//! A gateway that translates addresses, both sides watched, on which the truth changes: names of a connection that is over are
//! nobody's, until another one has them.

use std::path::Path;
use std::time::Duration;

use nta_tests::netns::{Namespace, alone, run, wait_for};
use nta_tests::process::Process;
use serde_json::Value;

use crate::can_join;
use crate::daemon::{Daemon, STOP_DEADLINE, number};
use crate::nat::{INSIDE, OUTSIDE, SERVER, world};

/// Another host of the inside.
const OTHER: [&str; 2] = ["10.80.1.3", "fd80:1::3"];
const DATAGRAMS: u64 = 5;

const MASQUERADE: &str = "table inet t {
    chain out { type nat hook postrouting priority srcnat; oifname right masquerade; }
}
";

/// Answers the datagrams to the address and port of its arguments.
const SERVICE: &str = r#"
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], int(sys.argv[2])))
print("ready", flush=True)
while True:
    data, peer = s.recvfrom(512)
    s.sendto(data, peer)
"#;

/// Datagrams from an address and port to others, each answered before the next.
const CALL: &str = r#"
import socket, sys
source, destination, count = (sys.argv[1], int(sys.argv[2])), (sys.argv[3], int(sys.argv[4])), int(sys.argv[5])
s = socket.socket(socket.AF_INET6 if ":" in source[0] else socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(5); s.bind(source)
for n in range(count):
    s.sendto(b"q" * 48, destination); s.recv(512)
"#;

/// Connections from ports one after another, each ended by the client.
const CONNECTIONS: &str = r#"
import socket, sys
for port in range(23000, 23000 + int(sys.argv[3])):
    s = socket.socket(); s.settimeout(5); s.bind((sys.argv[1], port)); s.connect((sys.argv[2], 9443)); s.close()
"#;

const LISTENER: &str = r#"
import socket
s = socket.create_server(("", 9443), backlog=64)
print("ready", flush=True)
while True:
    c, _ = s.accept(); c.recv(1); c.close()
"#;

/// Empties the kernel's table of connections, as `conntrack -F` does.
const FORGET: &str = r#"
import socket, struct
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
s.send(struct.pack("=IHHII", 20, 1 << 8 | 2, 5, 1, 0) + bytes(4))
assert struct.unpack("=i", s.recv(100)[16:20]) == (0,)
"#;

fn rules(gateway: &Namespace, folder: &Path, text: &str) {
    let file = folder.join("rules");
    std::fs::write(&file, format!("flush ruleset\n{text}")).expect("rules");
    run(gateway.command("nft").arg("-f").arg(&file));
}

fn python(namespace: &Namespace, program: &str, arguments: &[&str]) {
    run(namespace.command("python3").args(["-c", program]).args(arguments));
}

fn ready(namespace: &Namespace, folder: &Path, program: &str, arguments: &[&str]) -> Process {
    let mut command = namespace.command("python3");
    let log = format!("{}{}.log", namespace.name(), arguments.join("-"));
    let service = Process::start(command.args(["-c", program]).args(arguments), folder, &log);
    wait_for("the service", STOP_DEADLINE, || service.log().contains("ready").then_some(()));
    service
}

/// Waits until the kernel has no connection of this port.
fn wait_until_over(gateway: &Namespace, port: &str) {
    wait_for("the end of the connections", Duration::from_secs(20), || {
        (!gateway.shell("cat /proc/net/nf_conntrack").contains(port)).then_some(())
    });
}

/// Of each flow between the server's port and whom: source, destination, packets there and back.
fn flows(daemon: &Daemon<'_>, port: u64) -> Vec<(String, String, u64, u64)> {
    let is_of = |flow: &&Value| ["source_port", "destination_port"].iter().any(|end| flow[*end].as_u64() == Some(port));
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let flows = daemon.all("/api/alltraffic");
    let mut flows: Vec<_> = flows
        .iter()
        .filter(is_of)
        .map(|flow| {
            let packets = ["orig_packets", "resp_packets"].map(|side| number(&flow[side]));
            (text(&flow["source"]), text(&flow["destination"]), packets[0], packets[1])
        })
        .collect();
    flows.sort();
    flows
}

fn flow(source: &str, destination: &str, packets: u64) -> (String, String, u64, u64) {
    (source.to_owned(), destination.to_owned(), packets, packets)
}

const TOOLS: [&str; 3] = ["nft", "python3", "nmap"];

#[test]
fn a_gateways_own_connection_is_not_that_of_a_client_whose_port_it_had() {
    if !can_join("a_gateways_own_connection_is_not_that_of_a_client_whose_port_it_had", &TOOLS) {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let [client, gateway, server] = world();
    rules(&gateway, folder.path(), MASQUERADE);
    for timeout in ["udp_timeout", "udp_timeout_stream"] {
        gateway.sysctl(&format!("netfilter/nf_conntrack_{timeout}"), "1");
    }
    let _services = SERVER.map(|address| ready(&server, folder.path(), SERVICE, &[address, "123"]));
    let daemon = Daemon::start(&gateway, folder.path(), "left,right", "auto");
    for family in 0..2 {
        python(&client, CALL, &[INSIDE[family], "123", SERVER[family], "123", "1"]);
    }
    wait_until_over(&gateway, "port=123 ");
    for family in 0..2 {
        python(&gateway, CALL, &[OUTSIDE[family], "123", SERVER[family], "123", &DATAGRAMS.to_string()]);
    }
    daemon.wait_for_window();
    let expected = [
        flow(INSIDE[0], SERVER[0], 1),
        flow(OUTSIDE[0], SERVER[0], DATAGRAMS),
        flow(INSIDE[1], SERVER[1], 1),
        flow(OUTSIDE[1], SERVER[1], DATAGRAMS),
    ];
    assert_eq!(flows(&daemon, 123), expected);
}

#[test]
fn a_server_that_a_client_called_cannot_make_it_the_target_of_a_scan() {
    if !can_join("a_server_that_a_client_called_cannot_make_it_the_target_of_a_scan", &TOOLS) {
        return;
    }
    const PORTS: u64 = 40;
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let [client, gateway, server] = world();
    rules(&gateway, folder.path(), MASQUERADE);
    for state in ["time_wait", "close", "last_ack", "fin_wait", "close_wait"] {
        gateway.sysctl(&format!("netfilter/nf_conntrack_tcp_timeout_{state}"), "1");
    }
    let _listener = ready(&server, folder.path(), LISTENER, &[]);
    let daemon = Daemon::start(&gateway, folder.path(), "left,right", "auto");
    python(&client, CONNECTIONS, &[INSIDE[0], SERVER[0], &PORTS.to_string()]);
    wait_until_over(&gateway, "port=9443 ");
    server.run(&format!("nmap -n -Pn -sS -g 9443 -p 23000-{} {}", 22999 + PORTS, OUTSIDE[0]));
    daemon.wait_for_window();
    let (mut calls, mut scanned) = (0, 0);
    for (source, destination, there, back) in flows(&daemon, 9443) {
        match (source.as_str(), destination.as_str()) {
            (source, destination) if source == INSIDE[0] && destination == SERVER[0] => {
                assert!(there >= 3 && back >= 2, "{there} {back}");
                calls += 1;
            }
            (source, destination) if source == SERVER[0] && destination == OUTSIDE[0] => scanned += 1,
            other => panic!("a flow of nobody: {other:?}"),
        }
    }
    assert_eq!((calls, scanned), (PORTS, PORTS));
    // It is told as the scan of the gateway that it is.
    let alerts = wait_for("the alert", Duration::from_secs(20), || {
        let alerts = daemon.all("/api/alerts");
        alerts.iter().any(|alert| alert["source"] == SERVER[0] && alert["destination"] == OUTSIDE[0]).then_some(alerts)
    });
    let framed: Vec<&Value> = alerts.iter().filter(|alert| alert["destination"] == INSIDE[0]).collect();
    assert!(framed.is_empty(), "{framed:#?}");
}

#[test]
fn a_port_forward_that_moves_or_goes_makes_other_flows() {
    if !can_join("a_port_forward_that_moves_or_goes_makes_other_flows", &TOOLS) {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let [client, gateway, server] = world();
    client.ip(&format!("addr add {}/24 dev v0", OTHER[0]));
    client.ip(&format!("addr add {}/64 dev v0 nodad", OTHER[1]));
    let neighbour = client.shell("cat /sys/class/net/v0/address");
    for address in OTHER {
        gateway.ip(&format!("neigh replace {address} lladdr {} dev left", neighbour.trim()));
    }
    let at = |namespace: &Namespace, hosts: [&str; 2], port: &str| {
        hosts.map(|host| ready(namespace, folder.path(), SERVICE, &[host, port]))
    };
    let _services = [at(&client, INSIDE, "9999"), at(&client, OTHER, "9999"), at(&gateway, OUTSIDE, "8080")];
    let lead_to = |hosts: Option<[&str; 2]>| {
        let forward = |[v4, v6]: [&str; 2]| {
            format!("udp dport 8080 dnat ip to {v4}:9999; udp dport 8080 dnat ip6 to [{v6}]:9999;")
        };
        let forwards = hosts.map(forward).unwrap_or_default();
        let chain = format!("chain in {{ type nat hook prerouting priority dstnat; {forwards} }}");
        rules(&gateway, folder.path(), &format!("table inet t {{\n{chain}\n}}\n"));
        python(&gateway, FORGET, &[]);
    };
    lead_to(Some(INSIDE));
    let daemon = Daemon::start(&gateway, folder.path(), "left,right", "auto");
    let mut expected = Vec::new();
    // To one host, to another, to none, and to the first again.
    for (step, hosts) in [Some(INSIDE), Some(OTHER), None, Some(INSIDE)].into_iter().enumerate() {
        if step > 0 {
            lead_to(hosts);
        }
        for family in 0..2 {
            python(&server, CALL, &[SERVER[family], "4500", OUTSIDE[family], "8080", &DATAGRAMS.to_string()]);
            expected.push(flow(SERVER[family], hosts.unwrap_or(OUTSIDE)[family], DATAGRAMS));
        }
        daemon.wait_for_window();
        expected.sort();
        assert_eq!(flows(&daemon, 4500), expected, "step {step}");
    }
}

/// Datagrams from an address and port to others, none of which is answered.
const TELL: &str = r#"
import socket, sys
source, destination, count = (sys.argv[1], int(sys.argv[2])), (sys.argv[3], int(sys.argv[4])), int(sys.argv[5])
s = socket.socket(socket.AF_INET6 if ":" in source[0] else socket.AF_INET, socket.SOCK_DGRAM)
s.bind(source)
for n in range(count): s.sendto(b"q" * 48, destination)
"#;

#[test]
fn a_connection_that_is_older_than_the_daemon_was_begun_by_whom_the_kernel_says() {
    if !can_join("a_connection_that_is_older_than_the_daemon_was_begun_by_whom_the_kernel_says", &TOOLS) {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let [client, gateway, server] = world();
    let tracking = "table inet t {\nchain f { type filter hook forward priority 0; ct state established accept; }\n}\n";
    rules(&gateway, folder.path(), tracking);
    for timeout in ["udp_timeout", "udp_timeout_stream"] {
        gateway.sysctl(&format!("netfilter/nf_conntrack_{timeout}"), "600");
    }
    let pairs = || INSIDE.into_iter().zip(SERVER);
    for (inside, outside) in pairs() {
        python(&client, TELL, &[inside, "30000", outside, "40000", "1"]);
    }
    let daemon = Daemon::start(&gateway, folder.path(), "left,right", "auto");
    for (inside, outside) in pairs() {
        python(&server, TELL, &[outside, "40000", inside, "30000", &DATAGRAMS.to_string()]);
    }
    daemon.wait_for_window();
    let answers: Vec<_> =
        pairs().map(|(inside, outside)| (inside.to_owned(), outside.to_owned(), 0, DATAGRAMS)).collect();
    assert_eq!(flows(&daemon, 40000), answers);
}

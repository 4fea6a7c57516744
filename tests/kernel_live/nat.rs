//! A gateway that translates addresses, both sides watched: what it counts and reports is the same as without translation.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use nta_tests::netns::{End, Namespace, alone, run, silent, veth, wait_for};
use nta_tests::process::Process;
use serde_json::Value;

use crate::can_join;
use crate::daemon::{Daemon, STOP_DEADLINE, number};

pub(crate) const INSIDE: [&str; 2] = ["10.80.1.2", "fd80:1::2"];
pub(crate) const SERVER: [&str; 2] = ["10.80.2.9", "fd80:2::9"];
/// The gateway's own address on the outside.
pub(crate) const OUTSIDE: [&str; 2] = ["10.80.2.1", "fd80:2::1"];
/// Addresses that the server routes to.
const BEHIND: [&str; 2] = ["10.80.9.9", "fd80:9::9"];
const DOWNLOADS: usize = 10;
const WRONG_PASSWORDS: usize = 14;

const MASQUERADE: &str = "table inet translation {
    chain out { type nat hook postrouting priority srcnat; oifname right masquerade; }
    chain in { type nat hook prerouting priority dstnat;
        iifname right udp dport 4001 dnat ip to 10.80.1.2:4000
        iifname right udp dport 4001 dnat ip6 to [fd80:1::2]:4000
        iifname right udp dport 4002 dnat ip to 10.80.1.2:4002
        iifname right udp dport 4002 dnat ip6 to [fd80:1::2]:4002
        iifname right tcp dport 8080 dnat ip to 10.80.1.2:80
        iifname right tcp dport 8080 dnat ip6 to [fd80:1::2]:80
    }
}";

/// The same by the tools and the back end before nftables.
const LEGACY: [&str; 8] = [
    "iptables-legacy -t nat -A POSTROUTING -o right -j MASQUERADE",
    "iptables-legacy -t nat -A PREROUTING -i right -p tcp --dport 8080 -j DNAT --to-destination 10.80.1.2:80",
    "iptables-legacy -t nat -A PREROUTING -i right -p udp --dport 4001 -j DNAT --to-destination 10.80.1.2:4000",
    "iptables-legacy -t nat -A PREROUTING -i right -p udp --dport 4002 -j DNAT --to-destination 10.80.1.2:4002",
    "ip6tables-legacy -t nat -A PREROUTING -i right -p udp --dport 4001 -j DNAT --to-destination [fd80:1::2]:4000",
    "ip6tables-legacy -t nat -A PREROUTING -i right -p udp --dport 4002 -j DNAT --to-destination [fd80:1::2]:4002",
    "ip6tables-legacy -t nat -A POSTROUTING -o right -j MASQUERADE",
    "ip6tables-legacy -t nat -A PREROUTING -i right -p tcp --dport 8080 -j DNAT --to-destination [fd80:1::2]:80",
];

/// Answers whatever comes to the UDP ports 53 and 4000; ends SSH's handshake after the first message, as after a password
/// that was wrong.
const SERVERS: &str = r#"
import socket, threading, time
def udp(port):
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    s.bind(("::", port))
    while True:
        data, peer = s.recvfrom(2048)
        s.sendto(data, peer)
def ssh():
    s = socket.create_server(("::", 22), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)
    def serve(c):
        c.sendall(b"SSH-2.0-OpenSSH_9.2\r\n" + b"k" * 1500)
        for size in [1521] + [100] * 5:
            c.recv(size, socket.MSG_WAITALL)
            c.sendall(b"r" * 200)
        c.close()
    while True:
        threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
for port in (53, 4000): threading.Thread(target=udp, args=(port,), daemon=True).start()
threading.Thread(target=ssh, daemon=True).start()
print("ready", flush=True)
time.sleep(600)
"#;

/// Ten DNS questions, a call of 200 datagrams a second, wrong passwords until the server ends the connection; to the address of
/// the first argument.
const CLIENT: &str = r#"
import socket, struct, sys, time
peer, passwords = sys.argv[1], int(sys.argv[2])
family = socket.AF_INET6 if ":" in peer else socket.AF_INET
for n in range(10):
    s = socket.socket(family, socket.SOCK_DGRAM); s.settimeout(2)
    s.sendto(struct.pack(">HHHHHH", n, 0x100, 1, 0, 0, 0) + b"\x07example\x03org\x00\x00\x01\x00\x01", (peer, 53)); s.recv(512); s.close()
s = socket.socket(family, socket.SOCK_DGRAM); s.settimeout(2)
for n in range(400):
    s.sendto(b"v" * 160, (peer, 4000)); s.recv(512); time.sleep(0.005)
s.close()
for n in range(passwords):
    c = socket.create_connection((peer, 22), 2)
    c.settimeout(None); c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 10, 0))
    c.recv(1521, socket.MSG_WAITALL); c.sendall(b"SSH-2.0-OpenSSH_9.2\r\n" + b"k" * 1500)
    for _ in range(5): c.recv(200, socket.MSG_WAITALL); c.sendall(b"p" * 100)
    while c.recv(4096): pass
    c.close()
"#;

/// Errors of each kind that a connection can get. `calls`, to the address of the second argument: a datagram to a closed port; one
/// and an echo whose hops end behind the gateway, on the way to the address of the third. `service`: an echo server that answers
/// when its caller is gone. `caller`, to the address and port of the arguments: one that goes at once, and a call to a closed port.
/// Each waits until the errors have come.
const ERRORS: &str = r#"
import errno, os, socket, struct, sys, time
RECVERR, HOPS = {socket.AF_INET: (0, 11), socket.AF_INET6: (41, 25)}, {socket.AF_INET: (0, 2), socket.AF_INET6: (41, 16)}
def refused(peer, port, hops=64, data=b"e", kind=(socket.SOCK_DGRAM, 0), expected=errno.ECONNREFUSED):
    family = socket.AF_INET6 if ":" in peer else socket.AF_INET
    s = socket.socket(family, *kind); s.settimeout(5)
    s.setsockopt(*RECVERR[family], 1); s.setsockopt(*HOPS[family], hops)
    s.connect((peer, port)); s.send(data)
    try: s.recv(512)
    except OSError as error: assert error.errno == expected, error
    else: raise SystemExit("no error came")
role, peer = sys.argv[1:3]
v6 = ":" in peer
if role == "calls":
    behind = sys.argv[3]
    refused(peer, 9)
    refused(behind, 9, 2, expected=errno.EHOSTUNREACH)
    protocol, echo = (socket.IPPROTO_ICMPV6, 128) if v6 else (socket.IPPROTO_ICMP, 8)
    open("/proc/sys/net/ipv4/ping_group_range", "w").write("0 0")
    refused(behind, 0, 2, struct.pack("!BBHHH", echo, 0, 0, 0, 1), (socket.SOCK_DGRAM, protocol), errno.EHOSTUNREACH)
elif role == "service":
    s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5)
    s.bind((peer, 4002))
    print("ready", flush=True)
    data, caller = s.recvfrom(512)
    s.connect(caller); s.settimeout(0.1)
    while True:
        try: s.send(data); s.recv(512)
        except TimeoutError: continue
        except ConnectionRefusedError: break
elif role == "caller":
    s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
    s.connect((peer, 4002)); s.send(b"e"); s.close()
    refused(peer, int(sys.argv[3]))
"#;

/// What a run showed: how many flows of each kind there are, and the alerts.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    flows: BTreeMap<String, usize>,
    alerts: BTreeMap<String, usize>,
}

#[test]
fn a_gateway_that_translates_shows_what_one_without_does() {
    let test = "a_gateway_that_translates_shows_what_one_without_does";
    if !can_join(test, &["nft", "nmap", "python3", "ping"]) {
        return;
    }
    let _alone = alone();
    let plain = shown(None);
    assert!(plain.alerts.keys().any(|alert| alert.starts_with("ssh_brute_force 10.80.1.2")), "{plain:?}");
    // A closed port and hops that ended, of whom the client called; a closed port, of both sides of a port forward. Those of IPv4 go
    // both ways in one flow, for type and code are the same number.
    for error in [
        "icmp 10.80.2.9 > 10.80.1.2 3 OTH ++",
        "icmp 10.80.2.9 > 10.80.1.2 0 OTH +-",
        "ipv6-icmp fd80:2::9 > fd80:1::2 4 OTH +-",
        "ipv6-icmp fd80:2::9 > fd80:1::2 0 OTH +-",
        "ipv6-icmp fd80:1::2 > fd80:2::9 4 OTH +-",
    ] {
        assert!(plain.flows.keys().any(|flow| flow.starts_with(error)), "{error}: {plain:#?}");
    }
    for attach in ["auto", "xdp"] {
        let translated = shown(Some((attach, &|gateway: &Namespace, folder: &Path| {
            let rules = folder.join("rules");
            std::fs::write(&rules, MASQUERADE).expect("rules");
            run(gateway.command("nft").arg("-f").arg(&rules));
        })));
        assert_eq!(plain, translated, "{attach}");
    }
    if crate::is_installed("iptables-legacy") {
        let legacy = shown(Some(("auto", &|gateway: &Namespace, _| {
            for line in LEGACY {
                gateway.run(line);
            }
        })));
        assert_eq!(plain, legacy, "iptables-legacy");
    } else {
        println!("not run: {test}: iptables-legacy is not installed");
    }
}

/// Client, gateway and server.
pub(crate) fn world() -> [Namespace; 3] {
    let [client, gateway, server] = ["client", "gate", "server"].map(Namespace::new);
    let left = End { namespace: &gateway, interface: "left", v4: "10.80.1.1", v6: "fd80:1::1" };
    let right = End { namespace: &gateway, interface: "right", v4: OUTSIDE[0], v6: OUTSIDE[1] };
    gateway.sysctl("ipv4/ip_forward", "1");
    gateway.sysctl("ipv6/conf/all/forwarding", "1");
    veth([left, End { namespace: &client, interface: "v0", v4: INSIDE[0], v6: INSIDE[1] }]);
    veth([right, End { namespace: &server, interface: "v0", v4: SERVER[0], v6: SERVER[1] }]);
    for (end, via) in [(&client, left), (&server, right)] {
        end.ip(&format!("route add default via {}", via.v4));
        end.ip(&format!("-6 route add default via {}", via.v6));
    }
    silent(&gateway, "left");
    silent(&gateway, "right");
    [client, gateway, server]
}

/// Masquerading and a port forward of IPv4; of IPv6 one prefix for another.
pub(crate) const PREFIX: &str = "table inet translation {
    chain out { type nat hook postrouting priority srcnat;
        oifname right meta nfproto ipv4 masquerade;
        oifname right ip6 saddr fd80:1::/64 snat ip6 prefix to fd80:5::/64;
    }
    chain in { type nat hook prerouting priority dstnat; iifname right udp dport 4001 dnat ip to 10.80.1.2:4000; }
}";

/// Sends a datagram, or a byte of a connection, twenty times a second to the address and port of its arguments, or answers
/// them at a port.
pub(crate) const TALK: &str = r#"
import socket, sys, time
kind, end = sys.argv[1], time.time() + 60
if len(sys.argv) == 3:
    address = ("::", int(sys.argv[2]))
    if kind == "tcp":
        server = socket.create_server(address, family=socket.AF_INET6, dualstack_ipv6=True)
        print("ready", flush=True)
        s, peer = server.accept()
    else:
        s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.bind(address)
        print("ready", flush=True)
    while time.time() < end:
        data, peer = s.recvfrom(512)
        s.sendall(data) if kind == "tcp" else s.sendto(data, peer)
peer = (sys.argv[2], int(sys.argv[3]))
s = socket.socket(socket.AF_INET6 if ":" in peer[0] else socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
s.connect(peer)
for n in range(1200):
    s.send(b"x"); s.recv(512)
    if n == 1: print("answered", flush=True)
    time.sleep(0.05)
"#;

#[test]
fn translated_connections_that_are_older_than_the_daemon_are_joined_with_their_answers() {
    let test = "translated_connections_that_are_older_than_the_daemon_are_joined_with_their_answers";
    if !can_join(test, &["nft", "python3", "ping"]) {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let [client, gateway, server] = world();
    let rules = folder.path().join("rules");
    std::fs::write(&rules, PREFIX).expect("rules");
    run(gateway.command("nft").arg("-f").arg(&rules));
    let talk = |namespace: &Namespace, arguments: &[&str], log: &str| {
        let mut command = namespace.command("python3");
        Process::start(command.args(["-c", TALK]).args(arguments), folder.path(), log)
    };
    let answers = [
        talk(&client, &["udp", "4000"], "forwarded.log"),
        talk(&server, &["tcp", "4000"], "tcp.log"),
        talk(&server, &["udp", "4000"], "udp.log"),
    ];
    for service in &answers {
        wait_for("the service", STOP_DEADLINE, || service.log().contains("ready").then_some(()));
    }
    let calls = [
        talk(&server, &["udp", OUTSIDE[0], "4001"], "calls.log"),
        talk(&client, &["tcp", SERVER[0], "4000"], "connection.log"),
        talk(&client, &["udp", SERVER[1], "4000"], "calls6.log"),
    ];
    for call in &calls {
        wait_for("answers", STOP_DEADLINE, || call.log().contains("answered").then_some(()));
    }
    let pings = [0, 1].map(|family| {
        let mut ping = client.command("ping");
        let arguments = ["-n", "-i", "0.05", "-c", "1200", SERVER[family]];
        Process::start(ping.args(arguments), folder.path(), &format!("ping{family}.log"))
    });
    for ping in &pings {
        wait_for("answers", STOP_DEADLINE, || ping.log().contains("icmp_seq=2").then_some(()));
    }
    let daemon = Daemon::start(&gateway, folder.path(), "left,right", "auto");
    let flows = wait_for("both directions of all", Duration::from_secs(45), || {
        let flows = daemon.all("/api/alltraffic");
        let whole = |flow: &&Value| {
            [&flow["source_nat"], &flow["destination_nat"]].iter().any(|name| name.is_object())
                && number(&flow["orig_packets"]) > 20
                && number(&flow["resp_packets"]) > 20
        };
        (flows.iter().filter(whole).count() == calls.len() + pings.len()).then_some(flows)
    });
    // From the first packet on: answers were never a flow of their own.
    let halves: Vec<&Value> =
        flows.iter().filter(|flow| flow["source_nat"].is_null() && flow["destination_nat"].is_null()).collect();
    assert!(halves.is_empty(), "{halves:#?}");
    let prefix = |flow: &&Value| flow["source_nat"]["address"] == "fd80:5::2" && flow["source"] == INSIDE[1];
    assert_eq!(flows.iter().filter(prefix).count(), 2, "{flows:#?}");
}

type Translate<'a> = (&'a str, &'a dyn Fn(&Namespace, &Path));

/// The same traffic, through a gateway that translates or does not.
fn shown(translate: Option<Translate<'_>>) -> Shown {
    let folder = tempfile::tempdir().expect("a folder");
    let [client, gateway, server] = world();
    if let Some((_, rules)) = translate {
        rules(&gateway, folder.path());
    }
    for (limit, forwarding) in
        [("ipv4/icmp_ratelimit", "ipv4/ip_forward"), ("ipv6/icmp/ratelimit", "ipv6/conf/all/forwarding")]
    {
        server.sysctl(limit, "0");
        client.sysctl(limit, "0");
        server.sysctl(forwarding, "1");
    }
    for (n, server) in SERVER.iter().enumerate() {
        gateway.ip(&format!("{}route add {} via {server}", ["", "-6 "][n], BEHIND[n]));
    }
    let serve = |namespace: &Namespace, program: &[&str], log: &str| {
        let mut command = namespace.command("python3");
        command.args(program);
        Process::start(&mut command, folder.path(), log)
    };
    let site = folder.path().to_str().expect("a path in UTF-8");
    let mut web = serve(&server, &["-m", "http.server", "--bind", "::", "--directory", site, "8000"], "web.log");
    let mut forwarded = serve(&client, &["-m", "http.server", "--bind", "::", "--directory", site, "80"], "inside.log");
    let others = serve(&server, &["-c", SERVERS], "servers.log");
    web.wait_listening(8000);
    forwarded.wait_listening(80);
    wait_for("servers", STOP_DEADLINE, || others.log().contains("ready").then_some(()));
    let mut daemon =
        Daemon::start(&gateway, folder.path(), "left,right", translate.map_or("auto", |(attach, _)| attach));

    for address in SERVER {
        for _ in 0..DOWNLOADS {
            client.run(&format!("curl -s -f -o /dev/null -m 10 http://{}:8000/", url_host(address)));
        }
        client.run(&format!("ping -q -c 5 -i 0.01 -W 2 {address}"));
        run(client.command("python3").args(["-c", CLIENT, address, &WRONG_PASSWORDS.to_string()]));
    }
    let service = |n: usize| match translate {
        Some(_) => format!("{}:8080", url_host(OUTSIDE[n])),
        None => format!("{}:80", url_host(INSIDE[n])),
    };
    for n in 0..2 {
        server.run(&format!("curl -s -f -o /dev/null -m 10 http://{}/", service(n)));
    }
    let errors = |namespace: &Namespace, arguments: &[&str]| {
        run(namespace.command("python3").args(["-c", ERRORS]).args(arguments));
    };
    for (n, address) in SERVER.iter().enumerate() {
        errors(&client, &["calls", address, BEHIND[n]]);
        let (called, closed) = if translate.is_some() { (OUTSIDE[n], "4001") } else { (INSIDE[n], "4000") };
        let mut waiting = serve(&client, &["-c", ERRORS, "service", INSIDE[n]], &format!("service{n}.log"));
        wait_for("the service", STOP_DEADLINE, || waiting.log().contains("ready").then_some(()));
        errors(&server, &["caller", called, closed]);
        let ended = wait_for("the error about an answer", STOP_DEADLINE, || waiting.ended());
        assert!(ended.success(), "{}", waiting.log());
    }
    client.run(&format!("nmap -n -Pn -sS -p 100-400 {}", SERVER[0]));
    server.run(&format!("nmap -n -Pn -sS -p 100-400 {}", OUTSIDE[0]));
    daemon.wait_for_window();

    let flows = daemon.all("/api/alltraffic");
    check_names(&flows, translate.is_some());
    let ledger = daemon.status()["ledger"].clone();
    assert_eq!(ledger["balanced"], true, "{ledger}");
    let alerts = daemon.all("/api/alerts");
    assert!(daemon.stop().success());
    Shown { flows: counted(flows.iter().map(flow)), alerts: counted(alerts.iter().map(alert)) }
}

fn url_host(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}

fn counted(names: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    names.fold(BTreeMap::new(), |mut counts, name| {
        *counts.entry(name).or_default() += 1;
        counts
    })
}

/// Between whom, to which service, how it went, whether both directions and both round trips were seen.
fn flow(flow: &Value) -> String {
    let text = |key: &str| flow[key].as_str().unwrap_or("-").to_owned();
    let seen = |key: &str| if number(&flow[key]) > 0 { "+" } else { "-" };
    let round_trips = ["resp_rtt_ms", "orig_rtt_ms"].map(|key| u8::from(flow["tcp"]["handshake"][key].is_number()));
    format!(
        "{} {} > {} {} {} {}{} {round_trips:?}",
        text("protocol"),
        text("source"),
        text("destination"),
        flow["destination_port"],
        text("conn_state"),
        seen("orig_packets"),
        seen("resp_packets"),
    )
}

fn alert(alert: &Value) -> String {
    let text = |key: &str| alert[key].as_str().unwrap_or("-").to_owned();
    format!("{} {} > {} {}", text("type"), text("source"), text("destination"), text("severity"))
}

/// Each flow that went through the gateway carries the name that it has on the other side, where there is one.
fn check_names(flows: &[Value], translated: bool) {
    let through = |flow: &&Value| {
        [&flow["source"], &flow["destination"]].iter().any(|end| INSIDE.contains(&end.as_str().unwrap_or("")))
    };
    let mut seen = 0;
    // Errors have no other name: the gateway gives them to whom they are about.
    let is_error = |flow: &&Value| match flow["protocol"].as_str() {
        Some("icmp") => [3, 11].contains(&number(&flow["source_port"])),
        Some("ipv6-icmp") => number(&flow["source_port"]) < 128,
        _ => false,
    };
    for flow in flows.iter().filter(through).filter(|flow| !is_error(flow)) {
        let inside_began = INSIDE.contains(&flow["source"].as_str().unwrap_or(""));
        let name = if inside_began { &flow["source_nat"] } else { &flow["destination_nat"] };
        if !translated {
            assert!(name.is_null(), "{flow}");
            continue;
        }
        assert!(OUTSIDE.contains(&name["address"].as_str().unwrap_or("")), "{flow}");
        if !inside_began {
            let ports = (number(&name["port"]), number(&flow["destination_port"]));
            assert!([(8080, 80), (4001, 4000), (4002, 4002)].contains(&ports), "{flow}");
        }
        seen += 1;
    }
    assert!(!translated || seen > 2 * DOWNLOADS, "{seen} translated flows");
}

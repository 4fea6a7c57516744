//! Every way in which a packet passes several interfaces of a gateway: it is counted once, whichever of them are watched.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use nta_tests::netns::{Namespace, alone, output, run};
use nta_tests::process::Process;

use crate::can_run;
use crate::capture::{Capture, Direction, Sums, directions};
use crate::daemon::Daemon;

const CLIENT: &str = "10.81.1.2";
const PINGS: u32 = 100;

/// A gateway between the client on `left` and the server on `right`.
struct Gateway {
    name: &'static str,
    /// What `ip` is told in the gateway, and after that in the server.
    gateway: &'static [&'static str],
    server: &'static [&'static str],
    /// Where the client calls the server.
    called: &'static str,
    masquerade: bool,
    watched: &'static [&'static str],
}

const ROUTED: &[&str] = &["address add 10.81.2.9/24 dev v0", "route add default via 10.81.2.1"];
const GATEWAYS: &[Gateway] = &[
    Gateway {
        name: "two routed interfaces",
        gateway: &["address add 10.81.1.1/24 dev left", "address add 10.81.2.1/24 dev right"],
        server: ROUTED,
        called: "10.81.2.9",
        masquerade: false,
        watched: &["left,right", "left", "right"],
    },
    Gateway {
        name: "a port of a bridge beside a routed interface",
        gateway: &[
            "link add br0 type bridge",
            "link set left master br0",
            "link set br0 up",
            "address add 10.81.1.1/24 dev br0",
            "address add 10.81.2.1/24 dev right",
        ],
        server: ROUTED,
        called: "10.81.2.9",
        masquerade: false,
        watched: &["left,right", "br0,right", "left,br0,right", "left,br0"],
    },
    Gateway {
        name: "a port of a bridge beside a masquerading interface",
        gateway: &[
            "link add br0 type bridge",
            "link set left master br0",
            "link set br0 up",
            "address add 10.81.1.1/24 dev br0",
            "address add 10.81.2.1/24 dev right",
        ],
        server: ROUTED,
        called: "10.81.2.9",
        masquerade: true,
        watched: &["left,right", "left,br0,right"],
    },
    Gateway {
        name: "two ports of a bridge",
        gateway: &[
            "link add br0 type bridge",
            "link set left master br0",
            "link set right master br0",
            "link set br0 up",
        ],
        server: &["address add 10.81.1.9/24 dev v0"],
        called: "10.81.1.9",
        masquerade: false,
        watched: &["left,right", "left,right,br0", "left,br0"],
    },
    Gateway {
        name: "a macvlan",
        gateway: &[
            "link add mv0 link left type macvlan mode bridge",
            "link set mv0 up",
            "address add 10.81.1.1/24 dev mv0",
            "address add 10.81.2.1/24 dev right",
        ],
        server: ROUTED,
        called: "10.81.2.9",
        masquerade: false,
        watched: &["left,mv0,right", "mv0,right", "left,right"],
    },
    Gateway {
        name: "an ipvlan",
        gateway: &[
            "link add iv0 link left type ipvlan mode l2",
            "link set iv0 up",
            "address add 10.81.1.1/24 dev iv0",
            "address add 10.81.2.1/24 dev right",
        ],
        server: ROUTED,
        called: "10.81.2.9",
        masquerade: false,
        watched: &["left,iv0,right", "iv0,right", "left,right"],
    },
    Gateway {
        name: "a VLAN",
        gateway: &[
            "link add right.10 link right type vlan id 10",
            "link set right.10 up",
            "address add 10.81.1.1/24 dev left",
            "address add 10.81.2.1/24 dev right.10",
        ],
        server: &[
            "link add v0.10 link v0 type vlan id 10",
            "link set v0.10 up",
            "address add 10.81.2.9/24 dev v0.10",
            "route add default via 10.81.2.1",
        ],
        called: "10.81.2.9",
        masquerade: false,
        watched: &["left,right,right.10", "left,right.10", "left,right"],
    },
    Gateway {
        name: "a bond",
        gateway: &[
            "link add bond0 type bond mode active-backup",
            "link set right down",
            "link set right master bond0",
            "link set bond0 up",
            "address add 10.81.1.1/24 dev left",
            "address add 10.81.2.1/24 dev bond0",
        ],
        server: ROUTED,
        called: "10.81.2.9",
        masquerade: false,
        watched: &["left,right,bond0", "left,bond0", "left,right"],
    },
    Gateway {
        name: "a VRF",
        gateway: &[
            "link add red type vrf table 10",
            "link set red up",
            "link set left master red",
            "link set right master red",
            "address add 10.81.1.1/24 dev left",
            "address add 10.81.2.1/24 dev right",
        ],
        server: ROUTED,
        called: "10.81.2.9",
        masquerade: false,
        watched: &["left,right", "left,red,right"],
    },
    Gateway {
        name: "a VXLAN and what carries it",
        gateway: &[
            "address add 10.81.1.1/24 dev left",
            "address add 10.81.2.1/24 dev right",
            "link add vx0 type vxlan id 7 remote 10.81.2.9 dstport 4789 dev right",
            "link set vx0 up",
            "address add 10.81.3.1/24 dev vx0",
        ],
        server: &[
            "address add 10.81.2.9/24 dev v0",
            "link add vx0 type vxlan id 7 remote 10.81.2.1 dstport 4789 dev v0",
            "link set vx0 up",
            "address add 10.81.3.9/24 dev vx0",
            "route add default via 10.81.3.1",
        ],
        called: "10.81.3.9",
        masquerade: false,
        watched: &["left,vx0,right", "left,vx0"],
    },
];

#[test]
fn a_packet_that_passes_several_interfaces_is_counted_once() {
    let test = "a_packet_that_passes_several_interfaces_is_counted_once";
    if !can_run(test, &["tcpdump", "tshark", "python3", "ping", "nft"]) {
        return;
    }
    let _alone = alone();
    for gateway in GATEWAYS {
        for watched in gateway.watched {
            if let Err(reason) = once(gateway, watched) {
                println!("not run: {test}: {}: {reason}", gateway.name);
                break;
            }
        }
    }
}

/// Sends known traffic through a gateway, and compares what the daemon counts on these interfaces with what the client sent
/// and got.
fn once(case: &Gateway, watched: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().expect("a folder");
    let [client, gateway, server] = ["client", "gate", "server"].map(Namespace::new);
    gateway.sysctl("ipv4/ip_forward", "1");
    for (interface, end) in [("left", &client), ("right", &server)] {
        gateway.ip(&format!("link add {interface} type veth peer name v0 netns {}", end.name()));
        gateway.no_offloads(interface);
        end.no_offloads("v0");
        gateway.ip(&format!("link set {interface} up"));
        end.ip("link set v0 up");
    }
    client.ip(&format!("address add {CLIENT}/24 dev v0"));
    client.ip("route add default via 10.81.1.1");
    for (namespace, lines) in [(&gateway, case.gateway), (&server, case.server)] {
        for line in lines {
            let done = output(Command::new("ip").args(["-n", namespace.name()]).args(line.split(' ')));
            let error = String::from_utf8_lossy(&done.stderr).into_owned();
            if error.contains("Unknown device type") || error.contains("not supported") {
                return Err(format!("this kernel cannot `ip {line}`"));
            }
            assert!(done.status.success(), "ip {line}: {error}");
        }
    }
    if case.masquerade {
        let rules = "table ip t { chain c { type nat hook postrouting priority srcnat; oifname right masquerade; }; }";
        run(gateway.command("nft").arg(rules));
    }
    let mut web = server.command("python3");
    web.args(["-m", "http.server", "--directory"]).arg(site(folder.path())).arg("8000");
    let mut web = Process::start(&mut web, folder.path(), "web.log");
    web.wait_listening(8000);
    client.run(&format!("ping -q -c 1 -W 5 {}", case.called));
    let mut daemon = Daemon::start(&gateway, folder.path(), watched, "auto");
    let capture = Capture::start(&client, folder.path(), "v0");

    client.run(&format!("ping -q -c {PINGS} -i 0.005 -W 2 {}", case.called));
    client.run(&format!("curl -s -f -o /dev/null -m 10 http://{}:8000/document", case.called));
    let truth = between(case, capture.finish().directions);
    daemon.wait_for_window();

    let flows = daemon.all("/api/alltraffic");
    let what = format!("{}, {watched} watched", case.name);
    assert!(truth.len() >= 4, "{what}: {truth:?}");
    // Where only the outside of a gateway is watched, nothing differs either: both directions pass it.
    assert_eq!(between(case, directions(&flows)), truth, "{what}");
    let ledger = daemon.status()["ledger"].clone();
    assert_eq!(ledger["balanced"], true, "{what}: {ledger}");
    assert!(daemon.stop().success(), "{what}");
    println!("{what}: {} packets", truth.values().sum::<u64>());
    Ok(())
}

fn site(folder: &Path) -> std::path::PathBuf {
    let site = folder.join("site");
    std::fs::create_dir_all(&site).expect("a folder");
    std::fs::write(site.join("document"), vec![b'x'; 200_000]).expect("a document");
    site
}

/// Packets between client and server, by direction. Bytes differ from interface to interface.
fn between(case: &Gateway, all: BTreeMap<Direction, Sums>) -> BTreeMap<Direction, u64> {
    let ends = [CLIENT, case.called];
    let ours = |(_, from, _, to, _): &Direction| ends.contains(&from.as_str()) && ends.contains(&to.as_str());
    all.into_iter()
        .filter(|(direction, _)| ours(direction))
        .map(|(direction, sums)| (direction, sums.packets))
        .collect()
}

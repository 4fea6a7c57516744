//! Every way in which a packet passes several interfaces of a gateway: it is counted once, whichever of them are watched.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use nta_tests::netns::{Namespace, alone, output, run};
use nta_tests::process::Process;

use crate::capture::{Capture, Direction, directions};
use crate::daemon::Daemon;
use crate::gateways::{COMMON, Gateway, OF_MODULES};
use crate::{can_run, is_installed};

const CLIENT: &str = "10.81.1.2";
const PINGS: u32 = 100;
/// Ends of WireGuard: the word that stands for its private key in the table, and that for the public one.
const KEYS: [(&str, &str); 2] = [("GATE-KEY", "GATE-PUBLIC"), ("SERVER-KEY", "SERVER-PUBLIC")];

#[test]
fn a_packet_that_passes_several_interfaces_is_counted_once() {
    once_each("a_packet_that_passes_several_interfaces_is_counted_once", COMMON);
}

/// `cargo xtask ci` runs it in a virtual machine, whose kernel has all these modules.
#[test]
fn a_packet_that_passes_interfaces_of_modules_is_counted_once() {
    once_each("a_packet_that_passes_interfaces_of_modules_is_counted_once", OF_MODULES);
}

fn once_each(test: &str, gateways: &[Gateway]) {
    if !can_run(test, &["tcpdump", "ping"]) {
        return;
    }
    let _alone = alone();
    for gateway in gateways {
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
            if line.starts_with("wg ") && !is_installed("wg") {
                return Err("wg is not installed".to_owned());
            }
            set_up(namespace, &filled_in(line, folder.path(), &server))?;
        }
    }
    if case.masquerade {
        if !is_installed("nft") {
            return Err("nft is not installed".to_owned());
        }
        let rules = "table ip t { chain c { type nat hook postrouting priority srcnat; oifname right masquerade; }; }";
        run(gateway.command("nft").arg(rules));
    }
    let mut web = Process::start(&mut web(&server, folder.path())?, folder.path(), "web.log");
    web.wait_listening(8000);
    client.run(&format!("ping -q -c 1 -W 5 {}", case.called));
    let mut daemon = Daemon::start(&gateway, folder.path(), watched, "auto");
    let capture = Capture::start(&client, folder.path(), "v0");

    client.run(&format!("ping -q -c {PINGS} -i 0.005 -W 2 {}", case.called));
    client.run(&format!("curl -s -f -o /dev/null -m 10 http://{}:8000/document", case.called));
    let truth = between(case, packets(&capture.stop()));
    daemon.wait_for_window();

    let flows = daemon.all("/api/alltraffic");
    let what = format!("{}, {watched} watched", case.name);
    assert!(truth.len() >= 4, "{what}: {truth:?}");
    let counted = directions(&flows).into_iter().map(|(direction, sums)| (direction, sums.packets)).collect();
    // Where only the outside of a gateway is watched, nothing differs either: both directions pass it.
    assert_eq!(between(case, counted), truth, "{what}");
    let ledger = daemon.status()["ledger"].clone();
    assert_eq!(ledger["balanced"], true, "{what}: {ledger}");
    assert!(daemon.stop().success(), "{what}");
    println!("{what}: {} packets", truth.values().sum::<u64>());
    Ok(())
}

/// Runs a line of the table.
fn set_up(namespace: &Namespace, line: &str) -> Result<(), String> {
    let words: Vec<&str> = line.split(' ').collect();
    let mut command = match words[0] {
        "wg" => {
            let mut command = namespace.command("wg");
            command.args(&words[1..]);
            command
        }
        _ => {
            let mut command = Command::new("ip");
            command.args(["-n", namespace.name()]).args(words);
            command
        }
    };
    let done = output(&mut command);
    let error = String::from_utf8_lossy(&done.stderr).into_owned();
    if error.contains("Unknown device type") || error.contains("not supported") {
        return Err(format!("this kernel cannot `ip {line}`"));
    }
    assert!(done.status.success(), "{line}: {error}");
    Ok(())
}

/// A line of the table with the server's namespace and with keys, which lie in the folder.
fn filled_in(line: &str, folder: &Path, server: &Namespace) -> String {
    let mut line = line.replace("SERVER-NAMESPACE", server.name());
    for (secret, public) in KEYS.iter().filter(|_| line.starts_with("wg ")).collect::<Vec<_>>() {
        let file = folder.join(secret);
        let file = file.to_str().expect("a path in UTF-8");
        let key =
            run(Command::new("sh").args(["-c", &format!("[ -s {file} ] || wg genkey > {file}; wg pubkey < {file}")]));
        line = line.replace(secret, file).replace(public, key.trim());
    }
    line
}

/// A server of one document, by what is installed.
fn web(server: &Namespace, folder: &Path) -> Result<Command, String> {
    let site = site(folder);
    let (program, arguments): (_, &[&str]) = if is_installed("python3") {
        ("python3", &["-m", "http.server", "8000", "--directory"])
    } else if is_installed("busybox") {
        ("busybox", &["httpd", "-f", "-p", "8000", "-h"])
    } else {
        return Err("neither python3 nor busybox is installed".to_owned());
    };
    let mut command = server.command(program);
    command.args(arguments).arg(site);
    Ok(command)
}

fn site(folder: &Path) -> PathBuf {
    let site = folder.join("site");
    std::fs::create_dir_all(&site).expect("a folder");
    std::fs::write(site.join("document"), vec![b'x'; 200_000]).expect("a document");
    site
}

/// Packets of a capture by direction, as tcpdump prints them: `IP 10.0.0.1.80 > 10.0.0.2.4000: tcp 0`.
fn packets(capture: &Path) -> BTreeMap<Direction, u64> {
    let mut packets = BTreeMap::new();
    for line in run(Command::new("tcpdump").args(["-Z", "root", "-n", "-q", "-t", "-r"]).arg(capture)).lines() {
        let ["IP", from, ">", to, kind, ..] = line.split_whitespace().collect::<Vec<_>>()[..] else { continue };
        let protocol = match kind {
            "tcp" => 6,
            "ICMP" => 1,
            _ => continue,
        };
        let end = |text: &str| match text.trim_end_matches(':').rsplit_once('.') {
            Some((address, port)) if protocol == 6 => (address.to_owned(), port.parse().expect("a port")),
            _ => (text.trim_end_matches(':').to_owned(), 0),
        };
        let ((from, from_port), (to, to_port)) = (end(from), end(to));
        *packets.entry((protocol, from, from_port, to, to_port)).or_default() += 1;
    }
    packets
}

/// Packets between client and server, by direction. Bytes differ from interface to interface.
fn between(case: &Gateway, all: BTreeMap<Direction, u64>) -> BTreeMap<Direction, u64> {
    let ends = [CLIENT, case.called];
    let ours = |(_, from, _, to, _): &Direction| ends.contains(&from.as_str()) && ends.contains(&to.as_str());
    all.into_iter().filter(|(direction, _)| ours(direction)).collect()
}

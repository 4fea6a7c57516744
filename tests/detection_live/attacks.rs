//! The eight attacks with the tools that people use for them, against a daemon that runs: each is in the store in time,
//! under its name, with the right attacker.
//!
//! Two windows (10 s) after an attack has become one, the daemon must have reported it. A flood or a scan is one at once.
//! What is an attack by its nature only after a while is given that while: connections held for ten seconds, a tunnel with
//! something in it, a second forged answer.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nta_tests::netns::{Namespace, alone, run, wait_for};
use nta_tests::process::Process;

use crate::net::{Live, Network, WINDOW_S, attempt, can_run};

/// What the machine may take on top: the window's reading, the store's queue, this test's question, two busy processors.
const SLACK: Duration = Duration::from_secs(5);
const AT_ONCE: Duration = Duration::ZERO;
/// arpspoof sends its lie every two seconds; once may be a mistake.
const SPOOFING: Duration = Duration::from_secs(4);
/// iodine finds out what gets through (12 s when nothing is in its way), then the pings go through it.
const TUNNELLING: Duration = Duration::from_secs(12);
/// A tunnel, and something that goes through it as soon as it is open.
const TUNNEL: &str = "timeout 25 iodine -f -r -P secret 10.78.1.1 t.example.org & \
    for n in $(seq 30); do ping -q -c 5 -i 0.2 -s 200 -W 1 10.99.0.1; sleep 0.5; done";
/// slowhttptest needs 2 s for its connections; they count as held when they have been open for 10 s.
const HOLDING: Duration = Duration::from_secs(12);
/// nmap's tenth connection: its script opens some 30 a second.
const GUESSING: Duration = Duration::from_secs(2);
const PASSWORDS: usize = 30;

/// One attack.
struct Attack {
    kind: &'static str,
    /// How long it takes to become one.
    becomes: Duration,
    /// Whether the source is the attacker's station and not its address.
    by_mac: bool,
    /// For a shell. `exec` lets the end of the test be the tool's; other commands end by themselves.
    line: String,
}

fn attack(kind: &'static str, becomes: Duration, line: &str) -> Attack {
    Attack { kind, becomes, by_mac: false, line: line.to_owned() }
}

#[test]
fn floods_and_scans_are_reported_within_two_windows() {
    let test = "floods_and_scans_are_reported_within_two_windows";
    if !can_run(test, &["nmap", "hping3", "ping", "python3"]) {
        return;
    }
    let attacks = [
        attack("port_scan", AT_ONCE, "exec nmap -n -Pn -sS -p 1-1000 10.78.1.1"),
        attack("syn_flood", AT_ONCE, "exec hping3 -q -S -p 80 -i u1000 -c 8000 10.78.1.1"),
        attack("udp_flood", AT_ONCE, "exec hping3 -q --udp -p 9955 -d 64 -i u1000 -c 8000 10.78.1.1"),
        attack("icmp_flood", AT_ONCE, "exec ping -q -f -c 20000 10.78.1.1"),
    ];
    reported(test, &attacks, |inside, folder| vec![web(inside, folder)]);
}

#[test]
fn spoofing_and_tunnels_are_reported_when_they_have_become_attacks() {
    let test = "spoofing_and_tunnels_are_reported_when_they_have_become_attacks";
    if !can_run(test, &["arpspoof", "iodine", "iodined", "ping", "timeout"]) {
        return;
    }
    let spoof = attack("arp_spoof", SPOOFING, "exec arpspoof -i eth0 -t 10.78.1.1 10.78.1.3");
    let tunnel = attack("dns_tunnel", TUNNELLING, TUNNEL);
    reported(test, &[Attack { by_mac: true, ..spoof }, tunnel], |inside, folder| vec![tunnel_end(inside, folder)]);
}

#[test]
fn held_connections_are_reported_when_they_have_become_an_attack() {
    let test = "held_connections_are_reported_when_they_have_become_an_attack";
    if !can_run(test, &["slowhttptest", "python3", "ping"]) {
        return;
    }
    let hold = "exec slowhttptest -H -c 100 -r 50 -i 5 -l 35 -u http://10.78.1.1/";
    reported(test, &[attack("slowloris", HOLDING, hold)], |inside, folder| vec![web(inside, folder)]);
}

#[test]
fn guessed_passwords_are_reported_within_two_windows() {
    let test = "guessed_passwords_are_reported_within_two_windows";
    if !can_run(test, &["nmap", "sshd", "ssh-keygen", "ping"]) {
        return;
    }
    let lists = tempfile::tempdir().expect("a folder");
    let passwords: Vec<String> = (0..PASSWORDS).map(|n| format!("password{n}")).collect();
    let (users, words) = (write(lists.path(), "users", "root"), write(lists.path(), "words", &passwords.join("\n")));
    let lists = format!("userdb={},passdb={}", users.display(), words.display());
    let guess = format!("exec nmap -n -Pn -p 22 --script ssh-brute --script-args {lists} 10.78.1.1");
    reported(test, &[attack("ssh_brute_force", GUESSING, &guess)], |inside, folder| vec![ssh(inside, folder)]);
}

/// Runs the attacks one after the other against one daemon and the victim's servers.
fn reported(test: &str, attacks: &[Attack], servers: impl Fn(&Namespace, &Path) -> Vec<Process>) {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let network = Network::new();
    let (victim, attacker) = (&network.victim, &network.attacker);
    let _servers = servers(&victim.inside, folder.path());
    let live = Live::start(&victim.inside, folder.path());
    // Who has which address was seen before somebody says something else.
    attempt(&victim.inside, &format!("ping -q -c 2 -i 0.2 {}", network.gateway.address));
    for attack in attacks {
        let began = Instant::now();
        let mut shell = attacker.inside.command("sh");
        let _tool = Process::start(shell.args(["-c", &attack.line]), folder.path(), &format!("{}.log", attack.kind));
        let limit = attack.becomes + Duration::from_secs(2 * WINDOW_S) + SLACK;
        let alert = wait_for(&format!("an alert {}", attack.kind), limit, || {
            live.alerts().into_iter().find(|alert| alert["type"] == attack.kind)
        });
        let source = if attack.by_mac { attacker.mac } else { attacker.address };
        assert_eq!(alert["source"], source, "{}", alert["why"]["summary"]);
        println!("{test}: {} after {:.1} s", attack.kind, began.elapsed().as_secs_f64());
    }
    live.stop();
}

fn web(inside: &Namespace, folder: &Path) -> Process {
    let mut command = inside.command("python3");
    command.args(["-m", "http.server", "--directory"]).arg(folder).arg("80");
    let mut server = Process::start(&mut command, folder, "web.log");
    server.wait_listening(80);
    server
}

fn tunnel_end(inside: &Namespace, folder: &Path) -> Process {
    let mut command = inside.command("iodined");
    command.args(["-f", "-c", "-P", "secret", "10.99.0.1", "t.example.org"]);
    let server = Process::start(&mut command, folder, "tunnel.log");
    wait_for("the tunnel's end", Duration::from_secs(10), || server.log().contains("Listening to dns").then_some(()));
    server
}

fn ssh(inside: &Namespace, folder: &Path) -> Process {
    let key = folder.join("host_key");
    run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key));
    // Where it wants to lock its children in; it does not start without.
    fs::create_dir_all("/run/sshd").expect("a folder");
    let settings = "UsePAM no\nPasswordAuthentication yes\nPermitRootLogin yes\nPidFile none\nHostKey ";
    let file = write(folder, "sshd_config", &format!("{settings}{}\n", key.display()));
    let mut server = Process::start(inside.command("/usr/sbin/sshd").arg("-D").arg("-f").arg(file), folder, "ssh.log");
    server.wait_listening(22);
    server
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).expect("a file");
    path
}

//! Two processes: `nta-loader` has the rights, the daemon has none, as packages install them.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nta_tests::netns::{Namespace, alone, run, wait_for};
use nta_tests::process::Process;
use serde_json::{Value, json};

use crate::daemon::{Daemon, STOP_DEADLINE, binary, copy, number};
use crate::nat::{self, PREFIX, SERVER, TALK};
use crate::pin::{Bpffs, PINGS, flows, no_tcx, seen, windows};
use crate::record::post;
use crate::{Pair, can_join, can_run, traffic};

/// Users that exist nowhere, and share a group.
const LOADER: u32 = 64_001;
const DAEMON: u32 = 64_002;
const GROUP: u32 = 64_003;
/// What the loader has.
const CAPABILITIES: &str = "+bpf,+net_admin,+perfmon,+net_raw";

/// Folders of both processes, which anybody may enter.
struct Place {
    folder: tempfile::TempDir,
    bpffs: Bpffs,
    daemon: PathBuf,
}

impl Place {
    fn new() -> Self {
        let place =
            Self { folder: tempfile::tempdir().expect("a folder"), bpffs: Bpffs::new(), daemon: PathBuf::new() };
        let enter = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(place.folder.path(), enter.clone()).expect("rights");
        std::fs::set_permissions(place.bpffs.folder(), enter).expect("rights");
        for (folder, user) in [("loader", LOADER), ("state", DAEMON)] {
            let folder = place.folder.path().join(folder);
            std::fs::create_dir(&folder).expect("a folder");
            chown(&folder, Some(user), Some(GROUP)).expect("its owner");
        }
        std::fs::create_dir(place.bpffs.pins()).expect("a folder");
        chown(place.bpffs.pins(), Some(LOADER), Some(GROUP)).expect("its owner");
        let daemon = copy(place.folder.path());
        std::fs::copy(binary().with_file_name("nta-loader"), daemon.with_file_name("nta-loader")).expect("a copy");
        Self { daemon, ..place }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("loader/loader.sock")
    }

    /// Starts the loader, which may attach to these interfaces.
    fn loader(&self, namespace: &Namespace, interfaces: &str) -> Process {
        let config = self.folder.path().join("loader.toml");
        let (pins, socket) = (self.bpffs.pins(), self.socket());
        let text =
            format!("interfaces = {interfaces}\nmax_map_memory_mib = 128\npin_path = {pins:?}\nsocket = {socket:?}\n");
        std::fs::write(&config, text).expect("a configuration");
        let mut setpriv = namespace.command("setpriv");
        let [user, group] = [LOADER, GROUP].map(|id| id.to_string());
        setpriv.args(["--reuid", &user, "--regid", &group, "--clear-groups", "--inh-caps", CAPABILITIES]);
        setpriv.args(["--ambient-caps", CAPABILITIES, "--bounding-set", &format!("-all,{CAPABILITIES}")]);
        setpriv.arg(self.daemon.with_file_name("nta-loader")).arg("--config").arg(&config).arg("run");
        let mut loader = Process::start(&mut setpriv, self.folder.path(), "loader.log");
        wait_for("the loader", STOP_DEADLINE, || {
            assert!(loader.ended().is_none(), "{}", loader.log());
            std::os::unix::net::UnixStream::connect(self.socket()).ok()
        });
        loader
    }

    /// Starts the daemon without any right.
    fn daemon<'a>(&self, namespace: &'a Namespace, interfaces: &str, more: &str) -> Daemon<'a> {
        let config = self.folder.path().join("nta.toml");
        let text = format!("[capture]\nloader = {:?}\n{more}\n", self.socket());
        std::fs::write(&config, text).expect("a configuration");
        let database = format!("sqlite:{}", self.folder.path().join("state/nta.db").display());
        let mut setpriv = namespace.command("setpriv");
        let [user, group] = [DAEMON, GROUP].map(|id| id.to_string());
        setpriv.args(["--reuid", &user, "--regid", &group, "--clear-groups"]);
        setpriv.args(["--inh-caps", "-all", "--bounding-set", "-all", "--no-new-privs"]);
        setpriv.arg(&self.daemon).args(["run", "--interface", interfaces, "--window", "2", "--database", &database]);
        Daemon::start_command(namespace, self.folder.path(), setpriv.arg("--config").arg(&config))
    }
}

/// The effective capabilities of a process.
fn rights(pid: u32) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("its rights");
    line.trim().to_owned()
}

#[test]
fn a_daemon_without_rights_counts_each_packet_once_whoever_restarts() {
    const TEST: &str = "a_daemon_without_rights_counts_each_packet_once_whoever_restarts";
    if !can_run(TEST, &["ping", "setpriv"]) || no_tcx(TEST) {
        return;
    }
    let _alone = alone();
    let (rounds, echoes) = if nta_tests::is_long() { (100, 600_000) } else { (5, 60_000) };
    let (pair, place) = (Pair::silent(), Place::new());
    let mut loader = place.loader(&pair.inside, "[\"v*\"]");
    // Maps of another size are others, as after an update.
    let sizes = ["map_memory_mib = 32", "map_memory_mib = 16"];
    let (mut size, mut ended) = (0, 0);
    let mut daemon = place.daemon(&pair.inside, "v0", sizes[size]);
    assert_eq!(rights(daemon.process.id()), "0000000000000000", "no right at all");
    let mut ping = pair.peer.command("ping");
    ping.args(["-q", "-i", "0.001", "-W", "2", "-c", &echoes.to_string(), "10.77.1.1"]);
    let mut pings = Process::start(&mut ping, place.folder.path(), "ping.log");
    let mut done = 0;
    while done < rounds && pings.ended().is_none() {
        daemon.wait_for_window();
        let by_loader = match done % 5 {
            // As an upgrade does.
            0 => {
                assert!(daemon.stop().success(), "{}", daemon.process.log());
                ended += 1;
                false
            }
            1 => {
                let _killed = daemon.process.stop("KILL", STOP_DEADLINE);
                false
            }
            2 => {
                let _ended = loader.stop("TERM", STOP_DEADLINE);
                true
            }
            3 => {
                let _killed = daemon.process.stop("KILL", STOP_DEADLINE);
                let _ended = loader.stop("KILL", STOP_DEADLINE);
                (size, ended) = (1 - size, ended + 1);
                true
            }
            _ => {
                assert!(daemon.stop().success(), "{}", daemon.process.log());
                // What came until the programs were replaced is a flow of the maps before.
                (size, ended) = (1 - size, ended + 2);
                false
            }
        };
        if by_loader {
            loader = place.loader(&pair.inside, "[\"v*\"]");
        }
        if done % 5 != 2 {
            daemon = place.daemon(&pair.inside, "v0", sizes[size]);
        }
        done += 1;
    }
    pings.stop("INT", STOP_DEADLINE);
    let sent: u64 = {
        let log = pings.log();
        let line = log.lines().find(|line| line.contains("packets transmitted")).expect("what ping sent");
        let numbers: Vec<u64> = line.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
        numbers[0] + numbers[1]
    };
    daemon.wait_for_window();
    daemon.wait_for_window();
    println!("{done} restarts while {sent} packets passed");
    assert_eq!(done, rounds, "restarted under traffic");
    assert_eq!((windows(&daemon), flows(&daemon)), (sent, sent), "{}", daemon.process.log());
    // A clean end ends flows, and so do other maps; whatever else happens they go on over it.
    assert_eq!(daemon.all("/api/alltraffic").len(), 1 + ended, "flows");
    assert_eq!(daemon.status()["ledger"]["balanced"], true);
    assert!(daemon.stop().success());
    assert!(place.bpffs.pinned().len() >= 3, "counting goes on until the loader is told to end it");
    assert!(loader.ended().is_none(), "{}", loader.log());
}

#[test]
fn the_loader_does_what_it_is_allowed_and_says_what_it_refuses() {
    const TEST: &str = "the_loader_does_what_it_is_allowed_and_says_what_it_refuses";
    if !can_run(TEST, &["ping", "setpriv", "tcpdump"]) || no_tcx(TEST) {
        return;
    }
    let _alone = alone();
    let (pair, place) = (Pair::silent(), Place::new());
    let mut loader = place.loader(&pair.inside, "[\"v*\", \"!v8\"]");
    let log = refused_start(&place, &pair.inside, "v0,lo", "");
    assert!(log.contains("lo: `interfaces` of nta-loader's configuration"), "{log}");
    let mut daemon = place.daemon(&pair.inside, "v*", "");
    pair.inside.ip("link add v5 type veth peer name y5");
    wait_for("an interface that came", Duration::from_secs(15), || {
        let status = daemon.status();
        let interfaces = status["interfaces"].as_array()?.clone();
        interfaces.iter().any(|interface| interface["name"] == "v5").then_some(())
    });
    traffic::pings(&pair.peer, "10.77.1.1", "fd77:1::1");
    daemon.wait_for_window();
    assert_eq!(seen(&daemon), PINGS, "{}", daemon.process.log());
    // A recording, of which the kernel gives the packets to a process without the right.
    let body = json!({"interface": "v0", "filter": "icmp", "duration": 3});
    let (status, recording) = post(&pair.inside, "/api/analysis/start-tcpdump", &body);
    assert_eq!(status, 200, "{recording}");
    traffic::pings(&pair.peer, "10.77.1.1", "fd77:1::1");
    let recorded = wait_for("the end of the recording", STOP_DEADLINE, || {
        let (status, answer) = post(&pair.inside, "/api/analysis/stop-tcpdump", &json!({}));
        (status == 200).then_some(answer)
    });
    assert_eq!(number(&recorded["packets"]), PINGS / 2, "{recorded}");
    pair.inside.ip("link add v8 type veth peer name y8");
    let (status, refused) =
        post(&pair.inside, "/api/analysis/start-tcpdump", &json!({"interface": "v8", "duration": 3}));
    assert!(status >= 400 && refused.to_string().contains("nta-loader's configuration"), "{status} {refused}");
    // More memory than it allows, and a second daemon.
    assert!(daemon.stop().success());
    let log = refused_start(&place, &pair.inside, "v0", "map_memory_mib = 129");
    assert!(log.contains("map_memory_mib") && log.contains("1 to 128"), "{log}");
    let _first = place.daemon(&pair.inside, "v0", "");
    let log = refused_start(&place, &pair.inside, "v0", "");
    assert!(log.contains("another nta-daemon"), "{log}");
    // Whoever sends it nonsense is cut off, and nobody else notices.
    for nonsense in [&b"\xff\xff\xff\xff"[..], b"\0\0\0\x02{}", b"\0\0\0\x05nope!", b"GET / HTTP/1.1\r\n\r\n"] {
        let mut socket = std::os::unix::net::UnixStream::connect(place.socket()).expect("a connection");
        std::io::Write::write_all(&mut socket, nonsense).expect("sent");
        let mut rest = Vec::new();
        socket.set_read_timeout(Some(STOP_DEADLINE)).expect("a limit");
        let _cut_off = std::io::Read::read_to_end(&mut socket, &mut rest);
        assert!(rest.is_empty(), "{rest:?}");
    }
    assert!(loader.ended().is_none(), "{}", loader.log());
}

/// The log of a daemon that the loader refuses; its database is another one's.
fn refused_start(place: &Place, namespace: &Namespace, interfaces: &str, more: &str) -> String {
    let config = place.folder.path().join("refused.toml");
    let text = format!("[capture]\nloader = {:?}\n{more}\n", place.socket());
    std::fs::write(&config, text).expect("a configuration");
    let database = format!("sqlite:{}", place.folder.path().join("refused.db").display());
    let mut command = namespace.command(place.daemon.to_str().expect("a path in UTF-8"));
    command.args(["run", "--interface", interfaces, "--listen", "127.0.0.1:5001", "--database", &database, "--config"]);
    let answer = nta_tests::netns::output(command.arg(&config));
    assert_eq!(answer.status.code(), Some(1));
    String::from_utf8_lossy(&answer.stderr).into_owned()
}

#[test]
fn translated_connections_are_joined_by_the_loader() {
    const TEST: &str = "translated_connections_are_joined_by_the_loader";
    if !can_join(TEST, &["nft", "python3", "setpriv"]) || no_tcx(TEST) {
        return;
    }
    let _alone = alone();
    let place = Place::new();
    let [client, gateway, server] = nat::world();
    let rules = place.folder.path().join("rules");
    std::fs::write(&rules, PREFIX).expect("rules");
    run(gateway.command("nft").arg("-f").arg(&rules));
    let talk = |namespace: &Namespace, arguments: &[&str], log: &str| {
        let mut command = namespace.command("python3");
        Process::start(command.args(["-c", TALK]).args(arguments), place.folder.path(), log)
    };
    let services = [talk(&server, &["tcp", "4000"], "tcp.log"), talk(&server, &["udp", "4000"], "udp.log")];
    for service in &services {
        wait_for("the service", STOP_DEADLINE, || service.log().contains("ready").then_some(()));
    }
    // One is older than the daemon, the other is not.
    let call = |kind: &str| talk(&client, &[kind, SERVER[0], "4000"], &format!("call-{kind}.log"));
    let older = call("tcp");
    wait_for("answers", STOP_DEADLINE, || older.log().contains("answered").then_some(()));
    let _loader = place.loader(&gateway, "[]");
    let daemon = place.daemon(&gateway, "left,right", "");
    let _later = call("udp");
    let flows = wait_for("both directions of both", Duration::from_secs(45), || {
        let flows = daemon.all("/api/alltraffic");
        let whole = |flow: &&Value| {
            flow["source_nat"].is_object() && number(&flow["orig_packets"]) > 20 && number(&flow["resp_packets"]) > 20
        };
        (flows.iter().filter(whole).count() == 2).then_some(flows)
    });
    let halves: Vec<&Value> = flows.iter().filter(|flow| flow["source_nat"].is_null()).collect();
    assert!(halves.is_empty(), "{halves:#?}");
}

/// Nothing is asked of who may not open the socket.
#[test]
fn who_is_not_of_the_group_cannot_ask_the_loader() {
    const TEST: &str = "who_is_not_of_the_group_cannot_ask_the_loader";
    if !can_run(TEST, &["setpriv"]) || no_tcx(TEST) {
        return;
    }
    let _alone = alone();
    let (pair, place) = (Pair::new(), Place::new());
    let _loader = place.loader(&pair.inside, "[]");
    let status = |user: u32, group: u32| {
        let mut setpriv = pair.inside.command("setpriv");
        setpriv.args(["--reuid", &user.to_string(), "--regid", &group.to_string(), "--clear-groups"]);
        setpriv.arg(place.daemon.with_file_name("nta-loader")).arg("--config");
        nta_tests::netns::output(setpriv.arg(place.folder.path().join("loader.toml")).arg("status"))
    };
    assert!(status(DAEMON, GROUP).status.success());
    let stranger = status(DAEMON, 64_004);
    let said = String::from_utf8_lossy(&stranger.stderr).into_owned();
    assert!(!stranger.status.success() && said.contains("Permission denied"), "{said}");
    assert!(said.contains(&path_of(&place.socket())), "{said}");
}

fn path_of(path: &Path) -> String {
    path.display().to_string()
}

//! Pinned: packets are counted while the daemon restarts, each of them once.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nta_tests::netns::{Namespace, alone, output, run, wait_for};
use serde_json::Value;

use crate::attached::xdp;
use crate::daemon::{Daemon, command, copy, number};
use crate::foreign::{Foreign, PASS};
use crate::{Pair, can_run, has_tcx, traffic};
use nta_tests::process::Process;

/// Packets of [`traffic::pings`], both ways.
pub(crate) const PINGS: u64 = 80;

/// A BPF file system of the test's own: `ip netns exec` hides the machine's.
pub(crate) struct Bpffs {
    folder: tempfile::TempDir,
}

impl Bpffs {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        run(Command::new("mount").args(["-t", "bpf", "bpf"]).arg(folder.path()));
        Self { folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn pins(&self) -> PathBuf {
        self.folder.path().join("nta")
    }

    /// Links and folders of maps that are pinned.
    pub(crate) fn pinned(&self) -> Vec<String> {
        let folders = std::fs::read_dir(self.pins()).into_iter().flatten().flatten();
        let entries = folders.flat_map(|folder| std::fs::read_dir(folder.path()).into_iter().flatten().flatten());
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// A configuration that pins here, or does not.
    pub(crate) fn config(&self, folder: &Path, pin: bool) -> PathBuf {
        let path = folder.join("nta.toml");
        let text = format!("[capture]\npin = {pin}\npin_path = {:?}\n", self.pins());
        std::fs::write(&path, text).expect("a configuration");
        path
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.folder.path()).status(); // a panic here would hide another
    }
}

#[test]
fn what_passes_while_the_daemon_restarts_is_counted_once() {
    const TEST: &str = "what_passes_while_the_daemon_restarts_is_counted_once";
    if !can_run(TEST, &["ping"]) || no_tcx(TEST) {
        return;
    }
    let _alone = alone();
    for attach in ["tcx", "xdp", "xdp-generic"] {
        let (folder, bpffs) = (tempfile::tempdir().expect("a folder"), Bpffs::new());
        let pair = Pair::silent();
        let config = bpffs.config(folder.path(), true);
        let start = || Daemon::start_with(&pair.inside, folder.path(), "v0", attach, &config);
        let mut daemon = start();
        pair.no_offloads();
        traffic::pings(&pair.peer, "10.77.1.1", "fd77:1::1");
        assert!(daemon.stop().success());
        let log = daemon.process.log();
        let says_how = format!("doctor --detach --pin-path {}`", bpffs.pins().display());
        assert!(log.contains("stays attached") && log.contains(&says_how), "{attach}: {log}");
        assert_eq!(bpffs.pinned().len(), 3, "{attach}: two links, the maps");
        traffic::pings(&pair.peer, "10.77.1.1", "fd77:1::1");
        let mut daemon = start();
        assert!(daemon.process.log().contains("replaced the program"), "{attach}: adopted");
        daemon.wait_for_window();
        assert_eq!(seen(&daemon), PINGS, "{attach}: what passed in between, and nothing else");
        traffic::pings(&pair.peer, "10.77.1.1", "fd77:1::1");
        daemon.wait_for_window();
        assert_eq!(seen(&daemon), 2 * PINGS, "{attach}");
        assert_eq!(daemon.status()["ledger"]["balanced"], true, "{attach}");
        assert_eq!(windows(&daemon), 3 * PINGS, "{attach}: windows of both runs");
        // Nobody else gets in, and nobody takes it away, while it runs.
        detach(&pair.inside, &config, "nothing to detach");
        assert!(daemon.stop().success());
        // From another network namespace it is not removed, but named.
        let other = Namespace::new("other");
        for says in [
            "nothing to detach",
            "holds 3 pinned for the network namespace",
            &format!("ip netns exec {}", pair.inside.name()),
        ] {
            detach(&other, &config, says);
        }
        detach(&pair.inside, &config, "removed");
        assert_eq!(bpffs.pinned(), Vec::<String>::new(), "{attach}");
        wait_for("detached programs", Duration::from_secs(5), || xdp(&pair.inside, "v0").is_none().then_some(()));
        let daemon = start();
        assert_eq!(flows(&daemon), 3 * PINGS, "{attach}: flows of all runs");
        daemon.wait_for_window();
        assert_eq!(seen(&daemon), 0, "{attach}: a start like the first");
    }
}

#[test]
fn a_restart_under_traffic_loses_nothing() {
    const TEST: &str = "a_restart_under_traffic_loses_nothing";
    const ECHOES: u64 = 4000;
    if !can_run(TEST, &["ping"]) || no_tcx(TEST) {
        return;
    }
    let _alone = alone();
    for attach in ["tcx", "xdp"] {
        let (folder, bpffs) = (tempfile::tempdir().expect("a folder"), Bpffs::new());
        let pair = Pair::silent();
        let config = bpffs.config(folder.path(), true);
        let mut daemon = Daemon::start_with(&pair.inside, folder.path(), "v0", attach, &config);
        let mut ping = pair.peer.command("ping");
        ping.args(["-q", "-i", "0.001", "-W", "2", "-c", &ECHOES.to_string(), "10.77.1.1"]);
        let mut pings = Process::start(&mut ping, folder.path(), "ping.log");
        let mut restarts = 0;
        while pings.ended().is_none() {
            daemon.wait_for_window();
            assert!(daemon.stop().success());
            daemon = Daemon::start_with(&pair.inside, folder.path(), "v0", attach, &config);
            restarts += 1;
        }
        assert!(pings.wait(Duration::from_secs(1)).success(), "{}", pings.log());
        daemon.wait_for_window();
        assert!(daemon.stop().success());
        let daemon = Daemon::start_with(&pair.inside, folder.path(), "v0", attach, &config);
        daemon.wait_for_window();
        println!("{attach}: {restarts} restarts while {} packets passed", 2 * ECHOES);
        assert!(restarts > 1, "{attach}: restarted under traffic");
        assert_eq!(windows(&daemon), 2 * ECHOES, "{attach}: windows");
        assert_eq!(flows(&daemon), 2 * ECHOES, "{attach}: flows");
    }
}

#[test]
fn pinned_maps_are_gone_on_with_whatever_else_comes_and_goes() {
    const TEST: &str = "pinned_maps_are_gone_on_with_whatever_else_comes_and_goes";
    const ECHOES: u64 = 6000;
    if !can_run(TEST, &["ping"]) || no_tcx(TEST) {
        return;
    }
    let _alone = alone();
    for attach in ["tcx", "xdp-generic"] {
        let (folder, bpffs) = (tempfile::tempdir().expect("a folder"), Bpffs::new());
        let pair = Pair::silent();
        let config = bpffs.config(folder.path(), true);
        let start = || Daemon::start_with(&pair.inside, folder.path(), "v*", attach, &config);
        let mut daemon = start();
        let mut ping = pair.peer.command("ping");
        ping.args(["-q", "-i", "0.002", "-W", "2", "-c", &ECHOES.to_string(), "10.77.1.1"]);
        let mut pings = Process::start(&mut ping, folder.path(), "ping.log");
        let mut restarts = 0;
        while pings.ended().is_none() {
            for (change, watched) in [("add v5 type veth peer name y5", 2), ("del v5", 1)] {
                pair.inside.ip(&format!("link {change}"));
                wait_for("the change", Duration::from_secs(15), || {
                    (daemon.status()["interfaces"].as_array()?.len() == watched).then_some(())
                });
                assert!(daemon.stop().success());
                daemon = start();
                restarts += 1;
            }
        }
        assert!(pings.wait(Duration::from_secs(1)).success(), "{}", pings.log());
        daemon.wait_for_window();
        println!("{attach}: {restarts} restarts after changes while {} packets passed", 2 * ECHOES);
        assert!(restarts > 2, "{attach}: restarted under traffic");
        let flows = daemon.all("/api/flows?host=10.77.1.2&proto=icmp");
        let packets: u64 = flows.iter().map(|flow| number(&flow["packets"])).sum();
        assert_eq!(packets, 2 * ECHOES, "{attach}: {flows:?}");
        let pinned = bpffs.pinned();
        assert_eq!(pinned.iter().filter(|name| name.starts_with("maps_")).count(), 1, "{attach}: {pinned:?}");
        assert!(daemon.stop().success());
        detach(&pair.inside, &config, "removed");
        assert_eq!(bpffs.pinned(), Vec::<String>::new(), "{attach}");
    }
}

#[test]
fn what_is_pinned_for_another_size_or_a_lost_interface_is_removed() {
    const TEST: &str = "what_is_pinned_for_another_size_or_a_lost_interface_is_removed";
    if !can_run(TEST, &["ping"]) || no_tcx(TEST) {
        return;
    }
    let _alone = alone();
    let (folder, bpffs) = (tempfile::tempdir().expect("a folder"), Bpffs::new());
    let pair = Pair::silent();
    pair.inside.ip("link add d0 type veth peer name d1");
    let config = bpffs.config(folder.path(), true);
    let mut daemon = Daemon::start_with(&pair.inside, folder.path(), "v0,d0", "tcx", &config);
    assert!(daemon.stop().success());
    assert_eq!(bpffs.pinned().len(), 5, "four links, the maps");
    pair.inside.ip("link del d0");
    let smaller = std::fs::read_to_string(&config).expect("the configuration") + "map_memory_mib = 8\n";
    std::fs::write(&config, smaller).expect("the configuration");
    let daemon = Daemon::start_with(&pair.inside, folder.path(), "v0", "tcx", &config);
    let log = daemon.process.log();
    assert!(log.contains("of another layout") && log.contains("its interface is gone"), "{log}");
    assert_eq!(bpffs.pinned().len(), 3, "{:?}", bpffs.pinned());
    traffic::pings(&pair.peer, "10.77.1.1", "fd77:1::1");
    daemon.wait_for_window();
    assert_eq!(seen(&daemon), PINGS);
}

#[test]
fn what_is_pinned_elsewhere_is_refused_rather_than_counted_twice() {
    const TEST: &str = "what_is_pinned_elsewhere_is_refused_rather_than_counted_twice";
    if !can_run(TEST, &[]) || no_tcx(TEST) {
        return;
    }
    let _alone = alone();
    for (attach, program) in [("tcx", "nta_tc_ingress"), ("xdp", "nta_tc_egress")] {
        let (folder, bpffs) = (tempfile::tempdir().expect("a folder"), Bpffs::new());
        let pair = Pair::new();
        let config = bpffs.config(folder.path(), true);
        let mut daemon = Daemon::start_with(&pair.inside, folder.path(), "v0", attach, &config);
        assert!(daemon.stop().success());
        // A dry run does not know of pins, as a daemon does that has another pin path.
        let dry = || output(&mut command(&pair.inside, &["run", "--dry-run", "--interface", "v0"]));
        let line = String::from_utf8_lossy(&dry().stderr).into_owned();
        assert!(line.contains("v0") && line.contains(program), "{attach}: {line}");
        // What the line says is what has to be done, whatever the path.
        let said = line.split('`').find(|part| part.starts_with("nta-daemon doctor --detach ")).expect("a command");
        let words: Vec<&str> = said.split(' ').skip(1).collect();
        let answer = output(&mut command(&pair.inside, &words));
        let text = String::from_utf8_lossy(&answer.stdout);
        assert!(answer.status.success() && text.contains("removed"), "{said}: {text}");
        wait_for("a free interface", Duration::from_secs(20), || dry().status.success().then_some(()));
    }
}

#[test]
fn a_start_that_fails_leaves_nothing_pinned() {
    if !can_run("a_start_that_fails_leaves_nothing_pinned", &["python3"]) {
        return;
    }
    let _alone = alone();
    let (folder, bpffs) = (tempfile::tempdir().expect("a folder"), Bpffs::new());
    let pair = Pair::new();
    pair.inside.ip("link add d0 type veth peer name d1");
    let _foreign = Foreign::attach(&pair.inside, folder.path(), "d0", "xdp", "foreign_xdp", PASS);
    let config = bpffs.config(folder.path(), true);
    let database = format!("sqlite:{}", folder.path().join("nta.db").display());
    let arguments = ["run", "--interface", "v0,d0", "--attach", "xdp", "--database", &database, "--config"];
    let answer = output(command(&pair.inside, &arguments).arg(&config));
    let line = String::from_utf8_lossy(&answer.stderr);
    assert_eq!(answer.status.code(), Some(1), "{line}");
    assert!(line.contains("d0") && line.contains("foreign_xdp"), "{line}");
    assert_eq!(bpffs.pinned(), Vec::<String>::new());
    wait_for("a free v0", Duration::from_secs(5), || xdp(&pair.inside, "v0").is_none().then_some(()));
}

#[test]
fn the_capabilities_of_the_service_are_enough() {
    const TEST: &str = "the_capabilities_of_the_service_are_enough";
    const CAPABILITIES: &str = "+bpf,+net_admin,+perfmon";
    const NOBODY: u32 = 65534;
    if !can_run(TEST, &["setpriv", "ping"]) || no_tcx(TEST) {
        return;
    }
    let _alone = alone();
    let everyone = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    let folder = tempfile::Builder::new().permissions(everyone).tempdir().expect("a folder");
    let (bpffs, pair) = (Bpffs::new(), Pair::silent());
    let config = bpffs.config(folder.path(), true);
    // Where nobody may go.
    let (program, state) = (copy(folder.path()), folder.path().join("state"));
    for place in [&bpffs.pins(), &state] {
        std::fs::create_dir(place).expect("a folder");
        std::os::unix::fs::chown(place, Some(NOBODY), Some(NOBODY)).expect("its owner");
    }
    let database = format!("sqlite:{}", state.join("nta.db").display());
    let start = || {
        let mut setpriv = pair.inside.command("setpriv");
        setpriv.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps", CAPABILITIES]);
        setpriv.args(["--ambient-caps", CAPABILITIES, "--bounding-set", &format!("-all,{CAPABILITIES}")]);
        setpriv.arg(&program).args(["run", "--interface", "v0", "--window", "2", "--database", &database, "--config"]);
        Daemon::start_command(&pair.inside, folder.path(), setpriv.arg(&config))
    };
    assert!(start().stop().success());
    traffic::pings(&pair.peer, "10.77.1.1", "fd77:1::1");
    let daemon = start();
    daemon.wait_for_window();
    assert_eq!(seen(&daemon), PINGS, "pinned and adopted without root");
}

#[test]
fn without_a_bpf_file_system_it_names_it() {
    if !can_run("without_a_bpf_file_system_it_names_it", &[]) {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let pair = Pair::new();
    let config = folder.path().join("nta.toml");
    let text = format!("[capture]\npin = true\npin_path = {:?}\n", folder.path().join("pins"));
    std::fs::write(&config, text).expect("a configuration");
    let database = format!("sqlite:{}", folder.path().join("nta.db").display());
    let mut daemon = command(&pair.inside, &["run", "--interface", "v0", "--database", &database, "--config"]);
    let answer = output(daemon.arg(&config));
    let line = String::from_utf8_lossy(&answer.stderr);
    assert_eq!((answer.status.code(), line.lines().count()), (Some(1), 1), "{line}");
    assert!(line.contains("BPF file system") && line.contains("/pins"), "{line}");
}

pub(crate) fn seen(daemon: &Daemon<'_>) -> u64 {
    number(&daemon.status()["ledger"]["total"]["seen"])
}

pub(crate) fn windows(daemon: &Daemon<'_>) -> u64 {
    sum(&daemon.windows())
}

pub(crate) fn flows(daemon: &Daemon<'_>) -> u64 {
    sum(&daemon.all("/api/alltraffic"))
}

fn sum(items: &[Value]) -> u64 {
    items.iter().map(|item| number(&item["packets"])).sum()
}

fn detach(namespace: &Namespace, config: &Path, expected: &str) {
    let answer = output(command(namespace, &["doctor", "--detach", "--config"]).arg(config));
    let text = String::from_utf8_lossy(&answer.stdout);
    assert!(answer.status.success() && text.contains(expected), "{text}{}", String::from_utf8_lossy(&answer.stderr));
}

pub(crate) fn no_tcx(test: &str) -> bool {
    if !has_tcx() {
        println!("not run: {test}: TCX came with Linux 6.6");
    }
    !has_tcx()
}

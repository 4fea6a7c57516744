//! A Debian made by mmdebstrap and booted by systemd-nspawn, as a gateway between two ends of a cable.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::step::step;
use crate::vm;
use crate::{daemon, process};

/// The release that it is of, and what is in it beside the minimum.
const SUITE: &str = "bookworm";
const PACKAGES: &str = "systemd,systemd-sysv,dbus,ca-certificates,procps";
/// Of the gateway, and of who attacks it.
pub(super) const GATEWAY: &str = "10.77.0.1";
const ATTACKER: &str = "10.77.0.2";
const BOOT: Duration = Duration::from_secs(60);

/// Ends, with its network, when dropped.
pub(super) struct Debian {
    pub(super) root: PathBuf,
    network: Network,
    container: Child,
    /// Its first process, as this machine numbers it.
    init: u32,
}

impl Debian {
    /// Made once and unpacked anew each time.
    pub(super) fn boot(kept: &Path) -> Result<Self> {
        let root = unpacked(kept)?;
        let network = Network::make()?;
        let mut nspawn = daemon::command(Path::new("systemd-nspawn"));
        nspawn.args(["--quiet", "--boot", "--register=no", "--keep-unit", "--console=pipe", "--capability=all"]);
        // The container's own filter refuses what the daemon is about to do; that of the unit is what is tried.
        nspawn.arg("--system-call-filter=bpf").arg("-D").arg(&root);
        nspawn.arg(format!("--network-namespace-path=/run/netns/{}", network.gateway));
        let log = fs::File::create(kept.join("console.log"))?;
        nspawn.env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1").stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let container = nspawn.spawn().context("cannot start systemd-nspawn")?;
        let mut debian = Self { root, network, container, init: 0 };
        let until = Instant::now() + BOOT;
        while debian.init == 0 || !debian.is_up() {
            if let Some(status) = debian.container.try_wait()? {
                bail!("systemd-nspawn ended ({status}); see {}", kept.join("console.log").display());
            }
            if Instant::now() > until {
                bail!("systemd was not up within {} s", BOOT.as_secs());
            }
            thread::sleep(Duration::from_millis(200));
            debian.init = init_below(debian.container.id()).unwrap_or(0);
        }
        Ok(debian)
    }

    fn is_up(&self) -> bool {
        let output = self.inside(&["systemctl", "is-system-running"]).output();
        output.is_ok_and(|output| matches!(output.stdout.trim_ascii(), b"running" | b"degraded"))
    }

    /// A command that runs in it.
    pub(super) fn inside(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args([
            "-t",
            &self.init.to_string(),
            "-m",
            "-u",
            "-i",
            "-n",
            "-p",
            "-C",
            "-r",
            "-w",
            "env",
            "-i",
            "LC_ALL=C",
        ]);
        command.args([
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "DEBIAN_FRONTEND=noninteractive",
        ]);
        command.args(words).stdin(Stdio::null());
        command
    }

    /// What a command in it prints; fails when it does.
    pub(super) fn run(&self, words: &[&str]) -> Result<String> {
        process::output(&mut self.inside(words))
    }

    /// A command in it that may fail.
    pub(super) fn try_run(&self, words: &[&str]) -> Result<Output> {
        self.inside(words).output().with_context(|| format!("cannot run {words:?}"))
    }

    /// A program of this machine, in the gateway's network or in that of who attacks.
    pub(super) fn beside(&self, attacker: bool, words: &[&str]) -> Result<String> {
        let namespace = if attacker { &self.network.attacker } else { &self.network.gateway };
        process::output(Command::new("ip").args(["netns", "exec", namespace]).args(words))
    }
}

impl Drop for Debian {
    fn drop(&mut self) {
        // Every process of it ends with its first one, which outlives what started it.
        if self.init != 0 {
            let _gone = Command::new("kill").args(["-KILL", &self.init.to_string()]).output();
        }
        let _gone = self.container.kill();
        let _gone = self.container.wait();
        let _kept = fs::remove_dir_all(&self.root);
    }
}

/// The first process of a container, a child of what started it.
fn init_below(parent: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    let mut pids = children.split_whitespace().filter_map(|pid| pid.parse().ok());
    pids.find(|pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "systemd"))
}

fn unpacked(kept: &Path) -> Result<PathBuf> {
    let (archive, root) = (kept.join(format!("{SUITE}.tar")), kept.join("root"));
    if !archive.is_file() {
        let partial = kept.join("partial.tar");
        let mut make = Command::new("mmdebstrap");
        make.args(["--variant=minbase", &format!("--include={PACKAGES}"), SUITE]).arg(&partial).arg(vm::archive());
        step("a Debian to install into", &mut make)?;
        fs::rename(partial, &archive)?;
    }
    let _none = fs::remove_dir_all(&root); // of a run that was killed
    fs::create_dir_all(&root)?;
    process::run(Command::new("tar").arg("--numeric-owner").arg("-C").arg(&root).arg("-xf").arg(&archive))?;
    Ok(root)
}

/// Two network namespaces and a cable between them; the gateway's default route is through it.
struct Network {
    gateway: String,
    attacker: String,
}

impl Network {
    fn make() -> Result<Self> {
        let id = std::process::id();
        let network = Self { gateway: format!("nta-gw-{id}"), attacker: format!("nta-at-{id}") };
        let Self { gateway, attacker } = &network;
        for line in [
            format!("netns add {gateway}"),
            format!("netns add {attacker}"),
            format!("link add wan0 netns {gateway} type veth peer name wan1 netns {attacker}"),
            format!("-n {gateway} address add {GATEWAY}/24 dev wan0"),
            format!("-n {attacker} address add {ATTACKER}/24 dev wan1"),
            format!("-n {gateway} link set lo up"),
            format!("-n {gateway} link set wan0 up"),
            format!("-n {attacker} link set wan1 up"),
            format!("-n {gateway} route add default via {ATTACKER}"),
        ] {
            process::output(Command::new("ip").args(line.split(' ')))?;
        }
        Ok(network)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for namespace in [&self.gateway, &self.attacker] {
            let _gone = Command::new("ip").args(["netns", "del", namespace]).output();
        }
    }
}

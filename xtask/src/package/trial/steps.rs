//! What is done to the Debian, in order: each step is a test, and those behind a step that failed are tried all the same.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::NEWER;
use super::debian::{Debian, GATEWAY};
use crate::process;
use crate::report::Group;

const CONFIG: &str = "/etc/nta/nta-daemon.toml";
/// The aim: from `apt install` to an alert about an attack.
const TO_ALERT: Duration = Duration::from_secs(60);
/// Until a service that was restarted answers.
const TO_ANSWER: Duration = Duration::from_secs(30);
const API: &str = "http://127.0.0.1:5000";
/// What `systemd-analyze security` may say at most, in tenths: of the daemon alone, with the capabilities in it, of the loader.
const EXPOSURE: [(&str, u32); 2] = [("nta-daemon.service", 15), ("nta-loader.service", 20)];

/// All of them.
pub(super) fn all(debian: &Debian, older: &Path, newer: &Path, group: Group) -> Group {
    let [older, newer] = match [older, newer].map(|deb| handed_in(debian, deb)) {
        [Ok(older), Ok(newer)] => [older, newer],
        [older, newer] => return group.conclude(&older.and(newer).map(drop)),
    };
    let mut group = group;
    let steps: [(&str, &dyn Fn() -> Result<()>); 7] = [
        ("installed, attacked, alerted", &|| alert_after_install(debian, &older)),
        ("sandbox", &|| sandbox(debian)),
        ("old kernel", &|| old_kernel(debian)),
        ("upgrade", &|| upgrade(debian, &newer)),
        ("downgrade", &|| downgrade(debian, &older)),
        ("purge", &|| purge(debian)),
        ("installed over data", &|| over_data(debian, &newer)),
    ];
    for (name, step) in steps {
        let began = Instant::now();
        let result = step();
        eprintln!("package: {name}: {:.1} s", began.elapsed().as_secs_f64());
        group = group.conclude(&result.with_context(|| format!("{name}: what the service said: {}", journal(debian))));
    }
    group
}

/// A package as the Debian sees it.
fn handed_in(debian: &Debian, deb: &Path) -> Result<String> {
    let name = deb.file_name().unwrap_or_default().to_string_lossy().into_owned();
    fs::copy(deb, debian.root.join("root").join(&name))?;
    Ok(format!("/root/{name}"))
}

fn install(debian: &Debian, deb: &str) -> Result<()> {
    // The service is of this very package: nothing is fetched, all that it needs is in a minimal Debian.
    debian.run(&["apt-get", "install", "-q", "-y", "--no-install-recommends", deb]).map(drop)
}

fn alert_after_install(debian: &Debian, deb: &str) -> Result<()> {
    let began = Instant::now();
    install(debian, deb)?;
    let installed = began.elapsed();
    ensure!(debian.run(&["systemctl", "is-enabled", "nta-daemon"])? == "enabled", "the service is not enabled");
    answers(debian)?;
    let serving = began.elapsed();
    while began.elapsed() < TO_ALERT {
        let _ports =
            debian.beside(true, &["nmap", "-n", "-Pn", "-sS", "-p", "1-2000", "--max-retries", "0", GATEWAY])?;
        let until = Instant::now() + Duration::from_secs(12);
        while Instant::now() < until && began.elapsed() < TO_ALERT {
            if alerts(debian)?.contains("\"port_scan\"") {
                eprintln!(
                    "package: apt {:.1} s, serving {:.1} s, alert {:.1} s after `apt install`",
                    installed.as_secs_f64(),
                    serving.as_secs_f64(),
                    began.elapsed().as_secs_f64()
                );
                return Ok(());
            }
            thread::sleep(Duration::from_millis(500));
        }
    }
    bail!("no alert about a port scan within {} s: {}", TO_ALERT.as_secs(), alerts(debian)?)
}

fn alerts(debian: &Debian) -> Result<String> {
    debian.beside(false, &["curl", "-sS", "--max-time", "5", &format!("{API}/api/alerts")])
}

/// Waits until the service answers, and says how it does.
fn answers(debian: &Debian) -> Result<String> {
    let until = Instant::now() + TO_ANSWER;
    loop {
        match debian.beside(false, &["curl", "-sSf", "--max-time", "5", &format!("{API}/api/status")]) {
            Ok(status) => return Ok(status),
            Err(error) if Instant::now() > until => return Err(error),
            Err(_) => thread::sleep(Duration::from_millis(200)),
        }
    }
}

/// What the unit asks for holds for the process, and Debian's own judgement of the unit is as documented.
fn sandbox(debian: &Debian) -> Result<()> {
    let status = debian.run(&["sh", "-c", "cat /proc/$(systemctl show -P MainPID nta-daemon)/status"])?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(str::trim).unwrap_or_default().to_owned()
    };
    ensure!(field("Seccomp") == "2", "no filter of system calls: {status}");
    ensure!(field("NoNewPrivs") == "1", "it may gain rights: {status}");
    ensure!(!field("Uid").starts_with("0\t"), "it runs as root: {status}");
    for set in ["CapEff", "CapPrm", "CapBnd", "CapAmb"] {
        ensure!(u64::from_str_radix(&field(set), 16).ok() == Some(0), "{set} is {}", field(set));
    }
    let config = debian.run(&["stat", "-c", "%U %G %a", CONFIG])?;
    ensure!(config == "root nta 640", "{CONFIG}, which may name passwords, is {config}");
    for (unit, most) in EXPOSURE {
        exposure(debian, unit, most)?;
    }
    // It runs so.
    ensure!(debian.run(&["systemctl", "show", "-P", "NRestarts", "nta-daemon"])? == "0", "it was restarted");
    let said = debian.run(&["journalctl", "-u", "nta-daemon", "-u", "nta-loader", "--no-pager", "-o", "cat"])?;
    let refused = said.lines().find(|line| line.contains("not permitted") || line.contains("ermission denied"));
    ensure!(refused.is_none(), "{}", refused.unwrap_or_default());
    Ok(())
}

fn exposure(debian: &Debian, unit: &str, most: u32) -> Result<()> {
    let text = debian.run(&["systemd-analyze", "security", "--no-pager", unit])?;
    let line = text.lines().last().unwrap_or_default();
    eprintln!("package: {}", line.trim());
    let level =
        line.split_whitespace().find_map(|word| word.parse::<f64>().ok()).context("systemd-analyze gave no number")?;
    ensure!(level * 10.0 <= f64::from(most) + 0.01, "{line}: more than {:.1}", f64::from(most) / 10.0);
    Ok(())
}

/// By an `uname` of an older kernel the package gives the daemon what it needs there, and takes it back.
fn old_kernel(debian: &Debian) -> Result<()> {
    let [uname, drop_in] = ["usr/local/bin/uname", "etc/systemd/system/nta-daemon.service.d/kernel-before-5.19.conf"]
        .map(|path| debian.root.join(path));
    debian.run(&[
        "sh",
        "-c",
        "printf '#!/bin/sh\\necho 5.10.0-32-amd64\\n' > /usr/local/bin/uname; chmod 755 /usr/local/bin/uname",
    ])?;
    let said = debian.run(&["dpkg-reconfigure", "nta"]);
    fs::remove_file(uname)?;
    ensure!(said?.contains("older than 5.19"), "it is not said");
    ensure!(drop_in.exists(), "there is no drop-in");
    debian.run(&["dpkg-reconfigure", "nta"])?;
    ensure!(!drop_in.exists(), "the drop-in is still there");
    answers(debian).map(drop)
}

/// How many alerts about port scans there are: fewer than before are lost data.
fn scans(debian: &Debian) -> Result<usize> {
    Ok(alerts(debian)?.matches("\"port_scan\"").count())
}

fn upgrade(debian: &Debian, deb: &str) -> Result<()> {
    let before = scans(debian)?;
    ensure!(before > 0, "there is no alert to keep");
    let pid = |debian: &Debian| debian.run(&["systemctl", "show", "-P", "MainPID", "nta-daemon"]);
    let old = pid(debian)?;
    debian.run(&["sed", "-i", "s/^#connections = .*/connections = 333/", CONFIG])?;
    install(debian, deb)?;
    answers(debian)?;
    ensure!(pid(debian)? != old, "the service still runs the old program");
    ensure!(scans(debian)? >= before, "alerts are lost");
    let config = fs::read_to_string(debian.root.join(&CONFIG[1..]))?;
    ensure!(config.contains("\nconnections = 333\n"), "the edited configuration is not kept");
    Ok(())
}

fn downgrade(debian: &Debian, deb: &str) -> Result<()> {
    let output = debian.try_run(&["apt-get", "install", "-q", "-y", "--allow-downgrades", deb])?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(!output.status.success(), "an older version was installed over newer data");
    ensure!(said.contains("To go back"), "it is not said how to go back: {said}");
    let version = debian.run(&["dpkg-query", "-W", "-f", "${Version} ${db:Status-Status}", "nta"])?;
    ensure!(version == format!("{NEWER} installed"), "after the refusal there is {version}");
    answers(debian).map(drop)
}

/// Nothing is left but data.
fn purge(debian: &Debian) -> Result<()> {
    ensure!(programs(debian)?, "no program was attached before");
    let said = debian.run(&["apt-get", "purge", "-q", "-y", "nta"])?;
    ensure!(said.contains("/var/lib/nta keeps"), "what is left is not said: {said}");
    let state = debian.try_run(&["systemctl", "is-active", "nta-daemon"])?;
    ensure!(state.stdout.trim_ascii() != b"active", "the service still runs");
    // By name, and by owner; dpkg's own records of a purged package are gone with it.
    let find = "find / -xdev \\( -path /proc -o -path /sys -o -path /root -o -path /var/log/journal \\) -prune -o \\
                \\( -name 'nta*' -o -user nta -o -user nta-loader \\) -print; find /run -name 'nta*'";
    let left = debian.run(&["sh", "-c", find])?;
    let left: Vec<&str> = left.lines().filter(|path| !path.starts_with("/var/lib/nta")).collect();
    ensure!(left.is_empty(), "left behind: {left:?}");
    ensure!(debian.root.join("var/lib/nta/nta.db").is_file(), "the data is gone too");
    ensure!(!programs(debian)?, "programs are still attached");
    Ok(())
}

/// Whether the kernel has programs that a user of the package loaded; those that a user of this machine has loaded under the same number
/// are told apart by their name.
fn programs(debian: &Debian) -> Result<bool> {
    let loaded = process::output(Command::new("bpftool").args(["prog", "list"]))?;
    let users = debian.run(&["sh", "-c", "id -u nta; id -u nta-loader"])?;
    let by = |line: &str| users.lines().any(|user| line.ends_with(&format!(" uid {user}")));
    let lines: Vec<&str> = loaded.lines().collect();
    Ok(lines.windows(2).any(|pair| pair[0].contains("name nta_") && by(pair[1].trim_end())))
}

fn over_data(debian: &Debian, deb: &str) -> Result<()> {
    install(debian, deb)?;
    answers(debian)?;
    ensure!(scans(debian)? > 0, "the alerts of before the purge are not there");
    Ok(())
}

fn journal(debian: &Debian) -> String {
    let said =
        debian.run(&["journalctl", "-u", "nta-daemon", "-u", "nta-loader", "-n", "15", "--no-pager", "-o", "cat"]);
    said.unwrap_or_else(|error| format!("{error:#}"))
}

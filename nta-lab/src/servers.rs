//! The servers of a scenario, and the files that they share.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use fastrand::Rng;

use super::attacks::Place;
use super::benign::FILES;
use super::job::{Files, Job};
use super::network::{Network, enter};
use super::site::Site;
use crate::process;

/// How long servers may take until they listen; the machine is full of other scenarios.
const DEADLINE: Duration = Duration::from_secs(30);
/// Passwords to guess; no attack gets to its end.
const WORDS: usize = 5_000;

const SCRIPTS: &[(&str, &str)] = &[
    ("services.py", include_str!("scripts/services.py")),
    ("client.py", include_str!("scripts/client.py")),
    ("slow.py", include_str!("scripts/slow.py")),
    ("sshguess.py", include_str!("scripts/sshguess.py")),
    ("arp.py", include_str!("scripts/arp.py")),
    ("synflood.py", include_str!("scripts/synflood.py")),
    ("dnszone.py", include_str!("scripts/dnszone.py")),
    ("dnsshell.py", include_str!("scripts/dnsshell.py")),
    ("names.py", include_str!("scripts/names.py")),
    ("peers.py", include_str!("scripts/peers.py")),
    ("calls.py", include_str!("scripts/calls.py")),
    ("plc.py", include_str!("scripts/plc.py")),
    ("macnat.py", include_str!("scripts/macnat.py")),
    ("crowd.py", include_str!("scripts/crowd.py")),
    ("mail.py", include_str!("scripts/mail.py")),
    ("lease.sh", include_str!("scripts/lease.sh")),
];

/// Writes what all scenarios share: scripts, pages, keys, a list of passwords.
pub(crate) fn share(folder: &Path) -> Result<()> {
    let pages = folder.join("www");
    fs::create_dir_all(&pages).with_context(|| format!("cannot create {}", pages.display()))?;
    for (name, text) in SCRIPTS {
        let path = folder.join(name);
        fs::write(&path, text)?;
        // Some are called by programs, not by a shell's line.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    let mut rng = Rng::with_seed(1);
    for size in FILES {
        let bytes: Vec<u8> = (0..size).map(|_| rng.u8(..)).collect();
        fs::write(pages.join(format!("f{size}")), bytes)?;
    }
    // A program that takes what is posted to it.
    fs::write(pages.join("post.up"), "")?;
    let words: String = (0..WORDS).fold(String::new(), |mut words, _| {
        let word: String = (0..rng.usize(5..12)).map(|_| rng.alphanumeric()).collect();
        // Writing to a string cannot fail.
        let _written = writeln!(words, "{word}");
        words
    });
    fs::write(folder.join("words"), words)?;
    for key in ["key", "host_key"] {
        let mut make = Command::new("ssh-keygen");
        process::output(make.args(["-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f"]).arg(folder.join(key)))?;
    }
    // Where sshd wants to lock its children in; it does not start without.
    fs::create_dir_all("/run/sshd").context("cannot create /run/sshd")?;
    Ok(())
}

/// Starts the servers of the WAN and of the victim, and returns when all listen.
pub(crate) fn start(site: &Site, network: &Network, files: &Files<'_>) -> Result<Vec<Job>> {
    let [first, _, _, dns, tunnel] = site.servers;
    let ssh = sshd(site, files)?;
    let web = lighttpd(files)?;
    let names = names(site, files)?;
    let mut jobs = Vec::new();
    for (place, name) in [(Place::Victim, "victim"), (Place::Wan, "wan")] {
        let namespace = network.place(place);
        for (what, line) in [("web", &web), ("ssh", &ssh)] {
            jobs.push(Job::start(&namespace, line, files, &format!("{name}-{what}.log"))?);
        }
    }
    let wan = network.place(Place::Wan);
    let dnsmasq = format!(
        "exec dnsmasq --keep-in-foreground --conf-file={} --no-resolv --no-hosts --user=root --pid-file= \
         --bind-interfaces \
         --except-interface=lo --listen-address={dns} --server=/{}/{tunnel} --cache-size=1000",
        names,
        super::attacks::ZONE
    );
    jobs.push(Job::start(&wan, &dnsmasq, files, "dns.log")?);
    jobs.push(Job::start(&wan, "exec iperf3 -s", files, "iperf3.log")?);
    jobs.push(Job::start(&wan, "exec python3 $S/services.py", files, "services.log")?);
    let deadline = Instant::now() + DEADLINE;
    listening(&network.place(Place::Victim), &["tcp :22", "tcp :80"], deadline)?;
    let mut wanted = vec!["tcp :22", "tcp :80", "tcp :25", "tcp :5201", "udp :123", "udp :5004"];
    let dns = format!("udp {dns}:53");
    wanted.push(&dns);
    listening(&wan, &wanted, deadline).with_context(|| format!("WAN of {first}"))?;
    Ok(jobs)
}

/// Waits until sockets are bound: `tcp :22`, or with an address.
fn listening(namespace: &str, wanted: &[&str], deadline: Instant) -> Result<()> {
    loop {
        let mut command = enter(namespace);
        let bound = process::output(command.args(["ss", "-Hlntu"]))?;
        let is_bound = |socket: &&&str| {
            let (protocol, end) = socket.split_once(' ').unwrap_or(("", socket));
            bound.lines().any(|line| {
                let mut cells = line.split_whitespace();
                cells.next() == Some(protocol) && cells.nth(3).is_some_and(|local| local.ends_with(end))
            })
        };
        let Some(absent) = wanted.iter().find(|socket| !is_bound(socket)) else { return Ok(()) };
        if Instant::now() > deadline {
            bail!("{namespace}: nothing listens at {absent} after {} s", DEADLINE.as_secs());
        }
        sleep(Duration::from_millis(100));
    }
}

fn sshd(site: &Site, files: &Files<'_>) -> Result<String> {
    let (shared, (startups, tries)) = (files.shared.display(), site.ssh);
    let text = format!(
        "UsePAM no\nPasswordAuthentication yes\nPermitRootLogin yes\nStrictModes no\nPidFile none\nUseDNS no\n\
         HostKey {shared}/host_key\nAuthorizedKeysFile {shared}/key.pub\nMaxStartups {startups}\nMaxAuthTries {tries}\n\
         Subsystem sftp internal-sftp\nSetEnv HOME={}\n",
        // What the user's shell reads when it starts is no part of a scenario, and may take a minute.
        files.work.display()
    );
    let config = files.work.join("sshd_config");
    fs::write(&config, text)?;
    Ok(format!("exec /usr/sbin/sshd -D -e -f {}", config.display()))
}

fn lighttpd(files: &Files<'_>) -> Result<String> {
    let text = format!(
        "server.document-root = \"{}/www\"\nserver.port = 80\nserver.bind = \"0.0.0.0\"\n\
         $SERVER[\"socket\"] == \"[::]:80\" {{ }}\nserver.max-connections = 512\n\
         mimetype.assign = ( \"\" => \"application/octet-stream\" )\n\
         server.modules += ( \"mod_cgi\" )\ncgi.assign = ( \".up\" => \"/bin/true\" )\n",
        files.shared.display()
    );
    let config = files.work.join("lighttpd.conf");
    fs::write(&config, text)?;
    Ok(format!("exec lighttpd -D -f {}", config.display()))
}

/// What the DNS server knows; other names do not exist.
fn names(site: &Site, files: &Files<'_>) -> Result<String> {
    let mut text = String::new();
    for (n, domain) in site.domains.iter().enumerate() {
        let server = site.servers[n % 2];
        // Writing to a string cannot fail.
        let _written = writeln!(
            text,
            "address=/{domain}/{server}\ntxt-record={domain},\"v=spf1 -all\"\nmx-host={domain},{domain},10"
        );
    }
    text += "address=/#/\n";
    let config = files.work.join("dnsmasq.conf");
    fs::write(&config, text)?;
    Ok(config.display().to_string())
}

//! The network of one scenario: namespaces, a bridge as the LAN, a gateway, a WAN behind the forwarder.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::attacks::Place;
use super::benign::Who;
use super::forwarder::Forwarder;
use super::site::{Host, Site};
use crate::process;

/// What the names of all namespaces begin with; the process id of their owner follows.
pub(crate) const PREFIX: &str = "ntalab-";
/// The gateway's side of the LAN: every frame of the LAN can be seen here.
pub(crate) const LAN: &str = "br0";

/// The namespaces of a scenario, removed when it goes.
pub(crate) struct Network {
    /// `ntalab-PID-NUMBER-`.
    prefix: String,
    _forwarder: Forwarder,
    _namespaces: Namespaces,
}

impl Network {
    /// Builds it; `number` distinguishes it from the others of this process.
    pub(crate) fn build(site: &Site, number: usize) -> Result<Self> {
        let prefix = format!("{PREFIX}{}-{number}-", std::process::id());
        let mut namespaces = Namespaces { names: Vec::new() };
        let clients: Vec<String> = (0..site.clients.len()).map(|n| format!("c{n}")).collect();
        let stations = clients.iter().map(String::as_str);
        let behind: Vec<String> = (0..site.behind).map(|n| format!("b{n}")).collect();
        let fixed = ["gw", "wan", "victim", "attacker"];
        for name in fixed.into_iter().chain(stations.clone()).chain(behind.iter().map(String::as_str)) {
            namespaces.add(&format!("{prefix}{name}"))?;
        }
        let inside = |name: &str| format!("{prefix}{name}");
        let gateway = &site.gateway;
        ip(
            &inside("gw"),
            &format!(
                "link add {LAN} address {} type bridge mcast_snooping 0\n\
                 address add {}/24 dev {LAN}\nlink set {LAN} up\n{}",
                gateway.mac,
                gateway.address,
                site.lan_v6(1).map_or_else(String::new, |six| format!("address add {six}/64 dev {LAN} nodad\n")),
            ),
        )?;
        let hosts = stations.zip(&site.clients).chain([("victim", &site.victim)]);
        for (n, (name, host)) in hosts.enumerate() {
            station(&inside, name, host, site, u16::try_from(n + 16).unwrap_or(16))?;
        }
        for name in &behind {
            carried(&inside, name)?;
        }
        let forwarder = Forwarder::start(&site.link, number, [&inside("gw"), &inside("wan")])?;
        wan(&inside, site)?;
        if site.attacker_outside {
            outside(&inside, site)?;
        } else {
            station(&inside, "attacker", &site.attacker, site, 15)?;
        }
        for name in ["gw", "wan"] {
            let settings = ["ipv4/ip_forward=1", "ipv6/conf/all/forwarding=1", "ipv4/icmp_ratelimit=0"];
            set(&inside(name), &settings)?;
        }
        Ok(Self { prefix, _forwarder: forwarder, _namespaces: namespaces })
    }

    pub(crate) fn gateway(&self) -> String {
        format!("{}gw", self.prefix)
    }

    pub(crate) fn attacker(&self) -> String {
        format!("{}attacker", self.prefix)
    }

    pub(crate) fn place(&self, place: Place) -> String {
        let name = match place {
            Place::Victim => "victim",
            Place::Wan => "wan",
        };
        format!("{}{name}", self.prefix)
    }

    pub(crate) fn of(&self, who: Who) -> String {
        match who {
            Who::Client(number) => format!("{}c{number}", self.prefix),
            Who::Victim => self.place(Place::Victim),
            Who::Outside => self.place(Place::Wan),
            Who::Gateway => self.gateway(),
            Who::Behind(number) => format!("{}b{number}", self.prefix),
        }
    }
}

/// A host on the bridge.
fn station(inside: &impl Fn(&str) -> String, name: &str, host: &Host, site: &Site, six: u16) -> Result<()> {
    let (gateway, own) = (inside("gw"), inside(name));
    ip(
        &gateway,
        &format!(
            "link add {name} type veth peer name eth0 address {} netns {own}\nlink set {name} master {LAN} up\n",
            host.mac
        ),
    )?;
    set(&own, &[&format!("ipv4/ip_default_ttl={}", host.ttl), "ipv4/conf/all/send_redirects=0"])?;
    let mut lines = format!(
        "address add {}/24 brd + dev eth0\nlink set eth0 up\nroute add default via {}\n",
        host.address, site.gateway.address
    );
    if let (Some(own), Some(gateway)) = (site.lan_v6(six), site.lan_v6(1)) {
        lines += &format!("address add {own}/64 dev eth0 nodad\n-6 route add default via {gateway}\n");
    } else {
        set(&own, &["ipv6/conf/all/disable_ipv6=1"])?;
    }
    ip(&own, &without_six(&lines))?;
    offloads(&own, "eth0")?;
    offloads(&gateway, name)
}

/// A host behind the first client, which has a device of its name; both are up and have no address.
fn carried(inside: &impl Fn(&str) -> String, name: &str) -> Result<()> {
    let (carrier, own) = (inside("c0"), inside(name));
    ip(&carrier, &format!("link add {name} type veth peer name eth0 netns {own}\nlink set {name} up\n"))?;
    set(&own, &["ipv6/conf/all/disable_ipv6=1"])?;
    ip(&own, "link set eth0 up\n")?;
    offloads(&own, "eth0")?;
    offloads(&carrier, name)
}

/// Batches take no `-6`; the address says it.
fn without_six(lines: &str) -> String {
    lines.replace("-6 ", "")
}

fn wan(inside: &impl Fn(&str) -> String, site: &Site) -> Result<()> {
    let prefix = site.prefix();
    let mut gateway = "link set wan0 up\nroute add default dev wan0\n".to_owned();
    // What nobody has is lost without a word, as on the Internet.
    let mut wan = format!("link set wan0 up\nroute add {prefix}.0/24 dev wan0\nroute add blackhole default\n");
    for address in site.servers.iter().chain(&site.outsiders).chain(&site.far) {
        wan += &format!("address add {address}/32 dev lo\n");
    }
    if let (Some(lan), Some(server)) = (site.lan_v6(0), site.wan_v6()) {
        gateway += "route add 2001:db8::/32 dev wan0\n";
        wan += &format!("address add {server}/128 dev lo nodad\nroute add {lan}/64 dev wan0\n");
    }
    ip(&inside("gw"), &gateway)?;
    // Without a source named, the WAN speaks as its first server.
    wan += &format!("route replace {prefix}.0/24 dev wan0 src {}\n", site.servers[0]);
    ip(&inside("wan"), &wan)
}

/// The attacker beyond the WAN.
fn outside(inside: &impl Fn(&str) -> String, site: &Site) -> Result<()> {
    let (own, router) = (inside("attacker"), site.attacker_router());
    ip(
        &inside("wan"),
        &format!(
            "link add att0 type veth peer name eth0 netns {own}\naddress add {router}/31 dev att0\nlink set att0 up\n"
        ),
    )?;
    ip(
        &own,
        &format!(
            "address add {}/31 dev eth0\nlink set eth0 up\nroute add default via {router}\n",
            site.attacker.address
        ),
    )?;
    set(&own, &[&format!("ipv4/ip_default_ttl={}", site.attacker.ttl), "ipv6/conf/all/disable_ipv6=1"])?;
    offloads(&own, "eth0")?;
    offloads(&inside("wan"), "att0")
}

/// Lines for `ip -batch` in a namespace.
fn ip(namespace: &str, lines: &str) -> Result<()> {
    let mut command = Command::new("ip");
    command.args(["-n", namespace, "-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().context("cannot start `ip`")?;
    child.stdin.take().context("no standard input")?.write_all(lines.as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("ip in {namespace}: {}: {lines}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Settings below `/proc/sys/net`.
fn set(namespace: &str, settings: &[&str]) -> Result<()> {
    let lines: Vec<String> = settings
        .iter()
        .filter_map(|setting| setting.split_once('='))
        .map(|(key, value)| format!("echo {value} > /proc/sys/net/{key}"))
        .collect();
    process::output(enter(namespace).args(["sh", "-c", &lines.join("; ")]))?;
    Ok(())
}

/// Packets as on a wire: nothing joins them or leaves checksums to a card.
fn offloads(namespace: &str, interface: &str) -> Result<()> {
    let off = ["tso", "off", "gso", "off", "gro", "off", "tx", "off", "rx", "off"];
    process::output(enter(namespace).args(["ethtool", "-K", interface]).args(off))?;
    Ok(())
}

/// A command in a namespace; the program and its arguments are still to come.
pub(crate) fn enter(namespace: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", handle(namespace).display()));
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

fn handle(namespace: &str) -> PathBuf {
    Path::new("/run/netns").join(namespace)
}

struct Namespaces {
    names: Vec<String>,
}

impl Namespaces {
    fn add(&mut self, name: &str) -> Result<()> {
        process::output(Command::new("ip").args(["netns", "add", name]))?;
        let added = [
            "ipv4/conf/all/rp_filter=0",
            "ipv4/conf/default/rp_filter=0",
            "ipv4/ping_group_range=0 0",
            "ipv6/conf/default/accept_dad=0",
        ];
        self.names.push(name.to_owned());
        ip(name, "link set lo up\n")?;
        set(name, &added)
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in &self.names {
            super::cleanup::remove(name);
        }
    }
}

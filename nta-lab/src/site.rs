//! A scenario's network on paper: addresses, MAC addresses, the WAN link, drawn by the seed.

use std::net::{Ipv4Addr, Ipv6Addr};

use fastrand::Rng;
use serde_json::{Value, json};

/// LAN clients of every scenario, beside the victim and the attacker.
pub(crate) const CLIENTS: usize = 2;

/// A host on the LAN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    pub(crate) address: Ipv4Addr,
    pub(crate) mac: String,
    /// Time to live of what it sends: it distinguishes operating systems.
    pub(crate) ttl: u8,
}

/// What the forwarder does to packets of the WAN link, each way.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Link {
    pub(crate) delay_ms: u32,
    /// At most this much more, uniformly; order is kept.
    pub(crate) jitter_ms: u32,
    /// Of 10,000 packets.
    pub(crate) loss: u32,
    pub(crate) mbit_s: u32,
}

/// The addresses of one scenario.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Site {
    /// The first three bytes of the LAN, a /24.
    pub(crate) lan: [u8; 3],
    pub(crate) gateway: Host,
    pub(crate) clients: Vec<Host>,
    pub(crate) victim: Host,
    /// On the LAN, or beyond the WAN when [`Site::attacker_outside`].
    pub(crate) attacker: Host,
    pub(crate) attacker_outside: bool,
    /// Servers: web, a second web server, SSH and mail and calls, DNS, and an end for tunnels.
    pub(crate) servers: [Ipv4Addr; 5],
    /// Clients beyond the WAN.
    pub(crate) outsiders: Vec<Ipv4Addr>,
    /// Last two bytes of the LAN's and the WAN's IPv6 prefixes, if the scenario has IPv6.
    pub(crate) v6: Option<[u16; 2]>,
    pub(crate) link: Link,
    /// sshd's `MaxStartups` and `MaxAuthTries`.
    pub(crate) ssh: (&'static str, u8),
    /// Names that the DNS server knows.
    pub(crate) domains: Vec<String>,
    /// Further addresses beyond the WAN, at the same servers.
    pub(crate) far: Vec<Ipv4Addr>,
    /// Hosts behind the first client, which is their gateway or carries them; what they are is up to the loads.
    pub(crate) behind: usize,
}

impl Site {
    pub(crate) fn draw(rng: &mut Rng, attacker_outside: bool) -> Self {
        let lan = lan(rng);
        let mut last: Vec<u8> = (2..250).collect();
        rng.shuffle(&mut last);
        let mut taken = last.into_iter();
        let mut host = |rng: &mut Rng| {
            let end = taken.next().unwrap_or(251);
            Host {
                address: Ipv4Addr::new(lan[0], lan[1], lan[2], end),
                mac: mac(rng),
                ttl: rng.choice([64, 64, 128]).unwrap_or(64),
            }
        };
        let clients = (0..CLIENTS).map(|_| host(rng)).collect();
        let victim = host(rng);
        let mut attacker = host(rng);
        let gateway_end = if rng.bool() { 1 } else { 254 };
        let gateway = Host { address: Ipv4Addr::new(lan[0], lan[1], lan[2], gateway_end), mac: mac(rng), ttl: 64 };
        if attacker_outside {
            attacker.address = outside(rng);
        }
        let servers = std::array::from_fn(|_| outside(rng));
        let outsiders = (0..8).map(|_| outside(rng)).collect();
        let v6 = (rng.u8(0..3) == 0).then(|| [rng.u16(1..), rng.u16(1..)]);
        let link = link(rng);
        let ssh = rng.choice([("10:30:100", 6), ("100", 6), ("5:50:20", 3), ("60", 3)]).unwrap_or(("100", 6));
        let domains = domains(rng);
        let (far, behind) = (Vec::new(), 0);
        Self {
            lan,
            gateway,
            clients,
            victim,
            attacker,
            attacker_outside,
            servers,
            outsiders,
            v6,
            link,
            ssh,
            domains,
            far,
            behind,
        }
    }

    /// More of a site: so many stations on the LAN, addresses beyond the WAN, hosts behind the first client.
    pub(crate) fn grow(&mut self, rng: &mut Rng, [stations, far, behind]: [usize; 3]) {
        for address in self.free(rng, stations) {
            self.clients.push(Host { address, mac: mac(rng), ttl: rng.choice([64, 64, 128]).unwrap_or(64) });
        }
        self.far = (0..far).map(|_| outside(rng)).collect();
        self.far.sort_unstable();
        self.far.dedup();
        self.far.retain(|address| !self.servers.contains(address) && !self.outsiders.contains(address));
        self.behind = behind;
    }

    /// Addresses of the LAN that nobody has.
    pub(crate) fn free(&self, rng: &mut Rng, count: usize) -> Vec<Ipv4Addr> {
        let [a, b, c] = self.lan;
        let hosts = self.clients.iter().chain([&self.gateway, &self.victim, &self.attacker]);
        let taken: Vec<Ipv4Addr> = hosts.map(|host| host.address).collect();
        let mut free: Vec<Ipv4Addr> =
            (2..250).map(|end| Ipv4Addr::new(a, b, c, end)).filter(|address| !taken.contains(address)).collect();
        rng.shuffle(&mut free);
        free.truncate(count);
        free
    }

    /// The LAN as `a.b.c`.
    pub(crate) fn prefix(&self) -> String {
        let [a, b, c] = self.lan;
        format!("{a}.{b}.{c}")
    }

    /// The address beside the attacker's, of the router in front of it, when it is outside.
    pub(crate) fn attacker_router(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.attacker.address) ^ 1)
    }

    /// An IPv6 address on the LAN.
    pub(crate) fn lan_v6(&self, host: u16) -> Option<Ipv6Addr> {
        self.v6.map(|[lan, _]| Ipv6Addr::new(0xfd00, 0x6c61, lan, 1, 0, 0, 0, host))
    }

    /// An IPv6 address of the WAN's servers.
    pub(crate) fn wan_v6(&self) -> Option<Ipv6Addr> {
        self.v6.map(|[_, wan]| Ipv6Addr::new(0x2001, 0xdb8, wan, 0, 0, 0, 0, 0x80))
    }

    /// For the manifest.
    pub(crate) fn json(&self) -> Value {
        let host = |host: &Host| json!({ "address": host.address, "mac": host.mac, "ttl": host.ttl });
        json!({
            "lan": format!("{}.0/24", self.prefix()),
            "gateway": host(&self.gateway),
            "clients": self.clients.iter().map(host).collect::<Vec<_>>(),
            "victim": host(&self.victim),
            "attacker": host(&self.attacker),
            "attacker_outside": self.attacker_outside,
            "servers": self.servers,
            "outsiders": self.outsiders,
            "far": self.far,
            "behind": self.behind,
            "ipv6": self.v6.is_some(),
            "link": {
                "delay_ms": self.link.delay_ms,
                "jitter_ms": self.link.jitter_ms,
                "loss": f64::from(self.link.loss) / 1e4,
                "mbit_s": self.link.mbit_s,
            },
            "sshd": { "MaxStartups": self.ssh.0, "MaxAuthTries": self.ssh.1 },
        })
    }
}

fn lan(rng: &mut Rng) -> [u8; 3] {
    match rng.u8(0..10) {
        0..=2 => [10, rng.u8(0..99), rng.u8(..)],
        3..=4 => [172, rng.u8(16..32), rng.u8(..)],
        5..=8 => [192, 168, rng.u8(..)],
        // Sites with public addresses of their own: those for documentation.
        _ => [203, 0, 113],
    }
}

/// An address that looks like one of the Internet; nothing leaves the namespaces.
fn outside(rng: &mut Rng) -> Ipv4Addr {
    let first = rng.choice([23, 34, 45, 52, 81, 93, 104, 131, 142, 151, 185, 198]).unwrap_or(45);
    Ipv4Addr::new(first, rng.u8(20..250), rng.u8(1..250), rng.u8(2..250))
}

fn mac(rng: &mut Rng) -> String {
    // Vendors of network cards and virtual machines.
    let vendors = ["00:0c:29", "08:00:27", "52:54:00", "00:1b:21", "3c:97:0e", "b8:27:eb", "f0:18:98", "00:50:56"];
    let vendor = rng.choice(vendors).unwrap_or("52:54:00");
    format!("{vendor}:{:02x}:{:02x}:{:02x}", rng.u8(..), rng.u8(..), rng.u8(..))
}

fn link(rng: &mut Rng) -> Link {
    let delay_ms = rng.choice([1, 3, 8, 15, 25, 40, 80]).unwrap_or(15);
    let loss = rng.choice([0, 0, 0, 10, 50, 150]).unwrap_or(0);
    let mbit_s = rng.choice([10, 20, 50, 100]).unwrap_or(50);
    Link { delay_ms, jitter_ms: rng.u32(0..=delay_ms / 4), loss, mbit_s }
}

fn domains(rng: &mut Rng) -> Vec<String> {
    let words =
        ["alpha", "news", "shop", "maps", "cloud", "bank", "photo", "school", "travel", "games", "music", "forum"];
    let ends = ["example", "com", "net", "org", "de", "io"];
    (0..12).map(|n| format!("{}{}.{}", words[n], rng.u8(..), rng.choice(ends).unwrap_or("com"))).collect()
}

//! The attacks: a file for each type, a recipe for each of its tools.

mod arpspoof;
mod dnstunnel;
mod icmpflood;
mod portscan;
mod slowloris;
mod sshbrute;
mod synflood;
mod udpflood;

use std::net::Ipv4Addr;

use fastrand::Rng;
use serde_json::{Value, json};

pub(crate) use self::dnstunnel::ZONE;
use super::site::Site;

/// The types, as labels have them.
#[cfg(test)]
pub(crate) const KINDS: [&str; 8] =
    ["portscan", "sshbrute", "slowloris", "arpspoof", "dnstunnel", "synflood", "udpflood", "icmpflood"];

/// One type by one tool.
pub(crate) struct Recipe {
    pub(crate) kind: &'static str,
    pub(crate) tool: &'static str,
    /// Scenarios in which it is the only attack.
    pub(crate) alone: u32,
    pub(crate) may_come_from_outside: bool,
    /// Draws one; the number of the scenario (from 1) goes through the tool's ways, so that none is left to chance.
    pub(crate) make: fn(&mut Rng, &Site, u32) -> Attack,
}

/// Every recipe.
pub(crate) const RECIPES: &[&Recipe] = &[
    &portscan::NMAP,
    &portscan::HPING,
    &portscan::NETCAT,
    &portscan::NPING,
    &portscan::ZMAP,
    &sshbrute::HYDRA,
    &sshbrute::NCRACK,
    &sshbrute::PARAMIKO,
    &slowloris::SLOWHTTPTEST,
    &slowloris::SCRIPT,
    &arpspoof::DSNIFF,
    &arpspoof::SCAPY,
    &dnstunnel::IODINE,
    &dnstunnel::DIG,
    &dnstunnel::SHELL,
    &synflood::HPING,
    &synflood::NPING,
    &synflood::SCAPY,
    &udpflood::HPING,
    &udpflood::NPING,
    &udpflood::IPERF,
    &icmpflood::PING,
    &icmpflood::HPING,
    &icmpflood::NPING,
];

/// Type and tool.
type Named = (&'static str, &'static str);

/// Scenarios with two attacks. Both are of one tool, so that captures can be split by tool.
pub(crate) const PAIRS: &[(&str, Named, Named)] = &[
    ("pair-hping3-1", ("portscan", "hping3"), ("synflood", "hping3")),
    ("pair-hping3-2", ("udpflood", "hping3"), ("icmpflood", "hping3")),
    ("pair-nping-1", ("portscan", "nping"), ("synflood", "nping")),
    ("pair-nping-2", ("udpflood", "nping"), ("icmpflood", "nping")),
    ("pair-nmap-1", ("portscan", "nmap"), ("slowloris", "slowhttptest")),
    ("pair-scapy-1", ("arpspoof", "scapy"), ("synflood", "scapy")),
];

/// Where something runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Victim,
    Wan,
}

/// One attack of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attack {
    /// As labels have it.
    pub(crate) kind: &'static str,
    pub(crate) tool: &'static str,
    /// Second of the scenario in which it starts.
    pub(crate) at: u32,
    /// After so many seconds it is ended.
    pub(crate) limit: u32,
    /// For a shell in the attacker's namespace; `$S` is the folder of scripts, `$W` a folder to write to.
    pub(crate) line: String,
    /// What has to run at the other end, for a shell there.
    pub(crate) server: Option<(Place, String)>,
    /// As the label names them.
    pub(crate) attacker: String,
    pub(crate) victim: String,
    /// Least frames of the attacker in that time; with fewer the scenario has failed.
    pub(crate) least: u64,
}

impl Attack {
    /// An attack by the attacker's address; the time is set by the scenario.
    fn new(recipe: &Recipe, site: &Site, victim: &dyn ToString, limit: u32, line: String) -> Self {
        Self {
            kind: recipe.kind,
            tool: recipe.tool,
            at: 0,
            limit,
            line,
            server: None,
            attacker: site.attacker.address.to_string(),
            victim: victim.to_string(),
            least: 20,
        }
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "type": self.kind,
            "tool": self.tool,
            "at_s": self.at,
            "limit_s": self.limit,
            "command": self.line,
            "server": self.server.as_ref().map(|(place, line)| json!({ "at": format!("{place:?}"), "command": line })),
            "attacker": self.attacker,
            "victim": self.victim,
        })
    }
}

/// Whom to attack: the LAN's victim, or, from the LAN, now and then a server beyond the WAN.
fn target(rng: &mut Rng, site: &Site) -> Ipv4Addr {
    if !site.attacker_outside && rng.u8(0..4) == 0 { site.servers[0] } else { site.victim.address }
}

/// Whom to flood: always on the LAN or from there, and never through a link that would eat most of it.
fn flooded(rng: &mut Rng, site: &Site) -> Ipv4Addr {
    if site.link.mbit_s < 50 { site.victim.address } else { target(rng, site) }
}

/// One of these; the scenario's number goes through them, the seed decides where it starts.
fn way<'a, T: ?Sized>(ways: &[&'a T], number: u32) -> &'a T {
    ways[number.saturating_sub(1) as usize % ways.len()]
}

/// nping counts its pauses in whole milliseconds: a higher rate is no pause at all.
const NPING_MOST: u32 = 1_000;

/// Packets a second, over the whole range from slow to fast.
fn rate(rng: &mut Rng) -> u32 {
    rng.choice([500, 800, 1_200, 2_000, 3_000, 5_000]).unwrap_or(1_000)
}

//! Somebody else's address: the attacker claims to the victim that it is the gateway, and often the other way round too.

use fastrand::Rng;

use super::{Attack, Recipe, way};
use crate::site::Site;

pub(super) const DSNIFF: Recipe =
    Recipe { kind: "arpspoof", tool: "arpspoof", alone: 4, may_come_from_outside: false, make: dsniff };
pub(super) const SCAPY: Recipe =
    Recipe { kind: "arpspoof", tool: "scapy", alone: 3, may_come_from_outside: false, make: scapy };

fn dsniff(rng: &mut Rng, site: &Site, number: u32) -> Attack {
    let both = way(&["", "-r "], number);
    let line =
        format!("{}exec arpspoof -i eth0 {both}-t {} {}", forwarding(rng), site.victim.address, site.gateway.address);
    spoof(&DSNIFF, site, rng.u32(20..55), line)
}

fn scapy(rng: &mut Rng, site: &Site, number: u32) -> Attack {
    let seconds = rng.u32(20..55);
    let line = format!(
        "{}exec python3 $S/arp.py {} {} {} {seconds} {}",
        forwarding(rng),
        site.victim.address,
        site.gateway.address,
        rng.choice(["0.5", "1", "2", "5"]).unwrap_or("1"),
        way(&["reply", "gratuitous", "reply"], number)
    );
    spoof(&SCAPY, site, seconds + 5, line)
}

/// With forwarding the victim notices nothing; without, it is cut off.
fn forwarding(rng: &mut Rng) -> &'static str {
    if rng.u8(0..3) == 0 { "" } else { "echo 1 > /proc/sys/net/ipv4/ip_forward; " }
}

fn spoof(recipe: &Recipe, site: &Site, limit: u32, line: String) -> Attack {
    let attack = Attack::new(recipe, site, &format!("{},{}", site.victim.address, site.gateway.address), limit, line);
    Attack { attacker: format!("{},{}", site.attacker.mac, site.attacker.address), least: 5, ..attack }
}

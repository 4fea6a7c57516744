//! Echo requests without end.

use fastrand::Rng;

use super::{Attack, NPING_MOST, Recipe, flooded, rate};
use crate::site::Site;

pub(super) const PING: Recipe =
    Recipe { kind: "icmpflood", tool: "ping", alone: 3, may_come_from_outside: true, make: ping };
pub(super) const HPING: Recipe =
    Recipe { kind: "icmpflood", tool: "hping3", alone: 3, may_come_from_outside: true, make: hping };
pub(super) const NPING: Recipe =
    Recipe { kind: "icmpflood", tool: "nping", alone: 2, may_come_from_outside: true, make: nping };

/// ping, too, counts in whole milliseconds.
const PING_MOST: u32 = 1_000;

fn ping(rng: &mut Rng, site: &Site, number: u32) -> Attack {
    let (victim, rate, seconds) = (flooded(rng, site), rate(rng).min(PING_MOST), rng.u32(5..15));
    let size = rng.choice([56, 56, 400, 1_000]).unwrap_or(56);
    // Without an interval, -f waits for nothing but the answers: ten thousands a second on a veth pair, for a blink.
    let flood = if number == 1 { "-f " } else { "" };
    let line = format!("exec ping -q {flood}-i {:.3} -s {size} {victim}", 1.0 / f64::from(rate));
    Attack { least: 500, ..Attack::new(&PING, site, &victim, seconds, line) }
}

fn hping(rng: &mut Rng, site: &Site, number: u32) -> Attack {
    let (victim, rate, seconds) = (flooded(rng, site), rate(rng), rng.u32(4..15));
    let size = rng.choice([0, 56, 500, 1_200]).unwrap_or(56);
    let spoof = number == 3;
    let source = if spoof { "--rand-source " } else { "" };
    let line = format!("exec hping3 -q --icmp -d {size} -i u{} {source}{victim}", 1_000_000 / rate);
    let attack = Attack { least: 500, ..Attack::new(&HPING, site, &victim, seconds, line) };
    if spoof { Attack { attacker: "*".to_owned(), ..attack } } else { attack }
}

fn nping(rng: &mut Rng, site: &Site, _: u32) -> Attack {
    let (victim, rate, seconds) = (flooded(rng, site), rate(rng).min(NPING_MOST), rng.u32(5..15));
    let line = format!("exec nping -q -H -N --icmp --data-length {} --rate {rate} -c 0 {victim}", rng.u16(10..800));
    Attack { least: 500, ..Attack::new(&NPING, site, &victim, seconds, line) }
}

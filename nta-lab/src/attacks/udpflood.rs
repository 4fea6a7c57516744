//! UDP without end, small and large, to one port or any.

use fastrand::Rng;

use super::{Attack, NPING_MOST, Place, Recipe, flooded, rate};
use crate::site::Site;

pub(super) const HPING: Recipe =
    Recipe { kind: "udpflood", tool: "hping3", alone: 3, may_come_from_outside: true, make: hping };
pub(super) const NPING: Recipe =
    Recipe { kind: "udpflood", tool: "nping", alone: 2, may_come_from_outside: true, make: nping };
pub(super) const IPERF: Recipe =
    Recipe { kind: "udpflood", tool: "iperf3", alone: 3, may_come_from_outside: true, make: iperf };

fn hping(rng: &mut Rng, site: &Site, number: u32) -> Attack {
    let (victim, rate, seconds) = (flooded(rng, site), rate(rng), rng.u32(4..15));
    let port = if number == 2 { "++1".to_owned() } else { rng.u16(1..).to_string() };
    let size = rng.choice([0, 64, 512, 1200]).unwrap_or(64);
    let line = format!("exec hping3 -q --udp -p {port} -d {size} -i u{} {victim}", 1_000_000 / rate);
    Attack { least: 500, ..Attack::new(&HPING, site, &victim, seconds, line) }
}

fn nping(rng: &mut Rng, site: &Site, _: u32) -> Attack {
    let (victim, rate, seconds) = (flooded(rng, site), rate(rng).min(NPING_MOST), rng.u32(5..15));
    let line = format!(
        "exec nping -q -H -N --udp -p {} --data-length {} --rate {rate} -c 0 {victim}",
        rng.u16(1..),
        rng.u16(10..800)
    );
    Attack { least: 500, ..Attack::new(&NPING, site, &victim, seconds, line) }
}

fn iperf(rng: &mut Rng, site: &Site, _: u32) -> Attack {
    let victim = flooded(rng, site);
    let (rate, seconds, size) = (rate(rng), rng.u32(5..12), rng.choice([64, 200, 800]).unwrap_or(200));
    let line = format!("exec iperf3 -u -c {victim} -p 5300 -b {} -l {size} -t {seconds}", rate * size * 8);
    let place = if victim == site.victim.address { Place::Victim } else { Place::Wan };
    let server = Some((place, "exec iperf3 -s -p 5300".to_owned()));
    Attack { least: 500, server, ..Attack::new(&IPERF, site, &victim, seconds + 5, line) }
}

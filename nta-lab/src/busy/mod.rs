//! Busy harmless scenarios: sites whose usual work looks like an attack to who counts only connections, names or packets. They
//! are longer than the others, as most of this shows with time only.

mod bulk;
mod control;
mod hosts;
mod names;
mod people;
mod watch;

use std::fmt::Display;

use fastrand::Rng;

use super::benign::{Load, Maker, Who};
use super::site::Site;

/// How long each is, unless told otherwise.
pub(crate) const SECONDS: u32 = 1_400;
/// So that the link is not what limits them.
const MBIT_S: u32 = 50;

/// One kind of site.
pub(crate) struct Busy {
    pub(crate) name: &'static str,
    /// Stations beside the usual two, addresses beyond the WAN, hosts behind the first client.
    size: [usize; 3],
    make: fn(&mut Maker<'_>) -> Vec<Load>,
}

pub(crate) const BUSY: &[Busy] = &[
    Busy { name: "resolver", size: [5, 20, 0], make: names::resolver },
    Busy { name: "monitoring", size: [1, 60, 0], make: watch::monitoring },
    Busy { name: "smokeping", size: [0, 30, 0], make: watch::smokeping },
    Busy { name: "configuration", size: [0, 40, 0], make: control::configuration },
    Busy { name: "industry", size: [2, 0, 0], make: control::industry },
    Busy { name: "machines", size: [1, 8, 5], make: hosts::machines },
    Busy { name: "leases", size: [8, 0, 0], make: hosts::leases },
    Busy { name: "nat", size: [0, 60, 1], make: hosts::nat },
    Busy { name: "backups", size: [1, 2, 0], make: bulk::backups },
    Busy { name: "updates", size: [5, 12, 0], make: bulk::updates },
    Busy { name: "speedtest", size: [0, 4, 0], make: bulk::speedtest },
    Busy { name: "video", size: [3, 6, 0], make: bulk::video },
    Busy { name: "peers", size: [0, 240, 0], make: people::peers },
    Busy { name: "calls", size: [1, 16, 0], make: people::calls },
    Busy { name: "mailserver", size: [1, 150, 0], make: names::mailserver },
    Busy { name: "checks", size: [1, 20, 0], make: watch::checks },
];

impl Busy {
    pub(crate) fn site(&self, rng: &mut Rng) -> Site {
        let mut site = Site::draw(rng, false);
        site.grow(rng, self.size);
        site.link.mbit_s = site.link.mbit_s.max(MBIT_S);
        // A link that loses one packet in a hundred is no usual day's.
        site.link.loss = site.link.loss.min(10);
        // Who logs in often has set his servers so.
        site.ssh = ("100", 6);
        site
    }

    pub(crate) fn loads(&self, rng: &mut Rng, site: &Site, seconds: u32) -> Vec<Load> {
        (self.make)(&mut Maker { rng: Rng::with_seed(rng.u64(..)), site, seconds })
    }
}

fn load(kind: &'static str, who: Who, script: impl Into<String>) -> Load {
    Load { kind, who, script: script.into(), early: false }
}

/// A server, or the other end of something: it is there before the capture begins.
fn server(kind: &'static str, who: Who, script: &str) -> Load {
    Load { kind, who, script: format!("{script} &\ntouch $W/ready\nwait\n"), early: true }
}

/// For a script's words.
fn words<T: Display>(of: impl IntoIterator<Item = T>) -> String {
    of.into_iter().map(|one| one.to_string()).collect::<Vec<_>>().join(" ")
}

/// A line again and again until the load is ended.
fn forever(pause: impl Display, line: &str) -> String {
    format!("sleep 2\nwhile :; do\n{line}\nsleep {pause}\ndone\n")
}

/// More addresses for a station, and who they are.
fn addresses(maker: &mut Maker<'_>, count: usize) -> (Vec<std::net::Ipv4Addr>, String) {
    let free = maker.site.free(&mut maker.rng, count);
    let lines = free.iter().map(|address| format!("ip address add {address}/24 dev eth0\n")).collect();
    (free, lines)
}

#[cfg(test)]
mod tests {
    use crate::scenario::plan;

    #[test]
    fn six_hours_of_harmless_work_have_no_attack() {
        let busy: Vec<_> = plan(1, u32::MAX).into_iter().filter(|one| one.name.starts_with("busy-")).collect();
        assert!(busy.iter().map(|one| one.seconds).sum::<u32>() >= 6 * 3_600);
        for scenario in busy {
            assert!(scenario.attacks.is_empty() && !scenario.loads.is_empty(), "{}", scenario.name);
        }
    }

    #[test]
    fn they_can_be_made_short() {
        let busy: Vec<_> = plan(1, 90).into_iter().filter(|one| one.name.starts_with("busy-")).collect();
        assert!(busy.iter().all(|one| one.seconds == 90));
    }
}

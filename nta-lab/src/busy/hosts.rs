//! Hosts and their addresses: virtual machines behind one MAC address, DHCP, a gateway that translates.

use std::net::Ipv4Addr;

use super::super::benign::{CURL, Load, Maker, Who};
use super::{forever, load, server, words};

/// Five machines of a host that is in a Wi-Fi: all have its MAC address. They start anew, and one takes another's address.
pub(super) fn machines(maker: &mut Maker<'_>) -> Vec<Load> {
    let site = maker.site;
    let count = site.behind;
    let own = site.free(&mut maker.rng, count);
    let inner = words((0..count).map(|n| format!("b{n}")));
    let (gateway, dns, victim) = (site.gateway.address, site.servers[3], site.victim.address);
    let up = |address: Ipv4Addr| {
        format!("ip address add {address}/24 brd + dev eth0\nip link set eth0 up\nip route add default via {gateway}\n")
    };
    let mut loads = vec![server("bridge", Who::Client(0), &format!("python3 $S/macnat.py eth0 {inner}"))];
    for (n, address) in own.iter().copied().enumerate() {
        let urls = format!("http://{}/f20000 -o /dev/null http://{}/f8000", site.servers[0], site.servers[1]);
        let work = format!(
            "dig +short +tries=1 @{dns} www.{} >/dev/null; {CURL} {urls}; {CURL} http://{victim}/f2000; sleep {}",
            maker.pick(&site.domains.iter().map(String::as_str).collect::<Vec<_>>()),
            maker.rng.u32(2..9)
        );
        // Neighbour caches are told when a machine comes up.
        let announce = "echo 1 >/proc/sys/net/ipv4/conf/eth0/arp_notify\n";
        let restart = format!("ip address flush dev eth0; ip link set eth0 down; sleep {}\n", maker.rng.u32(5..30));
        let turns = maker.rng.u32(8..20);
        let next = if n == 0 { own[count - 1] } else { address };
        let script = if n == count - 1 {
            // Switched off for good after a while; the first gets its address later.
            format!("{announce}{}for t in $(seq 12); do {work}; done\nip link set eth0 down\n", up(address))
        } else {
            let again = format!("while :; do\nfor t in $(seq {turns}); do {work}; done\n{restart}{}done\n", up(next));
            format!(
                "{announce}sleep {n}\n{}for t in $(seq 25); do {work}; done\n{restart}{}{again}",
                up(address),
                up(next)
            )
        };
        loads.push(load("machine", Who::Behind(n), script));
    }
    loads.push(load("web", Who::Client(0), maker.script("web")));
    loads.push(load("web", Who::Client(1), maker.script("web")));
    loads.push(load("ping", Who::Client(2), forever(20, &format!("fping -q -c 1 {} 2>/dev/null", words(&own)))));
    loads
}

/// Leases of two minutes: they are renewed; phones go and come back with another MAC address; addresses get another owner.
pub(super) fn leases(maker: &mut Maker<'_>) -> Vec<Load> {
    let site = maker.site;
    let [a, b, c] = site.lan;
    let taken = |end: u8| {
        let address = Ipv4Addr::new(a, b, c, end);
        site.clients.iter().take(2).chain([&site.victim, &site.attacker]).any(|host| host.address == address)
    };
    // The longest run of free addresses: fewer than there are phones in a day.
    let first = (2..238u8).step_by(2).find(|&first| (first..first + 12).all(|end| !taken(end))).unwrap_or(200);
    let prefix = site.prefix();
    let dhcp = format!(
        "dnsmasq --keep-in-foreground --conf-file=/dev/null --port=0 --user=root --pid-file= --interface=br0 --dhcp-authoritative \
         --dhcp-range={prefix}.{first},{prefix}.{},255.255.255.0,120 --dhcp-option=3,{} --dhcp-leasefile=$W/leases",
        first + 11,
        site.gateway.address
    );
    let mut loads = vec![server("dhcp", Who::Gateway, &dhcp)];
    for n in 2..site.clients.len() {
        let client = "udhcpc -f -q -n -t 5 -T 2 -s $S/lease.sh -i eth0 >/dev/null 2>&1";
        let stay = "timeout WAIT udhcpc -f -R -t 5 -T 2 -A 5 -s $S/lease.sh -i eth0 >/dev/null 2>&1";
        let wait = maker.rng.u32(60..400).to_string();
        let work = format!(
            "(while :; do dig +short +tries=1 @{} {} >/dev/null; {CURL} http://{}/f8000; sleep {}; done) &\n",
            site.servers[3],
            site.domains[n % site.domains.len()],
            site.servers[n % 2],
            maker.rng.u32(3..12)
        );
        let mac = "ip link set eth0 down\n\
                   ip link set eth0 address $(printf '5a:00:%02x:%02x:%02x:%02x' $(shuf -i 0-255 -n 4))\n\
                   ip link set eth0 up\n";
        let begin = format!("ip -4 address flush dev eth0\nsleep {}\n{work}", n % 4);
        let script = match n % 4 {
            // Stays and renews.
            0 | 1 => format!("{begin}while :; do {}; sleep 2; done\n", stay.replace("WAIT", "3000")),
            // A phone that goes without a word and comes back as somebody else.
            2 => format!(
                "{begin}while :; do {client}; sleep {wait}; ip -4 address flush dev eth0; sleep 20\n{mac}done\n"
            ),
            // Gives its lease back and takes a new one.
            _ => format!("{begin}while :; do {}; sleep 15; done\n", stay.replace("WAIT", &wait)),
        };
        loads.push(load("station", Who::Client(n), script));
    }
    loads.push(load("web", Who::Client(0), maker.script("web")));
    loads
}

/// Two hundred people behind one address.
pub(super) fn nat(maker: &mut Maker<'_>) -> Vec<Load> {
    let site = maker.site;
    let (net, gateway) = ("10.201.77", "10.201.77.1");
    let translate = format!(
        "echo 1 >/proc/sys/net/ipv4/ip_forward\nip address add {gateway}/24 dev b0\n\
         nft 'add table ip nat; add chain ip nat post {{ type nat hook postrouting priority 100; }}; \
         add rule ip nat post oifname \"eth0\" masquerade' || iptables-legacy -t nat -A POSTROUTING -o eth0 -j MASQUERADE\n\
         sleep 1"
    );
    let own: String = (2..202).map(|end| format!("ip address add {net}.{end}/24 dev eth0\n")).collect();
    let crowd = format!(
        "{own}ip route add default via {gateway}\npython3 $S/crowd.py {net}.2 200 {} {} {} {} {}\n",
        maker.seconds,
        maker.rng.u16(..),
        site.servers[3],
        site.domains.join(","),
        words(&site.far)
    );
    vec![
        server("translate", Who::Client(0), &translate),
        load("crowd", Who::Behind(0), crowd),
        load("web", Who::Client(1), maker.script("web")),
    ]
}

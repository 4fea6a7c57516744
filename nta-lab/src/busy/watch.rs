//! Who looks whether others live: monitoring, smoke-ping, health checks.

use super::super::benign::{CURL, Load, Maker, Who};
use super::{addresses, forever, load, server, words};

/// 80 hosts, a fourth of them on the LAN; some go down, once half of them with the link to them.
pub(super) fn monitoring(maker: &mut Maker<'_>) -> Vec<Load> {
    let (near, own) = addresses(maker, 20);
    let site = maker.site;
    let hosts = words(near.iter().chain(&site.far));
    let far = words(&site.far);
    let half = words(site.far.iter().take(site.far.len() / 2));
    let down = |list: &str, seconds: u32| {
        format!(
            "for a in {list}; do ip address del $a/32 dev lo; done; sleep {seconds}\n\
             for a in {list}; do ip address add $a/32 dev lo; done\n"
        )
    };
    // In order of their addresses: neighbours fail together.
    let one = format!("{}sleep 40\n", down(&words(site.far.iter().skip(maker.rng.usize(..50)).take(2)), 50));
    let outages = format!("sleep 60\n{one}while :; do\n{}sleep 300\n{one}done\n", down(&half, 120));
    let near_down = format!(
        "{own}sleep 100\nwhile :; do ip address del {0}/24 dev eth0; sleep 60; ip address add {0}/24 dev eth0; sleep 90; done\n",
        near[0]
    );
    let p = "/usr/lib/nagios/plugins";
    let ports = format!(
        "for a in {hosts}; do for n in 22 80 25; do echo $a $n; done; done | \
         xargs -P 8 -n 2 sh -c '{p}/check_tcp -H $0 -p $1 -t 4 >/dev/null; sleep 0.2'"
    );
    let pages = format!(
        "for a in {hosts}; do {p}/check_http -I $a -u /f300 -t 4 >/dev/null; {p}/check_ssh -t 4 $a >/dev/null; sleep 0.2; done"
    );
    vec![
        load("near", Who::Client(2), near_down),
        load("outages", Who::Outside, outages),
        load("fping", Who::Client(0), format!("sleep 2\nfping -l -q -p 10000 -i 20 -t 1500 {hosts}\n")),
        load("ports", Who::Client(0), forever(15, &ports)),
        load("pages", Who::Client(0), forever(20, &pages)),
        load("mtr", Who::Client(0), forever(30, &format!("fping -q -c 5 -p 500 {far} 2>/dev/null"))),
        load("web", Who::Client(1), maker.script("web")),
        load("dns", Who::Client(0), maker.script("dns")),
    ]
}

/// Smoke-ping's twenty echo requests to each host, and ten a second to some for ever.
pub(super) fn smokeping(maker: &mut Maker<'_>) -> Vec<Load> {
    let site = maker.site;
    let [_, web, host, ..] = site.servers;
    let probe = format!("fping -C 20 -q -B1 -r1 -i10 -p 1000 {} 2>/dev/null", words(&site.far));
    let fast = format!("sleep 1\nfping -l -q -p 100 {host} {web} {}\n", site.victim.address);
    vec![
        load("smokeping", Who::Client(0), forever(maker.rng.u32(20..60), &probe)),
        load("tenasecond", Who::Client(0), fast),
        load("tenasecond", Who::Client(1), format!("sleep 3\nping -q -i 0.1 -s 1000 {}\n", site.gateway.address)),
        load("web", Who::Client(1), maker.script("web")),
    ]
}

/// A load balancer (`HAProxy`) that asks its servers every second, of which some are gone; others ask it.
pub(super) fn checks(maker: &mut Maker<'_>) -> Vec<Load> {
    let site = maker.site;
    let (near, victim) = (site.free(&mut maker.rng, 14), site.victim.address);
    // The first two are gone for good.
    let there = &near[2..];
    let mut config = format!(
        "defaults\n mode http\n timeout connect 2s\n timeout client 30s\n timeout server 30s\n\
         frontend pages\n bind {victim}:8080\n default_backend pages\n\
         backend pages\n balance roundrobin\n option httpchk GET /f300\n"
    );
    for (n, address) in there.iter().enumerate() {
        config += &format!(" server s{n} {address}:80 check inter 1s\n");
    }
    // Gone, and one whose port is closed.
    config += "backend logins\n mode tcp\n balance leastconn\n";
    for (n, address) in near.iter().enumerate() {
        config += &format!(" server t{n} {address}:{} check inter 2s\n", if n % 6 == 5 { 8443 } else { 22 });
    }
    let lines: String = there.iter().map(|address| format!("ip address add {address}/24 dev eth0\n")).collect();
    // One of them is restarted now and then.
    let restarts = format!(
        "sleep 90\nwhile :; do ip address del {0}/24 dev eth0; sleep 45; ip address add {0}/24 dev eth0; sleep 120; done",
        there[3]
    );
    // Those of a cloud: twenty hosts that connect and close, and that ask for a page.
    let cloud: String = site
        .far
        .iter()
        .map(|from| {
            format!("(while :; do nc -n -z -w 2 -s {from} {victim} 80; {CURL} --interface {from} http://{victim}/f300; sleep 5; done) &\nsleep 0.3\n")
        })
        .collect();
    let visits = forever(
        0.3,
        &format!("{CURL} --interface $(shuf -n 1 -e {}) http://{victim}:8080/f2000", words(&site.outsiders)),
    );
    let servers = "lighttpd -D -f $W/lighttpd.conf & exec /usr/sbin/sshd -D -e -f $W/sshd_config";
    vec![
        server("servers", Who::Client(2), &format!("{lines}{servers}")),
        load("restarts", Who::Client(2), restarts),
        load("balancer", Who::Victim, format!("cat >$W/haproxy.cfg <<'X'\n{config}X\nhaproxy -db -f $W/haproxy.cfg\n")),
        load("cloud", Who::Outside, format!("sleep 2\n{cloud}wait\n")),
        load("visits", Who::Outside, visits),
        load("web", Who::Client(0), maker.script("web")),
    ]
}

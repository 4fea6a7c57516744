//! Port scans: SYN, connect, UDP, odd flags; fast and slow; one host, and one port of many hosts.

use fastrand::Rng;

use super::{Attack, Recipe, target, way};
use crate::site::Site;

pub(super) const NMAP: Recipe =
    Recipe { kind: "portscan", tool: "nmap", alone: 8, may_come_from_outside: true, make: nmap };
pub(super) const HPING: Recipe =
    Recipe { kind: "portscan", tool: "hping3", alone: 2, may_come_from_outside: true, make: hping };
pub(super) const NETCAT: Recipe =
    Recipe { kind: "portscan", tool: "nc", alone: 3, may_come_from_outside: true, make: netcat };
pub(super) const NPING: Recipe =
    Recipe { kind: "portscan", tool: "nping", alone: 2, may_come_from_outside: true, make: nping };
pub(super) const ZMAP: Recipe =
    Recipe { kind: "portscan", tool: "zmap", alone: 3, may_come_from_outside: false, make: zmap };

fn nmap(rng: &mut Rng, site: &Site, number: u32) -> Attack {
    let victim = target(rng, site);
    let top = rng.choice([100, 300, 1000]).unwrap_or(100);
    let timing = rng.choice(["-T3", "-T4", "-T5"]).unwrap_or("-T4");
    // nmap -T2 sends a probe every 0.4 s.
    let ways = [
        format!("-sS {timing} --top-ports 1000"),
        format!("-sT {timing} --max-rate {} --top-ports {top}", rng.choice([10, 40, 150]).unwrap_or(40)),
        format!("-sU -T4 --max-retries 1 --top-ports {}", rng.u32(60..120)),
        format!("-sS -T2 --top-ports {top}"),
        format!("{} {timing} --top-ports {top}", rng.choice(["-sF", "-sX", "-sN", "-sA"]).unwrap_or("-sF")),
        format!("-sS -sV --version-light {timing} --top-ports {top}"),
        format!("-sS --max-rate {} -p {}-65535 -r", rng.choice([50, 200, 1000]).unwrap_or(50), rng.u32(1..30_000)),
    ];
    let sweep = format!("-sS {timing} -p {} --max-retries 1", rng.choice([22, 80, 445, 3389]).unwrap_or(445));
    // On the LAN itself a sweep is ARP only: nobody answers for most addresses. Beyond the gateway every probe is seen.
    if number == 8 && !site.attacker_outside {
        let [a, b, c, _] = site.servers[0].octets();
        return Attack::new(&NMAP, site, &"-", 30, format!("exec nmap -n -Pn {sweep} {a}.{b}.{c}.0/24"));
    }
    let ways: Vec<&str> = ways.iter().map(String::as_str).collect();
    let line = format!("exec nmap -n -Pn {} {victim}", way(&ways, number));
    Attack::new(&NMAP, site, &victim, rng.u32(30..60), line)
}

fn hping(rng: &mut Rng, site: &Site, number: u32) -> Attack {
    let victim = target(rng, site);
    let line = if number == 2 {
        // `++`: the port goes up with every packet.
        let pause = rng.choice([2_000, 20_000, 100_000]).unwrap_or(20_000);
        format!("exec hping3 -q -S -p ++{} -i u{pause} -c 3000 {victim}", rng.u32(1..2000))
    } else {
        format!("exec hping3 -q --scan 1-{} -S {victim}", rng.u32(400..3000))
    };
    Attack::new(&HPING, site, &victim, rng.u32(15..40), line)
}

fn netcat(rng: &mut Rng, site: &Site, _: u32) -> Attack {
    let victim = target(rng, site);
    let first = rng.u32(1..1000);
    let how = rng.choice(["-z -w 1", "-z -w 1 -r", "-z -w 1 -i 1"]).unwrap_or("-z -w 1");
    let line = format!("exec nc -n {how} {victim} {first}-{}", first + rng.u32(200..2000));
    Attack::new(&NETCAT, site, &victim, rng.u32(30..50), line)
}

fn nping(rng: &mut Rng, site: &Site, _: u32) -> Attack {
    let victim = target(rng, site);
    let first = rng.u32(1..2000);
    let rate = rng.choice([5, 30, 200]).unwrap_or(30);
    let how = rng.choice(["--tcp --flags syn", "--tcp --flags syn", "--tcp-connect", "--udp"]).unwrap_or("--tcp");
    let line = format!("exec nping -q {how} -c 1 --rate {rate} -p {first}-{} {victim}", first + rate * 25);
    Attack::new(&NPING, site, &victim, rng.u32(20..50), line)
}

fn zmap(rng: &mut Rng, site: &Site, _: u32) -> Attack {
    let port = rng.choice([22, 80, 443, 445, 3389]).unwrap_or(445);
    let server = site.servers[1].octets();
    let rate = rng.choice([20, 60, 300]).unwrap_or(60);
    let (gateway, own) = (&site.gateway.mac, site.attacker.address);
    // zmap speaks to its gateway only: what it sweeps lies beyond it.
    let line = format!(
        "exec zmap -q -p {port} -r {rate} -b /dev/null -i eth0 -G {gateway} -S {own} -c 3 -n {} \
         -o $W/zmap.csv {}.{}.0.0/16",
        rate * rng.u32(10..30),
        server[0],
        server[1],
    );
    Attack::new(&ZMAP, site, &"-", 45, line)
}

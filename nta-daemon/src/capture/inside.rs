//! Which networks are inside, as the machine itself knows: its addresses, and what lies behind every interface that is not the way
//! out. Read again when an interface changes, and once a minute, as routes come and go without one.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use getifaddrs::Address;
use ipnet::IpNet;

use crate::config::{Config, InterfacePattern, selects};
use nta_core::detect::Networks;

const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// Bytes that are read of a routing table: 8,000 routes of IPv4. A longer one is that of a router of the Internet, whose routes say
/// nothing about what is inside.
const MAX_TABLE_BYTES: u64 = 1 << 20;
/// Networks that are learned: every flow is held against each.
const MAX_NETWORKS: usize = 128;
/// A prefix so short is half of all addresses: what VPNs write in place of a default route.
const DEFAULT_PREFIX: u8 = 1;
/// `RTF_REJECT` of linux/route.h: leads nowhere.
const REJECT: u32 = 0x0200;

/// Tells the detectors and the API what is inside.
pub(super) struct Inside {
    /// Interfaces whose side is inside; empty: all but those of a default route.
    interfaces: Vec<InterfacePattern>,
    networks: Networks,
    due: Option<Instant>,
}

/// A network behind an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Route {
    interface: String,
    network: IpNet,
}

impl Inside {
    /// Networks that the configuration names are not added to.
    pub(super) fn new(config: &Config) -> Self {
        let networks = config.detect.local_networks.clone();
        let learns = networks == Networks::default() || !config.capture.inside.is_empty();
        Self { interfaces: config.capture.inside.clone(), networks, due: learns.then(Instant::now) }
    }

    /// Looks where it is time, or where something has changed.
    pub(super) fn look(&mut self, has_changed: bool) {
        let Some(due) = self.due.filter(|due| has_changed || *due <= Instant::now()) else { return };
        self.due = Some(due.max(Instant::now()) + AGAIN_AFTER);
        let (learned, is_cut) = learn(&self.interfaces, &self.networks);
        if learned == self.networks.learned() {
            return;
        }
        if is_cut {
            let most = MAX_NETWORKS;
            tracing::warn!(most, "too many routes to say what is inside: only the machine's own networks are");
        }
        let shown: Vec<String> = learned.iter().map(ToString::to_string).collect();
        tracing::info!(networks = shown.join(", "), "inside by this machine's addresses and routes");
        self.networks.learn(learned);
    }
}

/// What the machine knows to be inside beside the configured networks, and whether routes were left out.
pub fn learn(interfaces: &[InterfacePattern], configured: &Networks) -> (Vec<IpNet>, bool) {
    let [v4, v6] = [table("/proc/net/route"), table("/proc/net/ipv6_route")];
    let routes: Vec<Route> = v4.lines().skip(1).filter_map(route4).chain(v6.lines().filter_map(route6)).collect();
    let (mut learned, is_cut) = inside(interfaces, &addresses(), &routes);
    learned.retain(|network| !configured.is_configured(network));
    (learned, is_cut)
}

/// Every address of the machine with its network.
fn addresses() -> Vec<Route> {
    let all =
        getifaddrs::getifaddrs().inspect_err(|error| tracing::warn!(%error, "the machine's addresses cannot be read"));
    let route = |interface: getifaddrs::Interface| {
        let (address, mask): (IpAddr, IpAddr) = match interface.address {
            Address::V4(v4) => (v4.address.into(), v4.netmask?.into()),
            Address::V6(v6) => (v6.address.into(), v6.netmask?.into()),
            Address::Mac(_) => return None,
        };
        Some(Route { interface: interface.name, network: IpNet::with_netmask(address, mask).ok()? })
    };
    all.into_iter().flatten().filter_map(route).collect()
}

/// The beginning of a routing table, to the last whole line; nothing of one that is longer.
fn table(path: &str) -> String {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_TABLE_BYTES).read_to_string(&mut text));
    match read {
        Ok(bytes) if (bytes as u64) < MAX_TABLE_BYTES => text,
        // Without IPv6 there is no such file.
        _ => String::new(),
    }
}

/// A line `Iface Destination Gateway Flags RefCnt Use Metric Mask …`, numbers in the order of the machine's bytes.
fn route4(line: &str) -> Option<Route> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let number = |at: usize| u32::from_str_radix(fields.get(at)?, 16).ok();
    let address = |at: usize| Some(IpAddr::from(Ipv4Addr::from(number(at)?.to_ne_bytes())));
    let network = IpNet::with_netmask(address(1)?, address(7)?).ok()?;
    (number(3)? & REJECT == 0).then(|| Route { interface: fields[0].to_owned(), network })
}

/// A line `destination length source length next-hop metric refcnt use flags iface`, all numbers in hexadecimal.
fn route6(line: &str) -> Option<Route> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let address = Ipv6Addr::from(u128::from_str_radix(fields.first()?, 16).ok()?);
    let prefix = u8::from_str_radix(fields.get(1)?, 16).ok()?;
    let flags = u32::from_str_radix(fields.get(8)?, 16).ok()?;
    let network = IpNet::new(address.into(), prefix).ok()?;
    (flags & REJECT == 0).then(|| Some(Route { interface: (*fields.get(9)?).to_owned(), network }))?
}

/// What is inside, without what lies in another of them; and whether routes were left out because there are too many.
fn inside(interfaces: &[InterfacePattern], addresses: &[Route], routes: &[Route]) -> (Vec<IpNet>, bool) {
    let ways_out: HashSet<&str> = routes
        .iter()
        .filter(|route| route.network.prefix_len() <= DEFAULT_PREFIX && route.interface != "lo")
        .map(|route| route.interface.as_str())
        .collect();
    let is_inside = |interface: &str| {
        if interfaces.is_empty() {
            // Without a way out nothing says which side is which.
            !ways_out.is_empty() && !ways_out.contains(interface)
        } else {
            selects(interfaces, interface)
        }
    };
    let own = addresses.iter().map(|route| IpNet::from(route.network.addr()));
    let connected = addresses.iter().filter(|route| is_inside(&route.interface)).map(|route| route.network.trunc());
    let known: Vec<IpNet> = own.chain(connected).filter(is_site).collect();
    let routed = routes.iter().filter(|route| is_inside(&route.interface)).map(|route| route.network.trunc());
    let all: Vec<IpNet> = known.iter().copied().chain(routed.filter(is_site)).collect();
    let all = IpNet::aggregate(&all);
    if all.len() <= MAX_NETWORKS {
        return (all, false);
    }
    let mut known = IpNet::aggregate(&known);
    known.truncate(MAX_NETWORKS);
    (known, true)
}

/// Whether hosts of a site can have these addresses, and not every host, as with link-local and multicast ones.
fn is_site(network: &IpNet) -> bool {
    let address = network.addr();
    let is_link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    network.prefix_len() > DEFAULT_PREFIX && !is_link_local && !address.is_loopback() && !address.is_multicast()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES4: &str = "wan0\t00000000\t017100CB\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
        wan0\t007100CB\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
        lan0\t006433C6\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
        lan0\t000212C6\t026433C6\t0003\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";

    fn read(names: &[&str], addresses: &[(&str, &str)], v6: &str) -> Vec<String> {
        let patterns: Vec<InterfacePattern> = names.iter().map(|name| name.parse().expect("a pattern")).collect();
        let addresses: Vec<Route> = addresses
            .iter()
            .map(|(name, network)| Route { interface: (*name).into(), network: network.parse().expect("a network") })
            .collect();
        let routes: Vec<Route> = ROUTES4.lines().filter_map(route4).chain(v6.lines().filter_map(route6)).collect();
        inside(&patterns, &addresses, &routes).0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_not_behind_the_way_out_is_inside() {
        let addresses = [("wan0", "203.0.113.2/24"), ("lan0", "198.51.100.1/24"), ("lo", "127.0.0.1/8")];
        // Its own outside address, the network of the inside, and one behind a router there.
        assert_eq!(read(&[], &addresses, ""), ["198.18.2.0/24", "198.51.100.0/24", "203.0.113.2/32"]);
        let named = read(&["wan*"], &addresses, "");
        assert_eq!(named, ["198.51.100.1/32", "203.0.113.0/24"], "as configured");
    }

    #[test]
    fn routes_of_version_6_are_read_and_link_local_ones_are_not_inside() {
        let line = |network: &str, prefix: &str, name: &str| {
            let network = format!("{:032x}", u128::from(network.parse::<Ipv6Addr>().expect("an address")));
            let zeros = "0".repeat(32);
            format!("{network} {prefix} {zeros} 00 {zeros} 00000100 00000001 00000000 00000001     {name}\n")
        };
        let table = [
            line("::", "00", "wan0"),
            line("2001:db8:1::", "30", "lan0"),
            line("2001:db8:ff::", "40", "wan0"),
            line("fe80::", "40", "lan0"),
            line("ff00::", "08", "lan0"),
        ];
        let learned = read(&["lan0"], &[("lan0", "fe80::1/64"), ("wan0", "2001:db8:ff::2/64")], &table.concat());
        assert_eq!(learned, ["198.18.2.0/24", "198.51.100.0/24", "2001:db8:1::/48", "2001:db8:ff::2/128"]);
    }

    #[test]
    fn without_a_way_out_only_the_machines_own_addresses_are_inside() {
        let addresses = [Route { interface: "eth0".into(), network: "192.0.2.7/24".parse().expect("a network") }];
        assert_eq!(inside(&[], &addresses, &addresses).0, ["192.0.2.7/32".parse::<IpNet>().expect("a network")]);
    }
}

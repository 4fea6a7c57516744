//! How watched interfaces lie on one another: a packet that passes a bridge and its port, a VLAN and its NIC, passes several, and
//! is to be counted once. Then the programs mark what they have counted.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use crate::device::Device;
use crate::netlink::{self, Place};

/// Kinds of interfaces (`IFLA_INFO_KIND`) at which a packet is put into another one, or taken out.
const TUNNELS: [&str; 19] = [
    "amt",
    "bareudp",
    "erspan",
    "geneve",
    "gre",
    "gretap",
    "gtp",
    "ip6erspan",
    "ip6gre",
    "ip6gretap",
    "ip6tnl",
    "ipip",
    "sit",
    "vti",
    "vti6",
    "vxlan",
    "wireguard",
    "xfrm",
    "tun",
];

/// What matters of all interfaces to those that are watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// Which watched interfaces share packets with others, a sentence each; empty when none do.
    pub overlaps: Vec<String>,
    /// Indices of watched ends of tunnels.
    pub(crate) tunnel_ends: Vec<u32>,
}

impl Topology {
    /// Of the interfaces that are watched. A single one overlaps with none.
    pub fn of(watched: &[Device]) -> Self {
        if watched.len() < 2 {
            return Self::default();
        }
        let all: Vec<(Device, Place)> =
            Device::all().into_iter().filter_map(|d| netlink::place(d.index).ok().map(|place| (d, place))).collect();
        Self::between(watched, &all)
    }

    fn between(watched: &[Device], all: &[(Device, Place)]) -> Self {
        let name = |index: u32| all.iter().find(|(d, _)| d.index == index).map_or("?", |(d, _)| d.name.as_str());
        let is_watched = |index: u32| watched.iter().any(|device| device.index == index);
        let mut new = Self::default();
        for (device, place) in all {
            if let Some(master) = place.master.filter(|_| is_watched(device.index)) {
                new.overlaps.push(format!("{} belongs to {}", device.name, name(master)));
            }
            if let Some(lower) = place.lower.filter(|lower| is_watched(device.index) || is_watched(*lower)) {
                new.overlaps.push(format!("{} lies on {}", device.name, name(lower)));
            }
            if is_watched(device.index) && TUNNELS.contains(&place.kind.as_str()) {
                new.overlaps.push(format!("{} is the end of a tunnel", device.name));
                new.tunnel_ends.push(device.index);
            }
        }
        new
    }

    /// What packets are marked with that were counted: the same after a restart, another one in other namespaces, whose
    /// packets may come here. 0 where nothing overlaps.
    pub(crate) fn mark(&self, watched: &[Device]) -> u16 {
        if self.overlaps.is_empty() {
            return 0;
        }
        let namespace = fs::metadata("/proc/self/ns/net").map_or(0, |namespace| namespace.ino());
        let parts = std::iter::once(namespace).chain(watched.iter().map(|device| u64::from(device.index)));
        // FNV-1a over 64-bit words, folded to 16 bits; 0 is no mark.
        let hash = parts.fold(0xcbf2_9ce4_8422_2325_u64, |hash, part| (hash ^ part).wrapping_mul(0x0100_0000_01b3));
        let folded = (hash >> 48) ^ (hash >> 32) ^ (hash >> 16) ^ hash;
        (folded as u16).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(index: u32, name: &str) -> Device {
        Device { name: name.to_owned(), index, driver: None, mtu: 1500, state: "up".to_owned() }
    }

    #[test]
    fn interfaces_that_share_packets_are_named() {
        let kind = |kind: &str| Place { kind: kind.to_owned(), ..Place::default() };
        let all = [
            (device(2, "eth0"), Place { master: Some(4), ..kind("") }),
            (device(3, "eth1"), kind("")),
            (device(4, "br0"), kind("bridge")),
            (device(5, "eth1.10"), Place { lower: Some(3), ..kind("vlan") }),
            (device(6, "wg0"), kind("wireguard")),
        ];
        let overlaps = |indices: &[u32]| {
            let watched: Vec<Device> =
                all.iter().filter(|(d, _)| indices.contains(&d.index)).map(|(d, _)| d.clone()).collect();
            Topology::between(&watched, &all)
        };
        assert_eq!(overlaps(&[2, 3]).overlaps, ["eth0 belongs to br0", "eth1.10 lies on eth1"]);
        assert_eq!(overlaps(&[4, 5]).overlaps, ["eth1.10 lies on eth1"]);
        assert_eq!(overlaps(&[4]).overlaps, [""; 0]);
        let tunnel = overlaps(&[4, 6]);
        assert_eq!((tunnel.overlaps.len(), &tunnel.tunnel_ends[..]), (1, &[6][..]));
        assert_ne!(tunnel.mark(&[device(4, "br0"), device(6, "wg0")]), 0);
    }
}

//! Lists of networks in the configuration.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::Setting;
use crate::window::address_number;

/// Private networks (RFC 1918), shared address space (RFC 6598), link-local addresses (RFC 3927, 4291), unique local
/// addresses (RFC 4193) and the host itself.
const LOCAL: [&str; 9] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "127.0.0.0/8",
    "fc00::/7",
    "fe80::/10",
    "::1/128",
];
const DOC: &str = " Networks that are one's own; all others are outside.";

/// Networks, each as address and prefix length.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<IpNet>", into = "Vec<IpNet>")]
pub struct Networks {
    list: Vec<IpNet>,
    /// First and last address of each, as numbers: every flow asks.
    ranges: Vec<(u128, u128)>,
}

impl From<Vec<IpNet>> for Networks {
    fn from(list: Vec<IpNet>) -> Self {
        let range = |network: &IpNet| (address_number(network.network()), address_number(network.broadcast()));
        let ranges = list.iter().map(range).collect();
        Self { list, ranges }
    }
}

impl From<Networks> for Vec<IpNet> {
    fn from(networks: Networks) -> Self {
        networks.list
    }
}

impl Networks {
    /// Section of the configuration file.
    pub(super) const SECTION: &'static str = "detect";

    /// None.
    pub(super) const fn none() -> Self {
        Self { list: Vec::new(), ranges: Vec::new() }
    }

    /// Whether one of them has this address.
    pub fn contains(&self, address: &IpAddr) -> bool {
        let number = address_number(*address);
        self.ranges.iter().any(|(first, last)| (first..=last).contains(&&number))
    }

    pub(super) fn settings() -> Vec<Setting> {
        vec![Setting { key: "local_networks", default: format!("{:?}", Self::default()), doc: DOC.trim().to_owned() }]
    }

    pub(super) fn to_toml(&self) -> String {
        format!("[{}]\n#{DOC}\nlocal_networks = {self:?}\n", Self::SECTION)
    }
}

impl Default for Networks {
    fn default() -> Self {
        LOCAL.iter().filter_map(|network| network.parse().ok()).collect::<Vec<IpNet>>().into()
    }
}

impl fmt::Debug for Networks {
    /// As in a configuration file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.list.iter().map(ToString::to_string)).finish()
    }
}

/// Whether an address is one host's, and nobody's in the local networks.
pub(super) fn is_outside(local: &Networks, address: &IpAddr) -> bool {
    let is_group =
        address.is_multicast() || address.is_unspecified() || matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !is_group && !local.contains(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_network_and_the_outside_is_all_else() {
        let local = Networks::default();
        assert_eq!(local.list.len(), LOCAL.len());
        for (address, outside) in [
            ("10.1.2.3", false),
            ("172.32.0.1", true),
            ("fd00::1", false),
            ("2001:db8::1", true),
            ("224.0.0.251", false),
            ("255.255.255.255", false),
        ] {
            assert_eq!(is_outside(&local, &address.parse().expect("an address")), outside, "{address}");
        }
    }
}

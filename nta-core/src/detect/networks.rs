//! Lists of networks in the configuration.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::window::address_number;
use crate::{Section, Setting};

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
const DOC: &str = "Networks that are one's own; all others are outside.";

/// Networks, each as address and prefix length.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<IpNet>")]
pub struct Networks {
    list: Vec<IpNet>,
    /// First and last address of each, as numbers: every flow asks.
    ranges: Vec<Range>,
    learned: Learned,
}

/// Networks that are found to be one's own while traffic is judged: the same for all copies of a list, and no part of what was
/// configured.
#[derive(Clone, Default)]
struct Learned(Arc<Lists>);

#[derive(Default)]
struct Lists {
    /// Whether there are any. Every flow asks, on two threads at once: a lock that both take for nothing makes each wait for
    /// the other's processor.
    has_any: AtomicBool,
    known: RwLock<(Vec<IpNet>, Vec<Range>)>,
}

impl Lists {
    fn read(&self) -> RwLockReadGuard<'_, (Vec<IpNet>, Vec<Range>)> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PartialEq for Learned {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Learned {}

/// First and last address, as numbers.
type Range = (u128, u128);

fn range(network: &IpNet) -> Range {
    (address_number(network.network()), address_number(network.broadcast()))
}

impl From<Vec<IpNet>> for Networks {
    fn from(list: Vec<IpNet>) -> Self {
        let ranges = list.iter().map(range).collect();
        Self { list, ranges, learned: Learned::default() }
    }
}

impl TryFrom<Vec<String>> for Networks {
    type Error = String;

    fn try_from(texts: Vec<String>) -> Result<Self, String> {
        Ok(texts.iter().map(|text| network(text)).collect::<Result<Vec<IpNet>, _>>()?.into())
    }
}

/// A network as `ADDRESS/PREFIX`, or one address. Bits behind the prefix are refused: who writes them means either the
/// network or the host, and only one of the two is right.
///
/// # Errors
/// What is wrong with the text, in one line that names it.
pub fn network(text: &str) -> Result<IpNet, String> {
    let none = || format!("`{text}`: expected ADDRESS or ADDRESS/PREFIX");
    let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let address = address.parse::<IpAddr>().ok().ok_or_else(none)?;
    let Some(prefix) = prefix else { return Ok(IpNet::from(address)) };
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let network = prefix.parse().ok().and_then(|prefix| IpNet::new(address, prefix).ok());
    let network = network.ok_or_else(|| format!("`{text}`: the prefix is a number from 0 to {longest}"))?;
    if network.trunc() == network {
        return Ok(network);
    }
    Err(format!(
        "`{text}` has bits behind its prefix: expected {} for the network or {address} for the host",
        network.trunc()
    ))
}

impl From<Networks> for Vec<IpNet> {
    fn from(networks: Networks) -> Self {
        networks.list
    }
}

impl Networks {
    /// None.
    pub(super) fn none() -> Self {
        Vec::new().into()
    }

    /// Whether one of them has this address.
    pub fn contains(&self, address: &IpAddr) -> bool {
        let number = address_number(*address);
        let holds = |ranges: &[Range]| ranges.iter().any(|(first, last)| (first..=last).contains(&&number));
        let learned = &self.learned.0;
        holds(&self.ranges) || learned.has_any.load(Ordering::Acquire) && holds(&learned.read().1)
    }

    /// As configured.
    pub fn configured(&self) -> &[IpNet] {
        &self.list
    }

    /// Whether one of the configured networks has all of this one.
    pub fn is_configured(&self, network: &IpNet) -> bool {
        self.list.iter().any(|known| known.contains(network))
    }

    /// What was learned last.
    pub fn learned(&self) -> Vec<IpNet> {
        self.learned.0.read().0.clone()
    }

    /// Takes these networks for one's own too, in place of what was learned before, here and in every copy.
    pub fn learn(&self, networks: Vec<IpNet>) {
        let (ranges, has_any) = (networks.iter().map(range).collect(), !networks.is_empty());
        let mut known = self.learned.0.known.write().unwrap_or_else(PoisonError::into_inner);
        *known = (networks, ranges);
        self.learned.0.has_any.store(has_any, Ordering::Release);
    }

    pub(super) fn section(&self) -> Section {
        let doc = DOC.to_owned();
        Section {
            name: "detect",
            about: "What is looked for, and when it is reported.".to_owned(),
            settings: vec![Setting { key: "local_networks", value: format!("{self:?}"), doc, bounds: None }],
        }
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
    fn a_network_that_is_none_is_refused_by_its_text() {
        for (text, read) in [("192.0.2.0/24", "192.0.2.0/24"), ("192.0.2.7", "192.0.2.7/32"), ("::/0", "::/0")] {
            assert_eq!(network(text).map(|network| network.to_string()).as_deref(), Ok(read));
        }
        for (text, said) in [
            ("192.0.2.7/24", "expected 192.0.2.0/24 for the network or 192.0.2.7 for the host"),
            ("2001:db8::1/32", "expected 2001:db8::/32 for the network or 2001:db8::1 for the host"),
            ("192.0.2.0/33", "0 to 32"),
            ("2001:db8::/129", "0 to 128"),
            ("192.0.2.0/", "0 to 32"),
            ("intranet", "ADDRESS/PREFIX"),
            ("", "ADDRESS/PREFIX"),
        ] {
            let error = network(text).expect_err(text);
            assert!(error.contains(said) && error.contains(&format!("`{text}`")), "{error}");
        }
    }

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

    #[test]
    fn what_is_learned_is_local_in_every_copy_until_something_else_is() {
        let (local, address) = (Networks::default(), "203.0.113.7".parse().expect("an address"));
        let copy = local.clone();
        copy.learn(vec!["203.0.113.0/24".parse().expect("a network")]);
        assert!(!is_outside(&local, &address) && local == Networks::default());
        copy.learn(Vec::new());
        assert!(is_outside(&local, &address));
    }
}

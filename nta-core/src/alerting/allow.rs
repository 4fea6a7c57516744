//! What no alert is raised about: addresses and networks, for every kind or only for some.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::detect::network;
use crate::domain::{AlertKind, Finding, Party};

/// `ADDRESS`, `ADDRESS/PREFIX`, or either with the kinds of alert that it is for: `192.0.2.0/24 port_scan`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Allow {
    address: IpAddr,
    prefix: u8,
    /// Kinds; empty for all.
    only: Vec<AlertKind>,
}

impl Allow {
    /// Whether the finding is about it, as source or as destination.
    pub fn covers(&self, finding: &Finding) -> bool {
        (self.only.is_empty() || self.only.contains(&finding.kind))
            && [finding.source, finding.destination].iter().any(|party| match party {
                Party::Host(address) => self.contains(address),
                Party::Network(address, prefix) => *prefix >= self.prefix && self.contains(address),
                Party::Nobody | Party::Many | Party::Mac(_) => false,
            })
    }

    fn contains(&self, address: &IpAddr) -> bool {
        let same = |own: u128, other: u128, bits: u32| {
            own.checked_shr(bits - u32::from(self.prefix)).unwrap_or_default()
                == other.checked_shr(bits - u32::from(self.prefix)).unwrap_or_default()
        };
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => same(own.to_bits().into(), other.to_bits().into(), 32),
            (IpAddr::V6(own), IpAddr::V6(other)) => same(own.to_bits(), other.to_bits(), 128),
            _ => false,
        }
    }
}

impl FromStr for Allow {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let nothing = || format!("`{text}`: expected ADDRESS, ADDRESS/PREFIX, or these and kinds of alert behind them");
        let network = network(words.next().ok_or_else(nothing)?)?;
        let unknown = |word| format!("`{text}`: there is no kind of alert `{word}`; there are {}", AlertKind::words());
        let kind = |word| AlertKind::named(word).ok_or_else(|| unknown(word));
        let only = words.map(kind).collect::<Result<_, _>>()?;
        Ok(Self { address: network.addr(), prefix: network.prefix_len(), only })
    }
}

impl TryFrom<String> for Allow {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Allow> for String {
    fn from(allow: Allow) -> Self {
        allow.to_string()
    }
}

impl fmt::Display for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)?;
        self.only.iter().try_for_each(|word| write!(f, " {word}"))
    }
}

/// As the configuration file has it: in quotes.
impl fmt::Debug for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_networks_are_read_and_printed() {
        for (text, printed) in [
            ("192.0.2.7", "192.0.2.7/32"),
            ("192.0.2.0/24 port_scan", "192.0.2.0/24 port_scan"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
        ] {
            assert_eq!(text.parse::<Allow>().expect(text).to_string(), printed);
        }
        for text in ["", "host", "192.0.2.0/33", "192.0.2.1/24", "2001:db8::/129", "192.0.2.0/x", "192.0.2.7 nonsense"]
        {
            assert!(text.parse::<Allow>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_network_contains_its_addresses_and_no_other_family() {
        let contains = |network: &str, address: &str| {
            network.parse::<Allow>().expect("network").contains(&address.parse().expect("address"))
        };
        assert!(contains("10.0.0.0/8", "10.255.0.1") && !contains("10.0.0.0/8", "11.0.0.1"));
        assert!(contains("0.0.0.0/0", "203.0.113.1") && !contains("0.0.0.0/0", "::1"));
        assert!(contains("2001:db8::/32", "2001:db8:ffff::1") && !contains("2001:db8::/32", "2001:db9::1"));
        assert!(contains("::/0", "2001:db9::1"));
    }
}

//! Whom a finding about many is about.

use std::net::IpAddr;

/// The many that a finding is about, each in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Crowd {
    sources: Vec<IpAddr>,
    destinations: Vec<IpAddr>,
}

impl Crowd {
    /// Hosts of either side that are kept; of more the lowest addresses.
    const MAX: usize = 65_536;

    /// Who did it, and to whom.
    pub fn new(sources: impl IntoIterator<Item = IpAddr>, destinations: impl IntoIterator<Item = IpAddr>) -> Self {
        let of = |mut hosts: Vec<IpAddr>| {
            hosts.sort_unstable();
            hosts.dedup();
            hosts.truncate(Self::MAX);
            hosts
        };
        Self { sources: of(sources.into_iter().collect()), destinations: of(destinations.into_iter().collect()) }
    }

    /// How many they are, of the side with more.
    pub fn size(&self) -> usize {
        self.sources.len().max(self.destinations.len())
    }

    /// Who did it, in order.
    pub fn sources(&self) -> &[IpAddr] {
        &self.sources
    }

    /// To whom it was done, in order.
    pub fn destinations(&self) -> &[IpAddr] {
        &self.destinations
    }

    /// Whether a host is among those who did it.
    pub fn has_source(&self, host: &IpAddr) -> bool {
        self.sources.binary_search(host).is_ok()
    }

    /// Whether a host is among those to whom it was done.
    pub fn has_destination(&self, host: &IpAddr) -> bool {
        self.destinations.binary_search(host).is_ok()
    }
}

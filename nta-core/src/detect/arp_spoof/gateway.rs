//! The address that most stations look for: the gateway, or what is as worth to be taken.

use std::collections::HashMap;
use std::net::IpAddr;

use foldhash::fast::RandomState;

use super::memory::{MAX_ENTRIES, make_room};
use crate::domain::{Mac, Timestamp};

/// Stations remembered that asked for one address; more make it no better known.
const MAX_ASKERS: usize = 16;
/// So many stations make an address the gateway: two may be a client and a server that look for each other.
const MIN_ASKERS: usize = 3;

/// Who asked for which address.
#[derive(Debug, Default)]
pub(in crate::detect) struct Sought {
    asked: HashMap<(u16, IpAddr), Askers, RandomState>,
    /// The most sought-after address of each VLAN, and by how many.
    first: HashMap<u16, (IpAddr, usize), RandomState>,
}

#[derive(Debug, Default)]
struct Askers {
    stations: Vec<Mac>,
    last: Timestamp,
}

impl Sought {
    /// Takes a question; how many entries had to go for it.
    pub(in crate::detect) fn ask(&mut self, vlan: u16, asked: IpAddr, asker: Mac, now: Timestamp) -> u64 {
        let evicted = make_room(&mut self.asked, &(vlan, asked), MAX_ENTRIES, |entry| entry.last);
        let askers = self.asked.entry((vlan, asked)).or_default();
        askers.last = now;
        if askers.stations.len() < MAX_ASKERS && !askers.stations.contains(&asker) {
            askers.stations.push(asker);
            let count = askers.stations.len();
            let first = self.first.entry(vlan).or_insert((asked, count));
            if count > first.1 {
                *first = (asked, count);
            }
        }
        evicted
    }

    /// Whether it is the address that most stations of the VLAN look for.
    pub(in crate::detect) fn is_gateway(&self, vlan: u16, address: IpAddr) -> bool {
        self.first.get(&vlan).is_some_and(|(first, count)| *first == address && *count >= MIN_ASKERS)
    }
}

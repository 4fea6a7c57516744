//! The hosts of a window: a bounded table, and one row for all that did not fit.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;

use super::Talker;
use super::host::{HostStats, Seed, hash};
use crate::domain::{DnsMessage, FlowObservation, OverflowDelta};

/// Hosts that a window keeps apart. Beyond it new hosts are summed up as "others". At 0.6 KiB a host and in three
/// spans at once, a flood of made-up addresses costs 240 MiB at most.
pub const MAX_HOSTS: usize = 131_072;

/// Rows in the order in which hosts came, found by address: growing moves the small index and not the rows.
#[derive(Clone, Debug, Default)]
struct Table {
    index: HashMap<u128, u32, foldhash::fast::RandomState>,
    pieces: Vec<Vec<HostStats>>,
}

/// Hosts in one piece of memory.
const PIECE: usize = 1024;

/// Hosts by address.
#[derive(Clone, Debug)]
pub struct Hosts {
    table: Table,
    others: Talker,
    seed: Seed,
}

impl Hosts {
    /// No hosts yet; `seed` keys the hashes of distinct values.
    pub fn new(seed: Seed) -> Self {
        Self { table: Table::default(), others: Talker::default(), seed }
    }

    /// An empty table whose hashes are keyed alike, so that it can be merged with this one.
    pub(super) fn like(&self) -> Self {
        Self::new(self.seed.clone())
    }

    /// Takes a flow for both its ends.
    pub fn add(&mut self, seen: &FlowObservation) {
        let ends = [seen.flow.originator.address, seen.flow.responder.address];
        for (side, address) in ends.into_iter().enumerate() {
            match self.table.entry(address) {
                Some(host) => host.add(seen, side, &self.seed),
                None => {
                    let (own, back) = (&seen.sent[side], &seen.sent[1 - side]);
                    self.others.packets_sent += own.packets;
                    self.others.packets_received += back.packets;
                    self.others.bytes_sent += own.bytes;
                    self.others.bytes_received += back.bytes;
                    self.others.flows += 1;
                }
            }
        }
    }

    /// Takes packets that found the flow table full.
    pub fn add_overflow(&mut self, overflow: &OverflowDelta) {
        let OverflowDelta { destination, proto, syn, counts, .. } = overflow;
        match self.table.entry(*destination) {
            Some(host) => host.add_overflow(*proto, *syn, counts),
            None => {
                self.others.packets_received += counts.packets;
                self.others.bytes_received += counts.bytes;
            }
        }
    }

    /// Takes a DNS message for its client.
    pub fn add_dns(&mut self, message: &DnsMessage) {
        let names = message.questions.first().map(|question| hash(&self.seed, &question.name.to_ascii_lowercase()));
        if let Some(host) = self.table.entry(message.client.0) {
            host.dns.get_or_insert_default().add(message, names);
        }
    }

    /// Adds the hosts of another window.
    pub fn merge(&mut self, other: &Self) {
        for host in other.iter() {
            match self.table.entry(host.address) {
                Some(own) => own.merge(host),
                None => self.others.take(host),
            }
        }
        self.others.merge(&other.others);
    }

    /// One host.
    pub fn get(&self, address: &IpAddr) -> Option<&HostStats> {
        self.table.get(*address)
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &HostStats> {
        self.table.rows()
    }

    /// How many are kept apart.
    pub fn len(&self) -> usize {
        self.table.index.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.table.index.is_empty()
    }

    /// The sum of those that found no room.
    pub const fn others(&self) -> &Talker {
        &self.others
    }

    /// The hosts with the most bytes, largest first, and the sum of all others, if there are any.
    pub fn top(&self, most: usize) -> (Vec<Talker>, Option<Talker>) {
        let order = |host: &&HostStats| (std::cmp::Reverse(host.bytes()), host.address);
        let mut hosts: Vec<&HostStats> = self.table.rows().collect();
        let most = most.min(hosts.len());
        if most < hosts.len() {
            hosts.select_nth_unstable_by_key(most, order);
        }
        let mut others = self.others;
        hosts[most..].iter().for_each(|host| others.take(host));
        hosts.truncate(most);
        hosts.sort_unstable_by_key(order);
        let others = (others.packets_sent + others.packets_received > 0).then_some(others);
        (hosts.into_iter().map(Talker::of).collect(), others)
    }

    /// The hash under which a distinct value is counted.
    pub fn hash(&self, value: &impl std::hash::Hash) -> u32 {
        hash(&self.seed, value)
    }
}

impl Table {
    /// The host's row; `None` when there is no room for it.
    fn entry(&mut self, address: IpAddr) -> Option<&mut HostStats> {
        let count = self.index.len();
        let at = match self.index.entry(address_number(address)) {
            Entry::Occupied(known) => *known.get() as usize,
            Entry::Vacant(_) if count >= MAX_HOSTS => return None,
            Entry::Vacant(new) => {
                new.insert(count as u32);
                if count.is_multiple_of(PIECE) {
                    self.pieces.push(Vec::with_capacity(PIECE));
                }
                self.pieces[count / PIECE].push(HostStats::new(address));
                count
            }
        };
        self.pieces[at / PIECE].get_mut(at % PIECE)
    }

    fn get(&self, address: IpAddr) -> Option<&HostStats> {
        let at = *self.index.get(&address_number(address))? as usize;
        self.pieces[at / PIECE].get(at % PIECE)
    }

    fn rows(&self) -> impl Iterator<Item = &HostStats> {
        self.pieces.iter().flatten()
    }
}

/// One number for addresses of both families: IPv4 as mapped into IPv6 (RFC 4291).
pub const fn address_number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

//! The hosts of a window: a bounded table, and one row for all that did not fit.

use std::hash::BuildHasher as _;
use std::net::IpAddr;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::bucket::TOP_TALKERS;
use super::host::{HostStats, Seed, hash};
use super::pool::Pool;
use super::{Both, Distinct, Flows, See, Talker, Window};
use crate::domain::{DnsMessage, FlowObservation, OverflowDelta, PacketEvent};

/// Hosts that a window keeps apart. Beyond it new hosts are summed up as "others". At 0.6 KiB a host and in three
/// spans at once, a flood of made-up addresses costs 240 MiB at most, and while it lasts 80 MiB that wait to be used again.
pub const MAX_HOSTS: usize = 131_072;

/// Parts of the hosts, each with the hosts of its hashes, so that two threads may fill them.
pub(super) const SHARDS: usize = 2;

/// Rows in the order in which hosts came, found by address: the index holds nothing but their numbers, so that a cache
/// holds it, and growing moves it and not the rows.
#[derive(Debug, Default)]
struct Shard {
    index: HashTable<u32>,
    /// Another key for each window, also in a replay, so that no capture can be made whose hosts collide.
    hasher: RandomState,
    pieces: Vec<Vec<HostStats>>,
    pool: Pool<HostStats>,
    others: Talker,
    /// Rows of the last flow's originator and responder.
    last: [usize; 2],
}

/// Hosts in one piece of memory.
const PIECE: usize = 1024;

/// Hosts by address.
#[derive(Clone, Debug)]
pub struct Hosts {
    shards: [Shard; SHARDS],
    seed: Seed,
}

impl Hosts {
    /// No hosts yet; `seed` keys the hashes of hosts and of distinct values.
    pub fn new(seed: Seed) -> Self {
        Self::in_pool(seed, &Pool::default())
    }

    /// The same, with the memory of hosts that are gone.
    pub(super) fn in_pool(seed: Seed, pool: &Pool<HostStats>) -> Self {
        let shard = || {
            let mut shard = Shard::default();
            shard.pool = pool.clone();
            shard
        };
        Self { shards: [shard(), shard()], seed }
    }

    /// An empty table whose hashes are keyed alike, so that it can be merged with this one.
    pub(super) fn like(&self) -> Self {
        Self::in_pool(self.seed.clone(), &self.shards[0].pool)
    }

    /// What there is to do to take a window's flows for both their ends, what found the flow table full, and DNS.
    pub(super) fn parts<'a>(
        &'a mut self,
        window: &'a Window,
        flows: &'a Flows,
        overflow: &'a [OverflowDelta],
        events: &'a [PacketEvent],
    ) -> [Part<'a>; SHARDS] {
        let Self { shards: [even, odd], seed } = self;
        let seed = &*seed;
        [(even, 0), (odd, 1)].map(|(shard, number)| Part { shard, number, seed, window, flows, overflow, events })
    }

    /// Adds the hosts of another window whose hashes are keyed alike.
    pub fn merge(&mut self, other: &Self, both: &impl Both) {
        let ([own_even, own_odd], [even, odd]) = (&mut self.shards, &other.shards);
        both.both(|| own_even.merge(even), || own_odd.merge(odd));
    }

    /// One host.
    pub fn get(&self, address: &IpAddr) -> Option<&HostStats> {
        self.shards[shard_number(&self.seed, *address)].get(*address)
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &HostStats> {
        self.shards.iter().flat_map(Shard::rows)
    }

    /// How many are kept apart.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.index.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sum of those that found no room.
    pub fn others(&self) -> Talker {
        let mut sum = Talker::default();
        self.shards.iter().for_each(|shard| sum.merge(&shard.others));
        sum
    }

    /// The hosts with the most bytes, largest first, and the sum of all others, if there are any.
    pub fn top(&self, most: usize, both: &impl Both) -> (Vec<Talker>, Option<Talker>) {
        let [even, odd] = &self.shards;
        let (even, odd) = both.both(|| even.leading(most), || odd.leading(most));
        leaders([even, odd], most)
    }

    /// The hash under which a distinct value is counted.
    pub fn hash(&self, value: &impl std::hash::Hash) -> u32 {
        hash(&self.seed, value)
    }

    pub(super) const fn seed(&self) -> &Seed {
        &self.seed
    }
}

/// What is yet to be taken for the hosts of one shard; the others are another part's, maybe of another thread.
#[derive(Debug)]
pub(super) struct Part<'a> {
    shard: &'a mut Shard,
    number: usize,
    seed: &'a Seed,
    window: &'a Window,
    flows: &'a Flows,
    overflow: &'a [OverflowDelta],
    events: &'a [PacketEvent],
}

/// The results of a part beside its hosts.
#[derive(Debug)]
pub(super) struct Filled {
    pub(super) leading: Leading,
    pub(super) flow_ids: Distinct,
}

/// The hosts of a shard with the most bytes, largest first, and the sum of all of them.
#[derive(Debug)]
pub(super) struct Leading {
    top: Vec<Talker>,
    sum: Talker,
}

impl Part<'_> {
    /// Takes it; `see` sees each run of flows, and is shown it as soon as a cache holds it.
    pub(super) fn fill(self, see: &mut See<'_>) -> Filled {
        let Self { shard, number, seed, window, flows, overflow, events } = self;
        shard.reserve(flows.len() / SHARDS);
        let mut flow_ids = Distinct::default();
        for run in flows.runs(window, seed) {
            if run.half == number {
                run.flows.iter().for_each(|seen| flow_ids.insert(run.hash(&seen.flow.id)));
            }
            run.flows.iter().for_each(|seen| shard.add(seen, number, seed));
            see(&run);
        }
        for delta in overflow.iter().filter(|delta| shard_number(seed, delta.destination) == number) {
            shard.add_overflow(delta);
        }
        for event in events {
            match event {
                PacketEvent::Dns(message) if shard_number(seed, message.client.0) == number => {
                    shard.add_dns(message, seed);
                }
                _ => {}
            }
        }
        Filled { leading: shard.leading(TOP_TALKERS), flow_ids }
    }
}

/// The hosts with the most bytes of all shards, largest first, and the sum of all others, if there are any.
pub(super) fn leaders(shards: [Leading; SHARDS], most: usize) -> (Vec<Talker>, Option<Talker>) {
    let mut others = Talker::default();
    shards.iter().for_each(|shard| others.merge(&shard.sum));
    let mut top = shards.map(|shard| shard.top).concat();
    top.sort_by_key(Talker::rank);
    top.truncate(most);
    top.iter().for_each(|talker| others.leave(talker));
    (top, (others.packets_sent + others.packets_received > 0).then_some(others))
}

/// Which shard a host belongs to: by the window's seed, so that a replay always keeps the same hosts.
pub(super) fn shard_number(seed: &Seed, address: IpAddr) -> usize {
    (seed.hash_one(address_number(address)) >> 40) as usize % SHARDS
}

/// Where an index looks for a host.
fn place(hasher: &RandomState, address: IpAddr) -> u64 {
    hasher.hash_one(address_number(address))
}

impl Shard {
    /// Makes room to find as many hosts.
    fn reserve(&mut self, hosts: usize) {
        let Self { index, hasher, pieces, .. } = self;
        index.reserve(hosts.min(MAX_HOSTS / SHARDS), |at| place(hasher, row(pieces, *at as usize).address));
    }

    /// Takes a flow for those of its ends that belong to this shard, which has this number.
    fn add(&mut self, seen: &FlowObservation, number: usize, seed: &Seed) {
        let ends = [seen.flow.originator.address, seen.flow.responder.address];
        for (side, address) in ends.into_iter().enumerate() {
            let at = if self.is_at(self.last[side], address) {
                Some(self.last[side])
            } else {
                if shard_number(seed, address) != number {
                    continue;
                }
                self.entry(address)
            };
            if let Some(at) = at {
                self.last[side] = at;
                self.row_mut(at).add(seen, side, seed);
            } else {
                let (own, back) = (&seen.sent[side], &seen.sent[1 - side]);
                self.others.packets_sent += own.packets;
                self.others.packets_received += back.packets;
                self.others.bytes_sent += own.bytes;
                self.others.bytes_received += back.bytes;
                self.others.flows += 1;
            }
        }
    }

    /// Takes packets that found the flow table full.
    fn add_overflow(&mut self, overflow: &OverflowDelta) {
        let OverflowDelta { destination, proto, syn, counts, .. } = overflow;
        match self.entry(*destination) {
            Some(at) => self.row_mut(at).add_overflow(*proto, *syn, counts),
            None => {
                self.others.packets_received += counts.packets;
                self.others.bytes_received += counts.bytes;
            }
        }
    }

    /// Takes a DNS message for its client.
    fn add_dns(&mut self, message: &DnsMessage, seed: &Seed) {
        let name = message.questions.first().map(|question| hash(seed, &question.name.to_ascii_lowercase()));
        if let Some(at) = self.entry(message.client.0) {
            self.row_mut(at).dns.get_or_insert_default().add(message, name);
        }
    }

    /// The hosts with the most bytes, and the sum of all.
    fn leading(&self, most: usize) -> Leading {
        let (mut sum, mut top) = (self.others, Vec::with_capacity(most + 1));
        let mut least = 0;
        for host in self.rows() {
            sum.take(host);
            if top.len() < most || host.bytes() >= least {
                let talker = Talker::of(host);
                let at = top.partition_point(|known: &Talker| known.rank() < talker.rank());
                top.insert(at, talker);
                top.truncate(most);
                least = top.last().map_or(0, Talker::bytes);
            }
        }
        Leading { top, sum }
    }

    /// Adds the hosts of another window's shard of this number.
    fn merge(&mut self, other: &Self) {
        let mut others = self.others;
        others.merge(&other.others);
        if self.index.is_empty() {
            *self = other.clone();
        } else {
            let mut next = 0;
            for host in other.rows() {
                // Mostly the same hosts in the same order.
                let at = if self.is_at(next, host.address) { Some(next) } else { self.entry(host.address) };
                if let Some(at) = at {
                    next = at + 1;
                    self.row_mut(at).merge(host);
                } else {
                    others.take(host);
                }
            }
        }
        self.others = others;
    }

    /// The number of the host's row, made if there is none yet and room for it.
    fn entry(&mut self, address: IpAddr) -> Option<usize> {
        let Self { index, hasher, pieces, pool, .. } = self;
        let hash = place(hasher, address);
        let count = index.len();
        let is_it = |at: &u32| row(pieces, *at as usize).address == address;
        match index.entry(hash, is_it, |at| place(hasher, row(pieces, *at as usize).address)) {
            Entry::Occupied(known) => return Some(*known.get() as usize),
            Entry::Vacant(_) if count >= MAX_HOSTS / SHARDS => return None,
            Entry::Vacant(room) => room.insert(count as u32),
        };
        if count.is_multiple_of(PIECE) {
            pieces.push(piece(pool));
        }
        pieces[count / PIECE].push(HostStats::new(address));
        Some(count)
    }

    fn get(&self, address: IpAddr) -> Option<&HostStats> {
        let hash = place(&self.hasher, address);
        let at = self.index.find(hash, |at| row(&self.pieces, *at as usize).address == address)?;
        Some(row(&self.pieces, *at as usize))
    }

    fn is_at(&self, at: usize, address: IpAddr) -> bool {
        self.pieces.get(at / PIECE).and_then(|piece| piece.get(at % PIECE)).is_some_and(|host| host.address == address)
    }

    fn row_mut(&mut self, at: usize) -> &mut HostStats {
        &mut self.pieces[at / PIECE][at % PIECE]
    }

    fn rows(&self) -> impl Iterator<Item = &HostStats> {
        self.pieces.iter().flatten()
    }
}

fn row(pieces: &[Vec<HostStats>], at: usize) -> &HostStats {
    &pieces[at / PIECE][at % PIECE]
}

/// A piece without hosts.
fn piece(pool: &Pool<HostStats>) -> Vec<HostStats> {
    pool.take().unwrap_or_else(|| Vec::with_capacity(PIECE))
}

impl Clone for Shard {
    fn clone(&self) -> Self {
        let copy = |from: &Vec<HostStats>| {
            let mut piece = piece(&self.pool);
            piece.extend_from_slice(from);
            piece
        };
        let pieces = self.pieces.iter().map(copy).collect();
        let (index, hasher, pool) = (self.index.clone(), self.hasher.clone(), self.pool.clone());
        Self { index, hasher, pieces, pool, others: self.others, last: self.last }
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        let most = self.pieces.len();
        if most > 0 {
            self.pieces.iter_mut().for_each(Vec::clear);
            let Self { pieces, pool, .. } = self;
            pool.keep(|kept| {
                kept.append(pieces);
                // No more than these hosts had: after a flood the memory goes.
                kept.truncate(most * SHARDS);
            });
        }
    }
}

/// One number for addresses of both families: IPv4 as mapped into IPv6 (RFC 4291).
pub const fn address_number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

//! Which networks outside were talked to before, for a day at least, in a fixed amount of memory.

use std::net::IpAddr;

use crate::domain::Timestamp;
use crate::window::Run;

/// Bits of a filter, half a MiB: a Bloom filter (Bloom 1970) with one bit an entry.
const BITS: usize = 1 << 22;
/// Entries of a filter: by then one new network in 64 is taken for known.
const MOST: usize = 65_536;
const NANOS: u64 = 1_000_000_000;
/// What was talked to within this time may be what goes on now.
const RECENT_NS: u64 = 1_800 * NANOS;
/// A filter is over after so long; what it knows is known for as long again.
const GENERATION_NS: u64 = 86_400 * NANOS;

/// The networks, by /24 and /48: large services answer from one address after another.
#[derive(Debug)]
pub(super) struct Contacts {
    recent: Vec<u64>,
    known: Vec<u64>,
    before: Vec<u64>,
    entries: usize,
    recent_began: Timestamp,
    began: Timestamp,
}

impl Contacts {
    pub(super) fn new() -> Self {
        let bits = || vec![0; BITS / 64];
        let (recent_began, began) = Default::default();
        Self { recent: bits(), known: bits(), before: bits(), entries: 0, recent_began, began }
    }

    /// A run comes next.
    pub(super) fn advance(&mut self, run: &Run<'_>) {
        let now = run.end;
        if now >= self.recent_began && now.since(self.recent_began) < RECENT_NS {
            return;
        }
        self.recent_began = now;
        if self.entries >= MOST || now < self.began || now.since(self.began) >= GENERATION_NS {
            std::mem::swap(&mut self.known, &mut self.before);
            self.known.fill(0);
            (self.entries, self.began) = (0, now);
        }
        for (known, recent) in self.known.iter_mut().zip(&mut self.recent) {
            self.entries += (*recent & !*known).count_ones() as usize;
            *known |= std::mem::take(recent);
        }
    }

    /// Notes that somebody talks to the address.
    pub(super) fn note(&mut self, run: &Run<'_>, address: IpAddr) {
        let bit = place(run, address);
        self.recent[bit / 64] |= 1 << (bit % 64);
    }

    /// Whether somebody talked to its network some time ago.
    pub(super) fn knows(&self, run: &Run<'_>, address: IpAddr) -> bool {
        let bit = place(run, address);
        [&self.known, &self.before].into_iter().any(|bits| bits[bit / 64] & (1 << (bit % 64)) != 0)
    }
}

fn place(run: &Run<'_>, address: IpAddr) -> usize {
    let network = match address {
        IpAddr::V4(address) => u64::from(address.to_bits() >> 8),
        IpAddr::V6(address) => (address.to_bits() >> 80) as u64 | 1 << 63,
    };
    run.hash(&network) as usize % BITS
}

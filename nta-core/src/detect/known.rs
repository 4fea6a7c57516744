//! Who answered whom before, for hours, in a fixed amount of memory: a monitor whose site goes down tries what it knows, and
//! is no scanner.

use std::net::IpAddr;

use crate::domain::Timestamp;
use crate::window::{Run, address_number};

/// Bits of a generation, half a MiB: a Bloom filter (Bloom 1970) with two bits an entry.
const BITS: usize = 1 << 22;
/// Entries of a generation: by then one stranger in 250 is taken for known, which costs a scan one target in 250.
const MOST: usize = 131_072;
/// A generation is over after two hours; what answered is known for two hours at least and four at most.
const GENERATION_NS: u64 = 2 * 3_600 * 1_000_000_000;

/// Pairs of host and service that have answered. Nothing is evicted one by one, and a flood cannot fill it: who floods or scans
/// is not answered.
#[derive(Debug)]
pub(super) struct Known {
    now: Vec<u64>,
    before: Vec<u64>,
    entries: usize,
    began: Timestamp,
}

/// Source, target, and the target's protocol and port.
type Pair = (IpAddr, IpAddr, u8, u16);

impl Known {
    pub(super) fn new() -> Self {
        let bits = || vec![0; BITS / 64];
        Self { now: bits(), before: bits(), entries: 0, began: Timestamp::default() }
    }

    /// Notes that the target answered the source.
    pub(super) fn add(&mut self, run: &Run<'_>, pair: Pair) {
        if self.entries >= MOST || run.end.since(self.began) >= GENERATION_NS {
            std::mem::swap(&mut self.now, &mut self.before);
            self.now.fill(0);
            (self.entries, self.began) = (0, run.end);
        }
        let mut is_new = false;
        for bit in places(run, pair) {
            let word = &mut self.now[bit / 64];
            is_new |= *word & (1 << (bit % 64)) == 0;
            *word |= 1 << (bit % 64);
        }
        self.entries += usize::from(is_new);
    }

    /// Whether the target has answered the source before.
    pub(super) fn has(&self, run: &Run<'_>, pair: Pair) -> bool {
        let places = places(run, pair);
        [&self.now, &self.before]
            .into_iter()
            .any(|bits| places.iter().all(|bit| bits[bit / 64] & (1 << (bit % 64)) != 0))
    }
}

fn places(run: &Run<'_>, (source, target, protocol, port): Pair) -> [usize; 2] {
    let service = u32::from(protocol) << 16 | u32::from(port);
    let first = run.hash(&(address_number(source), address_number(target), service));
    let second = run.hash(&(first, service, address_number(target)));
    [first as usize % BITS, second as usize % BITS]
}

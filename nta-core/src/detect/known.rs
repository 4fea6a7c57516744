//! Who answered whom before, for hours, in a fixed amount of memory: a monitor whose site goes down tries what it knows, and
//! is no scanner.

use std::net::IpAddr;

use crate::domain::Timestamp;
use crate::window::{Run, address_number};

/// Lines of a generation, half a MiB: a Bloom filter (Bloom 1970) with two bits an entry, both in one line of a processor's
/// cache, as every connection that is answered asks for them (Putze, Sanders and Singler 2007).
const LINES: usize = 8_192;
/// Bits of a line.
const LINE: usize = 512;
/// Entries of a generation: by then one stranger in 240 is taken for known, which costs a scan one target in 240.
const MOST: usize = 131_072;
/// A generation is over after two hours; what answered is known for two hours at least and four at most.
const GENERATION_NS: u64 = 2 * 3_600 * 1_000_000_000;

/// Pairs of host and service that have answered. Nothing is evicted one by one, and a flood cannot fill it: who floods or scans
/// is not answered.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Empty until somebody has answered.
    now: Vec<Line>,
    before: Vec<Line>,
    entries: usize,
    began: Timestamp,
}

#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Line([u64; LINE / 64]);

/// Source, target, and the target's protocol and port.
type Pair = (IpAddr, IpAddr, u8, u16);

impl Known {
    /// Notes that the target answered the source.
    pub(super) fn add(&mut self, run: &Run<'_>, pair: Pair) {
        if self.now.is_empty() || self.entries >= MOST || run.end.since(self.began) >= GENERATION_NS {
            std::mem::swap(&mut self.now, &mut self.before);
            self.now.clear();
            self.now.resize(LINES, Line([0; LINE / 64]));
            (self.entries, self.began) = (0, run.end);
        }
        let (line, bits) = place(run, pair);
        let Line(words) = &mut self.now[line];
        let mut is_new = false;
        for bit in bits {
            let word = &mut words[bit / 64];
            is_new |= *word & (1 << (bit % 64)) == 0;
            *word |= 1 << (bit % 64);
        }
        self.entries += usize::from(is_new);
    }

    /// Whether the target has answered the source before.
    pub(super) fn has(&self, run: &Run<'_>, pair: Pair) -> bool {
        let (line, bits) = place(run, pair);
        let has = |Line(words): &Line| bits.iter().all(|bit| words[bit / 64] & (1 << (bit % 64)) != 0);
        [&self.now, &self.before].into_iter().filter_map(|lines| lines.get(line)).any(has)
    }
}

/// A line and two of its bits.
fn place(run: &Run<'_>, (source, target, protocol, port): Pair) -> (usize, [usize; 2]) {
    let service = u32::from(protocol) << 16 | u32::from(port);
    let hash = run.long_hash(&(address_number(source), address_number(target), service));
    (hash as u32 as usize % LINES, [hash >> 32, hash >> 48].map(|part| part as usize % LINE))
}

#[cfg(test)]
#[path = "known_tests.rs"]
mod tests;

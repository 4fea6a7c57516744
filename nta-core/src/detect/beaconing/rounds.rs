//! Who calls many hosts at one port in one beat: a monitor's rounds.

use std::collections::HashMap;
use std::net::IpAddr;

use foldhash::fast::RandomState;

use super::Service;
use crate::domain::Timestamp;

/// Hosts that make a round: more than malware has servers that it calls side by side.
const ROUND: usize = 10;
/// Beats that differ by this share of the larger are one.
const SAME: f64 = 0.25;
/// So many beats after its last call a host is none of the round any more.
const BEATS: f64 = 10.0;
/// Callers and ports that are remembered, 3 MiB; when they are full, the others are counted, and reported as before.
const MAX_CALLERS: usize = 4_096;

/// The hosts that each called regularly, the last [`ROUND`] of each port.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    callers: HashMap<(IpAddr, u16), Vec<Called>, RandomState>,
    pub(super) evicted: u64,
}

#[derive(Clone, Copy, Debug)]
struct Called {
    host: IpAddr,
    beat_s: f64,
    at: Timestamp,
}

impl Rounds {
    /// Takes a regular call; whether it is one of a round.
    pub(super) fn is_round(&mut self, &(from, host, port, _): &Service, beat_s: f64, at: Timestamp) -> bool {
        let is_old = |one: &Called| at.since(one.at) as f64 / 1e9 > BEATS * one.beat_s;
        if self.callers.len() >= MAX_CALLERS && !self.callers.contains_key(&(from, port)) {
            self.callers.retain(|_, called| !called.iter().all(is_old));
            if self.callers.len() >= MAX_CALLERS {
                self.evicted += 1;
                return false;
            }
        }
        let called = self.callers.entry((from, port)).or_default();
        called.retain(|one| one.host != host && !is_old(one));
        if called.len() >= ROUND {
            // In the order of their calls.
            called.remove(0);
        }
        called.push(Called { host, beat_s, at });
        let is_same = |one: &&Called| (one.beat_s - beat_s).abs() <= SAME * one.beat_s.max(beat_s);
        called.iter().filter(is_same).count() >= ROUND
    }
}

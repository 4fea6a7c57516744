//! What is usual for a host: a few levels that follow slowly, in a bounded table.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::window::{HostStats, Snapshot};

/// Share of the distance that a level moves with each window, once it is settled: an hour of 30 s windows.
const FOLLOW: f64 = 1.0 / 120.0;
/// A value further away than so many deviations moves the level no more than one so far (Huber's clipping).
const CLIP: f64 = 3.0;
/// Share of the table that goes at once when it is full.
const EVICT_SHARE: usize = 10;

/// A level and its usual deviation: exponentially weighted, clipped, so that an odd window moves little.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Level {
    /// The usual value.
    pub level: f64,
    /// The usual absolute deviation from it.
    pub deviation: f64,
}

impl Level {
    fn learn(&mut self, value: f64, samples: u32) {
        if samples == 0 {
            *self = Self { level: value, deviation: value / 2.0 };
            return;
        }
        let follow = FOLLOW.max(1.0 / f64::from(samples + 1));
        let most = (CLIP * self.deviation).max(f64::EPSILON);
        let distance = (value - self.level).clamp(-most, most);
        self.level += follow * distance;
        self.deviation += follow * (distance.abs() - self.deviation);
    }
}

/// What is usual for one host, per 30 s window in which it was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostBaseline {
    /// Windows learned from.
    pub samples: u32,
    /// End of the last of them, nanoseconds since 1970.
    pub last_ns: u64,
    /// Frame bytes sent a second.
    pub bytes_sent: Level,
    /// Frame bytes received a second.
    pub bytes_received: Level,
    /// Flows begun a second, as originator.
    pub new_flows: Level,
    /// Hosts asked.
    pub peers: Level,
    /// Ports asked for.
    pub ports: Level,
    /// Mean round trip in milliseconds.
    pub rtt_ms: Level,
    /// Windows with round trips.
    pub rtt_samples: u32,
}

impl HostBaseline {
    fn learn(&mut self, host: &HostStats, seconds: f64, end_ns: u64) {
        let n = self.samples;
        self.bytes_sent.learn(host.sent.bytes as f64 / seconds, n);
        self.bytes_received.learn(host.received.bytes as f64 / seconds, n);
        self.new_flows.learn(f64::from(host.originator.new_flows) / seconds, n);
        self.peers.learn(host.originator.peers.count() as f64, n);
        self.ports.learn(host.originator.ports.count() as f64, n);
        if let Some(rtt_ms) = host.rtt.mean_ms() {
            self.rtt_ms.learn(rtt_ms, self.rtt_samples);
            self.rtt_samples = self.rtt_samples.saturating_add(1);
        }
        self.samples = n.saturating_add(1);
        self.last_ns = end_ns;
    }
}

/// Levels by host, at most so many.
#[derive(Clone, Debug)]
pub struct HostLevels {
    table: HashMap<IpAddr, HostBaseline, foldhash::fast::RandomState>,
    most: usize,
    evicted: u64,
}

impl HostLevels {
    pub(super) fn new(most: usize) -> Self {
        Self { table: HashMap::default(), most: most.max(1), evicted: 0 }
    }

    pub(super) fn learn(&mut self, snapshot: &Snapshot, skip: &dyn Fn(IpAddr) -> bool) {
        let (seconds, end_ns) = (snapshot.seconds(), snapshot.window.end.as_nanos());
        // Made-up sources of a flood never take the place of those that are known: one packet makes no host.
        let mut full = false;
        for host in snapshot.hosts.iter().filter(|host| host.packets() > 1) {
            if skip(host.address) {
                continue;
            }
            if self.table.len() >= self.most && !self.table.contains_key(&host.address) {
                if !full {
                    self.evict(end_ns);
                }
                // Once all that are kept were seen in this window, nobody goes for another.
                full = self.table.len() >= self.most;
                if full {
                    continue;
                }
            }
            self.table.entry(host.address).or_default().learn(host, seconds, end_ns);
        }
    }

    /// Makes room: those go that were not seen for longest, but none that was seen in this window.
    fn evict(&mut self, now_ns: u64) {
        let mut seen: Vec<u64> = self.table.values().map(|host| host.last_ns).filter(|at| *at < now_ns).collect();
        if seen.is_empty() {
            return;
        }
        let at = (self.most / EVICT_SHARE).min(seen.len() - 1);
        let (_, limit, _) = seen.select_nth_unstable(at);
        let (limit, before) = (*limit, self.table.len());
        self.table.retain(|_, host| host.last_ns > limit);
        self.evicted += (before - self.table.len()) as u64;
    }

    pub(super) fn get(&self, address: &IpAddr) -> Option<&HostBaseline> {
        self.table.get(address)
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) const fn evicted(&self) -> u64 {
        self.evicted
    }

    pub(super) fn export(&self) -> BTreeMap<IpAddr, HostBaseline> {
        self.table.iter().map(|(address, host)| (*address, *host)).collect()
    }

    pub(super) fn import(&mut self, hosts: BTreeMap<IpAddr, HostBaseline>) -> Result<(), String> {
        if hosts.len() > self.most {
            return Err(format!("{} hosts, and baseline.max_hosts is {}", hosts.len(), self.most));
        }
        self.table = hosts.into_iter().collect();
        Ok(())
    }
}

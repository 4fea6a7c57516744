//! What is usual for a host: a few levels that follow slowly, in a bounded table.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{MAX_VALUE, bounded};
use crate::window::{HostStats, Snapshot};

/// Share of the distance that a level moves with each window, once it is settled: an hour of 30 s windows.
const FOLLOW: f64 = 1.0 / 120.0;
/// A value further away than so many deviations moves the level no more than one so far (Huber's clipping).
const CLIP: f64 = 3.0;
/// After so many windows in a row above the level, or below it, it was wrong and not they: of a level in the middle, one in
/// 65,536 such runs is chance.
const RUN: i8 = 16;
/// Share of the distance that such a level moves with each further window, unclipped.
const CATCH_UP: f64 = 1.0 / 8.0;
/// Share of the table that goes at once when it is full.
const EVICT_SHARE: usize = 10;

/// A level and its usual deviation: exponentially weighted, clipped, so that an odd window moves little.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "LevelFields")]
pub struct Level {
    /// The usual value.
    pub level: f64,
    /// The usual absolute deviation from it.
    pub deviation: f64,
    /// Windows in a row above it, or as a negative number below it.
    run: i8,
}

/// A level as it is read, before it is believed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LevelFields {
    level: f64,
    deviation: f64,
    #[serde(default)]
    run: i8,
}

impl TryFrom<LevelFields> for Level {
    type Error = String;

    fn try_from(LevelFields { level, deviation, run }: LevelFields) -> Result<Self, String> {
        match [level, deviation].into_iter().find(|value| !(0.0..=MAX_VALUE).contains(value)) {
            Some(value) => Err(format!("a host's level or deviation of {value}, not within 0 to {MAX_VALUE:e}")),
            None => Ok(Self { level, deviation, run: run.clamp(-RUN, RUN) }),
        }
    }
}

impl Level {
    /// Takes the next value of a metric whose differences mean nothing below `floor`: no deviation counts as smaller, so that
    /// a level that begins at 0, or never moves, is still moved by what comes.
    fn learn(&mut self, value: f64, samples: u32, floor: f64) {
        let value = bounded(value);
        if samples == 0 {
            *self = Self { level: value, deviation: (value / 2.0).max(floor), run: 0 };
            return;
        }
        let side = if value > self.level { 1 } else { -1 };
        self.run = if self.run * side > 0 { (self.run + side).clamp(-RUN, RUN) } else { side };
        let is_wrong = self.run.abs() == RUN && (value - self.level).abs() > floor;
        let follow = FOLLOW.max(1.0 / f64::from(samples.saturating_add(1))).max(if is_wrong { CATCH_UP } else { 0.0 });
        let most = if is_wrong { MAX_VALUE } else { CLIP * self.deviation.max(floor) };
        let distance = (value - self.level).clamp(-most, most);
        self.level = (self.level + follow * distance).max(0.0);
        self.deviation = (self.deviation + follow * (distance.abs() - self.deviation)).max(floor);
    }
}

/// What differences between windows mean nothing below, by the scale of what is judged with the level: a kilobyte a second is
/// a hundredth of what `data_exfiltration` looks at (20 MB in three minutes), a flow is one in a window of 30 s, a
/// host or a port is one, and a millisecond is what a LAN's round trips differ by.
mod floor {
    pub(super) const BYTES: f64 = 1_000.0;
    pub(super) const NEW_FLOWS: f64 = 1.0 / 30.0;
    pub(super) const HOSTS: f64 = 1.0;
    pub(super) const PORTS: f64 = 1.0;
    pub(super) const RTT_MS: f64 = 1.0;
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
        self.bytes_sent.learn(host.sent.bytes as f64 / seconds, n, floor::BYTES);
        self.bytes_received.learn(host.received.bytes as f64 / seconds, n, floor::BYTES);
        self.new_flows.learn(f64::from(host.originator.new_flows) / seconds, n, floor::NEW_FLOWS);
        self.peers.learn(host.originator.peers.count() as f64, n, floor::HOSTS);
        self.ports.learn(host.originator.ports.count() as f64, n, floor::PORTS);
        if let Some(rtt_ms) = host.rtt.mean_ms() {
            self.rtt_ms.learn(rtt_ms, self.rtt_samples, floor::RTT_MS);
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
        let (seconds, end_ns) = (snapshot.seconds(), snapshot.window.wall_end().as_nanos());
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

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOR: f64 = floor::BYTES;
    /// What the host does from then on, in bytes a second: a back-up.
    const NOW: f64 = 1_000_000.0;

    fn learned(values: impl IntoIterator<Item = f64>) -> Level {
        let mut level = Level::default();
        values.into_iter().zip(0..).for_each(|(value, samples)| level.learn(value, samples, FLOOR));
        level
    }

    /// Whatever a host did first, what it does all the time becomes usual: within 30 windows (a quarter of an hour) a larger
    /// volume is no longer six deviations away, within 150 the level is within a tenth of it, from above as well.
    #[test]
    fn what_a_host_does_all_the_time_becomes_usual_however_it_began() {
        let starts: [(&str, Vec<f64>); 9] = [
            ("nothing", vec![]),
            ("one window of nothing", vec![0.0]),
            ("an hour of nothing", vec![0.0; 120]),
            ("a week of nothing", vec![0.0; 20_160]),
            ("next to nothing", vec![1e-9; 500]),
            ("constant", vec![1_000.0; 500]),
            ("one huge window", vec![1e12]),
            ("an hour of huge windows", vec![1e9; 120]),
            ("in turn", [0.0, 3e6].repeat(200)),
        ];
        for (name, start) in starts {
            let after = |windows: usize| learned(start.iter().copied().chain(std::iter::repeat_n(NOW, windows)));
            let soon = after(30);
            assert!(soon.level + 6.0 * soon.deviation >= NOW, "{name}: {soon:?}");
            let late = after(150);
            assert!((late.level / NOW - 1.0).abs() < 0.1, "{name}: {late:?}");
        }
    }

    #[test]
    fn an_odd_window_moves_a_settled_level_by_no_more_than_its_deviation() {
        let values = [90_000.0, 100_000.0, 110_000.0].repeat(400);
        let settled = learned(values.iter().copied());
        let odd = learned(values.iter().copied().chain([1e12]));
        assert!((settled.level / 100_000.0 - 1.0).abs() < 0.05, "{settled:?}");
        assert!(odd.level - settled.level < settled.deviation, "{settled:?} {odd:?}");
    }

    #[test]
    fn an_upload_after_quiet_days_is_still_far_from_usual() {
        let quiet = learned([0.0, 2_000.0, 500.0].repeat(1_000));
        assert!(quiet.level + 6.0 * quiet.deviation < NOW / 10.0, "{quiet:?}");
    }
}

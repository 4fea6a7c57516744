//! How unlike its own usual a site's hosts are, by role: from it the score above which one host is unusual so many times a
//! day, and no more. A score means something on one site alone; a rate of alarms means the same on all.
//!
//! A host alarms when its score stays above a bound in six windows, of which no two are further apart than one between them:
//! above any bound lower than the sixth-largest of its last eleven scores. The largest of that within an hour is what a host
//! reached in it, and such hours of hosts are counted: for a bound, those above it are at least as many as the alarms that it
//! would have raised, as one that comes back within an hour is the same. So a host that goes on for hours becomes usual. Counts
//! fade within a month, so that a site may change; memory does not depend on time.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::alerting::ANOMALY_WINDOWS;
use crate::domain::{RoleState, Timestamp};
use crate::window::HostStats;

/// Scores are from 0 to 1, counted in so many steps.
const STEPS: usize = 1_000;
/// Hosts that are followed in an hour; further ones are counted and left out.
const MAX_HOSTS: usize = 4_096;
/// Scores of a host among which those lie that make an alarm: no two of them further apart than one between.
const SCORES: usize = 2 * ANOMALY_WINDOWS as usize - 1;
/// What is counted together.
const HOUR_NS: u64 = 3_600_000_000_000;
const HOURS_A_DAY: f64 = 24.0;
/// Hours after which a count is worth 1/e of what it was.
const MEMORY_HOURS: f64 = 30.0 * HOURS_A_DAY;
/// A share of flows that a host begins from which on it is a client, and up to which it is a server.
const CLIENT: f64 = 0.8;
const SERVER: f64 = 0.2;
/// Largest count that is read: more hours than hosts can have in the memory of a month.
const MAX_COUNT: f64 = 1e9;

/// What a host is, by who begins its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostKind {
    /// It is asked.
    Server,
    /// It asks.
    Client,
    /// Both: what passes requests on, as a gateway, a resolver or a proxy.
    Gateway,
}

impl HostKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Server, Self::Client, Self::Gateway];

    /// What a host is in a window.
    pub fn of(host: &HostStats) -> Self {
        match f64::from(host.originator.flows) / f64::from(host.flows().max(1)) {
            share if share >= CLIENT => Self::Client,
            share if share <= SERVER => Self::Server,
            _ => Self::Gateway,
        }
    }

    /// Its name in status and documents.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
            Self::Gateway => "gateway",
        }
    }
}

/// The scores of a window's hosts, by one forest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores {
    /// Tells the forest from others: another one's scores mean something else.
    pub forest: u64,
    /// Alarms a day that it is to raise.
    pub alarms_per_day: f64,
    /// Each host that was judged.
    pub hosts: Vec<(IpAddr, HostKind, f64)>,
}

/// For each step of the score the hours in which a host reached it and no more.
type Reached = Vec<f64>;

/// What is known about scores; bounded whatever the site has and however long it runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub struct ScoreLevels {
    forest: u64,
    alarms_per_day: f64,
    /// Hours that were counted, faded like what was counted in them.
    hours: f64,
    roles: BTreeMap<HostKind, Reached>,
    open: Open,
}

/// The hour that goes on; it is not kept over a restart.
#[derive(Clone, Debug, Default, PartialEq)]
struct Open {
    /// Its number since 1970.
    hour: u64,
    counted_ns: u64,
    hosts: HashMap<IpAddr, Followed, foldhash::fast::RandomState>,
    left_out: u64,
}

#[derive(Clone, Debug, PartialEq)]
struct Followed {
    kind: HostKind,
    /// Ends of windows and scores.
    last: VecDeque<(Timestamp, f64)>,
    /// The most that it kept up in this hour.
    reached: f64,
}

/// The same as it is read, before it is believed: of the steps those with a count.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    forest: u64,
    alarms_per_day: f64,
    hours: f64,
    roles: BTreeMap<HostKind, BTreeMap<usize, f64>>,
}

impl From<ScoreLevels> for Fields {
    fn from(levels: ScoreLevels) -> Self {
        let sparse = |reached: &Reached| {
            reached.iter().copied().enumerate().filter(|(_, count)| *count > 1e-9).collect::<BTreeMap<_, _>>()
        };
        Self {
            forest: levels.forest,
            alarms_per_day: levels.alarms_per_day,
            hours: levels.hours,
            roles: levels.roles.iter().map(|(kind, reached)| (*kind, sparse(reached))).collect(),
        }
    }
}

impl TryFrom<Fields> for ScoreLevels {
    type Error = String;

    fn try_from(Fields { forest, alarms_per_day, hours, roles }: Fields) -> Result<Self, String> {
        if !(0.0..=MEMORY_HOURS).contains(&hours) {
            return Err(format!("scores.hours: {hours} is not within 0 to {MEMORY_HOURS}"));
        }
        if !(0.0..=MAX_COUNT).contains(&alarms_per_day) {
            return Err(format!("scores.alarms_per_day: {alarms_per_day} is not within 0 to {MAX_COUNT:e}"));
        }
        let mut known = BTreeMap::new();
        for (kind, counts) in roles {
            let mut reached = vec![0.0; STEPS];
            for (step, count) in counts {
                let word = kind.word();
                if step >= STEPS || !(0.0..=MAX_COUNT).contains(&count) {
                    return Err(format!(
                        "scores.roles.{word}: a count of {count} at step {step}; steps are 0 to {}, counts 0 to {MAX_COUNT:e}",
                        STEPS - 1
                    ));
                }
                reached[step] = count;
            }
            known.insert(kind, reached);
        }
        Ok(Self { forest, alarms_per_day, hours, roles: known, open: Open::default() })
    }
}

impl ScoreLevels {
    /// Whether nothing was ever learned.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The score above which hosts of a kind begin to alarm as often as is asked for; `None` until that is known, or where
    /// another forest's scores were learned.
    pub fn threshold(&self, forest: u64, alarms_per_day: f64, kind: HostKind) -> Option<f64> {
        if forest != self.forest {
            return None;
        }
        // One is left for what is to come: what was seen n times in so long is seen n + 1 times in the same time again.
        let allowed = self.allowed(alarms_per_day) - 1.0;
        if allowed < 0.0 {
            return None;
        }
        let Some(reached) = self.roles.get(&kind) else { return Some(1.0) };
        let mut above = 0.0;
        for (step, count) in reached.iter().enumerate().rev() {
            above += count;
            if above > allowed + 1e-6 {
                return Some((step + 1) as f64 / STEPS as f64);
            }
        }
        Some(0.0)
    }

    /// Learns the scores of a window that ended at `end` and lasted so long, but for hosts that `skip` names.
    pub(super) fn learn(&mut self, scores: &Scores, (end, length_ns): (Timestamp, u64), skip: &dyn Fn(IpAddr) -> bool) {
        if scores.forest != self.forest {
            *self = Self { forest: scores.forest, ..Self::default() };
        }
        self.alarms_per_day = scores.alarms_per_day;
        let hour = end.as_nanos() / HOUR_NS;
        if hour != self.open.hour {
            self.count_hour(hour);
        }
        self.open.counted_ns = self.open.counted_ns.saturating_add(length_ns).min(HOUR_NS);
        for (address, kind, score) in scores.hosts.iter().filter(|(address, ..)| !skip(*address)) {
            if self.open.hosts.len() >= MAX_HOSTS && !self.open.hosts.contains_key(address) {
                self.open.left_out += 1;
                continue;
            }
            let new = || Followed { kind: *kind, last: VecDeque::new(), reached: 0.0 };
            let host = self.open.hosts.entry(*address).or_insert_with(new);
            host.take(*kind, *score, end, length_ns);
        }
    }

    /// Ends the hour: what hosts reached in it is counted, and all counts fade.
    fn count_hour(&mut self, next: u64) {
        let counted = self.open.counted_ns as f64 / HOUR_NS as f64;
        let fade = (-counted / MEMORY_HOURS).exp();
        self.hours = (self.hours * fade + counted).min(MEMORY_HOURS);
        for reached in self.roles.values_mut() {
            reached.iter_mut().for_each(|count| *count *= fade);
        }
        for host in self.open.hosts.values().filter(|host| host.reached > 0.0) {
            self.roles.entry(host.kind).or_insert_with(|| vec![0.0; STEPS])[step(host.reached)] += 1.0;
        }
        // What began before the hour's end and goes on is seen in both; those that have gone make room.
        let went_on = next == self.open.hour + 1;
        self.open.hosts.retain(|_, host| std::mem::take(&mut host.reached) > 0.0 && went_on);
        (self.open.hour, self.open.counted_ns) = (next, 0);
    }

    /// Alarms that hosts of one kind may have begun in the time that is known.
    fn allowed(&self, alarms_per_day: f64) -> f64 {
        alarms_per_day * self.hours / HOURS_A_DAY / HostKind::ALL.len() as f64
    }

    /// How far learning has come; nothing where no forest judges.
    pub(super) fn state(&self) -> Vec<RoleState> {
        let rate = self.alarms_per_day;
        if rate <= 0.0 {
            return Vec::new();
        }
        // The time in which `allowed` comes to one, as hours fade.
        let needed = HostKind::ALL.len() as f64 * HOURS_A_DAY / rate;
        let of = |kind: HostKind| RoleState {
            name: kind.word(),
            hours: self.hours,
            hours_needed: needed,
            threshold: self.threshold(self.forest, rate, kind),
        };
        HostKind::ALL.map(of).into()
    }

    /// Scores that were left out for want of room.
    pub(super) const fn left_out(&self) -> u64 {
        self.open.left_out
    }
}

impl Followed {
    fn take(&mut self, kind: HostKind, score: f64, end: Timestamp, length_ns: u64) {
        self.kind = kind;
        self.last.push_back((end, score));
        let reach_ns = length_ns.saturating_mul(SCORES as u64);
        while self.last.len() > SCORES || self.last.front().is_some_and(|(at, _)| end.since(*at) >= reach_ns) {
            self.last.pop_front();
        }
        let mut scores: Vec<f64> = self.last.iter().map(|(_, score)| *score).collect();
        scores.sort_unstable_by(|a, b| b.total_cmp(a));
        let kept_up = scores.get(ANOMALY_WINDOWS as usize - 1).copied().unwrap_or(0.0);
        self.reached = self.reached.max(kept_up);
    }
}

/// The step of a score; what is no number is none.
fn step(score: f64) -> usize {
    ((score.clamp(0.0, 1.0) * STEPS as f64) as usize).min(STEPS - 1)
}

#[cfg(test)]
#[path = "scores_tests.rs"]
mod tests;

//! Baselines: what is usual, learned from windows that nothing was wrong with. Pure; time comes with the windows.
//!
//! Of the network each metric has a *recent* level (the last half hour) and a *season* (the hour of the week); of each
//! host a level that follows slowly. All of them are robust: medians and absolute deviations, not means and variances,
//! so that one odd window moves nothing.

mod histogram;
mod host;
mod metric;
mod recent;
mod scores;
mod season;

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use host::{HostBaseline, HostLevels, Level};
pub use metric::Metric;
use recent::Recent;
pub use scores::{HostKind, ScoreLevels, Scores};
use season::Season;

use crate::domain::{LearningState, MetricState, Timestamp};
use crate::tunables::{Bounds, tunables};
use crate::window::Snapshot;

/// Version of the exported form. Version 1, whose seasons were sketches, is read as well.
const FORMAT: u32 = 2;
/// Largest value of a metric or a host's level, and no value of any network: sums and squares of it are still numbers.
const MAX_VALUE: f64 = 1e18;

/// A measured value as one that can be learned: no number is none.
const fn bounded(value: f64) -> f64 {
    if value.is_nan() { 0.0 } else { value.clamp(0.0, MAX_VALUE) }
}
/// Scales a median absolute deviation to the standard deviation of a normal distribution (Rousseeuw & Croux 1993).
const MAD_TO_SIGMA: f64 = 1.4826;

tunables! {
    /// How baselines are learned.
    BaselineConfig in "baseline" always {
        /// Windows of 30 s that a metric needs before anything is expected of it.
        warm_up_windows: u32 = 20 => Bounds::WINDOWS,
        /// Hosts that a level is kept for; those not seen for longest go first.
        max_hosts: usize = 10_000 => Bounds::ENTRIES,
        /// A metric under alert is not learned; after so many seconds it is, as the new usual.
        accept_after_s: u64 = 3_600 => Bounds::SECONDS,
    }
}

/// What is usual.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    /// The usual value.
    pub median: f64,
    /// Its usual deviation, as a standard deviation.
    pub sigma: f64,
    /// Windows that it was learned from.
    pub samples: u32,
}

/// Everything learned about one metric of the network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    recent: Recent,
    season: Season,
    samples: u32,
}

/// What is usual on a network and for its hosts.
#[derive(Clone, Debug)]
pub struct Baselines {
    config: BaselineConfig,
    network: BTreeMap<Metric, Series>,
    hosts: HostLevels,
    scores: ScoreLevels,
    updated: Option<Timestamp>,
}

/// To be taken in place of what is known.
#[derive(Clone, Debug)]
pub enum Import {
    /// Everything.
    All(Export),
    /// Some metrics of the network.
    Metrics(BTreeMap<Metric, Series>),
}

impl Import {
    /// What is known after it was taken.
    #[must_use]
    pub fn over(self, mut known: Export) -> Export {
        match self {
            Self::All(export) => export,
            Self::Metrics(metrics) => {
                known.network.extend(metrics);
                known
            }
        }
    }
}

/// Baselines outside of a process: exported, imported, stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// Version of this form.
    pub format: u32,
    /// End of the last window learned from, nanoseconds since 1970.
    pub updated_ns: u64,
    /// Metrics of the network.
    pub network: BTreeMap<Metric, Series>,
    /// Levels of hosts.
    pub hosts: BTreeMap<IpAddr, HostBaseline>,
    /// How unlike the usual hosts are; not there where no forest judged.
    #[serde(default, skip_serializing_if = "ScoreLevels::is_empty")]
    pub scores: ScoreLevels,
}

impl Default for Export {
    fn default() -> Self {
        Self {
            format: FORMAT,
            updated_ns: 0,
            network: BTreeMap::new(),
            hosts: BTreeMap::new(),
            scores: ScoreLevels::default(),
        }
    }
}

impl Baselines {
    /// Nothing learned yet.
    pub fn new(config: BaselineConfig) -> Self {
        let hosts = HostLevels::new(config.max_hosts);
        Self { config, network: BTreeMap::new(), hosts, scores: ScoreLevels::default(), updated: None }
    }

    /// Learns a 30 s window, unless it is much shorter or longer than that. `skip` says which metrics of the network, and which hosts, are under alert.
    pub fn learn(&mut self, snapshot: &Snapshot, skip: &dyn Fn(Option<Metric>, Option<IpAddr>) -> bool) {
        let end = snapshot.window.wall_end();
        if !snapshot.window.is_comparable() {
            return;
        }
        for metric in Metric::ALL {
            let Some(value) = metric.of(snapshot) else { continue };
            if !skip(Some(metric), None) {
                self.network.entry(metric).or_default().learn(value, end);
            }
        }
        self.hosts.learn(snapshot, &|address| skip(None, Some(address)));
        self.updated = Some(end);
    }

    /// Learns how unlike the usual the hosts of a 30 s window were. `skip` says which are under alert for another reason.
    pub fn learn_scores(&mut self, scores: &Scores, snapshot: &Snapshot, skip: &dyn Fn(IpAddr) -> bool) {
        let window = &snapshot.window;
        if window.is_comparable() {
            self.scores.learn(scores, (window.wall_end(), (snapshot.seconds() * 1e9) as u64), skip);
        }
    }

    /// How unlike the usual hosts are.
    pub const fn scores(&self) -> &ScoreLevels {
        &self.scores
    }

    /// What is usual for a metric of the network at this time; `None` in warm-up. Where the hour of the week is known from
    /// earlier weeks and says more than the last half hour, it is what is expected: a daily rise is no surprise.
    pub fn expect(&self, metric: Metric, time: Timestamp) -> Option<Expected> {
        let series = self.network.get(&metric)?;
        if series.samples < self.config.warm_up_windows {
            return None;
        }
        let recent = series.recent.expected()?;
        let season = series.season.expected(time, self.config.warm_up_windows);
        Some(season.filter(|season| season.median > recent.median).unwrap_or(recent))
    }

    /// What is usual for a metric of the network over a time, slot by slot: of each hour what earlier weeks say of it, where they have
    /// enough windows, and of the half hour up to the last window, and from there on, what is expected now. Where there is no slot nothing
    /// is learned yet.
    pub fn usual(&self, metric: Metric, [from, to]: [Timestamp; 2]) -> Vec<([Timestamp; 2], Expected)> {
        let Some(series) = self.network.get(&metric) else { return Vec::new() };
        let mut slots = Vec::new();
        let mut hour = from.floor(season::HOUR_NS);
        while hour < to {
            let next = hour.plus(season::HOUR_NS);
            let expected = series.season.expected(hour, self.config.warm_up_windows);
            slots.extend(expected.map(|expected| ([hour.max(from), next.min(to)], expected)));
            hour = next;
        }
        let Some(updated) = self.updated else { return slots };
        let begin = Timestamp::from_nanos(updated.as_nanos().saturating_sub(recent::SPAN_NS)).max(from);
        if begin < to
            && let Some(now) = self.expect(metric, updated)
        {
            slots.retain(|([start, _], _)| *start < begin);
            if let Some(([_, end], _)) = slots.last_mut() {
                *end = begin.min(*end);
            }
            slots.push(([begin, to], now));
        }
        slots
    }

    /// What is usual for a host; `None` in warm-up or when it is not known.
    pub fn host(&self, address: &IpAddr) -> Option<&HostBaseline> {
        self.hosts.get(address).filter(|host| host.samples >= self.config.warm_up_windows)
    }

    /// Every metric with what was learned of it: windows learned from, what is expected at this time, and the hours of
    /// the week that are known.
    pub fn overview(&self, time: Timestamp) -> Vec<(Metric, u32, Option<Expected>, usize)> {
        let of = |metric: Metric| {
            let series = self.network.get(&metric);
            let hours = series.map_or(0, |series| series.season.known(self.config.warm_up_windows));
            (metric, series.map_or(0, |series| series.samples), self.expect(metric, time), hours)
        };
        Metric::ALL.map(of).into()
    }

    /// Hosts that a level is kept for, and hosts that had to go.
    pub fn hosts(&self) -> (usize, u64) {
        (self.hosts.len(), self.hosts.evicted())
    }

    /// End of the last window learned from.
    pub const fn updated(&self) -> Option<Timestamp> {
        self.updated
    }

    /// After how long a metric under alert is learned again, in nanoseconds.
    pub const fn accept_after_ns(&self) -> u64 {
        self.config.accept_after_s.saturating_mul(1_000_000_000)
    }

    /// Everything, to be kept elsewhere.
    pub fn export(&self) -> Export {
        Export {
            format: FORMAT,
            updated_ns: self.updated.map_or(0, Timestamp::as_nanos),
            network: self.network.clone(),
            hosts: self.hosts.export(),
            scores: self.scores.clone(),
        }
    }

    /// Takes what was exported in place of what is known.
    pub fn import(&mut self, export: Export) -> Result<(), String> {
        if !(1..=FORMAT).contains(&export.format) {
            return Err(format!("baselines of format {}, this version reads formats 1 to {FORMAT}", export.format));
        }
        self.hosts.import(export.hosts)?;
        self.network = export.network;
        self.scores = export.scores;
        self.updated = (export.updated_ns > 0).then(|| Timestamp::from_nanos(export.updated_ns));
        Ok(())
    }

    /// Takes an import; leaves everything as it was when it is refused.
    pub fn take(&mut self, import: Import) -> Result<(), String> {
        match import {
            Import::All(export) => self.import(export),
            Import::Metrics(metrics) => {
                self.network.extend(metrics);
                Ok(())
            }
        }
    }

    /// How far learning has come.
    pub fn state(&self) -> LearningState {
        let of = |metric: Metric| {
            let samples = self.network.get(&metric).map_or(0, |series| series.samples);
            MetricState { name: metric.word(), samples, is_ready: samples >= self.config.warm_up_windows }
        };
        LearningState {
            metrics: Metric::ALL.map(of).into(),
            hosts: self.hosts.len() as u64,
            hosts_evicted: self.hosts.evicted() + self.scores.left_out(),
            unusual: self.scores.state(),
            updated: self.updated,
        }
    }

    /// What was learned of one metric.
    pub fn series(&self, metric: Metric) -> Option<&Series> {
        self.network.get(&metric)
    }
}

impl Series {
    fn learn(&mut self, value: f64, time: Timestamp) {
        let value = bounded(value);
        self.recent.learn(value);
        self.season.learn(value, time);
        self.samples = self.samples.saturating_add(1);
    }
}

/// Median of values that may be reordered; `None` without any.
fn median(values: &mut [f64]) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let middle = values.len() / 2;
    let (_, median, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    Some(*median)
}

#[cfg(test)]
mod import_tests;
#[cfg(test)]
mod tests;

//! What happens to a closed window: merged into the longer ones, judged by every detector, its findings made alerts.
//! Pure, like everything below it: time comes with the windows.

use std::collections::{BTreeMap, HashSet};
use std::sync::Mutex;

use crate::alerting::{self, Alerter, EarlierAlert, Mute};
use crate::baseline::{BaselineConfig, Baselines};
use crate::detect::{self, DetectConfig, Detector, FlowUse, States, Tries, Try, View};
use crate::domain::{
    Alert, AlertChange, AlertKind, ClearReason, DetectionCounts, Finding, HostMeasures, IdentityScope, Timestamp,
    Visibility,
};
use crate::model::Models;
use crate::window::{Both, Cascade, Closed, Flows, Lengths, Run, See, Snapshot, Span};

/// A window with fewer flows is judged before a second thread would have begun.
const FLOWS_FOR_TWO: usize = 1_000;

/// A window of any span with what was found in it, in the order in which it is to be reported.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The window, without its flows.
    pub snapshot: Snapshot,
    /// Alerts that were raised, go on or are over with it.
    pub alerts: Vec<(AlertChange, Alert)>,
}

/// The results of the end of a run.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Windows that were open.
    pub judged: Vec<Judged>,
    /// Alerts that were open, cleared now.
    pub alerts: Vec<(AlertChange, Alert)>,
}

/// What an analysis is made with.
#[derive(Clone, Debug)]
pub struct AnalysisOptions<'a> {
    /// Length of a base window in nanoseconds.
    pub base_ns: u64,
    /// How long the longer windows are.
    pub lengths: Lengths,
    /// What is looked for.
    pub detect: &'a DetectConfig,
    /// How baselines are learned.
    pub baseline: &'a BaselineConfig,
    /// Models that judge beside the rules.
    pub models: &'a Models,
    /// Names the alerts.
    pub ids: IdentityScope,
    /// Threads that may work at once. With more than one, two share a large window and find the same.
    pub threads: usize,
}

/// Longer windows, detectors and alerts over one stream of base windows.
pub struct Analysis {
    medium: Cascade,
    long: Cascade,
    detectors: Vec<Box<dyn Detector>>,
    /// So many of them are rules; behind them stand those that ask models.
    rules: usize,
    /// What those that asked other models before have forgotten.
    evicted_before: u64,
    tries: Tries,
    alerter: Alerter,
    baselines: Baselines,
    visibility: Visibility,
    /// Whether a second thread may help with a large window.
    may_share: bool,
}

impl Analysis {
    /// Nothing seen yet.
    pub fn new(options: &AnalysisOptions<'_>) -> Self {
        let AnalysisOptions { base_ns, lengths, detect: config, .. } = *options;
        let mut detectors = detect::detectors(config);
        let rules = detectors.len();
        detectors.extend(detect::learned(config, options.models));
        Self {
            medium: Cascade::new(Span::Medium, base_ns, lengths),
            long: Cascade::new(Span::Long, base_ns, lengths),
            detectors,
            rules,
            evicted_before: 0,
            tries: Tries::default(),
            alerter: Alerter::new(config.alerting.clone(), options.ids),
            baselines: Baselines::new(options.baseline.clone()),
            visibility: Visibility::default(),
            may_share: options.threads > 1,
        }
    }

    /// What comes back of these alerts of runs before is the same alert.
    #[must_use]
    pub fn with_earlier(mut self, alerts: Vec<EarlierAlert>) -> Self {
        self.alerter.take_up(alerts);
        self
    }

    /// Asks these models from the next window on. What those before have seen in a row of windows is forgotten.
    pub fn set_models(&mut self, config: &DetectConfig, models: &Models) {
        let before = self.detectors.drain(self.rules..);
        self.evicted_before += before.map(|detector| detector.evicted()).sum::<u64>();
        self.detectors.extend(detect::learned(config, models));
    }

    /// Looks for what `config` says from the next window on, in place of `before`. Detectors whose settings are as before go on with
    /// what they know, and alerts go on.
    pub fn set_detect(&mut self, before: &DetectConfig, config: &DetectConfig, models: &Models) {
        let learned = self.detectors.split_off(self.rules);
        self.evicted_before += learned.iter().map(|detector| detector.evicted()).sum::<u64>();
        let (detectors, evicted) = detect::renewed(before, config, std::mem::take(&mut self.detectors));
        self.evicted_before += evicted;
        self.rules = detectors.len();
        self.detectors = detectors;
        self.detectors.extend(detect::learned(config, models));
        self.alerter.set_config(config.alerting.clone());
    }

    /// Raises no alert about these from the next window on.
    pub fn mute(&mut self, mutes: Vec<Mute>) {
        self.alerter.mute(mutes);
    }

    /// Findings that each mute hid since this was asked last, by its number.
    pub fn take_muted(&mut self) -> BTreeMap<u64, u64> {
        self.alerter.take_muted()
    }

    /// What became of the findings so far.
    pub fn counts(&self) -> DetectionCounts {
        let evicted: u64 = self.detectors.iter().map(|detector| detector.evicted()).sum();
        let counts = self.alerter.counts();
        DetectionCounts { evicted: counts.evicted + evicted + self.evicted_before, ..counts }
    }

    /// What is usual so far.
    pub const fn baselines(&self) -> &Baselines {
        &self.baselines
    }

    /// What is usual, to be replaced by what was learned before.
    pub const fn baselines_mut(&mut self) -> &mut Baselines {
        &mut self.baselines
    }

    /// Judges a base window, and the longer ones that it completes.
    pub fn close(&mut self, closed: Closed) -> Vec<Judged> {
        let threads = Threads { two: self.may_share && closed.flows() >= FLOWS_FOR_TWO };
        let mut base = self.complete(closed, threads);
        self.visibility.merge(&base.window.visibility);
        base.visibility = self.visibility;
        let mut medium = Vec::new();
        self.medium.add(&base, &threads, &mut |closed| medium.push(closed));
        let mut long = Vec::new();
        for closed in &medium {
            self.long.add(closed, &threads, &mut |closed| long.push(closed));
        }
        // Over a silence that was skipped nothing else closes what is open.
        if self.long.end().is_some_and(|end| end <= base.window.start) {
            self.long.pass(&threads, &mut |closed| long.push(closed));
        }
        let found = self.inspect(&base, threads);
        // In the order of their ends: one that a silence closed late comes before this window.
        let start = base.window.start;
        let (before, with): (Vec<_>, Vec<_>) =
            medium.into_iter().chain(long).partition(|closed| closed.window.end <= start);
        let mut judged: Vec<Judged> = before.into_iter().map(|closed| self.judge(closed)).collect();
        judged.push(self.conclude(base, found));
        judged.extend(with.into_iter().map(|closed| self.judge(closed)));
        judged
    }

    /// Completes a base window, and has the detectors of base windows take its flows. With many of them two threads share the
    /// work, here and further on, and find the same.
    fn complete(&mut self, closed: Closed, threads: Threads) -> Snapshot {
        let uses = |detector: &dyn Detector| detector.declaration().flows;
        let takers = self.detectors.iter_mut().filter(|detector| uses(detector.as_ref()) != FlowUse::Unused);
        let mut detectors: Vec<_> = takers.collect();
        let mut others = Vec::new();
        if threads.two {
            (others, detectors) = detectors.into_iter().partition(|detector| uses(detector.as_ref()) == FlowUse::Apart);
        }
        let show = |run: &Run<'_>, tries: &[Try], to: &mut [&mut Box<dyn Detector>]| {
            to.iter_mut().for_each(|one| one.take(run, tries));
        };
        let tries = &mut self.tries;
        tries.begin();
        let see: [&mut See<'_>; 2] =
            [&mut |run| show(run, tries.take(run), &mut detectors), &mut |run| show(run, &[], &mut others)];
        closed.complete_with(&threads, see)
    }

    /// Has the detectors of base windows judge one.
    fn inspect(&mut self, base: &Snapshot, threads: Threads) -> (Vec<Finding>, HostMeasures) {
        let Self { detectors, baselines, tries, .. } = self;
        let states = States::default();
        let view = View { snapshot: base, baselines, tries: tries.of_window(), states: Some(&states) };
        let mut left: Vec<_> = detectors.iter_mut().enumerate().collect();
        left.sort_by_key(|(_, detector)| detector.declaration().cost);
        // Each thread takes the next detector, from the end, as soon as it has time.
        let left = Mutex::new(left);
        let work = || {
            let mut found = Vec::new();
            while let Some((at, detector)) = left.lock().ok().and_then(|mut left| left.pop()) {
                found.push((at, inspect(std::slice::from_mut(detector), &view)));
            }
            found
        };
        let (mut found, others) = threads.both(work, work);
        found.extend(others);
        found.sort_unstable_by_key(|(at, _)| *at);
        (found.into_iter().flat_map(|(_, findings)| findings).collect(), states.nearest())
    }

    /// Judges what is still open, and ends the alerts that are: the run ended at `time`. Nothing that comes of it is later.
    pub fn finish(&mut self, time: Timestamp) -> Ended {
        let mut open = Vec::new();
        let threads = Threads { two: false };
        self.medium.finish(&threads, &mut |closed| open.push(closed));
        let mut long = Vec::new();
        for closed in &open {
            self.long.add(closed, &threads, &mut |closed| long.push(closed));
        }
        self.long.finish(&threads, &mut |closed| long.push(closed));
        let judged = open.into_iter().chain(long).map(|closed| self.judge(closed)).collect();
        let mut alerts = Vec::new();
        self.alerter.end(time, ClearReason::RunEnded, &mut |change, alert| alerts.push((change, alert.clone())));
        Ended { judged, alerts }
    }

    fn judge(&mut self, snapshot: Snapshot) -> Judged {
        let states = States::default();
        let view = View { snapshot: &snapshot, baselines: &self.baselines, tries: &[], states: Some(&states) };
        let findings = inspect(&mut self.detectors, &view);
        self.conclude(snapshot, (findings, states.nearest()))
    }

    fn conclude(&mut self, mut snapshot: Snapshot, (mut findings, near): (Vec<Finding>, HostMeasures)) -> Judged {
        snapshot.window.near = near;
        // Detectors go through hosts in no order; what is reported must not depend on it.
        findings.sort_by_key(|finding| (finding.kind, finding.source, finding.destination, finding.port));
        alerting::date(&mut findings, &snapshot);
        let mut alerts = Vec::new();
        self.alerter.judge(findings, snapshot.window.end, &mut |change, alert| alerts.push((change, alert.clone())));
        if snapshot.span == Span::Medium {
            self.learn(&snapshot);
        }
        // Nobody asks for them any more, and they are most of its memory.
        snapshot.flows = Flows::default();
        Judged { snapshot, alerts }
    }

    /// What is under alert is not usual, unless it has gone on for so long that it has become so.
    fn learn(&mut self, snapshot: &Snapshot) {
        let accept_after_ns = self.baselines.accept_after_ns();
        let fresh = |alert: &&Alert| snapshot.window.end.since(alert.raised) < accept_after_ns;
        let open: Vec<&Alert> = self.alerter.open().filter(fresh).collect();
        let kinds: HashSet<_> = open.iter().map(|alert| alert.key.kind).collect();
        let hosts: HashSet<_> =
            open.iter().flat_map(|alert| [alert.key.source.host(), alert.key.destination.host()]).flatten().collect();
        self.baselines.learn(snapshot, &|metric, host| {
            metric.is_some_and(|metric| kinds.iter().any(|kind| metric.is_disturbed_by(*kind)))
                || host.is_some_and(|host| hosts.contains(&host))
        });
        // An anomaly alone is no reason not to learn: what is unusual all the time is usual.
        let others = open.iter().filter(|alert| alert.key.kind != AlertKind::HostAnomaly);
        let hosts: HashSet<_> =
            others.flat_map(|alert| [alert.key.source.host(), alert.key.destination.host()]).flatten().collect();
        for scores in self.detectors.iter_mut().filter_map(|detector| detector.scores()) {
            self.baselines.learn_scores(&scores, snapshot, &|host| hosts.contains(&host));
        }
    }
}

/// Whether two threads share the work.
#[derive(Clone, Copy, Debug)]
struct Threads {
    two: bool,
}

impl Both for Threads {
    fn both<A: Send, B: Send>(&self, one: impl FnOnce() -> A + Send, other: impl FnOnce() -> B + Send) -> (A, B) {
        if !self.two {
            return (one(), other());
        }
        // Whoever comes first takes it: where no thread can be had, `spawn_scoped` drops what it was given.
        let other = Mutex::new(Some(other));
        let take = || other.lock().ok().and_then(|mut other| other.take()).map(|other| other());
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().spawn_scoped(scope, take);
            let one = one();
            let other = match thread {
                // A panic is what it would be on one thread.
                Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                Err(_no_thread) => take(),
            };
            (one, other.expect("taken once"))
        })
    }
}

/// What the detectors that accept a window say about it.
fn inspect(detectors: &mut [Box<dyn Detector>], view: &View<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for detector in detectors.iter_mut().filter(|detector| detector.declaration().accepts(view.snapshot)) {
        detector.inspect(view, &mut findings);
    }
    findings
}

#[cfg(test)]
#[path = "analysis_tests.rs"]
mod tests;

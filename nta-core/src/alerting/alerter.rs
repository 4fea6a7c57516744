//! From findings to alerts: identity, merging, raising and clearing, severity. Whatever a detector says, an operator sees one alert per thing.

use std::collections::BTreeMap;

use super::allow::Allow;
use super::earlier::{Earlier, EarlierAlert};
use super::fusion::{ByHost, is_learned, is_learned_only};
use super::hints::Hints;
use super::mute::Mute;
use super::raise_after::RaiseAfter;
use super::seen::widen;
use super::waiting::Waiting;
use super::{carpet, fold};
use crate::domain::{
    Alert, AlertChange, AlertKey, AlertKind, AlertState, Basis, ClearReason, DetectionCounts, Finding, IdentityScope,
    Opinion, Severity, Timestamp,
};
use crate::tunables::{Bounds, tunables};

/// What a model found is the same alert for so many times as long: it looks at windows one by one, and a slow scanner shows in some.
const MODELS_HOLD_DOWN: u64 = 12;
pub(super) const NANOS: u64 = 1_000_000_000;

tunables! {
    /// What makes findings an alert.
    AlertingConfig in "detect.alerting" always {
        /// An alert is cleared when nothing was found for so long, in seconds of the traffic's own time.
        clear_after_s: u64 = 60 => Bounds::SECONDS,
        /// One that comes back within so many seconds after it was cleared is the same alert; with a model among its judges, which
        /// looks at windows one by one, within twelve times as many.
        hold_down_s: u64 = 300 => Bounds::SECONDS,
        /// What no alert is raised about, as source or as destination: addresses and networks, alone or with the kinds
        /// that they are for, as in "192.0.2.0/24 port_scan".
        allow: Vec<Allow> = Vec::new(),
        /// Windows with a finding that a kind needs before it is an alert, as in { port_scan = 2 }; 1 unless named. Windows
        /// further apart than clear_after_s do not add up.
        raise_after: RaiseAfter = RaiseAfter::default(),
        /// For so many seconds after the first window, findings that rest on a baseline are counted and not reported; those of
        /// attacks, which rest on none, always are.
        warm_up_s: u64 = 0 => Bounds::SECONDS,
        /// Alerts that are kept at once, open ones and those that may come back, which give way to new ones. Half of it is for any,
        /// a quarter more for those that begin at medium severity, the rest for high ones; findings beyond are counted and not reported.
        max_alerts: usize = 10_000 => Bounds::ENTRIES,
    }
}

impl AlertingConfig {
    /// How long after its last finding any alert may come back as the same one, in nanoseconds.
    pub const fn longest_hold_ns(&self) -> u64 {
        let longest_s = self.hold_down_s.saturating_mul(MODELS_HOLD_DOWN).saturating_add(self.clear_after_s);
        longest_s.saturating_mul(NANOS)
    }
}

/// The alerts that go on, or may come back.
#[derive(Debug)]
pub struct Alerter {
    pub(super) config: AlertingConfig,
    ids: IdentityScope,
    /// In order, so that what is reported at once is reported in the same order every time.
    pub(super) alerts: BTreeMap<AlertKey, Alert>,
    /// The open ones of them.
    pub(super) by_host: ByHost,
    /// Those of runs before that may come back.
    earlier: Earlier,
    /// What has not been found often enough.
    pub(super) waiting: BTreeMap<AlertKey, Waiting>,
    /// What models said that is too little for an alert of their own.
    hints: Hints,
    /// What no alert is raised about for now.
    mutes: Vec<Mute>,
    /// Findings that each of them hid since that was asked last.
    muted: BTreeMap<u64, u64>,
    began: Option<Timestamp>,
    /// Whether cleared alerts gave way in this window.
    pub(super) made_room: bool,
    /// Whether findings were refused in the last one.
    pub(super) was_full: bool,
    pub(super) counts: DetectionCounts,
}

impl Alerter {
    /// No alerts yet.
    pub fn new(config: AlertingConfig, ids: IdentityScope) -> Self {
        let (alerts, waiting) = (BTreeMap::new(), BTreeMap::new());
        let by_host = ByHost::default();
        let (hints, counts) = (Hints::default(), DetectionCounts::default());
        let earlier = Earlier::default();
        Self {
            config,
            ids,
            alerts,
            by_host,
            earlier,
            waiting,
            hints,
            mutes: Vec::new(),
            muted: BTreeMap::new(),
            began: None,
            made_room: false,
            was_full: false,
            counts,
        }
    }

    /// What comes back of these is the same alert.
    pub fn take_up(&mut self, alerts: Vec<EarlierAlert>) {
        self.earlier = Earlier::new(alerts, self.config.max_alerts);
    }

    /// Raises no alert about these from now on, and about those of before again.
    pub fn mute(&mut self, mutes: Vec<Mute>) {
        self.mutes = mutes;
    }

    /// Findings that each mute hid since this was asked last, by its number.
    pub fn take_muted(&mut self) -> BTreeMap<u64, u64> {
        std::mem::take(&mut self.muted)
    }

    /// What was done so far.
    pub fn counts(&self) -> DetectionCounts {
        let mut open = [0; Severity::ALL.len()];
        for alert in self.open() {
            open[alert.severity as usize] += 1;
        }
        DetectionCounts { open, ..self.counts }
    }

    /// Alerts that go on.
    pub fn open(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.values().filter(|alert| alert.state == AlertState::Raised)
    }

    /// Takes the findings of a window that ended at `now`, and reports what changes.
    pub fn judge(&mut self, findings: Vec<Finding>, now: Timestamp, emit: &mut dyn FnMut(AlertChange, &Alert)) {
        let mut findings = carpet::join(findings);
        // Detectors meet hosts in no order.
        findings.sort_by(order);
        // What explains others comes before them, and rules, which know both parties, before models.
        findings.sort_by_key(|finding| (finding.basis == Basis::Model, fold::rank(finding.kind)));
        // After a silence: what was over before this window is over, before it can be found again.
        if let Some(start) = findings.iter().map(|finding| finding.start).min() {
            self.began.get_or_insert(start);
            self.expire(start, emit);
        }
        self.began.get_or_insert(now);
        let refused = self.counts.refused;
        self.made_room = false;
        // Rules come first: what they find of many explains what models say of one.
        let models = findings.split_off(findings.partition_point(|finding| finding.basis == Basis::Rule));
        for finding in findings {
            self.take(finding, now, &[], emit);
        }
        let many = self.of_many();
        for finding in models {
            self.take(finding, now, &many, emit);
        }
        self.fold_into(&many, now, emit);
        self.say_if_full(refused);
        self.expire(now, emit);
    }

    /// Ends every alert that goes on: the run ended at `now`, and nobody will see when it would have stopped.
    pub fn end(&mut self, now: Timestamp, reason: ClearReason, emit: &mut dyn FnMut(AlertChange, &Alert)) {
        self.waiting.clear();
        for alert in self.alerts.values_mut().filter(|alert| alert.state == AlertState::Raised) {
            alert.clear(now.max(alert.raised), reason);
            self.counts.cleared += 1;
            self.by_host.remove(alert);
            emit(AlertChange::Cleared, alert);
        }
    }

    fn take(&mut self, finding: Finding, now: Timestamp, many: &[AlertKey], emit: &mut dyn FnMut(AlertChange, &Alert)) {
        self.counts.findings += 1;
        if self.config.allow.iter().any(|allow| allow.covers(&finding)) {
            self.counts.allowed += 1;
            return;
        }
        if let Some(mute) = self.mutes.iter().find(|mute| mute.covers(&finding)) {
            self.counts.muted += 1;
            *self.muted.entry(mute.id).or_default() += 1;
            return;
        }
        if finding.measure.expected.is_some() && self.is_warming_up(finding.end) {
            self.counts.warming_up += 1;
            return;
        }
        if let Some(key) = self.explained_by(&finding).or_else(|| self.explained_by_many(&finding, many)) {
            if let Some(alert) = self.alerts.get_mut(&key) {
                // A model's word for another kind of attack does not support this one.
                if finding.basis == Basis::Rule {
                    alert.hear(&finding);
                }
                alert.merged += 1;
                emit(AlertChange::Updated, alert);
            }
            return;
        }
        let key = self.belongs_to(&finding, now, emit);
        if finding.is_a_hint() && !self.is_open(&key) {
            self.counts.waiting += 1;
            self.counts.refused += u64::from(!self.hints.keep(&finding));
            return;
        }
        let full = self.kept() >= self.config.max_alerts;
        let (first, windows) = match self.alerts.get(&key) {
            Some(known) if known.state == AlertState::Raised => (finding.start, 1),
            // One that comes back has to be found as often as a new one.
            _ => match self.wait(&key, &finding, full) {
                Some(waited) => waited,
                None => return,
            },
        };
        match self.alerts.get_mut(&key) {
            Some(alert) => {
                let change = if alert.state == AlertState::Cleared {
                    alert.state = AlertState::Raised;
                    (alert.cleared, alert.clear_reason) = (None, None);
                    alert.windows += windows - 1;
                    self.counts.raised += 1;
                    self.by_host.insert(alert);
                    AlertChange::Raised
                } else {
                    AlertChange::Updated
                };
                alert.add(finding);
                emit(change, alert);
            }
            None => {
                let mut alert = Alert::raise(finding, now, &self.ids);
                if !self.has_room(alert.severity) {
                    self.counts.refused += 1;
                    return;
                }
                self.counts.raised += 1;
                (alert.first, alert.windows) = (first, windows);
                if let Some(before) = self.earlier.take(&key) {
                    alert.go_on_from(&before);
                }
                self.hints.take(&alert).iter().for_each(|hint| alert.hear(hint));
                self.by_host.insert(&alert);
                emit(AlertChange::Raised, self.alerts.entry(key).or_insert(alert));
            }
        }
    }

    /// The alert that a finding is about. A model's joins an open one about its host; what models alone had found
    /// becomes the rule's that names both parties.
    fn belongs_to(&mut self, finding: &Finding, now: Timestamp, emit: &mut dyn FnMut(AlertChange, &Alert)) -> AlertKey {
        let own = AlertKey::of(finding);
        if self.is_open(&own) {
            return own;
        }
        if finding.basis == Basis::Model {
            return self.joinable(finding).unwrap_or(own);
        }
        if let Some(key) = self.scanner(&own) {
            return key;
        }
        let is_models = |key: &AlertKey| self.alerts.get(key).is_some_and(is_learned_only);
        let theirs = self.last_of(self.by_host.alike(&own).filter(is_models));
        let Some(theirs) = theirs else { return own };
        let comes_back = self.alerts.contains_key(&own);
        if let Some(mut alert) = self.alerts.remove(&theirs) {
            self.by_host.remove(&alert);
            if comes_back {
                // The rule's has an identity already.
                alert.clear(now, ClearReason::Quiet);
                self.counts.cleared += 1;
                emit(AlertChange::Cleared, &alert);
            } else {
                alert.key = own;
                self.by_host.insert(&alert);
                self.alerts.insert(own, alert);
            }
        }
        own
    }

    pub(super) fn is_open(&self, key: &AlertKey) -> bool {
        self.alerts.get(key).is_some_and(|alert| alert.state == AlertState::Raised)
    }

    fn is_warming_up(&self, time: Timestamp) -> bool {
        self.began.is_some_and(|began| time.since(began) <= self.config.warm_up_s * NANOS) && self.config.warm_up_s > 0
    }

    fn expire(&mut self, now: Timestamp, emit: &mut dyn FnMut(AlertChange, &Alert)) {
        let clear_after_ns = self.config.clear_after_s * NANOS;
        let hold_down_ns = self.config.hold_down_s * NANOS;
        self.waiting.retain(|_, waiting| now.since(waiting.last) < waiting.patience_ns);
        self.hints.expire(now, clear_after_ns);
        let (counts, by_host) = (&mut self.counts, &mut self.by_host);
        let is_over = |quiet_ns: u64, is_learned: bool| {
            quiet_ns >= clear_after_ns + hold_down_ns * if is_learned { MODELS_HOLD_DOWN } else { 1 }
        };
        self.earlier.expire(now, is_over);
        self.alerts.retain(|_, alert| {
            let quiet_ns = now.since(alert.last);
            if alert.state == AlertState::Raised && quiet_ns >= clear_after_ns {
                // Over a silence that was skipped nobody looked when it was over.
                let over = now.min(alert.last.plus(clear_after_ns)).max(alert.raised);
                alert.clear(over, ClearReason::Quiet);
                counts.cleared += 1;
                by_host.remove(alert);
                emit(AlertChange::Cleared, alert);
            }
            !is_over(quiet_ns, is_learned(alert))
        });
    }
}

/// By what it is, when, and what decided, then the stronger first; by whom where nothing else differs, for the first of several
/// takes over what models said before.
fn order(a: &Finding, b: &Finding) -> std::cmp::Ordering {
    let what = |finding: &Finding| (finding.kind, finding.end, finding.start, finding.detector, finding.measure.name);
    let whom = |finding: &Finding| (finding.port, AlertKey::of(finding));
    let stronger = b.measure.magnitude().total_cmp(&a.measure.magnitude());
    let wider = stronger.then_with(|| Alert::breadth(b).cmp(&Alert::breadth(a)));
    what(a).cmp(&what(b)).then(wider).then_with(|| whom(a).cmp(&whom(b))).then_with(|| a.summary.cmp(&b.summary))
}

impl Alert {
    fn raise(finding: Finding, now: Timestamp, ids: &IdentityScope) -> Self {
        let key = AlertKey::of(&finding);
        let mut alert = Self {
            id: ids.alert_id(&key, now),
            key,
            state: AlertState::Raised,
            severity: Severity::Low,
            first: finding.start,
            last: finding.end,
            seen: finding.seen,
            raised: now,
            cleared: None,
            clear_reason: None,
            windows: 1,
            merged: 0,
            detectors: vec![finding.detector],
            opinions: vec![Opinion::of(&finding)],
            latest: finding.clone(),
            finding,
        };
        alert.judge_severity();
        alert
    }

    pub(super) fn clear(&mut self, now: Timestamp, reason: ClearReason) {
        (self.state, self.cleared, self.clear_reason) = (AlertState::Cleared, Some(now), Some(reason));
    }

    fn add(&mut self, finding: Finding) {
        self.windows += u32::from(finding.end > self.last);
        self.merged += 1;
        self.first = self.first.min(finding.start);
        self.last = self.last.max(finding.end);
        self.see(&finding);
        self.hear(&finding);
        let magnitude = finding.measure.magnitude();
        // A rule's numbers say more than a model's: who, whom, and what was counted.
        let is_stronger = match (finding.basis, self.finding.basis) {
            (Basis::Rule, Basis::Model) => true,
            (Basis::Model, Basis::Rule) => false,
            // Of a scan the widest is told.
            _ if self.key.kind == AlertKind::PortScan => {
                let width = |finding: &Finding| (Self::breadth(finding), finding.measure.magnitude());
                width(&finding) > width(&self.finding)
            }
            _ => magnitude > self.finding.measure.magnitude(),
        };
        if is_stronger {
            self.finding = finding.clone();
        }
        self.latest = finding;
        self.judge_severity();
    }

    /// It goes on from the first packet of all its findings to the last.
    fn see(&mut self, finding: &Finding) {
        if let Some(seen) = finding.seen {
            widen(&mut self.seen, seen);
        }
    }

    /// Keeps what a judge says; the alert goes on no longer for it.
    fn hear(&mut self, finding: &Finding) {
        if !self.detectors.contains(&finding.detector) {
            self.detectors.push(finding.detector);
        }
        let magnitude = finding.measure.magnitude();
        match self.opinions.iter_mut().find(|opinion| opinion.detector == finding.detector) {
            Some(known) if magnitude > known.measure.magnitude() => *known = Opinion::of(finding),
            Some(_) => {}
            None => self.opinions.push(Opinion::of(finding)),
        }
    }
}

//! Holding alerts against labels.

use std::collections::BTreeMap;

use serde::Serialize;

use super::labels::{Label, LabelledSide};
use crate::domain::{Alert, AlertKind, Party, Severity, Timestamp};

/// An alert so long before or after an attack still belongs to it: windows are cut on their own grid, and long ones
/// close minutes later.
const SLACK_NS: u64 = 200_000_000_000;

/// What a replay of one capture gave.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Capture, as labelled.
    pub file: String,
    /// Its alerts.
    pub alerts: Vec<Alert>,
    /// Time of its first and last packet.
    pub times: Option<(Timestamp, Timestamp)>,
}

/// What the alerts that are scored say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judges {
    /// Which attack it is.
    Naming,
    /// Only that a host is unusual: any alert about attacker or victim during the attack counts as found.
    Nameless,
}

/// The whole result.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Who took part.
    pub judges: Vec<String>,
    /// Mean of the attacks' F1; null without attacks.
    pub macro_f1: Option<f64>,
    /// Each kind of attack.
    pub attacks: Vec<AttackScore>,
    /// Benign captures.
    pub benign: BenignScore,
    /// Labelled attacks that no detector looks for: word and rows.
    pub not_looked_for: BTreeMap<String, u64>,
    /// Captures that could not be analysed: name and reason.
    pub failed: BTreeMap<String, String>,
}

/// How well one kind of attack is found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AttackScore {
    /// The label's word.
    #[serde(rename = "type")]
    pub word: String,
    /// The kind of alert that it calls for.
    pub alert: String,
    /// Labelled captures.
    pub captures: u64,
    /// Of these, with the attack found and the right attacker named.
    pub found: u64,
    /// `found` / `captures`.
    pub recall: f64,
    /// Alerts of this kind that belong to a labelled attack / all alerts of this kind; null without alerts. Of judges
    /// that know no kinds: of all alerts in these captures.
    pub precision: Option<f64>,
    /// Harmonic mean of precision and recall; 0 where nothing was found.
    pub f1: f64,
    /// Seconds from the attack's first packet to the end of the window that raised the alert: median and longest.
    pub time_to_detect_s: Option<[f64; 2]>,
    /// Captures in which it was missed, or the attacker was wrong.
    pub misses: Vec<String>,
}

/// False alarms.
#[derive(Clone, Debug, Default, Serialize)]
pub struct BenignScore {
    /// Captures.
    pub captures: u64,
    /// Their time in hours.
    pub hours: f64,
    /// Alerts by severity.
    pub by_severity: BTreeMap<String, u64>,
    /// Alerts by kind.
    pub by_type: BTreeMap<String, u64>,
    /// Alerts an hour.
    pub alerts_per_hour: f64,
    /// Alerts of severity high or critical an hour.
    pub high_per_hour: f64,
    /// Each: capture, kind, severity and sentence.
    pub alerts: Vec<[String; 4]>,
}

impl Judges {
    /// Whether a label is about this alert.
    fn matches(self, label: &Label, alert: &Alert) -> bool {
        let early = label.start.is_some_and(|start| alert.last.plus(SLACK_NS) < start);
        let late = label.end.is_some_and(|end| end.plus(SLACK_NS) < alert.first);
        !early
            && !late
            && match self {
                Self::Naming => label.kind() == Some(alert.key.kind) && is_right(label, alert),
                Self::Nameless => is_about(label, alert),
            }
    }
}

fn is_right(label: &Label, alert: &Alert) -> bool {
    match (&label.attacker, &label.victim) {
        (LabelledSide::Parties(attackers), _) => attackers.contains(&alert.key.source) || names(attackers, alert),
        (_, LabelledSide::Parties(victims)) => victims.contains(&alert.key.destination),
        _ => true,
    }
}

/// Whether it names attacker or victim, on whatever side.
fn is_about(label: &Label, alert: &Alert) -> bool {
    let known = |side: &LabelledSide| match side {
        LabelledSide::Parties(parties) => {
            Some(parties.contains(&alert.key.source) || parties.contains(&alert.key.destination))
        }
        LabelledSide::Unknown | LabelledSide::Spoofed => None,
    };
    match (known(&label.attacker), known(&label.victim)) {
        (None, None) => true,
        (attacker, victim) => attacker == Some(true) || victim == Some(true),
    }
}

/// An alert whose source is many names its sources among the contributors.
fn names(attackers: &[Party], alert: &Alert) -> bool {
    let known = |attacker: &Party| alert.finding.contributors.iter().any(|share| share.what == attacker.to_string());
    alert.key.source == Party::Many && attackers.iter().any(known)
}

/// The report over all captures.
pub fn score(labels: &[Label], outcomes: &[Outcome], failed: BTreeMap<String, String>, judges: Judges) -> Report {
    let mut report = Report { failed, ..Report::default() };
    let by_file: BTreeMap<&str, &Outcome> = outcomes.iter().map(|outcome| (outcome.file.as_str(), outcome)).collect();
    let mut words: Vec<&str> = labels.iter().filter(|label| !label.is_benign()).map(|l| l.word.as_str()).collect();
    words.sort_unstable();
    words.dedup();
    for word in words {
        let rows: Vec<&Label> = labels.iter().filter(|label| label.word == word).collect();
        match rows[0].kind() {
            Some(kind) => report.attacks.push(attack(judges, (word, kind), &rows, labels, &by_file)),
            None => drop(report.not_looked_for.insert(word.to_owned(), rows.len() as u64)),
        }
    }
    for outcome in outcomes {
        let stretches: Vec<&Label> = labels.iter().filter(|l| l.is_benign() && l.file == outcome.file).collect();
        if !stretches.is_empty() {
            report.benign.add(outcome, &stretches);
        }
    }
    report.benign.settle();
    let scored: Vec<f64> = report.attacks.iter().filter(|attack| attack.captures > 0).map(|attack| attack.f1).collect();
    report.macro_f1 = (!scored.is_empty()).then(|| scored.iter().sum::<f64>() / scored.len() as f64);
    report
}

fn attack(
    judges: Judges,
    (word, kind): (&str, AlertKind),
    rows: &[&Label],
    labels: &[Label],
    by_file: &BTreeMap<&str, &Outcome>,
) -> AttackScore {
    let mut score = AttackScore { word: word.to_owned(), alert: kind.word().to_owned(), ..AttackScore::default() };
    let mut files: Vec<&str> = rows.iter().map(|label| label.file.as_str()).collect();
    files.sort_unstable();
    files.dedup();
    let mut delays = Vec::new();
    for file in files.into_iter().filter(|file| by_file.contains_key(file)) {
        score.captures += 1;
        // Each row of a capture is an attack of its own; all must be found.
        let found = rows.iter().filter(|label| label.file == file).map(|label| {
            let alerts = by_file[file].alerts.iter().filter(|alert| judges.matches(label, alert));
            let first = alerts.min_by_key(|alert| alert.raised)?;
            Some(label.start.map(|start| first.raised.since(start) as f64 / 1e9))
        });
        match found.collect::<Option<Vec<_>>>() {
            Some(times) => {
                score.found += 1;
                delays.extend(times.into_iter().flatten());
            }
            None => score.misses.push(file.to_owned()),
        }
    }
    score.recall = if score.captures == 0 { 0.0 } else { score.found as f64 / score.captures as f64 };
    delays.sort_unstable_by(f64::total_cmp);
    score.time_to_detect_s = delays.last().map(|longest| [delays[delays.len() / 2], *longest]);
    let (mut right, mut all) = (0_u64, 0_u64);
    for (file, outcome) in by_file {
        let counts = |alert: &&Alert| match judges {
            Judges::Naming => alert.key.kind == kind,
            Judges::Nameless => rows.iter().any(|label| label.file == *file),
        };
        for alert in outcome.alerts.iter().filter(counts) {
            all += 1;
            right += u64::from(labels.iter().any(|l| l.file == *file && !l.is_benign() && judges.matches(l, alert)));
        }
    }
    score.precision = (all > 0).then(|| right as f64 / all as f64);
    let (precision, recall) = (score.precision.unwrap_or(0.0), score.recall);
    score.f1 = if precision + recall > 0.0 { 2.0 * precision * recall / (precision + recall) } else { 0.0 };
    score
}

impl BenignScore {
    /// A capture with several rows is benign in these stretches only; a row without times means all of it.
    fn add(&mut self, outcome: &Outcome, stretches: &[&Label]) {
        let Some((first, last)) = outcome.times else { return };
        self.captures += 1;
        let span = |label: &Label| (label.start.unwrap_or(first), label.end.unwrap_or(last));
        self.hours += stretches.iter().map(|label| span(label).1.since(span(label).0) as f64 / 3.6e12).sum::<f64>();
        let within = |alert: &&Alert| {
            stretches.iter().map(|label| span(label)).any(|(from, to)| alert.last > from && alert.first <= to)
        };
        for alert in outcome.alerts.iter().filter(within) {
            let (severity, kind) = (alert.severity.word().to_owned(), alert.key.kind.word().to_owned());
            *self.by_severity.entry(severity.clone()).or_default() += 1;
            *self.by_type.entry(kind.clone()).or_default() += 1;
            self.alerts.push([outcome.file.clone(), kind, severity, alert.finding.summary.clone()]);
        }
    }

    fn settle(&mut self) {
        let high = [Severity::High, Severity::Critical].iter().filter_map(|s| self.by_severity.get(s.word())).sum();
        let per_hour = |count: u64| if self.hours > 0.0 { count as f64 / self.hours } else { 0.0 };
        (self.alerts_per_hour, self.high_per_hour) = (per_hour(self.alerts.len() as u64), per_hour(high));
    }
}

//! Holding alerts against labels, strictly: at the right time, with both parties right, and of the right kind.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;

use super::labels::{Label, LabelledSide};
use crate::detect;
use crate::domain::{Alert, AlertKind, Party, Severity, Timestamp};
use crate::window::Span;

/// What a replay of one capture gave.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Capture, as labelled.
    pub file: String,
    /// Its alerts.
    pub alerts: Vec<Alert>,
    /// Time of its first and last packet.
    pub times: Option<(Timestamp, Timestamp)>,
    /// Its flows.
    pub flows: u64,
    /// Length of a base window in nanoseconds.
    pub base_ns: u64,
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
    /// Alerts of this kind that belong to an attack with this label / all alerts of this kind; null without alerts. A scan of one
    /// host and a sweep of many are two kinds. Of judges that know no kinds: of all alerts in these captures.
    pub precision: Option<f64>,
    /// Alerts that belong to an attack with this label / such attacks that were found: 1 when nobody hears of one twice.
    pub alerts_per_attack: Option<f64>,
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
    /// Their flows, of captures that are benign in part those of the whole.
    pub flows: u64,
    /// Alerts by severity, with their rates.
    pub by_severity: BTreeMap<String, Rate>,
    /// Alerts by kind.
    pub by_type: BTreeMap<String, u64>,
    /// Alerts an hour.
    pub alerts_per_hour: f64,
    /// Alerts of severity high or critical an hour.
    pub high_per_hour: f64,
    /// Alerts of severity high or critical per million flows.
    pub high_per_million_flows: f64,
    /// Each: capture, kind, severity and sentence.
    pub alerts: Vec<[String; 4]>,
}

/// How many, and how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Rate {
    /// Alerts.
    pub alerts: u64,
    /// An hour.
    pub per_hour: f64,
    /// Per million flows.
    pub per_million_flows: f64,
}

/// An alert may be so long before or after the attack: one window of the longest span that its detector judges, because windows
/// are cut on their own grid.
fn slack_ns(alert: &Alert, base_ns: u64) -> u64 {
    let declared = detect::declarations().into_iter().find(|declared| declared.name == alert.finding.detector);
    let longest = declared.and_then(|declared| declared.spans.iter().map(|span| span.factor()).max());
    base_ns * longest.unwrap_or(Span::Long.factor())
}

impl Judges {
    /// Whether a label is about this alert.
    fn matches(self, label: &Label, alert: &Alert, base_ns: u64) -> bool {
        let slack_ns = slack_ns(alert, base_ns);
        let early = label.start.is_some_and(|start| alert.last.plus(slack_ns) < start);
        let late = label.end.is_some_and(|end| end.plus(slack_ns) < alert.first);
        !early
            && !late
            && match self {
                Self::Naming => is_of_kind(&label.word, label.kind(), alert) && is_right(label, alert),
                Self::Nameless => is_about(label, alert),
            }
    }
}

/// Whether the alert is what the label calls for. One kind of alert stands for scans of a host and sweeps over many.
fn is_of_kind(word: &str, kind: Option<AlertKind>, alert: &Alert) -> bool {
    let is_of_one = matches!(alert.key.destination, Party::Host(_));
    kind == Some(alert.key.kind)
        && match word {
            "hostsweep" => !is_of_one,
            // Several hosts may be scanned at a time; whether they are the victims is asked below.
            _ => true,
        }
}

/// Whether both parties are right, as far as they are known.
fn is_right(label: &Label, alert: &Alert) -> bool {
    let is = |side: &LabelledSide, party: &Party| match side {
        LabelledSide::Parties(parties) => names(parties, party, alert),
        LabelledSide::Unknown | LabelledSide::Spoofed => true,
    };
    is(&label.attacker, &alert.key.source) && is(&label.victim, &alert.key.destination)
}

/// Whether a side of an alert is one of these. One that is many, or a network, names them among the contributors or contains them.
fn names(parties: &[Party], side: &Party, alert: &Alert) -> bool {
    let contributes = |party: &Party| alert.finding.contributors.iter().any(|share| share.what == party.to_string());
    match side {
        Party::Many | Party::Nobody => parties.iter().any(contributes),
        Party::Network(network, prefix) => {
            parties.iter().filter_map(Party::host).any(|host| contains(*network, *prefix, host))
        }
        one => parties.contains(one),
    }
}

fn contains(network: IpAddr, prefix: u8, host: IpAddr) -> bool {
    let (network, host, bits) = match (network, host) {
        (IpAddr::V4(network), IpAddr::V4(host)) => (network.to_bits().into(), host.to_bits().into(), 32),
        (IpAddr::V6(network), IpAddr::V6(host)) => (network.to_bits(), host.to_bits(), 128),
        _ => return false,
    };
    let behind = bits - u32::from(prefix).min(bits);
    let above = |address: u128| address.checked_shr(behind).unwrap_or(0);
    above(network) == above(host)
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
            Some(kind) => report.attacks.push(attack(judges, (word, kind), &rows, &by_file)),
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
    by_file: &BTreeMap<&str, &Outcome>,
) -> AttackScore {
    let mut score = AttackScore { word: word.to_owned(), alert: kind.word().to_owned(), ..AttackScore::default() };
    let mut files: Vec<&str> = rows.iter().map(|label| label.file.as_str()).collect();
    files.sort_unstable();
    files.dedup();
    let (mut delays, mut attacks_found) = (Vec::new(), 0_u64);
    for file in files.into_iter().filter(|file| by_file.contains_key(file)) {
        score.captures += 1;
        // Each row of a capture is an attack of its own; all must be found.
        let found = rows.iter().filter(|label| label.file == file).map(|label| {
            let outcome = by_file[file];
            let alerts = outcome.alerts.iter().filter(|alert| judges.matches(label, alert, outcome.base_ns));
            let first = alerts.min_by_key(|alert| alert.raised)?;
            Some(label.start.map(|start| first.raised.since(start) as f64 / 1e9))
        });
        let found: Vec<_> = found.collect();
        attacks_found += found.iter().flatten().count() as u64;
        match found.into_iter().collect::<Option<Vec<_>>>() {
            Some(times) => {
                score.found += 1;
                delays.extend(times.into_iter().flatten());
            }
            None => score.misses.push(file.to_owned()),
        }
    }
    score.recall = if score.captures == 0 { 0.0 } else { score.found as f64 / score.captures as f64 };
    delays.sort_unstable_by(f64::total_cmp);
    score.time_to_detect_s = delays.last().map(|longest| [median(&delays), *longest]);
    let (mut right, mut all) = (0_u64, 0_u64);
    for (file, outcome) in by_file {
        for alert in &outcome.alerts {
            let is_right =
                rows.iter().any(|label| label.file == *file && judges.matches(label, alert, outcome.base_ns));
            let counts = match judges {
                // An alert about one host is no sweep, one about many no scan of a host unless it is the labelled one.
                Judges::Naming => {
                    let is_of_one = matches!(alert.key.destination, Party::Host(_));
                    is_right || (is_of_kind(word, Some(kind), alert) && (word != "portscan" || is_of_one))
                }
                Judges::Nameless => rows.iter().any(|label| label.file == *file),
            };
            all += u64::from(counts);
            right += u64::from(is_right);
        }
    }
    score.precision = (all > 0).then(|| right as f64 / all as f64);
    score.alerts_per_attack = (attacks_found > 0).then(|| right as f64 / attacks_found as f64);
    let (precision, recall) = (score.precision.unwrap_or(0.0), score.recall);
    score.f1 = if precision + recall > 0.0 { 2.0 * precision * recall / (precision + recall) } else { 0.0 };
    score
}

impl BenignScore {
    /// A capture with several rows is benign in these stretches only; a row without times means all of it.
    fn add(&mut self, outcome: &Outcome, stretches: &[&Label]) {
        let Some((first, last)) = outcome.times else { return };
        self.captures += 1;
        self.flows += outcome.flows;
        let span = |label: &Label| (label.start.unwrap_or(first), label.end.unwrap_or(last));
        self.hours += stretches.iter().map(|label| span(label).1.since(span(label).0) as f64 / 3.6e12).sum::<f64>();
        let within = |alert: &&Alert| {
            stretches.iter().map(|label| span(label)).any(|(from, to)| alert.last > from && alert.first <= to)
        };
        for alert in outcome.alerts.iter().filter(within) {
            let (severity, kind) = (alert.severity.word().to_owned(), alert.key.kind.word().to_owned());
            self.by_severity.entry(severity.clone()).or_default().alerts += 1;
            *self.by_type.entry(kind.clone()).or_default() += 1;
            self.alerts.push([outcome.file.clone(), kind, severity, alert.finding.summary.clone()]);
        }
    }

    fn settle(&mut self) {
        let share = |count: u64, of: f64| if of > 0.0 { count as f64 / of } else { 0.0 };
        let (hours, millions) = (self.hours, self.flows as f64 / 1e6);
        for rate in self.by_severity.values_mut() {
            (rate.per_hour, rate.per_million_flows) = (share(rate.alerts, hours), share(rate.alerts, millions));
        }
        let loud = [Severity::High, Severity::Critical];
        let high = loud.iter().filter_map(|s| self.by_severity.get(s.word())).map(|rate| rate.alerts).sum();
        self.alerts_per_hour = share(self.alerts.len() as u64, hours);
        (self.high_per_hour, self.high_per_million_flows) = (share(high, hours), share(high, millions));
    }
}

/// The middle one of sorted numbers, or the mean of the two in the middle; 0 of none.
fn median(sorted: &[f64]) -> f64 {
    match sorted.get((sorted.len().max(1) - 1) / 2..=sorted.len() / 2) {
        Some([one]) => *one,
        Some([one, other]) => f64::midpoint(*one, *other),
        _ => 0.0,
    }
}

#[cfg(test)]
#[path = "score_tests.rs"]
mod tests;

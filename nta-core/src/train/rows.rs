//! The training table: captures go through the same pipeline as any replay, and every host of every window that did
//! enough to be judged is a row, labelled by who attacked whom and when.

use std::collections::BTreeMap;

use crate::domain::{AlertKind, Party, Timestamp};
use crate::evaluate::{Label, LabelledSide};
use crate::features::{Extent, HostFeatures, extract};
use crate::model::{self, AttackRole, MIN_PACKETS};
use crate::window::{HostStats, Snapshot, Span};

/// So long after its last packet, an attack's connections may still be ending.
const AFTERMATH_NS: u64 = 10_000_000_000;
/// Rows of one capture; beyond it they are counted and left out, so that no capture is the whole table.
const MAX_ROWS: usize = 50_000;

/// A host in a window.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingRow {
    /// What it did.
    pub features: HostFeatures,
    /// Length of the window in seconds.
    pub seconds: f64,
    /// The attack that it takes part in, and how; `None` if it does nothing wrong.
    pub attack: Part,
    /// Its capture, by place in [`Table::sources`].
    pub source: usize,
}

/// The part that a host has in an attack; `None` if it does nothing wrong.
type Part = Option<(AlertKind, AttackRole)>;

/// A labelled capture.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Source {
    /// Its file, as labelled.
    pub file: String,
    /// Words of the attacks in it; empty when benign.
    pub words: Vec<String>,
    /// What made them.
    pub tools: Vec<String>,
    /// Where it comes from; empty when not known.
    pub origin: String,
    /// Seconds in windows.
    pub seconds: f64,
}

/// Rows of all captures, in the captures' order.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// The captures.
    pub sources: Vec<Source>,
    /// Their rows.
    pub rows: Vec<TrainingRow>,
    /// Hosts in windows that were left out, as their label is not certain, or there were too many.
    pub left_out: u64,
    /// Captures that cannot be analysed, and why.
    pub failed: BTreeMap<String, String>,
}

impl Table {
    /// Adds a capture and its rows.
    pub fn take(&mut self, file: &str, labels: &[&Label], collected: Collector<'_>) {
        let source = self.sources.len();
        let attacks = labels.iter().filter(|label| !label.is_benign());
        let set = |words: Vec<String>| {
            let set: std::collections::BTreeSet<String> = words.into_iter().filter(|word| !word.is_empty()).collect();
            set.into_iter().collect()
        };
        self.sources.push(Source {
            file: file.to_owned(),
            words: set(attacks.clone().map(|label| label.word.clone()).collect()),
            tools: set(attacks.map(|label| label.tool.clone()).filter(|tool| tool != "-").collect()),
            origin: labels.iter().map(|label| &label.origin).find(|origin| *origin != "-").cloned().unwrap_or_default(),
            seconds: collected.seconds,
        });
        let row = |(features, seconds, attack)| TrainingRow { features, seconds, attack, source };
        let rows = collected.rows.into_iter().map(row);
        self.rows.extend(rows);
        self.left_out += collected.left_out;
    }
}

/// Makes rows of the windows of a capture.
pub struct Collector<'a> {
    labels: Vec<&'a Label>,
    rows: Vec<(HostFeatures, f64, Part)>,
    left_out: u64,
    seconds: f64,
}

/// Which side of a labelled attack a host is on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Attacker,
    Victim,
    /// On none, as all parties are known.
    Bystander,
    /// It may be one whose address is not in the label.
    Unknown,
}

impl<'a> Collector<'a> {
    /// For the labels of one capture.
    pub const fn new(labels: Vec<&'a Label>) -> Self {
        Self { labels, rows: Vec::new(), left_out: 0, seconds: 0.0 }
    }

    /// Takes a window of any span.
    pub fn window(&mut self, snapshot: &Snapshot) {
        let (start, end) = (snapshot.window.start, snapshot.window.end);
        let extent = Extent { seconds: snapshot.seconds(), base_windows: snapshot.span.factor() as f64 };
        if snapshot.span == Span::Base {
            self.seconds += extent.seconds;
        }
        let is_known = self.is_known(start, end);
        let mut hosts: Vec<&HostStats> =
            snapshot.hosts.iter().filter(|host| model::is_active(host, MIN_PACKETS)).collect();
        hosts.sort_unstable_by_key(|host| host.address);
        for host in hosts {
            match self.class(host, start, end).filter(|_| is_known && self.rows.len() < MAX_ROWS) {
                Some(class) => self.rows.push((extract(host, extent).into(), extent.seconds, class)),
                None => self.left_out += 1,
            }
        }
    }

    /// What a host is in a window: `None` if that is not certain.
    fn class(&self, host: &HostStats, start: Timestamp, end: Timestamp) -> Option<Part> {
        let mut class = None;
        for label in self.labels.iter().filter(|label| !label.is_benign()) {
            let began = label.start.unwrap_or_default();
            let ended = label.end.unwrap_or(Timestamp::from_nanos(u64::MAX));
            let overlap = end.min(ended).since(start.max(began));
            let touches = end > began && start <= ended.plus(AFTERMATH_NS);
            // Half of the window or half of the attack.
            let is_in = end > began && start <= ended && 2 * overlap >= end.since(start).min(ended.since(began));
            let learned = label.kind().filter(|kind| kind.shows_in_a_host());
            let is_flood = label.kind().is_some_and(AlertKind::shows_in_a_victim);
            let own = match (place(label, host), learned) {
                // Before and after it, an attacker may be preparing or ending it.
                (Place::Attacker, Some(kind)) if is_in => Some((kind, AttackRole::Attacker)),
                (Place::Attacker, _) => return None,
                (Place::Victim, Some(kind)) if is_flood && is_in => Some((kind, AttackRole::Victim)),
                // What a scanned or besieged host answers is no wrong of its own.
                (Place::Victim, Some(_)) if !is_flood => None,
                (Place::Victim | Place::Unknown, _) if touches => return None,
                _ => None,
            };
            if own.is_some() && class.is_some() && own != class {
                return None;
            }
            class = class.or(own);
        }
        Some(class)
    }

    /// Where some stretches of a capture are labelled benign, all else but its attacks is not known.
    fn is_known(&self, start: Timestamp, end: Timestamp) -> bool {
        let mut stretches = self.labels.iter().filter(|label| label.is_benign() && label.start.is_some()).peekable();
        let overlaps = |label: &&Label| {
            let ended = label.end.unwrap_or(Timestamp::from_nanos(u64::MAX));
            end > label.start.unwrap_or_default() && start <= ended
        };
        stretches.peek().is_none() || self.labels.iter().copied().any(|label| overlaps(&label))
    }
}

fn place(label: &Label, host: &HostStats) -> Place {
    let own = Party::Host(host.address);
    let names = |side: &LabelledSide| matches!(side, LabelledSide::Parties(parties) if parties.contains(&own));
    // A station known by its MAC address may be any host.
    let is_known = |side: &LabelledSide| matches!(side, LabelledSide::Parties(parties) if parties.iter().all(|p| p.host().is_some()));
    if names(&label.attacker) {
        Place::Attacker
    } else if names(&label.victim) {
        Place::Victim
    } else if is_known(&label.attacker) && (is_known(&label.victim) || label.victim == LabelledSide::Unknown) {
        Place::Bystander
    } else {
        Place::Unknown
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn label(word: &str, attacker: &str, victim: &str, times: [u64; 2]) -> Label {
        let text = format!(
            "file\ttype\tattacker\tvictim\tattack_start\tattack_end\ttool\na\t{word}\t{attacker}\t{victim}\t{}\t{}\tx\n",
            times[0], times[1]
        );
        crate::evaluate::parse(Path::new("labels"), &text).expect("a label").remove(0)
    }

    fn class(label: &Label, host: u8, window: [u64; 2]) -> Option<Option<(AlertKind, AttackRole)>> {
        let collector = Collector::new(vec![label]);
        let host = HostStats::new(std::net::IpAddr::from([10, 0, 0, host]));
        let [start, end] = window.map(|seconds| Timestamp::from_nanos(seconds * 1_000_000_000));
        collector.class(&host, start, end)
    }

    #[test]
    fn an_attacker_is_one_while_it_attacks_and_nobody_otherwise() {
        let scan = label("portscan", "10.0.0.1", "10.0.0.2", [103, 120]);
        let attacker = Some(Some((AlertKind::PortScan, AttackRole::Attacker)));
        assert_eq!(class(&scan, 1, [105, 110]), attacker);
        assert_eq!(class(&scan, 1, [0, 180]), attacker, "all of the attack");
        assert_eq!(class(&scan, 1, [100, 105]), None, "two seconds of five");
        assert_eq!(class(&scan, 1, [60, 65]), None, "before it");
        assert_eq!(class(&scan, 2, [105, 110]), Some(None), "the scanned host does nothing wrong");
        assert_eq!(class(&scan, 3, [105, 110]), Some(None), "a bystander");
    }

    #[test]
    fn a_flood_has_victims_and_made_up_sources_are_left_out() {
        let flood = label("synflood", "*", "10.0.0.2", [100, 120]);
        assert_eq!(class(&flood, 2, [105, 110]), Some(Some((AlertKind::SynFlood, AttackRole::Victim))));
        assert_eq!(class(&flood, 3, [105, 110]), None, "it may be one of the sources");
        assert_eq!(class(&flood, 3, [60, 65]), Some(None));
        let spoof = label("arpspoof", "00:11:22:33:44:55", "10.0.0.2", [100, 120]);
        assert_eq!(class(&spoof, 3, [105, 110]), None, "it may be the station");
    }
}

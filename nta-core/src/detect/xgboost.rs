//! A model that was trained on labelled traffic looks at what each host did in a window, of each length, and says which
//! attack that is, if any, and on which side of it the host stands. Independent of the rules: neither knows what the
//! other says, and the alerting layer brings together what both found.
//!
//! It judges the hosts that did most, as most hosts do too little in a window to say anything about them.
//!
//! Known false alarms: hosts that behave as no benign host in the training data did. Evasion: behaving as one of them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::active::most_active;
use super::counterparts::{Counterparts, Direction, Rules};
use super::declaration::{Basis, Cost, Declaration, FlowUse, Rates, Scope};
use super::unusual::Usual;
use super::{Detector, Try, View};
use crate::domain::{AlertKind, Contributor, Finding, Measure, Party};
use crate::features::Extent;
use crate::model::{self, AttackRole, Class, Classification, Classifier, Input, MIN_PACKETS, Reason};
use crate::tunables::{Bounds, tunables};
use crate::window::{HostStats, Run, Span};

tunables! {
    /// What a model learned from labelled traffic.
    XgboostConfig in "detect.xgboost" {
        /// Probability from which on a class is reported without a rule that says the same, for all classes; 0 for what training
        /// found for each.
        threshold: f64 = 0.0 => Bounds::SHARE,
        /// Packets of a host in a window from which on it is judged; one with 5 flows is judged anyway.
        min_packets: u64 = MIN_PACKETS => Bounds::COUNT,
        /// Hosts judged in a window, those with the most packets and flows; further ones are counted and left out.
        max_hosts: usize = 64 => Bounds::ENTRIES,
        /// Windows of one length in a row that must look alike.
        windows: u32 = 1 => Bounds::WINDOWS,
    }
}

pub(super) const DECLARATION: Declaration = Declaration {
    name: "xgboost",
    spans: &Span::ALL,
    basis: Basis::Model,
    scope: Scope::Hosts,
    flows: FlowUse::Unused,
    cost: Cost::Short,
    rates: Rates::Compared,
};

/// Findings of a window that are given reasons, which cost half a millisecond each.
const MAX_EXPLAINED: usize = 16;
/// Reasons of a finding.
const REASONS: usize = 4;
/// Services a host that a scanner must have asked for, on average, to be one that scans ports and not hosts.
const PORTS_OF_ONE: u64 = 4;
/// Counterparts that a finding names.
const MAX_CONTRIBUTORS: usize = 10;

/// A row of windows in which a host looked alike.
#[derive(Clone, Debug, Default)]
struct Lasting {
    windows: u32,
    /// The reasons in the first window in which it was reported: they hardly change, and cost more than the answer.
    because: Option<Because>,
}

/// Why a host was taken for something.
#[derive(Clone, Debug, Default)]
struct Because {
    /// To be read.
    words: String,
    /// Inputs, their values, and how far each moved the margin.
    inputs: String,
}

/// Asks a model.
#[derive(Debug)]
pub(super) struct Xgboost {
    config: XgboostConfig,
    model: Arc<Classifier>,
    /// For each length, hosts that looked so in a row of windows up to the last one.
    rows: [HashMap<(IpAddr, usize), Lasting>; Span::ALL.len()],
    counterparts: Counterparts,
    usual: Usual,
    skipped: u64,
    /// Whether the library has failed: it is not asked again.
    failed: bool,
}

impl Xgboost {
    pub(super) fn new(config: XgboostConfig, rules: Rules, model: Arc<Classifier>) -> Self {
        Self {
            config,
            model,
            rows: Default::default(),
            counterparts: Counterparts::new(rules),
            usual: Usual::default(),
            skipped: 0,
            failed: false,
        }
    }

    fn is_reported(&self, opinion: &Classification) -> bool {
        let fixed = self.config.threshold;
        let is_said = opinion.supports || fixed > 0.0 && opinion.probability >= fixed;
        is_said && self.model.class(opinion.class).attack().is_some()
    }

    /// The probability from which on a class is reported by itself.
    fn threshold(&self, class: &Class) -> f64 {
        if self.config.threshold > 0.0 { self.config.threshold } else { class.threshold }
    }

    /// Keeps the hosts that have looked so for long enough.
    fn lasts(&mut self, span: Span, reported: &mut Vec<(usize, IpAddr, Classification)>) {
        let rows = &mut self.rows[span as usize];
        let mut before = std::mem::take(rows);
        for (_, address, opinion) in reported.iter() {
            let key = (*address, opinion.class);
            let mut row = before.remove(&key).unwrap_or_default();
            row.windows += 1;
            rows.insert(key, row);
        }
        let least = self.config.windows;
        reported.retain(|(_, address, opinion)| {
            rows.get(&(*address, opinion.class)).is_some_and(|row| row.windows >= least)
        });
    }

    fn finding(
        &self,
        view: &View<'_>,
        stats: &HostStats,
        opinion: Classification,
        because: &Because,
    ) -> Option<Finding> {
        let host = stats.address;
        let class = self.model.class(opinion.class);
        let (kind, role) = class.attack()?;
        let threshold = self.threshold(class);
        let measure = Measure {
            name: "probability",
            unit: "1",
            observed: opinion.probability,
            expected: None,
            threshold: threshold.max(f64::EPSILON),
        };
        let does = match role {
            AttackRole::Attacker => "behaves like the source",
            AttackRole::Victim => "looks like the target",
        };
        // Nothing is certain, and what is nearly so is not said to be.
        let percent = ((opinion.probability * 1000.0).floor() / 10.0).min(99.9);
        let seconds = view.snapshot.seconds();
        let behind = if because.words.is_empty() { String::new() } else { format!(": {}", because.words) };
        let direction = match role {
            AttackRole::Attacker => Direction::Sent,
            AttackRole::Victim => Direction::Received,
        };
        let mut named = self.counterparts.named(view, host, direction);
        // A sweep is of many hosts, even where one of them has most of the packets.
        if kind == AlertKind::PortScan
            && stats.originator.services.count() < PORTS_OF_ONE * stats.originator.peers.count()
        {
            named.main = None;
        }
        let other = named.main.map_or(Party::Many, Party::Host);
        let with = match (role, named.main) {
            (_, None) => String::new(),
            (AttackRole::Attacker, Some(peer)) => format!(" against {peer}"),
            (AttackRole::Victim, Some(peer)) => format!(" by {peer}"),
        };
        let summary = format!(
            "{host} {does} of {}{with}, with a probability of {percent:.1} %, in {seconds:.0} s{behind}",
            spoken(kind)
        );
        let mut finding = view.finding(&DECLARATION, kind, measure, summary);
        (finding.source, finding.destination) = match role {
            AttackRole::Attacker => (host.into(), other),
            AttackRole::Victim => (other, host.into()),
        };
        let packets = |(peer, packets): &(IpAddr, u64)| Contributor { what: peer.to_string(), amount: *packets as f64 };
        finding.contributors = named.largest.iter().take(MAX_CONTRIBUTORS).map(packets).collect();
        finding.score = opinion.probability;
        finding.facts = vec![
            ("probability", format!("{:.4}", opinion.probability)),
            ("class", class.name.clone()),
            ("model", self.model.id().to_owned()),
            ("window_s", format!("{seconds:.0}")),
        ];
        if !because.inputs.is_empty() {
            finding.facts.push(("because", because.inputs.clone()));
        }
        Some(finding)
    }
}

/// The kind of attack, with its article.
fn spoken(kind: AlertKind) -> &'static str {
    match kind {
        AlertKind::PortScan => "a port scan",
        AlertKind::SshBruteForce => "an SSH brute-force attack",
        AlertKind::Slowloris => "a slowloris attack",
        AlertKind::DnsTunnel => "a DNS tunnel",
        AlertKind::SynFlood => "a SYN flood",
        AlertKind::UdpFlood => "a UDP flood",
        AlertKind::IcmpFlood => "an ICMP flood",
        AlertKind::Amplification => "a reflection attack",
        AlertKind::DataExfiltration => "an exfiltration of data",
        other => other.word(),
    }
}

fn reason((name, value, share): &Reason) -> String {
    let digits = if value.abs() >= 100.0 || value.fract().abs() < f32::EPSILON { 0 } else { 2 };
    format!("{name} {value:.digits$} ({share:+.1})")
}

impl Detector for Xgboost {
    fn declaration(&self) -> &'static Declaration {
        &DECLARATION
    }

    fn take(&mut self, _: &Run<'_>, _: &[Try]) {}

    fn inspect(&mut self, view: &View<'_>, out: &mut Vec<Finding>) {
        if self.failed {
            return;
        }
        let extent = Extent { seconds: view.snapshot.seconds(), base_windows: view.snapshot.span.factor() as f64 };
        let least = self.config.min_packets;
        let (hosts, left_out) =
            most_active(&view.snapshot.hosts, self.config.max_hosts, |host| model::is_active(host, least));
        self.skipped += left_out;
        if view.snapshot.span == Span::Base {
            self.counterparts.take(view, hosts.iter().map(|host| host.address));
        }
        let inputs: Vec<Input> = hosts.iter().map(|host| model::input(host, extent)).collect();
        let opinions = match self.model.judge(&inputs) {
            Ok(opinions) => opinions,
            Err(error) => {
                tracing::error!(%error, "judging by rules alone from here on");
                self.failed = true;
                return;
            }
        };
        for ((host, input), opinion) in hosts.iter().zip(&inputs).zip(&opinions) {
            if self.model.class(opinion.class).attack().is_none() {
                self.usual.learn(host.address, view.snapshot.span, input);
            }
        }
        for (host, opinion) in hosts.iter().zip(&opinions) {
            let class = self.model.class(opinion.class);
            if class.attack().is_some() {
                let near = [opinion.probability, self.threshold(class)];
                view.state(&DECLARATION, host.address, ("probability", "1"), near);
            }
        }
        let opinions = hosts.iter().zip(opinions).enumerate();
        let reported = opinions.map(|(place, (host, opinion))| (place, host.address, opinion));
        let mut reported: Vec<_> = reported.filter(|(_, _, opinion)| self.is_reported(opinion)).collect();
        reported.retain(|(_, address, opinion)| {
            let attack = self.model.class(opinion.class).attack();
            !attack.is_some_and(|attack| self.counterparts.deny(view, *address, attack))
        });
        self.lasts(view.snapshot.span, &mut reported);
        reported.sort_by(|a, b| b.2.probability.total_cmp(&a.2.probability).then(a.1.cmp(&b.1)));
        let rows = &mut self.rows[view.snapshot.span as usize];
        let mut fresh: Vec<_> =
            reported.iter().map(|(place, address, opinion)| (*place, (*address, opinion.class))).collect();
        fresh.retain(|(_, key)| rows.get(key).is_some_and(|row| row.because.is_none()));
        fresh.truncate(MAX_EXPLAINED);
        let unexplained: Vec<Input> = fresh.iter().map(|(place, _)| inputs[*place]).collect();
        let classes: Vec<usize> = fresh.iter().map(|(_, (_, class))| *class).collect();
        let mut reasons = self.model.reasons(&unexplained, &classes, REASONS).unwrap_or_default().into_iter();
        for (_, key) in &fresh {
            let reasons = reasons.next().unwrap_or_default();
            if let Some(row) = rows.get_mut(key) {
                let words = reasons.iter().map(|reason| self.usual.words(key.0, view.snapshot.span, reason));
                row.because = Some(Because {
                    words: words.collect::<Vec<_>>().join(", "),
                    inputs: reasons.iter().map(reason).collect::<Vec<_>>().join(", "),
                });
            }
        }
        for (place, address, opinion) in reported {
            let row = self.rows[view.snapshot.span as usize].get(&(address, opinion.class));
            let because = row.and_then(|row| row.because.clone()).unwrap_or_default();
            out.extend(self.finding(view, hosts[place], opinion, &because));
        }
    }

    fn evicted(&self) -> u64 {
        self.skipped + self.usual.forgotten()
    }
}

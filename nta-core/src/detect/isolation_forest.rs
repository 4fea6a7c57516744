//! A host unlike those of the site's own normal traffic, by an isolation forest trained on it (`nta-daemon train
//! --algorithm isolation_forest`). It knows no attack by name: what it finds is unusual, not bad, and joins what others say
//! about the host.
//!
//! It judges the hosts that did most in 30 s, as most hosts do too little to say anything about them. Without a forest it is
//! not there.
//!
//! Known false alarms: whatever was not in the training traffic: a new service, the first back-up. Evasion: doing so little
//! that nothing stands out; traffic of the attacker's in the training data.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::active::most_active;
use super::declaration::{Basis, Cost, Declaration, FlowUse, Rates, Scope};
use super::{Detector, Try, View};
use crate::baseline::{HostKind, Scores};
use crate::domain::{AlertKind, Contributor, Finding, LEAST_SHARE, Measure};
use crate::features::{Extent, FEATURES, FeatureVector, extract};
use crate::model::forest::{self, IsolationForest, Verdict, is_judged};
use crate::tunables::{Bounds, tunables};
use crate::window::{Run, Span};

tunables! {
    /// Hosts unlike the site's own normal traffic, if [model] names a forest.
    IsolationForestConfig in "detect.isolation_forest" {
        /// Packets of a host in 30 s from which on it is judged.
        min_packets: u64 = 20 => Bounds::COUNT,
        /// Hosts judged in a window, those with the most packets and flows; further ones are counted and left out.
        max_hosts: usize = 256 => Bounds::ENTRIES,
        /// Windows of 30 s in a row that must be unusual, before the windows that detect.alerting asks of a model.
        windows: u32 = 1 => Bounds::WINDOWS,
        /// Alarms a day that hosts which are unusual, and nothing else, shall raise at most; the score that this takes is learned on
        /// the site, by role. A third each for servers, clients and gateways.
        alarms_per_day: f64 = 1.0 => Bounds::new(0.2, 1_000.0),
        /// Score above which a host is unusual, 0 to 1, whatever its role and the site; 0 for what the site has learned, and what
        /// training found until then.
        threshold: f64 = 0.0 => Bounds::SHARE,
    }
}

pub(super) const DECLARATION: Declaration = Declaration {
    name: "isolation_forest",
    spans: &[Span::Medium],
    basis: Basis::Model,
    scope: Scope::Hosts,
    flows: FlowUse::Unused,
    cost: Cost::Short,
    rates: Rates::Compared,
};

/// The score of a row like most others.
const ORDINARY: f64 = 0.5;
/// Features that a finding names.
const NAMED: usize = 4;

#[derive(Debug)]
pub(super) struct Forest {
    config: IsolationForestConfig,
    forest: Arc<IsolationForest>,
    fingerprint: u64,
    /// Scores of the hosts of the last window, until they are learned.
    scores: Option<Scores>,
    /// Unusual windows in a row of the hosts of the last window; as many as are judged.
    rows: HashMap<IpAddr, u32>,
    skipped: u64,
}

impl Forest {
    pub(super) fn new(config: IsolationForestConfig, forest: Arc<IsolationForest>) -> Self {
        let fingerprint = forest.fingerprint();
        Self { config, forest, fingerprint, scores: None, rows: HashMap::new(), skipped: 0 }
    }

    /// The score above which a host of a kind is unusual, and where that is from.
    fn threshold(&self, view: &View<'_>, kind: HostKind) -> (f64, &'static str) {
        let Self { config, forest, fingerprint, .. } = self;
        if config.threshold > 0.0 {
            return (config.threshold, "configured");
        }
        match view.baselines.scores().threshold(*fingerprint, config.alarms_per_day, kind) {
            Some(learned) => (learned, "learned on this site"),
            None => (forest.threshold(), "of the training traffic"),
        }
    }

    fn finding(
        &self,
        view: &View<'_>,
        (host, kind): (IpAddr, HostKind),
        vector: &FeatureVector,
        verdict: &Verdict,
    ) -> Finding {
        let (score, (threshold, learned)) = (verdict.score, self.threshold(view, kind));
        let measure = Measure { name: "isolation_score", unit: "1", observed: score, expected: None, threshold };
        let top = verdict.top(NAMED);
        let named: Vec<String> = top
            .iter()
            .map(|(at, _)| format!("{} {} {}", FEATURES[*at].name, number(vector[*at]), FEATURES[*at].unit))
            .collect();
        let seconds = view.snapshot.seconds();
        let summary = format!(
            "{host} is unlike the hosts of the training traffic over {seconds:.0} s: score {score:.3}, above {threshold:.3}, \
             for {}",
            named.join(", ")
        );
        let contributors = top
            .iter()
            .map(|(at, cuts)| Contributor { what: format!("{} (cuts saved)", FEATURES[*at].name), amount: *cuts })
            .collect();
        Finding {
            source: host.into(),
            score,
            facts: vec![
                ("isolation_score", format!("{score:.4}")),
                ("threshold", format!("{threshold:.4}, {learned}")),
                ("role", kind.word().to_owned()),
                ("features", named.join(", ")),
            ],
            contributors,
            ..view.finding(&DECLARATION, AlertKind::HostAnomaly, measure, summary)
        }
    }
}

/// With as many digits as say something.
fn number(value: f64) -> String {
    let digits = if value.abs() >= 100.0 { 0 } else { 2 };
    format!("{value:.digits$}")
}

impl Detector for Forest {
    fn declaration(&self) -> &'static Declaration {
        &DECLARATION
    }

    fn take(&mut self, _: &Run<'_>, _: &[Try]) {}

    fn inspect(&mut self, view: &View<'_>, out: &mut Vec<Finding>) {
        let extent = Extent { seconds: view.snapshot.seconds(), base_windows: view.snapshot.span.factor() as f64 };
        let before = std::mem::take(&mut self.rows);
        let least = self.config.min_packets;
        let (hosts, left_out) = most_active(&view.snapshot.hosts, self.config.max_hosts, |host| is_judged(host, least));
        self.skipped += left_out;
        let thresholds = HostKind::ALL.map(|kind| self.threshold(view, kind).0);
        let mut scored = Vec::with_capacity(hosts.len());
        for host in hosts {
            let kind = HostKind::of(host);
            let vector = extract(host, extent);
            let row = forest::row(&vector);
            // Features are finite and as many as the forest was checked for when it was read.
            let Ok(score) = self.forest.score(&row) else { continue };
            scored.push((host.address, kind, score));
            // The ordinary has a score of 0.5, or a little less.
            let threshold = thresholds[kind as usize];
            if score - ORDINARY >= LEAST_SHARE * (threshold - ORDINARY) {
                view.state(&DECLARATION, host.address, ("isolation_score", "1"), [score, threshold]);
            }
            if score <= thresholds[kind as usize] {
                continue;
            }
            let windows = before.get(&host.address).copied().unwrap_or(0) + 1;
            self.rows.insert(host.address, windows);
            if windows >= self.config.windows
                && let Ok(verdict) = self.forest.explain(&row)
            {
                out.push(self.finding(view, (host.address, kind), &vector, &verdict));
            }
        }
        let alarms_per_day = self.config.alarms_per_day;
        self.scores = Some(Scores { forest: self.fingerprint, alarms_per_day, hosts: scored });
    }

    fn evicted(&self) -> u64 {
        self.skipped
    }

    fn scores(&mut self) -> Option<Scores> {
        self.scores.take()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Flow, host, medium};
    use super::*;
    use crate::model::forest::{Params, train};

    /// Clients that ask servers of theirs a few times, and are answered, but for a try now and then.
    fn usual(window: u64) -> Vec<Flow> {
        let client = |n: u32| {
            let dice = u64::from(n) * 7 + window * 13;
            let ask = move |i: u16| {
                let asks = 3 + dice % 11 + u64::from(i);
                Flow::tcp(n, 40_000 + i, 100 + n, 443).history("ShADadFf").sent(asks * 4, 100).answered(asks * 6, 900)
            };
            let refused = dice.is_multiple_of(9).then(|| Flow::tcp(n, 39_000, 100 + n, 8080).history("Sr"));
            (0..1 + (dice % 4) as u16).map(ask).chain(refused)
        };
        (1..=20).flat_map(client).collect()
    }

    fn forest() -> Arc<IsolationForest> {
        let mut rows = Vec::new();
        for window in 0..60 {
            medium(window, usual(window), |view| {
                let extent = Extent { seconds: view.snapshot.seconds(), base_windows: 6.0 };
                let mut hosts: Vec<_> = view.snapshot.hosts.iter().collect();
                hosts.sort_by_key(|host| host.address);
                rows.extend(hosts.into_iter().map(|host| forest::row(&extract(host, extent))));
            });
        }
        Arc::new(train(&rows, &Params::default()).expect("a forest"))
    }

    fn found(detector: &mut Forest, window: u64, flows: Vec<Flow>) -> Vec<Finding> {
        let mut findings = Vec::new();
        medium(window, flows, |view| detector.inspect(view, &mut findings));
        findings
    }

    /// One that tries 300 ports of another, all refused.
    fn with_scanner(window: u64) -> Vec<Flow> {
        let scan = (1..=300).map(|port| Flow::tcp(50, 50_000, 51, port).history("Sr"));
        usual(window).into_iter().chain(scan).collect()
    }

    #[test]
    fn a_host_like_no_other_is_reported_with_what_makes_it_so() {
        let mut detector = Forest::new(IsolationForestConfig::default(), forest());
        assert_eq!(found(&mut detector, 100, usual(100)), [], "traffic as in the training");
        let findings = found(&mut detector, 101, with_scanner(101));
        let scanner = findings.iter().find(|finding| finding.source == host(50).into()).expect("the scanner");
        assert_eq!(scanner.kind, AlertKind::HostAnomaly);
        assert!(scanner.measure.observed > scanner.measure.threshold);
        assert!(scanner.summary.contains("10.0.0.50") && scanner.summary.contains("score"), "{}", scanner.summary);
        let named = &scanner.contributors;
        assert!(!named.is_empty() && named.len() <= NAMED && named[0].amount > 0.0, "{named:?}");
        assert!(!findings.iter().any(|finding| finding.source == host(7).into()), "a usual client");
    }

    #[test]
    fn a_row_of_windows_and_another_threshold_may_be_asked_for() {
        let forest = forest();
        let mut patient = Forest::new(IsolationForestConfig { windows: 2, ..Default::default() }, forest.clone());
        assert_eq!(found(&mut patient, 100, with_scanner(100)), []);
        assert!(!found(&mut patient, 101, with_scanner(101)).is_empty());
        assert_eq!(found(&mut patient, 102, usual(102)), []);
        assert_eq!(found(&mut patient, 103, with_scanner(103)), [], "a row begins again");
        let mut deaf = Forest::new(IsolationForestConfig { threshold: 0.99, ..Default::default() }, forest);
        assert_eq!(found(&mut deaf, 100, with_scanner(100)), []);
    }

    /// What the site has learned of its clients: nearly all of them reached this.
    fn site(forest: &IsolationForest, step: u32) -> crate::baseline::Baselines {
        let mut baselines = crate::baseline::Baselines::new(crate::baseline::BaselineConfig::default());
        let scores = serde_json::json!({
            "forest": forest.fingerprint(), "hours": 100.0, "alarms_per_day": 1.0,
            "roles": { "client": { step.to_string(): 50.0 }, "server": { "999": 50.0 }, "gateway": { "999": 50.0 } },
        });
        let mut export = baselines.export();
        export.scores = serde_json::from_value(scores).expect("sound");
        baselines.import(export).expect("sound");
        baselines
    }

    #[test]
    fn what_the_site_has_learned_of_a_role_holds_instead_of_what_training_found() {
        let forest = forest();
        let judged = |step: u32, config: IsolationForestConfig| {
            let (mut findings, mut detector) = (Vec::new(), Forest::new(config, forest.clone()));
            let learned = site(&forest, step);
            medium(101, with_scanner(101), |view| {
                detector.inspect(&View { baselines: &learned, ..*view }, &mut findings);
            });
            let scores = detector.scores().expect("scores");
            assert!(scores.hosts.iter().any(|(address, kind, _)| *address == host(50) && *kind == HostKind::Client));
            findings
        };
        let usual = judged(950, IsolationForestConfig::default());
        assert_eq!(usual, [], "a site where clients are often as odd as this");
        let quiet = judged(100, IsolationForestConfig::default());
        assert!(quiet.len() > 10, "a site where no client is ever odd: {}", quiet.len());
        assert!(
            quiet[0].facts.contains(&("threshold", "0.1010, learned on this site".to_owned())),
            "{:?}",
            quiet[0].facts
        );
        assert!(quiet.iter().all(|found| found.facts.contains(&("role", "client".to_owned()))));
        let fixed = judged(950, IsolationForestConfig { threshold: 0.3, ..Default::default() });
        assert!(!fixed.is_empty(), "a configured score holds whatever was learned");
    }

    #[test]
    fn of_many_hosts_the_most_active_are_judged_and_the_rest_counted() {
        let config = IsolationForestConfig { max_hosts: 2, ..Default::default() };
        let mut detector = Forest::new(config, forest());
        let findings = found(&mut detector, 100, with_scanner(100));
        let sources: Vec<_> = findings.iter().map(|finding| finding.source).collect();
        assert!(sources.contains(&host(50).into()) && sources.len() <= 2, "{sources:?}");
        // 20 clients, 20 servers, the scanner and its victim, of which two were judged.
        assert_eq!(detector.evicted(), 40);
        let config = IsolationForestConfig { min_packets: 1_000_000, ..Default::default() };
        let mut detector = Forest::new(config, forest());
        assert_eq!(found(&mut detector, 100, with_scanner(100)), []);
    }
}

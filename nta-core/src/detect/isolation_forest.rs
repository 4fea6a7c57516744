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
use crate::domain::{AlertKind, Contributor, Finding, Measure};
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
        /// Score above which a host is unusual, 0 to 1; 0 for what training found.
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

/// Features that a finding names.
const NAMED: usize = 4;

#[derive(Debug)]
pub(super) struct Forest {
    config: IsolationForestConfig,
    forest: Arc<IsolationForest>,
    threshold: f64,
    /// Unusual windows in a row of the hosts of the last window; as many as are judged.
    rows: HashMap<IpAddr, u32>,
    skipped: u64,
}

impl Forest {
    pub(super) fn new(config: IsolationForestConfig, forest: Arc<IsolationForest>) -> Self {
        let threshold = if config.threshold > 0.0 { config.threshold } else { forest.threshold() };
        Self { config, forest, threshold, rows: HashMap::new(), skipped: 0 }
    }

    fn finding(&self, view: &View<'_>, host: IpAddr, vector: &FeatureVector, verdict: &Verdict) -> Finding {
        let (score, threshold) = (verdict.score, self.threshold);
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
                ("threshold", format!("{threshold:.4}")),
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
        for host in hosts {
            let vector = extract(host, extent);
            let row = forest::row(&vector);
            // Features are finite and as many as the forest was checked for when it was read.
            let Ok(score) = self.forest.score(&row) else { continue };
            if score <= self.threshold {
                continue;
            }
            let windows = before.get(&host.address).copied().unwrap_or(0) + 1;
            self.rows.insert(host.address, windows);
            if windows >= self.config.windows
                && let Ok(verdict) = self.forest.explain(&row)
            {
                out.push(self.finding(view, host.address, &vector, &verdict));
            }
        }
    }

    fn evicted(&self) -> u64 {
        self.skipped
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

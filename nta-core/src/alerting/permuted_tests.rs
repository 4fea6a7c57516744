//! What is found under one set of addresses is found under any other: alerts are merged and folded by what they say, and which
//! address comes first decides nothing.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::{Alerter, AlertingConfig};
use crate::domain::{AlertKind, AlertState, Basis, Crowd, Finding, Measure, Party, Timestamp};

const S: u64 = 1_000_000_000;
/// Hosts, half of them of either network.
const HOSTS: usize = 24;
const WINDOWS: u64 = 6;
const SCENARIOS: u64 = 400;
const PERMUTATIONS: u64 = 4;

/// SplitMix64: the same numbers everywhere.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as usize % end
    }
}

/// The address of each host: networks and the hosts in them in any order.
fn addresses(number: u64) -> Vec<IpAddr> {
    let mut numbers = Numbers(number);
    let mut networks = [[192, 0, 2], [203, 0, 113]];
    if number > 0 && numbers.below(2) == 1 {
        networks.swap(0, 1);
    }
    let mut all = Vec::new();
    for [a, b, c] in networks {
        let mut hosts: Vec<u8> = (1..=(HOSTS / 2) as u8).map(|host| host * 10).collect();
        for at in (1..hosts.len()).rev().filter(|_| number > 0) {
            hosts.swap(at, numbers.below(at + 1));
        }
        all.extend(hosts.into_iter().map(|d| IpAddr::from([a, b, c, d])));
    }
    all
}

/// A party by number, whoever that is.
#[derive(Clone, Copy)]
enum Who {
    Nobody,
    Many,
    Host(usize),
}

impl Who {
    fn any(numbers: &mut Numbers) -> Self {
        match numbers.below(10) {
            0 => Self::Many,
            1 => Self::Nobody,
            // A few are in most of it, so that findings meet.
            2..6 => Self::Host(numbers.below(4)),
            _ => Self::Host(numbers.below(HOSTS)),
        }
    }

    fn party(self, addresses: &[IpAddr]) -> Party {
        match self {
            Self::Nobody => Party::Nobody,
            Self::Many => Party::Many,
            Self::Host(host) => Party::Host(addresses[host]),
        }
    }
}

const KINDS: [AlertKind; 12] = [
    AlertKind::PortScan,
    AlertKind::SynFlood,
    AlertKind::UdpFlood,
    AlertKind::HttpFlood,
    AlertKind::IcmpFlood,
    AlertKind::FragmentFlood,
    AlertKind::Amplification,
    AlertKind::SshBruteForce,
    AlertKind::Slowloris,
    AlertKind::Beaconing,
    AlertKind::IcmpTunnel,
    AlertKind::HostAnomaly,
];

/// Some findings of a window under these addresses, each of another magnitude.
fn findings(numbers: &mut Numbers, window: u64, addresses: &[IpAddr]) -> Vec<Finding> {
    let mut found = Vec::new();
    for nth in 0..3 + numbers.below(14) {
        let is_model = numbers.below(3) == 0;
        let kind = KINDS[numbers.below(KINDS.len() - usize::from(!is_model))];
        let [mut source, mut destination] = [Who::any(numbers), Who::any(numbers)];
        if kind == AlertKind::HostAnomaly {
            (source, destination) = (Who::Host(numbers.below(HOSTS)), Who::Nobody);
        }
        if !matches!(source, Who::Host(_)) && !matches!(destination, Who::Host(_)) {
            source = Who::Host(numbers.below(HOSTS));
        }
        let members: Vec<usize> = (0..2 + numbers.below(6)).map(|_| numbers.below(HOSTS)).collect();
        let crowd = (kind == AlertKind::PortScan && !is_model && matches!(destination, Who::Many)).then(|| {
            let source = source.party(addresses).host();
            Arc::new(Crowd::new(source, members.into_iter().map(|host| addresses[host])))
        });
        let observed = 11.0 + nth as f64 + window as f64 / 16.0 + numbers.below(40) as f64 * 17.0;
        let (detector, basis, name) = match (is_model, kind) {
            (true, AlertKind::HostAnomaly) => ("isolation_forest", Basis::Model, "probability"),
            (true, _) => ("xgboost", Basis::Model, "probability"),
            (false, _) => (kind.word(), Basis::Rule, "tries"),
        };
        let (observed, threshold) = if is_model { (observed / 1000.0, 0.3) } else { (observed, 10.0) };
        found.push(Finding {
            detector,
            basis,
            kind,
            source: source.party(addresses),
            destination: destination.party(addresses),
            port: Some(nth as u16),
            start: Timestamp::from_nanos((100 + 5 * window) * S),
            end: Timestamp::from_nanos((105 + 5 * window) * S),
            seen: None,
            measure: Measure { name, unit: "1", observed, expected: None, threshold },
            score: observed / 1000.0,
            summary: format!("finding {nth} of window {window}"),
            facts: Vec::new(),
            contributors: Vec::new(),
            crowd,
        });
    }
    found
}

/// The alerts of a scenario, their parties as numbers.
fn alerts(scenario: u64, addresses: &[IpAddr]) -> Vec<String> {
    let config = AlertingConfig { clear_after_s: 10, ..AlertingConfig::default() };
    let mut alerter = Alerter::new(config, Default::default());
    let mut numbers = Numbers(scenario.wrapping_mul(0x1234_5677));
    let mut alerts = BTreeMap::new();
    for window in 0..WINDOWS {
        let found = findings(&mut numbers, window, addresses);
        let now = Timestamp::from_nanos((105 + 5 * window) * S);
        alerter.judge(found, now, &mut |_, alert| {
            alerts.insert(alert.id, alert.clone());
        });
    }
    let name = |party: Party| match party {
        Party::Host(host) => format!("{}", addresses.iter().position(|address| *address == host).expect("one of them")),
        // Which of the two networks it is follows from the first of its hosts.
        Party::Network(network, _) => {
            let is_of = |address: &IpAddr| crate::domain::around(*address).0 == network;
            format!("network of {}", addresses.iter().position(is_of).expect("one of them"))
        }
        other => format!("{other:?}"),
    };
    let mut told: Vec<String> = alerts
        .into_values()
        .map(|alert| {
            let mut opinions: Vec<String> = alert
                .opinions
                .iter()
                .map(|opinion| format!("{} {:.3}", opinion.detector, opinion.measure.observed))
                .collect();
            opinions.sort_unstable();
            format!(
                "{} {} -> {} {:?} {} windows {} merged {} {:.3} {opinions:?} {}",
                alert.key.kind.word(),
                name(alert.key.source),
                name(alert.key.destination),
                alert.severity,
                if alert.state == AlertState::Raised { "open" } else { "cleared" },
                alert.windows,
                alert.merged,
                alert.finding.measure.observed,
                alert.finding.port.unwrap_or_default(),
            )
        })
        .collect();
    told.sort_unstable();
    told
}

#[test]
fn which_addresses_hosts_have_decides_nothing() {
    let mut differ = Vec::new();
    for scenario in 0..SCENARIOS {
        let first = alerts(scenario, &addresses(0));
        assert!(!first.is_empty());
        for number in 1..=PERMUTATIONS {
            let other = alerts(scenario, &addresses(scenario * 1000 + number));
            if first != other {
                let lost: Vec<_> = first.iter().filter(|one| !other.contains(one)).collect();
                let new: Vec<_> = other.iter().filter(|one| !first.contains(one)).collect();
                differ.push(format!("scenario {scenario}, addresses {number}:\n  {lost:#?}\n  {new:#?}"));
                break;
            }
        }
    }
    assert!(differ.is_empty(), "{} of {SCENARIOS} differ\n{}", differ.len(), differ[..differ.len().min(2)].join("\n"));
}

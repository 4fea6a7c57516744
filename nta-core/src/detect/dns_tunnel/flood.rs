//! Floods of random names under one domain: no cache knows them, so that each reaches the domain's own servers, and they do not
//! exist.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::memory::{Pair, Use};
use super::{DECLARATION, DnsTunnelConfig};
use crate::detect::View;
use crate::domain::{AlertKind, Contributor, Finding, Measure, Party};

/// One finding a server and domain, whoever asks: each client may ask for a few.
pub(super) fn judge<'a>(
    config: &DnsTunnelConfig,
    view: &View<'_>,
    uses: impl Iterator<Item = (&'a Pair, Use)>,
) -> Vec<Finding> {
    let mut domains: BTreeMap<(IpAddr, &str), (Use, Vec<IpAddr>)> = BTreeMap::new();
    for (pair, seen) in uses {
        let (sum, clients) = domains.entry((seen.server, pair.parent.as_str())).or_default();
        sum.merge(&seen);
        clients.push(pair.client);
    }
    let is_flood = |seen: &Use| seen.is_in_vain() && !seen.is_searched() && seen.distinct_names() >= config.min_polled;
    let found = domains.into_iter().filter(|(_, (seen, _))| is_flood(seen));
    found.map(|((server, parent), (seen, clients))| finding(config, view, (server, parent), &seen, &clients)).collect()
}

fn finding(
    config: &DnsTunnelConfig,
    view: &View<'_>,
    (server, parent): (IpAddr, &str),
    seen: &Use,
    clients: &[IpAddr],
) -> Finding {
    let names = seen.distinct_names();
    let measure = Measure {
        name: "distinct_names",
        unit: "names",
        observed: names as f64,
        expected: None,
        threshold: config.min_polled as f64,
    };
    let by = match clients {
        [one] => one.to_string(),
        many => format!("{} clients", many.len()),
    };
    let summary = format!(
        "{by} asked {server} for {} different names under {parent}; {} of {} answers say that there is none",
        seen.names_in_words(),
        seen.failures,
        seen.replies
    );
    let mut finding = view.finding(&DECLARATION, AlertKind::DnsFlood, measure, summary);
    finding.source = if let [one] = clients { Party::Host(*one) } else { Party::Many };
    finding.destination = Party::Host(server);
    finding.port = Some(53);
    finding.seen = seen.first.map(|first| [first, view.end()]);
    finding.facts = vec![
        ("parent_domain", parent.to_owned()),
        ("queries", seen.queries.to_string()),
        ("distinct_names", names.to_string()),
        ("clients", clients.len().to_string()),
        ("failed_answers", seen.failures.to_string()),
    ];
    finding.contributors = vec![Contributor { what: parent.to_owned(), amount: names as f64 }];
    finding
}

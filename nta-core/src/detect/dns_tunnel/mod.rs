//! DNS tunnels: data carried in the names asked for and in the answers, judged per client and parent domain over the
//! last minutes.
//!
//! What a tunnel cannot avoid (Born & Gustafson 2010; Farnham, SANS 2013; Zeek's `dns-tunnels` and RITA's `exploded
//! dns`): each message needs a name that no cache knows, under a domain of the tunnel's own. So many different names
//! under one parent, and one of: *upload* long names of high entropy (iodine, dnscat2, dns2tcp), *long names* few but
//! as long as they get (slow exfiltration), *carrier* types whose answers hold free data (TXT, NULL, CNAME, MX, KEY,
//! private), *answers* of such types that are large (commands over TXT), *polling* hundreds of names in masses. Beside
//! that *no DNS*: packets on DNS's port that are none (iodine's raw mode, VPNs over port 53).
//!
//! Masses of names under one parent that do not exist are no tunnel, since nothing comes back: they are a flood of the resolver
//! and of the domain's servers (`dns_flood`, random subdomains, "water torture").
//!
//! Not reported: names that a resolver's search list makes up, reverse look-ups, service discovery, names of block lists (a reversed address), domains of services that
//! carry data in names by design (`allowed_domains`). Names made up by an algorithm (DGA) have a parent each and are no
//! tunnel; nor what a resolver asks for others whose questions are seen as well, as they are judged. Known false alarms: a resolver
//! of which only its own queries are seen; allow it as a source.

mod asked;
mod flood;
mod memory;
mod name;

use super::declaration::{Basis, Cost, Declaration, FlowUse, Rates, Scope};
use super::named::Domain;
use super::{Detector, Try, View};
use crate::domain::{AlertKind, Contributor, Finding, Measure, PacketEvent, Party};
use crate::tunables::{Bounds, tunables};
use crate::window::{Run, Span};
use memory::{Memory, Pair, Use};

tunables! {
    /// Tunnels through DNS.
    DnsTunnelConfig in "detect.dns_tunnel" {
        /// Seconds that are judged together, at least; at most twice as many.
        memory_s: f64 = 90.0 => Bounds::MEMORY_S,
        /// Different names under a parent from which on upload or carrier types are reported. A page load asks for fewer
        /// than 10 names of one owner.
        min_names: u64 = 20 => Bounds::COUNT,
        /// Mean bytes in front of the parent that are upload. Names made for people have under 20 (Born & Gustafson
        /// 2010); names of 30 bytes carry 18 in base32.
        upload_bytes: f64 = 30.0 => Bounds::new(0.0, 255.0),
        /// Bits a byte that these need at least: hexadecimal digits of that length have 3.4.
        min_entropy: f64 = 3.2 => Bounds::new(0.0, 8.0),
        /// Different long names that are reported, and their mean length: more than one label's 63 bytes.
        min_long_names: u64 = 5 => Bounds::COUNT,
        /// See `min_long_names`.
        long_bytes: f64 = 70.0 => Bounds::new(0.0, 255.0),
        /// Different names with large answers in carrier types that are reported.
        min_answers: u64 = 10 => Bounds::COUNT,
        /// Mean bytes of these answers: more than a verification token's 70.
        answer_bytes: f64 = 100.0 => Bounds::new(0.0, 65_535.0),
        /// Different names that are reported whatever their form: more than a person's devices ask of one owner.
        min_polled: u64 = 300 => Bounds::COUNT,
        /// Packets with payload on DNS's port that are no DNS, between two hosts.
        min_foreign: u64 = 100 => Bounds::COUNT,
        /// Share of the queries that carrier types must have.
        carrier_share: f64 = 0.5 => Bounds::SHARE,
        /// Domains that carry data in names by design: reputation and block lists, updates, telemetry, content
        /// delivery; subdomains included.
        allowed_domains: Vec<Domain> = ALLOWED.iter().filter_map(|name| Domain::try_from((*name).to_owned()).ok()).collect(),
    }
}

pub(super) const DECLARATION: Declaration = Declaration {
    name: "dns_tunnel",
    spans: &[Span::Base],
    basis: Basis::Rule,
    scope: Scope::Hosts,
    flows: FlowUse::Unused,
    cost: Cost::Short,
    rates: Rates::Unused,
};

/// Anti-virus and reputation look-ups, block lists, and names that clouds and content delivery make up for each customer.
const ALLOWED: [&str; 41] = [
    "mcafee.com",
    "trellix.com",
    "sophosxl.net",
    "sophos.com",
    "e5.sk",
    "eset.com",
    "avast.com",
    "avcdn.net",
    "avqs.net",
    "trendmicro.com",
    "kaspersky.com",
    "kaspersky-labs.com",
    "webcfs00.com",
    "cloudmark.com",
    "senderbase.org",
    "barracudacentral.org",
    "barracudabrts.com",
    "spamhaus.org",
    "spamhaus.net",
    "surbl.org",
    "uribl.com",
    "dnswl.org",
    "spamcop.net",
    "sorbs.net",
    "mailspike.net",
    "fortiguard.net",
    "bitdefender.net",
    "symantec.com",
    "cymru.com",
    "akamai.net",
    "akamaiedge.net",
    "akadns.net",
    "edgekey.net",
    "edgesuite.net",
    "cloudfront.net",
    "amazonaws.com",
    "azure.com",
    "windows.net",
    "trafficmanager.net",
    "googleusercontent.com",
    "gstatic.com",
];

/// The domain that somebody owns which a name lies under; `None` for names of the infrastructure and without a top-level domain.
pub(super) fn owner(name: &str) -> Option<String> {
    name::Name::of(name).map(|name| name.parent).filter(|parent| parent.contains('.'))
}

/// Contributors that a finding lists.
const MOST_CONTRIBUTORS: usize = 5;

/// Finds tunnels in the DNS messages of base windows.
#[derive(Debug)]
pub(super) struct DnsTunnel {
    config: DnsTunnelConfig,
    memory: Memory,
}

/// Which of the rules holds: its word, what was measured and from where on.
struct Rule {
    word: &'static str,
    name: &'static str,
    unit: &'static str,
    observed: f64,
    threshold: f64,
}

impl DnsTunnel {
    pub(super) fn new(config: DnsTunnelConfig) -> Self {
        let memory = Memory::new((config.memory_s * 1e9) as u64);
        Self { config, memory }
    }

    fn is_allowed(&self, parent: &str) -> bool {
        self.config.allowed_domains.iter().any(|allowed| allowed.covers(parent))
    }

    /// The rule that is exceeded most, or nearest to it.
    fn judge(&self, seen: &Use) -> Option<Rule> {
        let config = &self.config;
        let (names, queries) = (seen.distinct_names(), f64::from(seen.queries));
        let (bytes, entropy) = (seen.mean_bytes(), seen.mean_entropy());
        let is_random = entropy >= config.min_entropy;
        // What everybody asks for says nothing of the client, nor does what a search list makes up.
        let is_usual = seen.is_searched() || seen.is_shared();
        let is_carrier = f64::from(seen.carriers) >= config.carrier_share * queries;
        // Every message of a tunnel has a name of its own; an address is asked for twice (A, AAAA), and some again.
        let is_fresh = names as f64 >= queries / 4.0;
        let rule = |word, observed: u64, threshold: u64| Rule {
            word,
            name: "distinct_names",
            unit: "names",
            observed: observed as f64,
            threshold: threshold as f64,
        };
        let rules = [
            (is_fresh && is_random && !is_usual && bytes >= config.upload_bytes)
                .then(|| rule("upload", names, config.min_names)),
            (is_random && !is_usual && bytes >= config.long_bytes)
                .then(|| rule("long_names", names, config.min_long_names)),
            (is_fresh && is_carrier).then(|| rule("carrier", names, config.min_names)),
            (is_carrier && seen.mean_answer() >= config.answer_bytes).then(|| {
                // One name that is answered again and again is no tunnel.
                let answers = u64::from(seen.answers);
                let rule = rule("answers", names.min(answers), config.min_answers);
                if answers < names { Rule { name: "large_answers", unit: "answers", ..rule } } else { rule }
            }),
            (is_fresh && !is_usual && !seen.is_in_vain()).then(|| rule("polling", names, config.min_polled)),
            Some(Rule {
                name: "foreign_packets",
                unit: "packets",
                ..rule("no_dns", seen.exchanged().into(), config.min_foreign)
            }),
        ];
        let met = rules.into_iter().flatten().filter(|rule| rule.observed > 0.0);
        met.max_by(|a, b| (a.observed / a.threshold).total_cmp(&(b.observed / b.threshold)))
    }

    fn finding(&self, view: &View<'_>, pair: &Pair, seen: &Use) -> Option<Finding> {
        let rule = self.judge(seen)?;
        view.state(&DECLARATION, pair.client, (rule.name, rule.unit), [rule.observed, rule.threshold]);
        if rule.observed < rule.threshold {
            return None;
        }
        let server = seen.server;
        let (names, queries, parent) = (seen.distinct_names(), seen.queries, &pair.parent);
        let summary = if rule.word == "no_dns" {
            format!(
                "{} exchanged {} packets that are no DNS with {server} on DNS's port",
                pair.client,
                seen.exchanged()
            )
        } else {
            format!(
                "{} asked {server} for {} different names under {parent} in {queries} queries, {:.0} bytes and \
                 {:.1} bits a byte in front of it, {:.0} % of them for types that carry data; {} answers to these, {:.0} bytes on average",
                pair.client,
                seen.names_in_words(),
                seen.mean_bytes(),
                seen.mean_entropy(),
                100.0 * f64::from(seen.carriers) / f64::from(queries.max(1)),
                seen.answers,
                seen.mean_answer(),
            )
        };
        Some(Finding {
            detector: DECLARATION.name,
            basis: DECLARATION.basis,
            kind: AlertKind::DnsTunnel,
            source: Party::Host(pair.client),
            destination: Party::Host(server),
            port: Some(53),
            start: view.start(),
            end: view.end(),
            seen: seen.first.map(|first| [first, view.end()]),
            measure: Measure {
                name: rule.name,
                unit: rule.unit,
                observed: rule.observed,
                expected: None,
                threshold: rule.threshold,
            },
            score: (rule.observed / rule.threshold / 10.0).clamp(0.5, 1.0),
            summary,
            facts: vec![
                ("rule", rule.word.to_owned()),
                ("parent_domain", parent.clone()),
                ("queries", queries.to_string()),
                ("distinct_names", names.to_string()),
                ("name_bytes_mean", format!("{:.1}", seen.mean_bytes())),
                ("entropy_mean", format!("{:.2}", seen.mean_entropy())),
                ("carrier_queries", seen.carriers.to_string()),
                ("bytes_up", seen.bytes.to_string()),
                ("bytes_down", seen.answer_bytes.to_string()),
            ],
            contributors: vec![Contributor { what: parent.clone(), amount: rule.observed }],
            crowd: None,
        })
    }
}

impl Detector for DnsTunnel {
    fn declaration(&self) -> &'static Declaration {
        &DECLARATION
    }

    fn take(&mut self, _: &Run<'_>, _: &[Try]) {}

    fn inspect(&mut self, view: &View<'_>, out: &mut Vec<Finding>) {
        self.memory.turn(view.start());
        for event in &view.snapshot.events {
            if let PacketEvent::Dns(message) = event {
                self.memory.take(message, &view.snapshot.hosts);
            }
        }
        let pairs = self.memory.seen_now();
        let mut found: Vec<Finding> = pairs
            .iter()
            .filter(|pair| !self.is_allowed(&pair.parent))
            .filter_map(|pair| self.finding(view, pair, &self.memory.of(pair)?))
            .collect();
        // One client and server are one alert: the strongest parent speaks, the others contribute.
        let magnitude = |finding: &Finding| finding.measure.magnitude();
        found.sort_by(|a, b| {
            (a.source, a.destination).cmp(&(b.source, b.destination)).then(magnitude(b).total_cmp(&magnitude(a)))
        });
        found.dedup_by(|weaker, stronger| {
            let same = (weaker.source, weaker.destination) == (stronger.source, stronger.destination);
            if same && stronger.contributors.len() < MOST_CONTRIBUTORS {
                stronger.contributors.append(&mut weaker.contributors);
            }
            same
        });
        out.append(&mut found);
        let wanted = pairs.iter().filter(|pair| !self.is_allowed(&pair.parent));
        out.extend(flood::judge(&self.config, view, wanted.filter_map(|pair| Some((pair, self.memory.of(pair)?)))));
    }

    fn evicted(&self) -> u64 {
        self.memory.evicted
    }
}

#[cfg(test)]
mod tests;

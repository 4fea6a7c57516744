//! HTTP flood: clients open one new connection after another to a web server, each for a small request, and are given the same answer
//! again and again.
//!
//! A browser keeps up to six connections to a server and sends many requests on each (RFC 9112, 9.3), and the objects that it asks for
//! differ in size. Tools for load and floods (hulk, GoldenEye, HOIC, `ab`) ask for one page, so that nine answers in ten have one
//! length. That tells them from what has as many connections: a gateway with hundreds of people behind it, a proxy that opens one
//! for each request, a shop on a busy day. Connections that the server does not answer count as tried; where nearly all of them come to nothing,
//! that is `syn_flood`'s.
//!
//! A source that this network knows is judged against its own usual number of new flows. Of a source and a server of which nobody knows what is
//! usual, the alert is of severity medium at most. Many sources, none of them conspicuous, are one only at a server that gets several times what it usually
//! gets. What goes without an answer says nothing where one direction is seen.
//!
//! Guessing of passwords over HTTP is told as what it looks like: a form that is sent again and again, each time over a new connection, is short and has
//! one answer, as the page of a flood has. What is in the request is not looked at, and behind TLS nobody can; the finding says so.
//!
//! Known false alarms: load tests; many devices behind one address that report over a new connection each; programs that ask one
//! page over and over. Evasion: rates below; several pages in turn; few connections with very many requests each.

use std::collections::BTreeMap;
use std::net::IpAddr;

use nta_common::packet::proto;

use super::attempt::is_futile;
use super::declaration::{Basis, Cost, Declaration, FlowUse, Rates, Scope};
use super::recent::{Map, Recent, Shares, Sliding, Weigh};
use super::{Detector, Try, View};
use crate::domain::{AlertKind, Contributor, Finding, FlowObservation, Measure, Party};
use crate::tunables::{Bounds, tunables};
use crate::window::{Run, Span};

tunables! {
    /// HTTP floods.
    HttpFloodConfig in "detect.http_flood" {
        /// New connections of one client to one web server within 30 s. Default: 5 a second. A page of 70 objects (the median of the
        /// HTTP Archive), each over a connection of its own, twice in that time is 140.
        min_connections_30s: u64 = 150 => Bounds::COUNT,
        /// The same of all clients together, none of which reaches that number. Default: 20 a second, as for SYNs of many sources.
        min_connections_30s_many: u64 = 600 => Bounds::COUNT,
        /// Share of the answers that have one of the two most frequent lengths, 0 to 1.
        min_same_share: f64 = 0.8 => Bounds::SHARE,
        /// Payload bytes that a client sends over a connection on average: one request behind a TLS handshake, and no upload.
        max_request_bytes: u64 = 3_000 => Bounds::BYTES,
        /// Ports of web servers.
        ports: Vec<u16> = vec![80, 81, 443, 3_000, 5_000, 8_000, 8_008, 8_080, 8_081, 8_088, 8_443, 8_888, 9_000],
    }
}

pub(super) const DECLARATION: Declaration = Declaration {
    name: "http_flood",
    spans: &[Span::Base],
    basis: Basis::Rule,
    scope: Scope::Hosts,
    flows: FlowUse::Apart,
    cost: Cost::Short,
    rates: Rates::Measured,
};

/// Services, and clients of services, that are remembered.
const MAX_KEYS: usize = 16_384;
/// Over which time connections are counted, in seconds.
const SECONDS: u64 = 30;
/// What is over within this time is a script's burst, and no flood; in seconds.
const BURST_S: u64 = 10;
/// Share of the connections that have to come before these seconds, and within the last half of them: a flood goes on.
const MIN_BEFORE: f64 = 0.2;
const MIN_LAST: f64 = 0.05;
/// New connections a second below which a window is not remembered: a fifth of the slowest flood.
const MIN_RATE: f64 = 1.0;
/// Answers that are needed to say that they are the same; half of the connections that ended need one.
const MIN_ANSWERS: u64 = 30;
/// Answers after which the older ones count half.
const REMEMBERED_ANSWERS: u64 = 2_000;
/// Of the connections so many have to come to something; else it is a flood of SYNs.
const MIN_ANSWERED_SHARE: f64 = 0.2;
/// Of those so many have to end in that time; what is held open is `slowloris`'.
const MIN_ENDED_SHARE: f64 = 0.5;
/// Bytes of the shortest request with a `Host` line (RFC 9112, 3.2).
const MIN_REQUEST_BYTES: u64 = 30;
/// Deviations above the usual level.
const DEVIATIONS: f64 = 6.0;
/// How many times as much as usual a server gets in a flood of many.
const TIMES_USUAL: f64 = 3.0;
/// Score of what nobody knows to be unusual: below it severity ends at medium.
const UNKNOWN: f64 = 0.49;
/// Lengths that differ by less than this factor count as the same: tokens, dates and names make pages differ by a little.
const SAME_LENGTH: f64 = 1.1;

/// Server, port, and one of its clients; `None` is all of them.
type Key = (IpAddr, u16, Option<IpAddr>);

/// Finds floods over the last 30 s.
#[derive(Debug)]
pub(super) struct HttpFlood {
    config: HttpFloodConfig,
    met: Map<Key, Met>,
    recent: Recent<Key, Load>,
}

/// What a client, or all, did at a service in one window.
#[derive(Debug, Default)]
struct Met {
    tried: u64,
    answered: u64,
    answers: Answers,
    /// Of all clients.
    shares: Shares,
}

/// The same over the last 30 s.
#[derive(Debug, Default)]
struct Load {
    tried: Sliding,
    answered: Sliding,
    ended: Sliding,
    answers: Answers,
    shares: Shares,
}

/// Connections that ended, those with an answer by its length.
#[derive(Clone, Debug, Default)]
struct Answers {
    /// At most 470: lengths of 64 bits in steps of a tenth.
    by_length: BTreeMap<u16, u64>,
    total: u64,
    request_bytes: u64,
}

impl Weigh for Load {
    fn weight(&self) -> u64 {
        self.tried.total()
    }
}

impl Answers {
    fn add(&mut self, request_bytes: u64, answer_bytes: u64) {
        self.total += 1;
        if answer_bytes > 0 {
            let step = ((answer_bytes as f64).ln() / SAME_LENGTH.ln()) as u16;
            *self.by_length.entry(step).or_default() += 1;
        }
        self.request_bytes += request_bytes;
    }

    fn merge(&mut self, other: &Self) {
        for (step, count) in &other.by_length {
            *self.by_length.entry(*step).or_default() += count;
        }
        self.total += other.total;
        self.request_bytes += other.request_bytes;
        if self.total > REMEMBERED_ANSWERS {
            self.by_length.values_mut().for_each(|count| *count /= 2);
            self.by_length.retain(|_, count| *count > 0);
            self.total /= 2;
            self.request_bytes /= 2;
        }
    }

    /// Connections on which the server said something.
    fn count(&self) -> u64 {
        self.by_length.values().sum()
    }

    /// Share of the two most frequent lengths. One length may lie on the border of two steps.
    fn same_share(&self) -> f64 {
        let mut left = self.by_length.clone();
        let mut take = || {
            let of = |step: u16| left.get(&step).copied().unwrap_or(0) + left.get(&(step + 1)).copied().unwrap_or(0);
            let (most, step) = left.keys().map(|step| (of(*step), *step)).max().unwrap_or_default();
            left.remove(&step);
            left.remove(&(step + 1));
            most
        };
        let most = take() + take();
        most as f64 / self.count().max(1) as f64
    }

    const fn mean_request(&self) -> u64 {
        match self.request_bytes.checked_div(self.total) {
            Some(mean) => mean,
            None => 0,
        }
    }
}

impl HttpFlood {
    pub(super) fn new(config: HttpFloodConfig) -> Self {
        Self { config, met: Map::default(), recent: Recent::new(MAX_KEYS, SECONDS) }
    }

    /// New connections in the last 30 s, if that many are one page asked for again and again.
    fn is_one_page(&self, view: &View<'_>, load: &Load, least: u64) -> Option<u64> {
        let tried = load.tried.sum(view.end(), SECONDS);
        let answered = load.answered.sum(view.end(), SECONDS);
        let (last, newer) = (load.tried.sum(view.end(), BURST_S / 2), load.tried.sum(view.end(), BURST_S));
        (tried >= least
            && last as f64 >= MIN_LAST * tried as f64
            && (tried - newer) as f64 >= MIN_BEFORE * tried as f64
            && answered as f64 >= MIN_ANSWERED_SHARE * tried as f64
            && load.ended.sum(view.end(), SECONDS) as f64 >= MIN_ENDED_SHARE * answered as f64
            && load.answers.count() >= MIN_ANSWERS.max(load.answers.total / 2)
            && load.answers.mean_request() >= MIN_REQUEST_BYTES
            && load.answers.mean_request() <= self.config.max_request_bytes
            && load.answers.same_share() >= self.config.min_same_share)
            .then_some(tried)
    }

    /// From how many connections on it is unusual for a client, and whether that is known.
    fn threshold(&self, view: &View<'_>, server: IpAddr, client: IpAddr) -> (u64, bool) {
        let least = self.config.min_connections_30s;
        match view.baselines.host(&client).map(|host| host.new_flows) {
            Some(usual) => {
                let most = (usual.level + DEVIATIONS * usual.deviation) * SECONDS as f64;
                (least.max(most as u64), true)
            }
            None => (least, view.baselines.host(&server).is_some()),
        }
    }

    /// What a service's clients do that each are conspicuous.
    fn judge_clients(
        &self,
        view: &View<'_>,
        server: IpAddr,
        port: u16,
        clients: &[(IpAddr, &Load)],
    ) -> Option<Finding> {
        let mut floods: Vec<(u64, IpAddr, u64, bool, &Load)> = Vec::new();
        for (client, load) in clients {
            let (least, is_known) = self.threshold(view, server, *client);
            let tried = load.tried.sum(view.end(), SECONDS);
            view.state(&DECLARATION, *client, ("new_connections", "connections"), [tried as f64, least as f64]);
            if let Some(tried) = self.is_one_page(view, load, least) {
                floods.push((tried, *client, least, is_known, load));
            }
        }
        floods.sort_unstable_by_key(|(tried, client, ..)| (std::cmp::Reverse(*tried), *client));
        let (_, first, least, _, load) = *floods.first()?;
        let tried: u64 = floods.iter().map(|(tried, ..)| tried).sum();
        let is_known = floods.iter().any(|(.., is_known, _)| *is_known);
        let (source, from) = match floods.len() {
            1 => (first.into(), first.to_string()),
            count => (Party::Many, format!("{count} clients")),
        };
        let contributors = floods
            .iter()
            .take(MAX_NAMED)
            .map(|(tried, client, ..)| Contributor { what: client.to_string(), amount: *tried as f64 });
        let mut finding = self.finding(view, server, port, (tried, least), &from, load);
        finding.source = source;
        finding.contributors = contributors.collect();
        if !is_known {
            finding.score = finding.score.min(UNKNOWN);
        }
        Some(finding)
    }

    /// What all clients of a service do together that usually gets far less.
    fn judge_all(&self, view: &View<'_>, server: IpAddr, port: u16, load: &Load) -> Option<Finding> {
        let least = self.config.min_connections_30s_many;
        let near = [load.tried.sum(view.end(), SECONDS) as f64, least as f64];
        view.state(&DECLARATION, server, ("new_connections", "connections"), near);
        let tried = self.is_one_page(view, load, least)?;
        let usual = view.baselines.host(&server)?.bytes_received;
        let gets = view.snapshot.hosts.get(&server)?.received.bytes as f64 / view.snapshot.rate_seconds();
        if gets < (TIMES_USUAL * usual.level).max(usual.level + DEVIATIONS * usual.deviation) {
            return None;
        }
        let mut finding = self.finding(view, server, port, (tried, least), "many clients", load);
        finding.source = Party::Many;
        finding.contributors = load.shares.contributors(tried);
        Some(finding)
    }

    fn finding(
        &self,
        view: &View<'_>,
        server: IpAddr,
        port: u16,
        (tried, least): (u64, u64),
        from: &str,
        load: &Load,
    ) -> Finding {
        let measure = Measure {
            name: "new_connections",
            unit: "connections",
            observed: tried as f64,
            expected: None,
            threshold: least as f64,
        };
        let (share, request) = (load.answers.same_share(), load.answers.mean_request());
        let summary = format!(
            "{server} port {port} got {tried} new connections within {SECONDS} s from {from}, with {request} bytes asked on each on average; {:.0} % of the answers have the same one or two lengths; by that, a flood, a load test and guessing of passwords look alike",
            share * 100.0
        );
        let mut finding = view.finding(&DECLARATION, AlertKind::HttpFlood, measure, summary);
        finding.destination = server.into();
        finding.port = Some(port);
        finding.facts = vec![
            ("connection_rate", format!("{:.1}", tried as f64 / SECONDS as f64)),
            ("same_answer_share", format!("{share:.3}")),
            ("mean_request_bytes", request.to_string()),
            ("looks_like", "flood, load test, guessing of passwords".to_owned()),
            ("answered", load.answered.sum(view.end(), SECONDS).to_string()),
        ];
        finding
    }
}

/// Clients that a finding names.
const MAX_NAMED: usize = 10;

/// Whether a connection ended in the window.
fn has_ended(seen: &FlowObservation) -> bool {
    let (own, back) = (&seen.flow.originator.tcp, &seen.flow.responder.tcp);
    let is_over = own.rst + back.rst > 0 || (own.fin > 0 && back.fin > 0);
    is_over && seen.tcp.iter().any(|side| side.fin + side.rst > 0)
}

/// Client, server and its port: flows come in this order.
const fn pair(seen: &FlowObservation) -> (IpAddr, IpAddr, u16) {
    let flow = &seen.flow;
    (flow.originator.address, flow.responder.address, flow.responder.port)
}

impl Detector for HttpFlood {
    fn declaration(&self) -> &'static Declaration {
        &DECLARATION
    }

    fn take(&mut self, run: &Run<'_>, _: &[Try]) {
        let least = MIN_RATE * run.seconds();
        for of_pair in run.flows.chunk_by(|a, b| pair(a) == pair(b)) {
            let (client, server, port) = pair(&of_pair[0]);
            if !self.config.ports.contains(&port) {
                continue;
            }
            let mut met = Met::default();
            for seen in of_pair.iter().filter(|seen| seen.flow.proto == proto::TCP) {
                let came_to_something = !is_futile(seen);
                met.tried += u64::from(seen.is_attempt());
                met.answered += u64::from(seen.is_attempt() && came_to_something);
                if came_to_something && has_ended(seen) {
                    let [own, back] =
                        [&seen.flow.originator, &seen.flow.responder].map(|side| side.payload_bytes.unwrap_or(0));
                    met.answers.add(own, back);
                }
            }
            if met.tried + met.answers.total == 0 {
                continue;
            }
            let all = self.met.entry((server, port, None)).or_default();
            all.tried += met.tried;
            all.answered += met.answered;
            all.answers.merge(&met.answers);
            all.shares.add(client, met.tried);
            if (met.tried + met.answers.total) as f64 >= least {
                self.met.insert((server, port, Some(client)), met);
            }
        }
    }

    fn inspect(&mut self, view: &View<'_>, out: &mut Vec<Finding>) {
        let counted = view.counted();
        self.recent.advance(view.end());
        let mut met: Vec<(Key, Met)> = std::mem::take(&mut self.met).into_iter().collect();
        let least = MIN_RATE * view.snapshot.seconds();
        met.retain(|(_, met)| (met.tried + met.answers.total) as f64 >= least);
        if view.snapshot.visibility.tcp.is_one_sided() {
            return;
        }
        met.sort_unstable_by_key(|(key, _)| *key);
        for (key, met) in &met {
            let load = self.recent.meet(*key);
            load.tried.add(counted, met.tried);
            load.answered.add(counted, met.answered);
            load.ended.add(counted, met.answers.total);
            load.answers.merge(&met.answers);
            load.shares.merge(&met.shares);
        }
        let known: Map<Key, &Load> = self.recent.iter().map(|(key, load)| (*key, load)).collect();
        for of_service in met.chunk_by(|(a, _), (b, _)| (a.0, a.1) == (b.0, b.1)) {
            let (server, port, _) = of_service[0].0;
            let loads = of_service.iter().filter_map(|(key, _)| Some((key.2, *known.get(key)?)));
            let clients: Vec<_> = loads.filter_map(|(client, load)| Some((client?, load))).collect();
            let all = || known.get(&(server, port, None)).and_then(|load| self.judge_all(view, server, port, load));
            out.extend(self.judge_clients(view, server, port, &clients).or_else(all));
        }
    }

    fn evicted(&self) -> u64 {
        self.recent.evicted()
    }
}

#[cfg(test)]
#[path = "http_flood_tests.rs"]
mod tests;

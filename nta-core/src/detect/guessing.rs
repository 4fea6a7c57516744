//! Log-ins that fail, one connection after another: what `ssh_brute_force` and `brute_force` have in common.
//!
//! A log-in is known by the service that the first bytes name, whatever the port. Where they name none (short snapshots, a
//! stream whose beginning was not seen) the port has to do, and the finding says so. Each detector says which of its log-ins look
//! like a guess; here they are counted by client and server over five minutes, and over all clients of a server, so that guesses
//! that many share among them show as well.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::View;
use super::declaration::Declaration;
use super::recent::{Recent, Weigh};
use crate::domain::{AlertKind, Contributor, Finding, FlowId, FlowRecord, Measure, Party, Service, Timestamp};

/// Over which time log-ins are counted, in seconds.
pub(super) const SECONDS: u64 = 300;
const NANOS: u64 = 1_000_000_000;
/// Pairs of client and server that are remembered.
const MAX_PAIRS: usize = 8_192;
/// Connections of a pair that are remembered, the latest.
const MAX_CONNECTIONS: usize = 256;
/// Clients that a finding about many names.
const MAX_NAMED: usize = 10;

/// From how many on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Log-ins of one client.
    pub(super) of_one: u64,
    /// Log-ins of all clients together.
    pub(super) of_many: u64,
    /// Clients.
    pub(super) clients: u64,
    /// Share of the log-ins that look like a guess, 0 to 1.
    pub(super) share: f64,
}

/// What a detector makes of a connection that went as far as a log-in.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogIn {
    pub(super) service: Service,
    /// Whether the bytes name the service, and not the port alone.
    pub(super) by_bytes: bool,
    /// Whether it looks like one that failed.
    pub(super) is_guess: bool,
}

/// Server, port, service, client: the clients of a server lie together.
type Pair = (IpAddr, u16, Service, IpAddr);

/// The log-ins of the last five minutes.
#[derive(Debug)]
pub(super) struct Guesses {
    pairs: Recent<Pair, Vec<Connection>>,
    /// Those of the window.
    met: BTreeSet<Pair>,
    dropped: u64,
}

#[derive(Clone, Copy, Debug)]
struct Connection {
    id: FlowId,
    first: Timestamp,
    bytes: u64,
    log_in: LogIn,
}

impl Connection {
    fn is_recent(&self, end: Timestamp) -> bool {
        end.since(self.first) < SECONDS * NANOS
    }
}

impl Weigh for Vec<Connection> {
    fn weight(&self) -> u64 {
        self.len() as u64
    }
}

/// What is counted of one client, or of all clients of a server.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    log_ins: u64,
    guesses: u64,
    by_bytes: u64,
    first: Option<Timestamp>,
}

impl Sum {
    /// Those of the last five minutes before `end`.
    fn of(connections: &[Connection], end: Timestamp) -> Self {
        let mut sum = Self::default();
        for connection in connections.iter().filter(|connection| connection.is_recent(end)) {
            sum.log_ins += 1;
            sum.guesses += u64::from(connection.log_in.is_guess);
            sum.by_bytes += u64::from(connection.log_in.by_bytes);
            sum.first = Some(sum.first.map_or(connection.first, |first| first.min(connection.first)));
        }
        sum
    }

    fn add(&mut self, other: &Self) {
        self.log_ins += other.log_ins;
        self.guesses += other.guesses;
        self.by_bytes += other.by_bytes;
        self.first = self.first.into_iter().chain(other.first).min();
    }

    fn share(&self) -> f64 {
        self.guesses as f64 / self.log_ins.max(1) as f64
    }
}

/// A server, its port, and what it speaks.
type Server = (IpAddr, u16, Service);
/// A client of it, and what it did.
type Client = (IpAddr, Sum);

/// What a finding is about.
struct Found<'a> {
    by: &'a Declaration,
    kind: AlertKind,
    server: IpAddr,
    port: u16,
    service: Service,
    sum: Sum,
    threshold: u64,
    median: u64,
}

impl Guesses {
    pub(super) fn new() -> Self {
        Self { pairs: Recent::new(MAX_PAIRS, SECONDS), met: BTreeSet::new(), dropped: 0 }
    }

    /// A window that ends then comes next.
    pub(super) fn advance(&mut self, end: Timestamp) {
        self.pairs.advance(end);
    }

    /// Takes a connection's state so far.
    pub(super) fn take(&mut self, flow: &FlowRecord, log_in: LogIn) {
        let (client, server) = (flow.originator.address, flow.responder.address);
        let pair = (server, flow.responder.port, log_in.service, client);
        let bytes = flow.originator.sent.bytes + flow.responder.sent.bytes;
        let now = Connection { id: flow.id, first: flow.first, bytes, log_in };
        self.dropped += u64::from(update(self.pairs.meet(pair), now));
        self.met.insert(pair);
    }

    /// Judges who was met in the window.
    pub(super) fn inspect(
        &mut self,
        view: &View<'_>,
        (by, kind): (&Declaration, AlertKind),
        limits: &Limits,
        out: &mut Vec<Finding>,
    ) {
        let end = view.end();
        self.pairs.advance(end);
        let mut servers = BTreeSet::new();
        for pair in std::mem::take(&mut self.met) {
            let connections = self.pairs.meet(pair);
            connections.retain(|connection| connection.is_recent(end));
            let (server, port, service, client) = pair;
            servers.insert((server, port, service));
            let sum = Sum::of(connections, end);
            view.state(by, client, ("log_ins", "connections"), [sum.log_ins as f64, limits.of_one as f64]);
            if sum.log_ins < limits.of_one || sum.share() < limits.share {
                continue;
            }
            let median = median(connections.iter().map(|connection| connection.bytes).collect());
            let found = Found { by, kind, server, port, service, sum, threshold: limits.of_one, median };
            out.push(found.of_one(view, client));
        }
        if !servers.is_empty() {
            self.inspect_many(view, (by, kind), limits, &servers, out);
        }
    }

    /// Judges the clients of a server together, but for those that are reported by themselves.
    fn inspect_many(
        &self,
        view: &View<'_>,
        (by, kind): (&Declaration, AlertKind),
        limits: &Limits,
        met: &BTreeSet<Server>,
        out: &mut Vec<Finding>,
    ) {
        let end = view.end();
        let mut servers: BTreeMap<Server, Vec<Client>> = BTreeMap::new();
        for ((server, port, service, client), connections) in self.pairs.iter() {
            let of = (*server, *port, *service);
            if !met.contains(&of) {
                continue;
            }
            let sum = Sum::of(connections, end);
            let is_reported = sum.log_ins >= limits.of_one && sum.share() >= limits.share;
            if sum.log_ins > 0 && !is_reported {
                servers.entry(of).or_default().push((*client, sum));
            }
        }
        for ((server, port, service), mut clients) in servers {
            let mut all = Sum::default();
            clients.iter().for_each(|(_, sum)| all.add(sum));
            let guessing = clients.iter().filter(|(_, sum)| sum.guesses > 0).count() as u64;
            view.state(by, server, ("log_ins", "connections"), [all.log_ins as f64, limits.of_many as f64]);
            if all.log_ins < limits.of_many || guessing < limits.clients || all.share() < limits.share {
                continue;
            }
            clients.sort_unstable_by(|a, b| b.1.guesses.cmp(&a.1.guesses).then_with(|| a.0.cmp(&b.0)));
            let median = self.median_of(server, port, service, clients[clients.len() / 2].0, end);
            let found = Found { by, kind, server, port, service, sum: all, threshold: limits.of_many, median };
            out.push(found.of_many(view, guessing, &clients));
        }
    }

    /// Bytes of a client's log-in in the middle.
    fn median_of(&self, server: IpAddr, port: u16, service: Service, client: IpAddr, end: Timestamp) -> u64 {
        let pair = (server, port, service, client);
        let of_pair = self.pairs.iter().find(|(known, _)| **known == pair);
        let recent = of_pair.into_iter().flat_map(|(_, all)| all).filter(|connection| connection.is_recent(end));
        median(recent.map(|connection| connection.bytes).collect())
    }

    /// What had to go because there was no room.
    pub(super) fn evicted(&self) -> u64 {
        self.pairs.evicted() + self.dropped
    }
}

impl Found<'_> {
    fn of_one(&self, view: &View<'_>, client: IpAddr) -> Finding {
        let Self { sum, service, server, port, median, .. } = self;
        let summary = format!(
            "{client} opened {} connections to {} at {server} port {port} within {SECONDS} s, {} of them like a log-in that failed (median {median} bytes){}",
            sum.log_ins,
            spoken(*service),
            sum.guesses,
            self.basis(),
        );
        let mut finding = self.finding(view, summary);
        finding.source = client.into();
        finding
    }

    fn of_many(&self, view: &View<'_>, guessing: u64, clients: &[Client]) -> Finding {
        let Self { sum, service, server, port, .. } = self;
        let summary = format!(
            "{guessing} clients opened {} connections to {} at {server} port {port} within {SECONDS} s, {} of them like a log-in that failed, none of the clients enough to be reported by itself{}",
            sum.log_ins,
            spoken(*service),
            sum.guesses,
            self.basis(),
        );
        let mut finding = self.finding(view, summary);
        finding.source = Party::Many;
        finding.facts.push(("clients", guessing.to_string()));
        let named = clients.iter().take(MAX_NAMED);
        finding.contributors =
            named.map(|(client, sum)| Contributor { what: client.to_string(), amount: sum.log_ins as f64 }).collect();
        finding
    }

    /// What is said where the port alone names the service.
    fn basis(&self) -> String {
        let Self { sum, service, .. } = self;
        if sum.by_bytes > 0 {
            String::new()
        } else {
            format!("; that it is {} is known by the port alone", spoken(*service))
        }
    }

    fn finding(&self, view: &View<'_>, summary: String) -> Finding {
        let Self { sum, service, .. } = self;
        let measure = Measure {
            name: "log_ins",
            unit: "connections",
            observed: sum.log_ins as f64,
            expected: None,
            threshold: self.threshold as f64,
        };
        let mut finding = view.finding(self.by, self.kind, measure, summary);
        finding.destination = self.server.into();
        finding.port = Some(self.port);
        finding.seen = sum.first.map(|first| [first, view.end()]);
        finding.facts = vec![
            ("service", service.name().to_owned()),
            ("service_by", if sum.by_bytes > 0 { "bytes" } else { "port" }.to_owned()),
            ("small_share", format!("{:.3}", sum.share())),
            ("median_bytes", self.median.to_string()),
        ];
        finding
    }
}

/// Takes a connection's state so far; answers whether the oldest had to give way.
fn update(connections: &mut Vec<Connection>, now: Connection) -> bool {
    if let Some(known) = connections.iter_mut().find(|connection| connection.id == now.id) {
        *known = now;
        return false;
    }
    let full = connections.len() >= MAX_CONNECTIONS;
    if full && let Some(oldest) = (0..connections.len()).min_by_key(|i| (connections[*i].first, connections[*i].id)) {
        connections.swap_remove(oldest);
    }
    connections.push(now);
    full
}

/// The size in the middle.
fn median(mut sizes: Vec<u64>) -> u64 {
    sizes.sort_unstable();
    sizes.get(sizes.len() / 2).copied().unwrap_or_default()
}

/// Whether the server was the first to end the connection.
pub(super) fn server_ended(flow: &FlowRecord) -> bool {
    let history = flow.history.as_str();
    let first = |letters: [char; 2]| history.find(letters);
    match (first(['f', 'r']), first(['F', 'R'])) {
        (Some(server), Some(client)) => server < client,
        (server, None) => server.is_some(),
        (None, Some(_)) => false,
    }
}

/// The service as people call it.
const fn spoken(service: Service) -> &'static str {
    match service {
        Service::Ssh => "SSH",
        Service::Ftp => "FTP",
        Service::Rdp => "RDP",
        Service::Smb => "SMB",
        Service::Telnet => "telnet",
        Service::Mysql => "MySQL",
        Service::Postgresql => "PostgreSQL",
        Service::Mssql => "Microsoft SQL Server",
        Service::Rfb => "VNC",
        other => other.name(),
    }
}

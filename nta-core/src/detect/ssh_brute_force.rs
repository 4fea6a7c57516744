//! SSH brute force: one source opens connection after connection at an SSH server, and none of them goes anywhere.
//!
//! A server closes the connection after a few failed passwords (OpenSSH: `MaxAuthTries` 6), so that guessing shows as
//! many connections that carry the key exchange, a few hundred bytes of guesses, and end: 5 to 9 kB with OpenSSH and
//! libssh. Zeek's `detect-bruteforcing.zeek` counts failed logins by their size likewise (30 in 30 minutes). A person
//! logs in a few times and then stays; scp, rsync and git carry data. Beginnings that were not captured do not matter.
//!
//! Known false alarms: scripts that run short commands over a new connection each, ten in five minutes. Evasion: fewer
//! connections than that, many sources, another port (see `ports`).

use std::collections::BTreeSet;
use std::net::IpAddr;

use nta_common::packet::proto;

use super::declaration::{Basis, Cost, Declaration, FlowUse, Rates, Scope};
use super::recent::{Recent, Weigh};
use super::{Detector, Try, View};
use crate::domain::{AlertKind, Finding, FlowId, FlowObservation, Measure, Timestamp};
use crate::tunables::{Bounds, tunables};
use crate::window::{Run, Span};

tunables! {
    /// SSH brute force.
    SshBruteForceConfig in "detect.ssh_brute_force" {
        /// Connections of one source to one server within 300 s. A person logs in a few times; sshguard blocks after 3,
        /// fail2ban after 5 failed passwords in 10 minutes, and a connection takes up to 6 of them.
        min_connections: u64 = 10 => Bounds::COUNT,
        /// Bytes both ways up to which a connection did no more than key exchange and guesses: those take 5 to 9 kB, an
        /// interactive session or a file soon more.
        max_bytes: u64 = 16_000 => Bounds::BYTES,
        /// Share of the connections that must be as small as that, 0 to 1.
        min_small_share: f64 = 0.8 => Bounds::SHARE,
        /// Ports at which SSH servers listen.
        ports: Vec<u16> = vec![22, 2222],
    }
}

pub(super) const DECLARATION: Declaration = Declaration {
    name: "ssh_brute_force",
    spans: &[Span::Base],
    basis: Basis::Rule,
    scope: Scope::Hosts,
    flows: FlowUse::Shared,
    cost: Cost::Short,
    rates: Rates::Unused,
};

/// Pairs of source and server that are remembered.
const MAX_PAIRS: usize = 8_192;
/// Connections of a pair that are remembered, the latest.
const MAX_CONNECTIONS: usize = 256;
/// Bytes of the line with which a client begins (RFC 4253, 4.2). One that sends no more looks whether the server is
/// there, as monitoring does, and guesses nothing.
const MAX_IDENTIFICATION: u64 = 255;
/// Over which time connections are counted, in seconds.
const SECONDS: u64 = 300;

type Pair = (IpAddr, IpAddr, u16);

/// Finds guessing over the last five minutes.
#[derive(Debug)]
pub(super) struct SshBruteForce {
    config: SshBruteForceConfig,
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
    /// Whether the server spoke, and the client beyond its name.
    talked: bool,
}

impl Weigh for Vec<Connection> {
    fn weight(&self) -> u64 {
        self.len() as u64
    }
}

impl SshBruteForce {
    pub(super) fn new(config: SshBruteForceConfig) -> Self {
        Self { config, pairs: Recent::new(MAX_PAIRS, SECONDS), met: BTreeSet::new(), dropped: 0 }
    }

    fn judge(&self, view: &View<'_>, (client, server, port): Pair, connections: &[Connection]) -> Option<Finding> {
        let talked: Vec<&Connection> = connections.iter().filter(|connection| connection.talked).collect();
        let small = talked.iter().filter(|connection| connection.bytes <= self.config.max_bytes).count();
        let (count, share) = (talked.len() as u64, small as f64 / talked.len().max(1) as f64);
        if count < self.config.min_connections || share < self.config.min_small_share {
            return None;
        }
        let mut sizes: Vec<u64> = talked.iter().map(|connection| connection.bytes).collect();
        sizes.sort_unstable();
        let median = sizes[sizes.len() / 2];
        let measure = Measure {
            name: "ssh_connections",
            unit: "connections",
            observed: count as f64,
            expected: None,
            threshold: self.config.min_connections as f64,
        };
        let summary = format!(
            "{client} opened {count} connections to the SSH server {server} port {port} within {SECONDS} s, {small} of them of at most {} bytes (median {median})",
            self.config.max_bytes
        );
        let mut finding = view.finding(&DECLARATION, AlertKind::SshBruteForce, measure, summary);
        finding.source = client.into();
        finding.destination = server.into();
        finding.port = Some(port);
        finding.seen = talked.iter().map(|connection| connection.first).min().map(|first| [first, view.end()]);
        finding.facts = vec![("small_share", format!("{share:.3}")), ("median_bytes", median.to_string())];
        Some(finding)
    }
}

/// Takes a connection's state so far; answers whether the oldest had to give way.
fn update(connections: &mut Vec<Connection>, seen: &FlowObservation) -> bool {
    let flow = &seen.flow;
    let bytes = flow.originator.sent.bytes + flow.responder.sent.bytes;
    let talked = flow.responder.payload_bytes.unwrap_or(0) > 0
        && flow.originator.payload_bytes.is_none_or(|bytes| bytes > MAX_IDENTIFICATION);
    let now = Connection { id: flow.id, first: flow.first, bytes, talked };
    if let Some(known) = connections.iter_mut().find(|connection| connection.id == flow.id) {
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

impl Detector for SshBruteForce {
    fn declaration(&self) -> &'static Declaration {
        &DECLARATION
    }

    fn take(&mut self, run: &Run<'_>, _: &[Try]) {
        self.pairs.advance(run.end);
        for seen in run.flows.iter().filter(|seen| seen.flow.proto == proto::TCP) {
            let flow = &seen.flow;
            if self.config.ports.contains(&flow.responder.port) {
                let pair = (flow.originator.address, flow.responder.address, flow.responder.port);
                self.dropped += u64::from(update(self.pairs.meet(pair), seen));
                self.met.insert(pair);
            }
        }
    }

    fn inspect(&mut self, view: &View<'_>, out: &mut Vec<Finding>) {
        let end = view.end();
        self.pairs.advance(end);
        for pair in std::mem::take(&mut self.met) {
            let connections = self.pairs.meet(pair);
            connections.retain(|connection| end.since(connection.first) < SECONDS * 1_000_000_000);
            let connections = std::mem::take(connections);
            out.extend(self.judge(view, pair, &connections));
            *self.pairs.meet(pair) = connections;
        }
    }

    fn evicted(&self) -> u64 {
        self.pairs.evicted() + self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Flow, host, row};
    use super::{SshBruteForce, SshBruteForceConfig};
    use crate::domain::{Finding, Party};

    fn judge(count: u64, flows: impl Fn(u64) -> Vec<Flow>) -> Vec<Finding> {
        row(&mut SshBruteForce::new(SshBruteForceConfig::default()), count, flows)
    }

    fn login(port: u64, bytes: u64) -> Flow {
        Flow::tcp(1, 40_000 + port as u16, 2, 22)
            .history("ShADadFf")
            .sent(20, bytes / 40)
            .answered(20, bytes / 40)
            .payload(900, 1_500)
    }

    #[test]
    fn a_small_connection_every_five_seconds_is_guessing() {
        let found = judge(12, |i| vec![login(i, 6_000)]);
        assert_eq!(
            (found.len(), found[0].source, found[0].destination),
            (3, Party::Host(host(1)), Party::Host(host(2)))
        );
        assert_eq!(found[0].measure.observed as u64, 10);
    }

    #[test]
    fn connections_that_began_before_the_capture_count() {
        assert_eq!(
            judge(2, |_| (0..6).map(|n| login(n, 6_000).history("DdDd").payload(900, 1_500)).collect()).len(),
            0
        );
        assert_eq!(
            judge(2, |i| (0..6).map(|n| login(6 * i + n, 6_000).history("DdDd").payload(900, 1_500)).collect()).len(),
            1
        );
    }

    #[test]
    fn people_files_and_scans_are_none() {
        assert!(judge(60, |i| if i % 8 == 0 { vec![login(i, 6_000)] } else { vec![] }).is_empty(), "eight logins");
        assert!(judge(40, |i| vec![login(i, 500_000)]).is_empty(), "files");
        assert!(judge(40, |i| vec![Flow::tcp(1, 40_000 + i as u16, 2, 22).history("Sr")]).is_empty(), "refused");
        assert!(judge(40, |i| vec![login(i, 700).payload(0, 40)]).is_empty(), "monitoring");
        assert!(
            judge(1, |_| (10..200).map(|to| Flow::tcp(1, 40_000, to, 22).history("ShADad").payload(20, 40)).collect())
                .is_empty()
        );
    }
}

//! Slowloris: one client holds many connections to a server open and sends next to nothing on them, so that the server
//! waits and has no room for others.
//!
//! A request is sent whole within a second and answered within a few (RFC 9112; Apache's `RequestReadTimeout` gives a
//! header 20 s). A connection counts as held when it is open for ten seconds and either the client has sent a little
//! and the server nothing at all, or the client has since sent drops of a few bytes, one time after another, without a
//! word of the server: a header line or a byte of a body now and then; or when the client keeps its receive window shut
//! (slow read). Connections opened before the capture count when
//! they show drops, one after another: one short segment says nothing about what came before it. Keep-alive connections of browsers, idle pools and long polling carry a whole request or an answer,
//! and a browser opens at most 6 to a server.
//!
//! Only what speaks HTTP is looked at, or TLS, which may hide it: by the first bytes, at any port; where they name nothing, at the
//! ports of web servers.
//!
//! Known false alarms: clients of a server that hangs; many devices behind one address that report without an answer.
//! Evasion: fewer connections, many sources, reading slowly without ever closing the window.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Range;

use nta_common::packet::proto;

use super::attempt::is_futile;
use super::declaration::{Basis, Cost, Declaration, FlowUse, Rates, Scope};
use super::recent::{Recent, Weigh};
use super::{Detector, Try, View};
use crate::domain::{
    AlertKind, ConnState, Finding, FlowId, FlowObservation, FlowRecord, LEAST_SHARE, Measure, Service, Timestamp,
};
use crate::tunables::{Bounds, tunables};
use crate::window::{Run, Span};

tunables! {
    /// Slowloris and slow POST.
    SlowlorisConfig in "detect.slowloris" {
        /// Connections of one client to one service that are held open at once. slowhttptest opens 50 unless asked
        /// otherwise, slowloris.pl 1000; a browser has 6.
        min_connections: u64 = 30 => Bounds::COUNT,
        /// How long a connection must have been open, in seconds.
        min_age_s: u64 = 10 => Bounds::SECONDS,
        /// Payload bytes that the client may have sent up to now: an incomplete header. Most servers take 8 kB.
        max_client_bytes: u64 = 4_000 => Bounds::BYTES,
        /// Payload bytes that still are a drop.
        max_drop_bytes: u64 = 100 => Bounds::BYTES,
        /// Ports at which web servers listen, for connections whose first bytes do not name the service.
        web_ports: Vec<u16> = vec![80, 81, 443, 3_000, 5_000, 8_000, 8_008, 8_080, 8_081, 8_088, 8_443, 8_888, 9_000],
        /// Ports of protocols whose clients keep a connection and report on it in short messages, which nobody has to answer: SSH,
        /// mail, Modbus, MQTT, IEC 60870-5-104, OPC UA, XMPP, AMQP, IRC, DNP3.
        allowed_ports: Vec<u16> = vec![
            22, 143, 502, 993, 1883, 2404, 4840, 5222, 5269, 5671, 5672, 6667, 6697, 8883, 20_000,
        ],
    }
}

pub(super) const DECLARATION: Declaration = Declaration {
    name: "slowloris",
    spans: &[Span::Base],
    basis: Basis::Rule,
    scope: Scope::Hosts,
    flows: FlowUse::Shared,
    cost: Cost::Long(1),
    rates: Rates::Unused,
};

/// Pairs of client and service that are remembered.
const MAX_PAIRS: usize = 4_096;
/// Connections of a pair that are remembered; further ones are counted and left out.
const MAX_CONNECTIONS: usize = 2_048;
/// A connection of which nothing was seen for so many seconds is over: Zeek's `tcp_inactivity_timeout`.
const FORGET_S: u64 = 300;
/// Drops without a word of the server that make a connection a held one.
const MIN_DROPS: u32 = 2;
/// Times that a client's window was shut, from which on it reads slowly on purpose: a busy one shuts it now and then, on
/// few connections.
const MIN_ZERO_WINDOWS: u32 = 2;
const NANOS: u64 = 1_000_000_000;

type Pair = (IpAddr, IpAddr, u16);
type Connections = HashMap<FlowId, Connection, foldhash::fast::RandomState>;

/// Finds held connections.
#[derive(Debug)]
pub(super) struct Slowloris {
    config: SlowlorisConfig,
    pairs: Recent<Pair, Connections>,
    /// Pairs of the window that are not known yet: open connections, and all its flows.
    fresh: Vec<(usize, Pair, Range<usize>)>,
    refused: u64,
}

#[derive(Clone, Copy, Debug)]
struct Connection {
    first: Timestamp,
    seen: Timestamp,
    /// Whether its beginning was seen.
    whole: bool,
    client_bytes: u64,
    server_bytes: u64,
    drops: u32,
    /// How often the client said that it can take no more.
    zero_windows: u32,
}

impl Weigh for Connections {
    fn weight(&self) -> u64 {
        self.len() as u64
    }
}

impl Slowloris {
    pub(super) fn new(config: SlowlorisConfig) -> Self {
        Self { config, pairs: Recent::new(MAX_PAIRS, FORGET_S), fresh: Vec::new(), refused: 0 }
    }

    /// Takes what a connection did into its pair's; answers whether there was no room for it.
    fn add(config: &SlowlorisConfig, connections: &mut Connections, seen: &FlowObservation) -> bool {
        let flow = &seen.flow;
        if !is_open(seen) || !may_speak_http(config, flow) {
            connections.remove(&flow.id);
            return false;
        }
        let [client_bytes, server_bytes] =
            [&flow.originator, &flow.responder].map(|side| side.payload_bytes.unwrap_or(0));
        let fresh = Connection {
            first: flow.first,
            seen: flow.last,
            whole: flow.originator.tcp.syn > 0,
            client_bytes,
            server_bytes,
            drops: 0,
            zero_windows: flow.originator.tcp.zero_windows,
        };
        if connections.len() >= MAX_CONNECTIONS {
            forget(connections, flow.last);
        }
        let full = connections.len() >= MAX_CONNECTIONS;
        match connections.get_mut(&flow.id) {
            Some(known) => {
                let sent = client_bytes.saturating_sub(known.client_bytes);
                let is_drop = sent > 0 && sent <= config.max_drop_bytes;
                let spoke = server_bytes > known.server_bytes || sent > config.max_drop_bytes;
                let drops = if spoke { 0 } else { known.drops + u32::from(is_drop) };
                *known = Connection { drops, ..fresh };
            }
            None if !full => {
                // One byte is what a keep-alive probe carries.
                let is_drop = !fresh.whole && client_bytes > 1 && client_bytes <= config.max_drop_bytes;
                connections.insert(flow.id, Connection { drops: u32::from(is_drop && server_bytes == 0), ..fresh });
            }
            None => return true,
        }
        false
    }

    fn is_held(&self, connection: &Connection, end: Timestamp) -> bool {
        let aged = end.since(connection.first) >= self.config.min_age_s * NANOS;
        let mute = connection.server_bytes == 0 && connection.client_bytes <= self.config.max_client_bytes;
        let dropping = connection.drops >= MIN_DROPS;
        let shut = connection.zero_windows >= MIN_ZERO_WINDOWS;
        aged && ((mute && connection.whole) || dropping || shut)
    }

    fn judge(&self, view: &View<'_>, (client, server, port): Pair, connections: &Connections) -> Option<Finding> {
        let end = view.end();
        let held: Vec<&Connection> = connections.values().filter(|c| self.is_held(c, end)).collect();
        let count = held.len() as u64;
        let near = [count as f64, self.config.min_connections as f64];
        view.state(&DECLARATION, client, ("held_connections", "connections"), near);
        if count < self.config.min_connections {
            return None;
        }
        let sent: u64 = held.iter().map(|connection| connection.client_bytes).sum();
        let longest = held.iter().map(|connection| end.since(connection.first)).max().unwrap_or(0) / NANOS;
        let answered = held.iter().filter(|connection| connection.server_bytes > 0).count();
        let measure = Measure {
            name: "held_connections",
            unit: "connections",
            observed: count as f64,
            expected: None,
            threshold: self.config.min_connections as f64,
        };
        let summary = format!(
            "{client} holds {count} connections to {server} port {port} open, for up to {longest} s, on which it has sent {} bytes each on average and the server waits",
            sent / count
        );
        let mut finding = view.finding(&DECLARATION, AlertKind::Slowloris, measure, summary);
        finding.source = client.into();
        finding.destination = server.into();
        finding.port = Some(port);
        finding.seen = held.iter().map(|connection| connection.first).min().map(|first| [first, end]);
        finding.facts = vec![
            ("open_connections", connections.len().to_string()),
            ("bytes_per_connection", (sent / count).to_string()),
            ("answered", answered.to_string()),
        ];
        Some(finding)
    }
}

/// Client, server and its port: flows come in this order.
const fn pair(seen: &FlowObservation) -> Pair {
    let flow = &seen.flow;
    (flow.originator.address, flow.responder.address, flow.responder.port)
}

/// Whether this may be a web server's connection: by the first bytes, else by the port.
pub(super) fn may_speak_http(config: &SlowlorisConfig, flow: &FlowRecord) -> bool {
    match flow.service {
        Some(service) => matches!(service, Service::Http | Service::Ssl),
        None => config.web_ports.contains(&flow.responder.port),
    }
}

/// Whether both sides may still send, and the handshake, if it was seen, was finished.
pub(super) fn is_open(seen: &FlowObservation) -> bool {
    let flow = &seen.flow;
    let unfinished = || flow.originator.tcp.syn > 0 && is_futile(seen);
    flow.ended.is_none()
        && matches!(flow.conn_state, ConnState::S1 | ConnState::Oth)
        && flow.originator.tcp.rst + flow.responder.tcp.rst + flow.originator.tcp.fin + flow.responder.tcp.fin == 0
        && !unfinished()
}

/// Forgets connections of which nothing was seen for long.
fn forget(connections: &mut Connections, now: Timestamp) {
    connections.retain(|_, connection| now.since(connection.seen) < FORGET_S * NANOS);
}

impl Detector for Slowloris {
    fn declaration(&self) -> &'static Declaration {
        &DECLARATION
    }

    fn take(&mut self, run: &Run<'_>, _: &[Try]) {
        self.pairs.advance(run.end);
        let Self { config, pairs, fresh, refused } = self;
        let mut next = run.first;
        for of_pair in run.flows.chunk_by(|a, b| pair(a) == pair(b)) {
            let numbers = next..next + of_pair.len();
            next = numbers.end;
            let mut tcp = of_pair.iter().filter(|seen| seen.flow.proto == proto::TCP).peekable();
            if tcp.peek().is_none_or(|seen| config.allowed_ports.contains(&seen.flow.responder.port)) {
                continue;
            }
            let pair = pair(&of_pair[0]);
            if let Some(known) = pairs.meet_known(&pair) {
                *refused += tcp.filter(|seen| Self::add(config, known, seen)).count() as u64;
            } else {
                let open = tcp.filter(|seen| may_speak_http(config, &seen.flow) && is_open(seen)).count();
                if open > 0 {
                    fresh.push((open, pair, numbers));
                }
            }
        }
    }

    fn inspect(&mut self, view: &View<'_>, out: &mut Vec<Finding>) {
        let end = view.end();
        self.pairs.advance(end);
        let Self { config, pairs, fresh, refused } = self;
        for (_, pair, numbers) in pairs.heaviest(std::mem::take(fresh)) {
            let Some(connections) = pairs.admit(pair) else { continue };
            let flows = numbers.filter_map(|number| view.snapshot.flows.get(number));
            let tcp = flows.filter(|seen| seen.flow.proto == proto::TCP);
            *refused += tcp.filter(|seen| Self::add(config, connections, seen)).count() as u64;
        }
        // Most pairs never have as many.
        let least = (self.config.min_connections as f64 * LEAST_SHARE) as usize;
        for (_, connections) in self.pairs.iter_mut().filter(|(_, connections)| connections.len() >= least) {
            forget(connections, end);
        }
        let many = self.pairs.iter().filter(|(_, connections)| connections.len() >= least);
        out.extend(many.filter_map(|(pair, connections)| self.judge(view, *pair, connections)));
    }

    fn evicted(&self) -> u64 {
        self.pairs.evicted() + self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Flow, host, row};
    use super::{Slowloris, SlowlorisConfig};
    use crate::domain::{ConnState, Finding, Party, Service};

    fn judge(count: u64, flows: impl Fn(u64) -> Vec<Flow>) -> Vec<Finding> {
        row(&mut Slowloris::new(SlowlorisConfig::default()), count, flows)
    }

    fn open(n: u16, state: ConnState, history: &str, own: u64, back: u64) -> Flow {
        Flow::tcp(1, 40_000 + n, 2, 80).history(history).state(state).payload(own, back)
    }

    #[test]
    fn incomplete_requests_are_reported_while_the_server_waits() {
        let found =
            judge(
                4,
                |i| if i == 0 { (0..50).map(|n| open(n, ConnState::S1, "ShADa", 230, 0)).collect() } else { vec![] },
            );
        assert_eq!((found.len(), found[0].source, found[0].port), (3, Party::Host(host(1)), Some(80)));
        assert_eq!(found[0].measure.observed as u64, 50);
    }

    #[test]
    fn drops_on_connections_opened_before_are_reported() {
        let drop = |n, i: u64| {
            if i == 0 {
                open(n, ConnState::Oth, "Da", 10, 0)
            } else {
                open(n, ConnState::Oth, "Da", 10 + 10 * i, 0).since(0)
            }
        };
        assert!(!judge(4, |i| (0..50).map(|n| drop(n, i)).collect()).is_empty());
    }

    /// Drops that nobody answers, of clients that poll: from the middle of a stream, or from its beginning.
    #[test]
    fn only_what_speaks_http_is_held() {
        let polls = |port, state: ConnState, history: &'static str, service: Option<Service>| {
            judge(6, move |i| {
                let poll = |n: u16| {
                    let flow = Flow::tcp(1, 40_000 + n, 2, port).history(history).state(state).payload(12 * (i + 1), 0);
                    let flow = if i == 0 { flow } else { flow.since(0) };
                    service.map_or(flow.clone(), |service| flow.service(service))
                };
                (0..60).map(poll).collect()
            })
        };
        let (middle, whole) = ((ConnState::Oth, "Da"), (ConnState::S1, "ShADa"));
        for (state, history) in [middle, whole] {
            assert!(polls(10_502, state, history, None).is_empty(), "what is at that port is not known");
            assert!(polls(80, state, history, Some(Service::Modbus)).is_empty(), "no HTTP at its port");
            assert!(!polls(10_502, state, history, Some(Service::Http)).is_empty(), "HTTP at any port");
            assert!(!polls(80, state, history, None).is_empty(), "by the port alone");
        }
    }

    #[test]
    fn one_short_segment_of_a_connection_from_before_says_nothing() {
        let report = |n, i: u64| (i == u64::from(n) / 10).then(|| open(n, ConnState::Oth, "Da", 60, 0));
        assert!(judge(12, |i| (0..60).filter_map(|n| report(n, i)).collect()).is_empty());
    }

    #[test]
    fn a_slow_body_after_a_handshake_of_tls_is_reported() {
        let slow = |n, i: u64| {
            if i == 0 {
                open(n, ConnState::S1, "ShADad", 900, 5_000)
            } else {
                open(n, ConnState::S1, "ShADad", 900 + 30 * i, 5_000).since(0)
            }
        };
        assert_eq!(judge(4, |i| (0..50).map(|n| slow(n, i)).collect()).len(), 2);
    }

    #[test]
    fn a_client_that_shuts_its_window_is_reported() {
        let found = judge(3, |i| {
            if i == 0 {
                (0..50).map(|n| open(n, ConnState::S1, "ShADad", 300, 4_000).zero_windows(3)).collect()
            } else {
                vec![]
            }
        });
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn what_is_answered_closed_or_idle_is_none() {
        let once =
            |flow: fn(u16) -> Flow| judge(20, move |i| if i == 0 { (0..200).map(flow).collect() } else { vec![] });
        assert!(once(|n| open(n, ConnState::S1, "ShADad", 500, 9_000)).is_empty(), "keep-alive");
        assert!(once(|n| open(n, ConnState::Sf, "ShADaFf", 500, 0)).is_empty(), "closed");
        assert!(once(|n| open(n, ConnState::Oth, "Aa", 1, 0)).is_empty(), "an idle pool's probes");
        assert!(once(|n| open(n, ConnState::S0, "S", 0, 0)).is_empty(), "a SYN flood");
        assert!(
            judge(20, |_| (0..6).map(|n| open(n, ConnState::S1, "ShADa", 500, 0)).collect()).is_empty(),
            "a browser"
        );
    }
}

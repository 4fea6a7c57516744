//! Whom the hosts that a model judges talked with: a model sees a host's sums, an alert needs the other party. Kept over the longest
//! window, for the hosts that are judged and their main counterparts, as flows are there in base windows only.

use std::collections::VecDeque;
use std::net::IpAddr;

use nta_common::packet::proto;

use super::recent::Map;
use super::slowloris::{SlowlorisConfig, is_open, may_speak_http};
use super::ssh_brute_force::{SshBruteForceConfig, log_in};
use super::{Try, View, attempt};
use crate::domain::{AlertKind, FlowObservation, FlowRecord, Service, Timestamp, both};
use crate::model::AttackRole;
use crate::window::Span;

/// Base windows that are remembered: as many as the longest window has.
const WINDOWS: usize = Span::Long.factor() as usize;
/// Counterparts of a host that are counted in a window; the packets of others are in its total.
const MAX_PEERS: usize = 4_096;
/// Counterparts of a host that are kept of a window, those with the most packets.
const KEPT: usize = 16;
/// Connections that a browser has open to a server.
const OF_A_BROWSER: u64 = 6;
/// Share of a host's packets from which on one counterpart is the counterpart.
const MAIN_SHARE: f64 = 0.8;

/// Packets to and from a counterpart.
#[derive(Clone, Copy, Debug, Default)]
struct Amounts {
    sent: u64,
    received: u64,
}

/// A host in one or more base windows.
#[derive(Clone, Debug, Default)]
struct Talks {
    peers: Map<IpAddr, Amounts>,
    total: Amounts,
    /// Attempts that came to nothing, and those at services that had answered before.
    failed: u64,
    failed_at_known: u64,
    opened: Opened,
    begun: Begun,
}

/// What the connections are that a host opened.
#[derive(Clone, Copy, Debug, Default)]
struct Opened {
    /// Those that may be to a web server and are open.
    web_open: u64,
    /// Those that may be to an SSH server.
    ssh: u64,
    /// Log-ins by SSH, and those of them that look like guesses.
    log_ins: u64,
    guesses: u64,
}

/// What became of the connections that were begun to a host.
#[derive(Clone, Copy, Debug, Default)]
struct Begun {
    /// SYNs that came to nothing.
    futile: u64,
    /// Connections that were made.
    made: u64,
}

impl Begun {
    /// Takes a flow to the host, as `syn_flood` counts them.
    fn add(&mut self, seen: &FlowObservation) {
        if seen.flow.proto == proto::TCP && seen.tcp[0].syn > 0 && attempt::is_futile(seen) {
            self.futile += u64::from(seen.tcp[0].syn);
        } else {
            self.made += u64::from(seen.is_attempt());
        }
    }
}

/// How the rules tell what a connection is.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    pub(super) slowloris: SlowlorisConfig,
    pub(super) ssh_brute_force: SshBruteForceConfig,
}

impl Opened {
    fn add(&mut self, rules: &Rules, seen: &FlowObservation) {
        let flow = &seen.flow;
        self.web_open += u64::from(may_speak_http(&rules.slowloris, flow) && is_open(seen));
        self.ssh += u64::from(may_speak_ssh(flow));
        if let Some(log_in) = log_in(&rules.ssh_brute_force, flow) {
            self.log_ins += 1;
            self.guesses += u64::from(log_in.is_guess);
        }
    }
}

/// Which packets count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// Those that the host sent.
    Sent,
    /// Those that it received.
    Received,
}

impl Amounts {
    const fn of(self, direction: Direction) -> u64 {
        match direction {
            Direction::Sent => self.sent,
            Direction::Received => self.received,
        }
    }

    const fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.received += other.received;
    }
}

/// The counterparts of a host over a window.
#[derive(Clone, Debug, Default)]
pub(super) struct Named {
    /// The one that nearly all packets were exchanged with.
    pub(super) main: Option<IpAddr>,
    /// Those with the most packets, most first.
    pub(super) largest: Vec<(IpAddr, u64)>,
}

/// What the judged hosts did in the last base windows.
#[derive(Debug)]
pub(super) struct Counterparts {
    rules: Rules,
    windows: VecDeque<(Timestamp, Map<IpAddr, Talks>)>,
}

impl Counterparts {
    pub(super) fn new(rules: Rules) -> Self {
        Self { rules, windows: VecDeque::with_capacity(WINDOWS) }
    }

    /// Takes the flows of a base window that these hosts have.
    pub(super) fn take(&mut self, view: &View<'_>, hosts: impl Iterator<Item = IpAddr>) {
        let mut talks: Map<IpAddr, Talks> = hosts.map(|host| (host, Talks::default())).collect();
        for run in view.snapshot.runs() {
            let mut next = run.first;
            // The flows of two hosts lie together.
            for of_pair in run.flows.chunk_by(|a, b| ends(a) == ends(b)) {
                let numbers = next..next + of_pair.len();
                next = numbers.end;
                let ends = ends(&of_pair[0]);
                let [forth, back] =
                    both(|side| of_pair.iter().fold(0, |sum: u64, seen| sum.saturating_add(seen.sent[side].packets)));
                for (side, amounts) in
                    [Amounts { sent: forth, received: back }, Amounts { sent: back, received: forth }]
                        .into_iter()
                        .enumerate()
                {
                    let Some(talks) = talks.get_mut(&ends[side]) else { continue };
                    talks.add(ends[1 - side], amounts);
                    if side == 0 {
                        of_pair.iter().for_each(|seen| talks.opened.add(&self.rules, seen));
                    } else {
                        of_pair.iter().for_each(|seen| talks.begun.add(seen));
                    }
                    let tries = view.tries.get(numbers.clone()).unwrap_or_default();
                    for (_, tried) in of_pair.iter().zip(tries).filter(|(seen, _)| tried_by(seen) == side) {
                        talks.failed += u64::from(matches!(tried, Try::Futile | Try::FutileAtKnown));
                        talks.failed_at_known += u64::from(*tried == Try::FutileAtKnown);
                    }
                }
            }
        }
        for overflow in view.snapshot.window.overflow.iter().filter(|overflow| overflow.syn) {
            if let Some(talks) = overflow.destination.and_then(|host| talks.get_mut(&host)) {
                talks.begun.futile += overflow.packets;
            }
        }
        talks.values_mut().for_each(Talks::keep_the_largest);
        if self.windows.len() == WINDOWS {
            self.windows.pop_front();
        }
        self.windows.push_back((view.end(), talks));
    }

    /// The base windows of a window.
    fn of<'a>(&'a self, view: &View<'_>, host: IpAddr) -> impl Iterator<Item = &'a Talks> + use<'a> {
        let (start, end) = (view.start(), view.end());
        let within = self.windows.iter().filter(move |(at, _)| *at > start && *at <= end);
        within.filter_map(move |(_, talks)| talks.get(&host))
    }

    /// Whom a host exchanged most packets with.
    pub(super) fn named(&self, view: &View<'_>, host: IpAddr, direction: Direction) -> Named {
        let mut all = Talks::default();
        for talks in self.of(view, host) {
            all.total.add(talks.total);
            talks.peers.iter().for_each(|(peer, amounts)| all.peers.entry(*peer).or_default().add(*amounts));
        }
        let mut largest: Vec<(IpAddr, u64)> =
            all.peers.iter().map(|(peer, amounts)| (*peer, amounts.of(direction))).collect();
        largest.retain(|(_, packets)| *packets > 0);
        largest.sort_by_key(|(peer, packets)| (std::cmp::Reverse(*packets), *peer));
        let total = all.total.of(direction) as f64;
        let main = largest.first().filter(|(_, packets)| *packets as f64 >= MAIN_SHARE * total).map(|(peer, _)| *peer);
        Named { main, largest }
    }

    /// Whether the host's flows say that it is no such attacker or victim: who only asks what has answered it before scans nothing (its
    /// targets are gone), who has no more connections to web servers open than a browser holds none, who asks no SSH server,
    /// or logs in, guesses nothing, and whose clients get their connections is flooded by no SYNs.
    pub(super) fn deny(&self, view: &View<'_>, host: IpAddr, attack: (AlertKind, AttackRole)) -> bool {
        match attack {
            (AlertKind::PortScan, AttackRole::Attacker) => self.fails_at_known(view, host),
            (AlertKind::Slowloris, AttackRole::Attacker) => !self.holds_web_connections(view, host),
            (AlertKind::SshBruteForce, AttackRole::Attacker) => {
                !self.asks_ssh_servers(view, host) || self.logs_in(view, host)
            }
            (AlertKind::SynFlood, AttackRole::Victim) => self.gives_connections(view, host),
            _ => false,
        }
    }

    /// Whether at least half of the connections that were begun to a host were made.
    fn gives_connections(&self, view: &View<'_>, host: IpAddr) -> bool {
        let sum = |of: fn(&Begun) -> u64| self.of(view, host).map(|talks| of(&talks.begun)).sum::<u64>();
        let made = sum(|begun| begun.made);
        made > 0 && made >= sum(|begun| begun.futile)
    }

    /// Whether most of what a host tried in vain had answered it before: who asks what it knows is no scanner.
    fn fails_at_known(&self, view: &View<'_>, host: IpAddr) -> bool {
        let (mut failed, mut known) = (0, 0);
        for talks in self.of(view, host) {
            failed += talks.failed;
            known += talks.failed_at_known;
        }
        known > 0 && 2 * known >= failed
    }

    /// Whether a host had more connections to web servers open at once than a browser has to one.
    fn holds_web_connections(&self, view: &View<'_>, host: IpAddr) -> bool {
        self.of(view, host).any(|talks| talks.opened.web_open > OF_A_BROWSER)
    }

    /// Whether a host opened a connection that may be to an SSH server.
    fn asks_ssh_servers(&self, view: &View<'_>, host: IpAddr) -> bool {
        self.of(view, host).any(|talks| talks.opened.ssh > 0)
    }

    /// Whether most of a host's log-ins by SSH look like ones that succeeded.
    fn logs_in(&self, view: &View<'_>, host: IpAddr) -> bool {
        let sum = |of: fn(&Opened) -> u64| self.of(view, host).map(|talks| of(&talks.opened)).sum::<u64>();
        2 * sum(|opened| opened.guesses) < sum(|opened| opened.log_ins)
    }
}

/// Whether this may be a connection to an SSH server: by the first bytes, and where they name nothing, if it was answered.
fn may_speak_ssh(flow: &FlowRecord) -> bool {
    flow.proto == proto::TCP
        && match flow.service {
            Some(service) => service == Service::Ssh,
            None => flow.responder.payload_bytes.is_none_or(|bytes| bytes > 0),
        }
}

/// Originator and responder.
const fn ends(seen: &FlowObservation) -> [IpAddr; 2] {
    [seen.flow.originator.address, seen.flow.responder.address]
}

/// Which of the ends tried something, if one did.
fn tried_by(seen: &FlowObservation) -> usize {
    let [(source, _), _] = attempt::sides(seen);
    usize::from(!std::ptr::eq(source, &raw const seen.flow.originator))
}

impl Talks {
    fn add(&mut self, peer: IpAddr, amounts: Amounts) {
        self.total.add(amounts);
        if self.peers.len() < MAX_PEERS {
            self.peers.entry(peer).or_default().add(amounts);
        } else if let Some(known) = self.peers.get_mut(&peer) {
            known.add(amounts);
        }
    }

    fn keep_the_largest(&mut self) {
        if self.peers.len() > KEPT {
            let mut peers: Vec<_> = std::mem::take(&mut self.peers).into_iter().collect();
            let order =
                |(peer, amounts): &(IpAddr, Amounts)| (std::cmp::Reverse(amounts.sent.max(amounts.received)), *peer);
            peers.select_nth_unstable_by_key(KEPT, order);
            peers.truncate(KEPT);
            self.peers = peers.into_iter().collect();
        }
    }
}

#[cfg(test)]
#[path = "counterparts_tests.rs"]
mod tests;

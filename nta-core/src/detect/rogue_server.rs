//! A second DHCP server or router on a link: what says to hosts where to send everything, and was not there before. And
//! advertisements of routers and neighbours in masses.
//!
//! *DHCP.* Who sends from a server's port to a client that has not written to it answers a question to all: a server, or a relay. One
//! question gets one answer from each. A server that answered alone for a while, and then more answers than questions come,
//! with a newcomer among those who answer: two race for the clients. A renewal is asked of one server and says nothing.
//!
//! *Routers.* A router advertises itself to all nodes every half an hour at least, by default every ten minutes (RFC 4861, 6.2.1). One that is heard for
//! the first time after that, beside another that goes on, is new. Where the other one falls silent, a stand-by took over.
//!
//! *Floods.* A router sends an advertisement every 3 s at most (RFC 4861, 10), a host three when its address changes.
//!
//! Known false alarms: a server or a router that is added on purpose, or is back after hours; a server for booting by network (PXE), which
//! answers beside the DHCP server. Evasion: being there first; answering only while the other is silent.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nta_common::packet::proto;

use super::declaration::{Basis, Cost, Declaration, FlowUse, Rates, Scope};
use super::recent::{Map, Recent, Shares, Sliding, Weigh};
use super::{Detector, Try, View};
use crate::domain::{AlertKind, Finding, FlowObservation, Measure, Party, Timestamp};
use crate::tunables::{Bounds, tunables};
use crate::window::{Run, Span};

tunables! {
    /// A second DHCP server or router on a link, and floods of advertisements.
    RogueServerConfig in "detect.rogue_server" {
        /// Windows in which a server or a router was the only one that answered, before another one is new beside it.
        min_alone: u64 = 3 => Bounds::COUNT,
        /// Seconds of capture after which a router that was not heard before is new. Default: the longest interval between two
        /// advertisements (RFC 4861, MaxRtrAdvInterval). A third of it, its default, where hosts asked and one router alone answered.
        settled_s: u64 = 1_800 => Bounds::SECONDS,
        /// Advertisements of one router to all nodes within 30 s. Default: twice what RFC 4861 allows.
        min_advertisements_30s: u64 = 20 => Bounds::COUNT,
        /// Advertisements of routers, or of neighbours, to all nodes within 30 s by anybody. Default: 10 a second; a host sends
        /// three, and only when its address changes.
        min_advertisements_30s_many: u64 = 300 => Bounds::COUNT,
        /// Questions for the neighbours of one group within 30 s. Default: 100 a second; who knows a neighbour asks it
        /// by itself.
        min_solicitations_30s: u64 = 3_000 => Bounds::COUNT,
        /// Routers, DHCP servers and relays that may be there: addresses.
        allowed: Vec<IpAddr> = Vec::new(),
    }
}

pub(super) const DECLARATION: Declaration = Declaration {
    name: "rogue_server",
    spans: &[Span::Base],
    basis: Basis::Rule,
    scope: Scope::Hosts,
    flows: FlowUse::Shared,
    cost: Cost::Short,
    rates: Rates::Measured,
};

/// Servers of all roles that are remembered.
const MAX_SERVERS: usize = 256;
/// For how long, in seconds: two of a router's longest lifetimes (RFC 4861, 6.2.1).
const REMEMBERED_S: u64 = 18_000;
/// For how long a newcomer is one, in nanoseconds.
const NEW_NS: u64 = 3_600_000_000_000;
/// Over which time advertisements are counted, in seconds.
const SECONDS: u64 = 30;
/// Groups and types of messages that are counted.
const MAX_FLOODS: usize = 64;
const NANOS: u64 = 1_000_000_000;
/// Turns in which a newcomer and a router that was there before were both heard: one can be the good-bye of a stand-by.
const TURNS: u64 = 2;
/// Ports of DHCP's servers and clients, for both families.
const DHCP: [(u16, u16); 2] = [(67, 68), (547, 546)];
/// ICMPv6 question for routers, advertisement of a router, question for a neighbour, advertisement of a neighbour.
const ASK_ROUTERS: u16 = 133;
const ROUTER: u16 = 134;
const ASK_NEIGHBOR: u16 = 135;
const NEIGHBOR: u16 = 136;
/// All nodes of the link.
const ALL_NODES: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1));

/// What a host says it is, on one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Role {
    /// By the server's port.
    Dhcp(u16, u16),
    Router(u16),
}

/// Finds newcomers and floods in base windows.
#[derive(Debug)]
pub(super) struct RogueServer {
    config: RogueServerConfig,
    began: Option<Timestamp>,
    servers: Recent<(Role, IpAddr), Server>,
    window: Heard,
    /// Questions of the window before: what answers them may come in the next one.
    asked_before: (Timestamp, BTreeMap<Role, u64>),
    floods: BTreeMap<(u16, IpAddr), Flood>,
}

/// What a window brought; bounded by its flows.
#[derive(Debug, Default)]
struct Heard {
    servers: BTreeMap<(Role, IpAddr), (u64, [Timestamp; 2])>,
    asked: BTreeMap<Role, u64>,
    /// Messages to groups, by type, group and sender.
    said: Map<(u16, IpAddr, IpAddr), u64>,
}

#[derive(Debug, Default)]
struct Server {
    first: Timestamp,
    /// Packets of the window before its last one were heard up to here.
    last: Timestamp,
    /// Windows in which no other one of the role answered, though somebody asked.
    alone: u64,
    /// Whom it came after, while it is new.
    beside: Option<IpAddr>,
    /// How often both were heard.
    turns: u64,
    packets: u64,
}

#[derive(Debug, Default)]
struct Flood {
    all: Sliding,
    largest: Sliding,
    shares: Shares,
}

impl Weigh for Server {
    fn weight(&self) -> u64 {
        self.packets
    }
}

impl Heard {
    fn take(&mut self, seen: &FlowObservation) {
        let (own, back, vlan) = (&seen.flow.originator, &seen.flow.responder, seen.flow.vlan);
        if seen.flow.proto == proto::ICMPV6 {
            let sent = seen.sent[0].packets;
            match own.port {
                ASK_ROUTERS => *self.asked.entry(Role::Router(vlan)).or_default() += sent,
                ROUTER => self.answer(Role::Router(vlan), own.address, sent, seen),
                _ => {}
            }
            let to_group = match own.port {
                ROUTER | NEIGHBOR => back.address == ALL_NODES,
                ASK_NEIGHBOR => back.address.is_multicast(),
                _ => false,
            };
            if to_group && sent > 0 {
                *self.said.entry((own.port, back.address, own.address)).or_default() += sent;
            }
        }
        if seen.flow.proto != proto::UDP {
            return;
        }
        for (side, [from, to]) in [[own, back], [back, own]].into_iter().enumerate() {
            let sent = seen.sent[side].packets;
            for (server, client) in DHCP {
                let role = Role::Dhcp(server, vlan);
                if (from.port, to.port) == (server, client) && to.sent.packets == 0 {
                    self.answer(role, from.address, sent, seen);
                } else if (from.port, to.port) == (client, server) && is_to_all(to.address) {
                    *self.asked.entry(role).or_default() += sent;
                }
            }
        }
    }

    fn answer(&mut self, role: Role, who: IpAddr, packets: u64, seen: &FlowObservation) {
        if packets == 0 {
            return;
        }
        let (first, last) = (seen.flow.first, seen.flow.last);
        let (known, times) = self.servers.entry((role, who)).or_insert((0, [last; 2]));
        *known += packets;
        *times = [times[0].min(if seen.is_new { first } else { last }), times[1].max(last)];
    }

    /// Answers of all servers of a role.
    fn answers(&self, role: Role) -> u64 {
        self.servers.iter().filter(|((of, _), _)| *of == role).map(|(_, (packets, _))| packets).sum()
    }
}

fn is_to_all(address: IpAddr) -> bool {
    address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST)
}

impl RogueServer {
    pub(super) fn new(config: RogueServerConfig) -> Self {
        let servers = Recent::new(MAX_SERVERS, REMEMBERED_S);
        let (window, asked_before, floods) = Default::default();
        Self { config, began: None, servers, window, asked_before, floods }
    }

    /// Beside whom one that is heard for the first time is new.
    fn known_beside(&self, now: Timestamp, role: Role, newcomer: IpAddr) -> Option<IpAddr> {
        let settled_ns = self.config.settled_s * NANOS;
        let is_settled = self.began.is_some_and(|began| now.since(began) >= settled_ns);
        let is_known = |server: &Server| match role {
            Role::Dhcp(..) => server.alone >= self.config.min_alone,
            Role::Router(_) if is_settled => true,
            Role::Router(_) => server.alone >= self.config.min_alone && now.since(server.first) >= settled_ns / 3,
        };
        let others = self.servers.iter().filter(|((of, who), _)| *of == role && *who != newcomer);
        let known = others.filter(|(_, server)| server.beside.is_none() && is_known(server));
        known.max_by_key(|((_, who), server)| (server.alone, server.packets, *who)).map(|((_, who), _)| *who)
    }

    /// Takes who was heard in a window; a flood of made-up routers makes no newcomers.
    fn judge_servers(&mut self, view: &View<'_>, heard: &Heard, out: &mut Vec<Finding>) {
        if heard.servers.is_empty() || heard.servers.len() > MAX_SERVERS / 4 {
            return;
        }
        let known: BTreeSet<_> = self.servers.iter().map(|(key, _)| *key).collect();
        let beside: Vec<Option<IpAddr>> = heard
            .servers
            .iter()
            .filter(|(key, _)| !known.contains(*key))
            .map(|((role, who), (_, [first, _]))| self.known_beside(*first, *role, *who))
            .collect();
        let mut beside = beside.into_iter();
        let (ended, before) = std::mem::take(&mut self.asked_before);
        let before = if view.start().since(ended) < NANOS { before } else { BTreeMap::new() };
        let last: BTreeMap<_, _> = self.servers.iter().map(|(key, server)| (*key, server.last)).collect();
        for (key @ (role, who), (packets, [first, end])) in &heard.servers {
            let asked = heard.asked.get(role).copied().unwrap_or(0);
            let asked_lately = asked + before.get(role).copied().unwrap_or(0);
            let others = heard.servers.keys().filter(|(of, _)| of == role).count() - 1;
            let server = self.servers.meet(*key);
            if !known.contains(key) {
                *server = Server { first: *first, last: *first, beside: beside.next().flatten(), ..Server::default() };
            }
            server.alone += u64::from(others == 0 && asked_lately > 0);
            server.packets += packets;
            let other = server.beside.map(|other| (*role, other));
            let is_heard = other.is_some_and(|other| heard.servers.contains_key(&other));
            let is_in_between = other.and_then(|other| last.get(&other)).is_some_and(|other| *other > server.last);
            server.turns += match role {
                // More answers than questions: one question had two.
                Role::Dhcp(..) if is_heard && asked > 0 && heard.answers(*role) > asked_lately => TURNS,
                Role::Router(_) if is_heard && asked > 0 => TURNS,
                Role::Router(_) => u64::from(is_heard || is_in_between),
                Role::Dhcp(..) => 0,
            };
            server.last = *end;
            if server.beside.is_some() && end.since(server.first) <= NEW_NS && !self.config.allowed.contains(who) {
                let near = [server.turns as f64, TURNS as f64];
                view.state(&DECLARATION, *who, ("turns_beside_another", "turns"), near);
            }
            if server.turns >= TURNS && !self.config.allowed.contains(who) {
                out.extend(Self::newcomer(view, *key, server));
            }
        }
    }

    fn newcomer(view: &View<'_>, (role, who): (Role, IpAddr), server: &Server) -> Option<Finding> {
        let other = server.beside.filter(|_| server.last.since(server.first) <= NEW_NS)?;
        let (kind, name, what) = match role {
            Role::Dhcp(..) => (AlertKind::RogueDhcp, "dhcp_answers", "answers DHCP clients"),
            Role::Router(_) => (AlertKind::RogueRouter, "advertisements", "advertises itself as a router"),
        };
        let measure =
            Measure { name, unit: "packets", observed: server.packets as f64, expected: None, threshold: 1.0 };
        let summary = format!("{who} {what} beside {other}, which was the only one before: {} packets", server.packets);
        let mut finding = view.finding(&DECLARATION, kind, measure, summary);
        (finding.source, finding.destination) = (who.into(), other.into());
        let (port, vlan) = match role {
            Role::Dhcp(port, vlan) => (Some(port), vlan),
            Role::Router(vlan) => (None, vlan),
        };
        finding.port = port;
        finding.seen = Some([server.first, server.last]);
        finding.facts = vec![("known_server", other.to_string()), ("vlan", vlan.to_string())];
        Some(finding)
    }

    fn judge_floods(&mut self, view: &View<'_>, heard: &Heard, out: &mut Vec<Finding>) {
        let (end, counted) = (view.end(), view.counted());
        self.floods.retain(|_, flood| flood.all.sum(end, SECONDS) > 0);
        let mut said: Vec<_> =
            heard.said.iter().map(|((kind, group, from), packets)| (*kind, *group, *from, *packets)).collect();
        said.sort_unstable();
        for one in said.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            let (kind, group) = (one[0].0, one[0].1);
            let all: u64 = one.iter().map(|(.., packets)| packets).sum();
            let least_many = match kind {
                ASK_NEIGHBOR => self.config.min_solicitations_30s,
                _ => self.config.min_advertisements_30s_many,
            };
            let has_room = self.floods.len() < MAX_FLOODS || self.floods.contains_key(&(kind, group));
            if !has_room || (kind == ASK_NEIGHBOR && all < least_many / SECONDS) {
                continue;
            }
            let flood = self.floods.entry((kind, group)).or_default();
            one.iter().for_each(|(_, _, from, packets)| flood.shares.add(*from, *packets));
            flood.all.add(counted, all);
            flood.largest.add(counted, one.iter().map(|(.., packets)| *packets).max().unwrap_or(0));
            let (all, largest) = (flood.all.sum(end, SECONDS), flood.largest.sum(end, SECONDS));
            let least = self.config.min_advertisements_30s;
            let state = |name, near: [u64; 2]| {
                view.state(&DECLARATION, group, (name, "packets"), near.map(|packets| packets as f64));
            };
            state("neighbor_discovery", [all, least_many]);
            if kind == ROUTER {
                state("neighbor_discovery_of_one", [largest, least]);
            }
            let (observed, threshold) = match kind {
                _ if all >= least_many => (all, least_many),
                ROUTER if largest >= least => (largest, least),
                _ => continue,
            };
            let measure = Measure {
                name: "neighbor_discovery",
                unit: "packets",
                observed: observed as f64,
                expected: None,
                threshold: threshold as f64,
            };
            let source = flood.shares.party();
            let from = source.host().map_or_else(|| "many addresses".to_owned(), |host| host.to_string());
            let what = match kind {
                ROUTER => "router advertisements",
                NEIGHBOR => "neighbour advertisements",
                _ => "questions for neighbours",
            };
            let summary = format!("{from} sent {observed} {what} to {group} within {SECONDS} s");
            let mut finding = view.finding(&DECLARATION, AlertKind::NeighborFlood, measure, summary);
            (finding.source, finding.destination) = (source, Party::Host(group));
            finding.facts = vec![("message", what.to_owned())];
            finding.contributors = flood.shares.contributors(all);
            out.push(finding);
        }
    }
}

impl Detector for RogueServer {
    fn declaration(&self) -> &'static Declaration {
        &DECLARATION
    }

    fn take(&mut self, run: &Run<'_>, _: &[Try]) {
        run.flows.iter().for_each(|seen| self.window.take(seen));
    }

    fn inspect(&mut self, view: &View<'_>, out: &mut Vec<Finding>) {
        self.began.get_or_insert(view.start());
        self.servers.advance(view.end());
        let heard = std::mem::take(&mut self.window);
        self.judge_servers(view, &heard, out);
        self.judge_floods(view, &heard, out);
        self.asked_before = (view.end(), heard.asked);
    }

    fn evicted(&self) -> u64 {
        self.servers.evicted()
    }
}

#[cfg(test)]
#[path = "rogue_server_tests.rs"]
mod tests;

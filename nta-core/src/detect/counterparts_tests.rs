//! What a model says of a host is denied where the host's flows say what it does.

use nta_common::flow::Counts;

use super::super::declaration::{Basis, Cost, Declaration, FlowUse, Rates, Scope};
use super::super::testing::{Flow, host, row, with_overflow};
use super::super::{Detector, Run};
use super::*;
use crate::domain::{ConnState, Finding, OverflowDelta};

const DECLARATION: Declaration = Declaration {
    name: "denied",
    spans: &[Span::Base],
    basis: Basis::Model,
    scope: Scope::Hosts,
    flows: FlowUse::Unused,
    cost: Cost::Short,
    rates: Rates::Unused,
};

/// Takes windows, and asks of the last one whether host 1 is denied to be such an attacker or victim.
struct Asked {
    counterparts: Counterparts,
    attack: (AlertKind, AttackRole),
    is_denied: bool,
}

impl Asked {
    fn whether(attack: (AlertKind, AttackRole)) -> Self {
        Self { counterparts: Counterparts::new(Rules::default()), attack, is_denied: false }
    }
}

impl Detector for Asked {
    fn declaration(&self) -> &'static Declaration {
        &DECLARATION
    }

    fn take(&mut self, _: &Run<'_>, _: &[Try]) {}

    fn inspect(&mut self, view: &View<'_>, _: &mut Vec<Finding>) {
        self.counterparts.take(view, [host(1)].into_iter());
        self.is_denied = self.counterparts.deny(view, host(1), self.attack);
    }

    fn evicted(&self) -> u64 {
        0
    }
}

fn is_denied(kind: AlertKind, flows: impl Fn(u64) -> Vec<Flow>) -> bool {
    let mut asked = Asked::whether((kind, AttackRole::Attacker));
    row(&mut asked, 1, flows);
    asked.is_denied
}

fn to_port(number: u64, port: u16) -> Flow {
    Flow::tcp(1, 40_000 + number as u16, 2, port)
}

#[test]
fn who_asks_no_ssh_server_guesses_no_passwords_of_one() {
    let asks = |flow: fn(Flow) -> Flow, port: u16| {
        is_denied(AlertKind::SshBruteForce, |_| {
            (0..8).map(|n| flow(to_port(n, port).history("ShADadFf").sent(20, 100).answered(20, 100))).collect()
        })
    };
    // A remote desktop over TLS, and calls whose servers never answer.
    assert!(asks(|flow| flow.payload(900, 1_500).service(Service::Ssl), 443));
    assert!(asks(|flow| flow.payload(0, 0), 9_999));
    // Guessing at any port, named by its bytes, or where the beginning was not seen.
    assert!(!asks(|flow| flow.payload(900, 1_500).service(Service::Ssh), 902));
    assert!(!asks(|flow| flow.payload(900, 1_500), 902));
}

#[test]
fn who_has_few_web_connections_open_holds_none() {
    let holds = |history: &'static str, port: u16, count: u64| {
        let one = move |n: u64| to_port(n, port).history(history).sent(4, 300).answered(1, 60).payload(200, 0);
        !is_denied(AlertKind::Slowloris, |_| (0..count).map(one).collect())
    };
    assert!(holds("ShAD", 80, 30));
    assert!(!holds("ShAD", 80, OF_A_BROWSER), "a browser");
    assert!(!holds("ShAD", 25, 30), "no web server");
    assert!(!holds("S", 80, 30), "a flood of SYNs holds nothing");
    let over = |n: u64| to_port(n, 80).history("ShADadFf").state(ConnState::Sf).payload(200, 900).ended();
    assert!(is_denied(AlertKind::Slowloris, |_| (0..30).map(over).collect()), "connections that are over");
}

#[test]
fn who_gives_its_clients_connections_is_flooded_by_no_syns() {
    // So many connections that were made, SYNs that nobody answered, and SYNs that found the flow table full.
    let floods = |made: u32, in_vain: u32, overflow: u64| {
        let client = |n: u32, history: &'static str| Flow::tcp(100 + n, 40_000, 1, 443).history(history);
        let flows = (0..made)
            .map(|n| client(n, "ShADadFf").payload(300, 900))
            .chain((0..in_vain).map(|n| client(50_000 + n, "S")));
        let counts = Counts { packets: overflow, bytes: 60 * overflow, ip_bytes: 40 * overflow };
        let aggregate = OverflowDelta { destination: host(1), port: 443, proto: proto::TCP, syn: true, counts };
        let mut asked = Asked::whether((AlertKind::SynFlood, AttackRole::Victim));
        with_overflow(&mut asked, 0, flows.collect(), &[aggregate]);
        !asked.is_denied
    };
    assert!(!floods(900, 30, 0), "many clients, each answered");
    assert!(!floods(500, 500, 0), "half of them");
    assert!(floods(30, 900, 0), "a flood beside the usual clients");
    assert!(floods(900, 0, 2_000), "a flood that fills the flow table");
    assert!(floods(0, 0, 0), "flows from before say nothing of it");
}

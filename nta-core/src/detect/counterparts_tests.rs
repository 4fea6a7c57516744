//! What a model says of a host is denied where the host's flows say what it does.

use super::super::declaration::{Basis, Cost, Declaration, FlowUse, Rates, Scope};
use super::super::testing::{Flow, host, row};
use super::super::{Detector, Run};
use super::*;
use crate::domain::{ConnState, Finding};

const DECLARATION: Declaration = Declaration {
    name: "denied",
    spans: &[Span::Base],
    basis: Basis::Model,
    scope: Scope::Hosts,
    flows: FlowUse::Unused,
    cost: Cost::Short,
    rates: Rates::Unused,
};

/// Takes windows, and asks of the last one whether host 1 is denied to be such an attacker.
struct Asked {
    counterparts: Counterparts,
    kind: AlertKind,
    is_denied: bool,
}

impl Detector for Asked {
    fn declaration(&self) -> &'static Declaration {
        &DECLARATION
    }

    fn take(&mut self, _: &Run<'_>, _: &[Try]) {}

    fn inspect(&mut self, view: &View<'_>, _: &mut Vec<Finding>) {
        self.counterparts.take(view, [host(1)].into_iter());
        self.is_denied = self.counterparts.deny(view, host(1), (self.kind, AttackRole::Attacker));
    }

    fn evicted(&self) -> u64 {
        0
    }
}

fn is_denied(kind: AlertKind, flows: impl Fn(u64) -> Vec<Flow>) -> bool {
    let mut asked = Asked { counterparts: Counterparts::new(Rules::default()), kind, is_denied: false };
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

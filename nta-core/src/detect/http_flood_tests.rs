//! Visits to a web server that are a flood, and those that are none.

use super::super::testing::{Flow, host, row};
use super::{HttpFlood, HttpFloodConfig};
use crate::domain::{ConnState, Finding, Party};

fn judge(count: u64, flows: impl Fn(u64) -> Vec<Flow>) -> Vec<Finding> {
    row(&mut HttpFlood::new(HttpFloodConfig::default()), count, flows)
}

/// A visit of so many payload bytes to a web server.
fn visit(from: u32, port: u16, asked: u64, answered: u64) -> Flow {
    Flow::tcp(from, port, 2, 80).history("ShADadFf").state(ConnState::Sf).payload(asked, answered).ended()
}

/// So many visits of a host in window `i`, with answers of this length.
fn visits(from: u32, i: u64, count: u64, asked: u64, answer: impl Fn(u64) -> u64) -> Vec<Flow> {
    (0..count).map(|n| visit(from, 1_024 + (i * count + n) as u16, asked, answer(n))).collect()
}

/// What pages are made of: from a few hundred bytes to a megabyte.
fn objects(n: u64) -> u64 {
    300 + (n * 7_919) % 997 * ((n % 13) + 1) * 77
}

#[test]
fn one_page_asked_for_again_and_again_is_one() {
    let found = judge(4, |i| visits(1, i, 50, 300, |n| 3_393 + n % 7));
    assert_eq!((found.len(), found[0].source, found[0].destination), (2, Party::Host(host(1)), Party::Host(host(2))));
    assert_eq!((found[0].port, found[0].measure.observed as u64), (Some(80), 150));
    assert!(found[0].score < 0.5, "nobody knows what is usual here");
    // A log-in that is tried again and again is as short, and its answer the same.
    assert!(
        found[0].summary.ends_with("a flood, a load test and guessing of passwords look alike"),
        "{}",
        found[0].summary
    );
    // Half of the answers say that the server is busy.
    assert_eq!(judge(3, |i| visits(1, i, 50, 300, |n| if n % 2 == 0 { 12_000 } else { 170 })).len(), 1);
    // What is refused or silent counts, unless it is nearly all.
    let half = |i: u64| {
        let silent = (0..30).map(|n| Flow::tcp(1, 40_000 + (i * 30 + n) as u16, 2, 80).history("S"));
        visits(1, i, 30, 300, |_| 900).into_iter().chain(silent).collect()
    };
    assert_eq!(judge(3, half).len(), 1);
    let refused = |i: u64| {
        let silent = (0..90).map(|n| Flow::tcp(1, 40_000 + (i * 90 + n) as u16, 2, 80).history("Sr"));
        visits(1, i, 10, 300, |_| 900).into_iter().chain(silent).collect()
    };
    assert!(judge(3, refused).is_empty(), "syn_flood's");
}

#[test]
fn several_clients_are_one_finding() {
    let found = judge(3, |i| (1..=6).filter(|n| *n != 2).flat_map(|n| visits(n, i, 100, 300, |_| 500)).collect());
    assert_eq!((found.len(), found[0].source, found[0].contributors.len()), (1, Party::Many, 5));
}

#[test]
fn people_proxies_uploads_and_checks_are_none() {
    assert!(judge(6, |i| visits(1, i, 200, 600, objects)).is_empty(), "200 people behind one address, a proxy");
    assert!(judge(6, |i| visits(1, i, 200, 9_000, |_| 200)).is_empty(), "uploads");
    assert!(judge(60, |i| visits(1, i, 20, 120, |_| 250)).is_empty(), "health checks, four a second");
    let shop = |i: u64| (10..400).flat_map(|n| visits(n, i, 4, 500, |_| 3_000)).collect();
    assert!(judge(6, shop).is_empty(), "a busy shop of which nobody knows what is usual");
    let held = |i: u64| {
        let open =
            (0..100).map(|n| Flow::tcp(1, 40_000 + (i * 100 + n) as u16, 2, 80).history("ShADa").payload(180, 0));
        visits(1, i, 40, 180, |_| 1_304).into_iter().chain(open).collect()
    };
    assert!(judge(6, held).is_empty(), "slowloris'");
    assert!(judge(6, |i| visits(1, i, 100, 25, |_| 0)).is_empty(), "given up before an answer came");
    assert!(judge(6, |i| visits(1, i, 100, 25, |_| 500)).is_empty(), "no requests");
    let burst = |i: u64| if i < 2 { visits(1, i, 200, 73, |_| 500) } else { visits(1, i, 6, 73, |_| 500) };
    assert!(judge(8, burst).is_empty(), "a script that is done within ten seconds");
    let other = |i: u64| {
        (0..200)
            .map(|n| Flow::tcp(1, (i * 200 + n) as u16, 2, 3_306).history("ShADadFf").payload(90, 90).ended())
            .collect()
    };
    assert!(judge(6, other).is_empty(), "a database without a pool");
}

#[test]
fn without_the_answers_nothing_is_known() {
    let half = |i: u64| {
        let download = Flow::tcp(9, 50_000, 8, 443).history("ShADd").payload(0, 90_000).sent(0, 0).answered(60, 1_500);
        let mut flows = visits(1, i, 80, 300, |_| 0);
        flows.push(download);
        flows
    };
    assert!(judge(6, half).is_empty());
}

//! What counts as a port scan, and what does not.

use super::super::testing::{Flow, host, row};
use super::{PortScan, PortScanConfig};
use crate::domain::{Finding, Party};

fn judge(count: u64, flows: impl Fn(u64) -> Vec<Flow>) -> Vec<Finding> {
    row(&mut PortScan::new(PortScanConfig::default()), count, flows)
}

#[test]
fn every_kind_of_vertical_scan_is_one() {
    for history in ["S", "Sr", "ShR", "A", "Ar", "F", "Fr", ""] {
        let found = judge(1, |_| (1..14).map(|port| Flow::tcp(1, 40_000, 2, port).history(history)).collect());
        assert_eq!(found.len(), 1, "{history}");
        assert_eq!((found[0].source, found[0].destination), (Party::Host(host(1)), Party::Host(host(2))));
        assert_eq!(found[0].measure.observed as u64, 13);
    }
    assert_eq!(judge(1, |_| (1..14).map(|port| Flow::udp(1, 40_000, 2, port)).collect()).len(), 1);
}

#[test]
fn every_kind_of_sweep_is_one() {
    let sweep = |flow: fn(u32) -> Flow| judge(1, |_| (10..90).map(flow).collect());
    let kinds: [fn(u32) -> Flow; 4] = [
        |to| Flow::tcp(1, 40_000, to, 23),
        |to| Flow::tcp(1, 40_000, to, 80).history("A"),
        |to| Flow::udp(1, 40_000, to, 40_125),
        |to| Flow::echo(1, to),
    ];
    for kind in kinds {
        let found = sweep(kind);
        assert_eq!((found.len(), found[0].destination), (1, Party::Many));
        assert_eq!(found[0].measure.observed as u64, 80);
    }
}

#[test]
fn a_scan_spread_over_windows_adds_up() {
    assert_eq!(
        judge(5, |i| vec![2 * i as u16, 2 * i as u16 + 1]
            .into_iter()
            .map(|p| Flow::tcp(1, 40_000, 2, p + 1))
            .collect())
        .len(),
        1
    );
    assert!(judge(60, |i| vec![Flow::tcp(1, 40_000, 2, i as u16 / 2 + 1)]).is_empty(), "that slow is another's");
}

#[test]
fn several_hosts_are_many_and_named() {
    let found = judge(1, |_| (2..5).flat_map(|to| (1..20).map(move |port| Flow::tcp(1, 40_000, to, port))).collect());
    assert_eq!((found[0].destination, found[0].contributors.len()), (Party::Many, 3));
}

#[test]
fn busy_clients_floods_and_answers_are_none() {
    let browser = |i: u32| Flow::tcp(1, 40_000, 100 + i, 443).history("ShADad");
    assert!(judge(4, |_| (0..200).map(browser).collect()).is_empty(), "a proxy");
    assert!(judge(4, |_| (0..2_000).map(|port| Flow::tcp(1, 1_024 + port, 2, 80)).collect()).is_empty(), "a flood");
    assert!(judge(4, |_| (10..400).map(|to| Flow::tcp(1, 80, to, 1_024).history("hR")).collect()).is_empty());
    assert!(judge(4, |_| (0..400).map(|port| Flow::udp(1, 53, 2, 20_000 + port)).collect()).is_empty(), "DNS answers");
    assert!(judge(4, |_| (0..90).map(|hop| Flow::udp(1, 40_000, 2, 33_434 + hop)).collect()).is_empty());
    assert!(judge(1, |_| (0..90).map(|port| Flow::udp(1, 40_000, 2, 39_900 + port)).collect()).is_empty(), "a call");
    assert!(judge(1, |_| (0..9_000).map(|port| Flow::udp(1, 40_000, 2, port)).collect()).is_empty(), "a UDP flood");
    assert!(judge(4, |_| (10..200).map(|to| Flow::udp(1, 6_881, to, 1_000 + to as u16)).collect()).is_empty(), "peers");
}

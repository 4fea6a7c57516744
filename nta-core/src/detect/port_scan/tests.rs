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
fn ports_of_sessions_count_in_a_scan_and_make_none() {
    let scan = |others: u16| {
        let ports = (1..=others).chain([17_185, 20_031, 30_718, 49_152]);
        judge(1, |_| ports.clone().map(|port| Flow::udp(1, 40_000, 2, port)).collect())
    };
    let found = scan(76);
    assert_eq!((found.len(), found[0].measure.observed as u64), (1, 80));
    assert!(found[0].summary.contains("tried 80 ports (1-76/udp, 17185/udp, 20031/udp, 30718/udp, 49152/udp)"));
    assert!(scan(8).is_empty(), "eight and four of sessions");
}

#[test]
fn a_scan_lasts_as_long_as_what_was_tried_whatever_else_its_source_does() {
    let page = |second: f64| Flow::tcp(1, 50_000, 9, 80).history("ShADad").payload(80, 400).lasting(second);
    let sweep = |to| Flow::tcp(1, 40_000, to, 23).lasting(f64::from(to) / 100.0);
    let found = judge(1, |_| (10..90).map(sweep).chain([page(4.5)]).collect());
    let [first, last] = found[0].seen.expect("seen");
    assert_eq!((first, last.since(first)), (found[0].start, 890_000_000));
    // Of many that search together, too.
    let tries = |n: u32| Flow::tcp(1_000 + n, 40_000, 50_000 + n * 8, 23).lasting(1.5);
    let found = judge(1, |_| (0..400).map(tries).chain([page(4.5)]).collect());
    let [first, last] = found[0].seen.expect("seen");
    assert_eq!((found[0].source, first, last.since(first)), (Party::Many, found[0].start, 1_500_000_000));
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
fn health_checks_that_end_in_the_handshake_are_no_sweep_unless_half_are_gone() {
    let checks = |gone: u32| {
        let flow = move |to: u32| Flow::tcp(1, 40_000, to, 22).history(if to < 10 + gone { "S" } else { "ShR" });
        judge(1, move |_| (10..30).map(flow).collect())
    };
    assert!(checks(0).is_empty());
    assert!(checks(9).is_empty(), "an answer is more than a refusal");
    assert_eq!(checks(10).len(), 1);
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
fn a_scan_of_ip_protocols_is_one_and_a_few_tunnels_none() {
    let scan = |answers: u8| {
        judge(1, |_| (90..190).map(|n| Flow::protocol(n, 1, 2).answered(u64::from(n < 90 + answers), 60)).collect())
    };
    let found = scan(1);
    assert_eq!((found.len(), found[0].destination), (1, Party::Host(host(2))));
    assert!(found[0].summary.starts_with("10.0.0.1 tried 99 IP protocols (91, 92,"), "{}", found[0].summary);
    assert!(found[0].summary.ends_with("within 60 s; answered: 90"), "{}", found[0].summary);
    let tunnels = |_| [4, 41, 47, 50, 51, 89, 103, 115, 132].map(|n| Flow::protocol(n, 1, 2)).to_vec();
    assert!(judge(4, tunnels).is_empty());
    assert!(judge(4, |_| (10..200).map(|to| Flow::protocol(47, 1, to)).collect()).is_empty(), "a hub of tunnels");
}

#[test]
fn a_port_that_many_try_of_many_in_vain_is_a_botnets_sweep() {
    let sweep = |answered: u32| {
        let flow = move |n: u32| {
            Flow::tcp(1_000 + n, 40_000, 50_000 + n * 8, 23).history(if n < answered { "ShADad" } else { "S" })
        };
        judge(1, |_| (0..400).map(flow).collect())
    };
    let found = sweep(4);
    assert_eq!(
        (found.len(), found[0].source, found[0].destination, found[0].port),
        (1, Party::Many, Party::Many, Some(23))
    );
    assert_eq!(
        found[0].summary,
        "396 sources tried port 23 of 396 hosts within 5.0 s; 99 % of the tries came to nothing"
    );
    assert!(sweep(100).is_empty(), "a service that many use");
    assert!(judge(1, |_| (0..400).map(|n| Flow::tcp(1_000 + n, 40_000, 2, 23)).collect()).is_empty(), "a flood of one");
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

#[test]
fn what_answered_is_named() {
    let open = [22, 53, 80];
    let tried = |port| Flow::tcp(1, 40_000, 2, port).history(if open.contains(&port) { "ShR" } else { "Sr" });
    let found = judge(1, |_| (1..101).map(tried).collect());
    assert_eq!(found[0].summary, "10.0.0.1 tried 100 ports (1-100) of 10.0.0.2 within 60 s; answered: 22, 53, 80");
    // A page that is fetched from the same server is not what was tried.
    let page = Flow::tcp(1, 50_000, 2, 8080).history("ShADadFf").payload(80, 400);
    let tried = |port| Flow::tcp(1, 40_000, 2, port).history("Sr");
    let found = judge(1, |_| (1..101).map(tried).chain([page.clone()]).collect());
    assert!(found[0].summary.ends_with("within 60 s; all refused; sent data to: 8080"), "{}", found[0].summary);
    let sweep = |to| Flow::tcp(1, 40_000, to, 22).history(if to == 12 { "ShADad" } else { "S" });
    let found = judge(1, |_| (10..90).map(sweep).collect());
    assert!(found[0].summary.ends_with("answered: 10.0.0.12"), "{}", found[0].summary);
}

#[test]
fn refusals_are_told_from_silence() {
    let scan = |refuses: fn(u16) -> bool| {
        let tried = |port| Flow::tcp(1, 40_000, 2, port).history(if refuses(port) { "Sr" } else { "S" });
        judge(1, |_| (1..101).map(tried).collect()).remove(0).summary
    };
    assert!(scan(|_| true).ends_with("; all refused"), "{}", scan(|_| true));
    assert!(scan(|_| false).ends_with("; none answered"), "{}", scan(|_| false));
    assert!(scan(|port| port <= 30).ends_with("; none answered, 30 of 100 refused"), "{}", scan(|port| port <= 30));
}

#[test]
fn of_a_scan_beyond_what_is_remembered_the_ports_are_said_to_be_the_last_ones() {
    let found = judge(1, |_| (1..9_001).map(|port| Flow::tcp(1, 40_000, 2, port).history("Sr")).collect());
    let summary = &found[0].summary;
    assert!(summary.contains("tried at least 4096 ports (of the last tries: "), "{summary}");
}

#[test]
fn a_monitor_whose_site_goes_down_is_none() {
    let poll = |i: u64, up: bool| {
        let history = if up { "ShADadFf" } else { "S" };
        (10..90).map(|to| Flow::tcp(1, 40_000 + i as u16, to, 443).history(history)).collect::<Vec<_>>()
    };
    assert!(judge(10, |i| poll(i, i < 4)).is_empty());
    assert!(!judge(10, |i| poll(i, false)).is_empty(), "that never answered");
    // Another port of the same hosts is not known.
    let other = |i| if i < 4 { poll(i, true) } else { (10..90).map(|to| Flow::tcp(1, 40_000, to, 22)).collect() };
    assert!(!judge(10, other).is_empty());
}

#[test]
fn a_short_sweep_of_one_network_is_one_and_peers_that_are_gone_none() {
    let found = judge(1, |_| (10..22).map(|to| Flow::tcp(1, 40_000, to, 445)).collect());
    assert_eq!((found.len(), found[0].measure.observed as u64, found[0].port), (1, 12, Some(445)));
    assert!(
        judge(1, |_| (10..22).map(|to| Flow::udp(1, 8_612, to, 8_612)).collect()).is_empty(),
        "printers looked for"
    );
    let far = |n: u32| Flow::tcp(1, 40_000, n << 8 | 5, 6_881);
    assert!(judge(1, |_| (1..60).map(far).collect()).is_empty(), "of as many networks");
    let half = |to: u32| Flow::tcp(1, 40_000, to, 445).history(if to.is_multiple_of(3) { "ShADad" } else { "S" });
    assert!(judge(1, |_| (10..40).map(half).collect()).is_empty(), "of which a third answered");
}

#[test]
fn a_worm_that_tries_few_ports_is_one_scanner() {
    let port = |n: u32| [23, 23, 2323, 8080][n as usize % 4];
    let found = judge(1, |_| (0..90).map(|n| Flow::tcp(1, 40_000, (n + 2) << 8 | 7, port(n))).collect());
    assert_eq!(found.len(), 1);
    assert!(found[0].summary.contains("3 ports (23, 2323, 8080)"), "{}", found[0].summary);
    let peer = |n: u32| Flow::tcp(1, 40_000, (n + 2) << 8 | 7, 10_000 + n as u16);
    assert!(judge(1, |_| (0..90).map(peer).collect()).is_empty(), "peers");
}

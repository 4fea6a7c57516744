//! What is known of who answered whom: all of it, for hours, and hardly anything else.

use std::net::Ipv4Addr;

use super::super::fixture::{flow, full};
use super::*;

/// The service 443 of a server, asked by a client of this number.
fn pair(client: u32) -> Pair {
    (Ipv4Addr::from(0x0a00_0000 + client).into(), Ipv4Addr::new(192, 0, 2, 1).into(), 6, 443)
}

/// Shows a run that ends so many hours after the first one.
fn at<T>(hours: u64, look: impl FnOnce(&Run<'_>) -> T) -> T {
    let snapshot = full(Timestamp::from_nanos(0), &[], vec![flow("10.0.0.1", "192.0.2.1", 443, 0.0, [1, 1])]);
    let mut run = snapshot.runs().next().expect("a flow");
    run.end = run.end.plus(hours * 3_600 * 1_000_000_000);
    look(&run)
}

#[test]
fn a_full_memory_knows_all_of_its_own_and_one_stranger_in_two_hundred_at_most() {
    at(0, |run| {
        let mut known = Known::default();
        let all = MOST as u32 - 1_000;
        (0..all).for_each(|client| known.add(run, pair(client)));
        assert!((0..all).all(|client| known.has(run, pair(client))));
        let strangers = (all..all + 100_000).filter(|client| known.has(run, pair(*client))).count();
        assert!(strangers < 100_000 / 200, "{strangers}");
        let (source, target, protocol, _) = pair(0);
        assert!(!known.has(run, (source, target, protocol, 444)), "another port");
        assert!(!known.has(run, (target, source, protocol, 443)), "another direction");
    });
}

#[test]
fn who_answered_is_known_for_two_hours_and_forgotten_after_four() {
    let mut known = Known::default();
    assert!(!at(0, |run| known.has(run, pair(1))), "nobody has answered yet");
    at(0, |run| known.add(run, pair(1)));
    at(2, |run| known.add(run, pair(2)));
    assert!(at(3, |run| known.has(run, pair(1)) && known.has(run, pair(2))));
    at(4, |run| known.add(run, pair(3)));
    assert!(at(4, |run| !known.has(run, pair(1)) && known.has(run, pair(2)) && known.has(run, pair(3))));
}

/// A scan asks one port after the other, of one host or of its own.
#[test]
fn services_of_a_host_that_answered_make_no_others_known() {
    at(0, |run| {
        let hosts = [1, 0x0a00_0001, 0x7f00_0001, 0xc0a8_0001].map(|host| IpAddr::from(Ipv4Addr::from(host)));
        for source in hosts {
            for target in hosts {
                let mut known = Known::default();
                let answered = [22, 53, 80, 443, 631, 3306, 5432];
                answered.iter().for_each(|port| known.add(run, (source, target, 6, *port)));
                let others = (1..=10_000).filter(|port| !answered.contains(port));
                let wrong = others.filter(|port| known.has(run, (source, target, 6, *port))).count();
                assert!(wrong <= 1, "{source} {target}: {wrong} of 9,993");
            }
        }
    });
}

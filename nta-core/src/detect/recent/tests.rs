//! Sums over the last while, and what their tables forget.

use super::{Counted, Recent, Shares, Sliding, Weigh};
use crate::domain::{Party, Timestamp};

impl Weigh for u32 {
    fn weight(&self) -> u64 {
        u64::from(*self)
    }
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_nanos((1_000_000 + seconds) * 1_000_000_000)
}

#[test]
fn a_full_table_forgets_the_oldest_and_counts_them() {
    let mut table: Recent<u32, u32> = Recent::new(8, 100);
    for i in 0..9 {
        table.advance(at(u64::from(i)));
        *table.meet(i) += 1;
    }
    let mut left: Vec<u32> = table.iter().map(|(key, _)| *key).collect();
    left.sort_unstable();
    assert_eq!((left, table.evicted()), (vec![2, 3, 4, 5, 6, 7, 8], 2));
}

#[test]
fn what_weighs_much_outlives_a_million_of_what_does_not() {
    let mut table: Recent<u32, u32> = Recent::new(8, 100);
    table.advance(at(0));
    *table.meet(7) = 2;
    (100..10_000).for_each(|key| *table.meet(key) = 1);
    assert!(table.iter().any(|(key, weight)| (*key, *weight) == (7, 2)));
}

#[test]
fn what_is_not_met_is_forgotten_and_so_is_all_when_the_clock_goes_back() {
    let mut table: Recent<u32, u32> = Recent::new(8, 100);
    table.advance(at(1000));
    *table.meet(1) = 1;
    table.advance(at(1100));
    *table.meet(2) = 1;
    table.advance(at(1101));
    assert_eq!(table.iter().count(), 1);
    table.advance(at(1050));
    assert_eq!(table.iter().count(), 1, "a small step back is none");
    table.advance(at(0));
    assert_eq!(table.iter().count(), 0);
}

#[test]
fn sums_slide() {
    let mut sum = Sliding::default();
    (1..=12).for_each(|i| sum.add(Counted { end: at(i * 5), length_ns: 5_000_000_000 }, 10));
    assert_eq!((sum.sum(at(60), 30), sum.sum(at(60), 180), sum.sum(at(300), 180)), (60, 120, 0));
}

#[test]
fn a_sum_is_over_the_same_time_however_windows_lie() {
    // Ten a second, in windows of 8, 1, 13, 5 and 10 s.
    let mut sum = Sliding::default();
    let mut end = 0;
    for seconds in [8, 1, 13, 5, 10] {
        end += seconds;
        sum.add(Counted { end: at(end), length_ns: seconds * 1_000_000_000 }, seconds * 10);
    }
    assert_eq!([5, 10, 12, 20, 30, 180].map(|seconds| sum.sum(at(end), seconds)), [50, 100, 120, 200, 300, 370]);
    assert_eq!((sum.newest(at(end)), sum.newest(at(end + 5))), (100, 0));
}

#[test]
fn of_sources_that_are_each_next_to_nothing_none_is_named() {
    let mut forged = Shares::default();
    (0..10_000_u32).for_each(|host| forged.add(std::net::Ipv4Addr::from(host).into(), 1));
    assert_eq!((forged.party(), forged.contributors(10_000)), (Party::Many, Vec::new()));
    // Guessed by 20 hosts, seven times each.
    let mut shared = Shares::default();
    (0..140_u32).for_each(|one| shared.add(std::net::Ipv4Addr::from(one % 20).into(), 1));
    assert_eq!(shared.contributors(140).len(), super::MAX_CONTRIBUTORS);
}

#[test]
fn contributors_are_parts_of_what_is_counted() {
    // 300 remembered over minutes, of which a finding counts the last 100.
    let mut shares = Shares::default();
    shares.add([10, 0, 0, 1].into(), 225);
    shares.add([10, 0, 0, 2].into(), 75);
    let amounts: Vec<f64> = shares.contributors(100).iter().map(|contributor| contributor.amount).collect();
    assert_eq!(amounts, [75.0, 25.0]);
}

#[test]
fn a_source_among_many_is_not_lost() {
    let mut shares = Shares::default();
    for i in 0..10_000_u32 {
        shares.add(std::net::Ipv4Addr::from(i).into(), 1);
        if i % 5 == 0 {
            shares.add([10, 0, 0, 1].into(), 1);
        }
    }
    assert_eq!(shares.party(), Party::Many);
    assert_eq!(shares.contributors(1_000)[0].what, "10.0.0.1");
    shares.add([10, 0, 0, 1].into(), 40_000);
    assert_eq!(shares.party(), Party::Host([10, 0, 0, 1].into()));
}

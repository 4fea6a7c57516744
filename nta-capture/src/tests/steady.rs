//! Which time stamps are believed.

use super::build::{MICROSECONDS, Order, enhanced, interface, pcap_header, record, section};
use super::{frames, reader};
use crate::{Ordered, Stamps};

const DAY: u32 = 86_400;
const YEAR: u32 = 365 * DAY;
/// 2023, and a wrong clock's 2061.
const THEN: u32 = 1_700_000_000;
const WRONG: u32 = 2_871_763_200;

/// The seconds of these frames as they are handed out; each has a length of its own.
fn given(seconds: &[u32]) -> (Vec<u32>, Stamps) {
    let mut file = pcap_header(Order::Little, MICROSECONDS, (2, 4), 1);
    for (number, second) in (0_u32..).zip(seconds) {
        file.extend(record(Order::Little, [*second, 0, 14, 100 + number], &[0; 14]));
    }
    let mut capture = Ordered::new(reader(&file).unwrap());
    let mut given = Vec::new();
    while let Some(frame) = capture.next_frame() {
        assert_eq!(frame.wire_len, 100 + given.len() as u32, "in the order of the file");
        given.push((frame.time_ns / 1_000_000_000) as u32);
    }
    assert_eq!((given.len(), capture.frames()), (seconds.len(), seconds.len() as u64));
    (given, capture.stamps())
}

/// Twenty frames, a second apart, with these in place of the ones from there on.
fn with(at: usize, stamps: &[u32]) -> Vec<u32> {
    let mut seconds: Vec<u32> = (0..20).map(|second| THEN + second).collect();
    seconds[at..at + stamps.len()].copy_from_slice(stamps);
    seconds
}

#[test]
fn a_wrong_stamp_becomes_the_time_of_its_neighbours_wherever_it_is() {
    for wrong in [0, WRONG, u32::MAX, THEN - 2 * YEAR] {
        for at in 0..20 {
            let (given, stamps) = given(&with(at, &[wrong]));
            assert_eq!(stamps, Stamps { wrong: 1, set_back: 0 }, "{wrong} at {at}");
            let off = given.iter().zip(with(0, &[])).map(|(given, right)| given.abs_diff(right)).max();
            assert!(off.is_some_and(|off| off <= 1), "{wrong} at {at}: {given:?}");
        }
    }
    // An hour off, between others; and several in a row, far from each other or near.
    for wrong in [&[THEN + 3600][..], &[THEN - 3600], &[WRONG; 3], &[WRONG, 0, WRONG]] {
        let (given, stamps) = given(&with(7, wrong));
        assert_eq!(stamps.set_back, 0, "{wrong:?}");
        assert_eq!(stamps.wrong, wrong.len() as u64, "{wrong:?}: {given:?}");
        assert!(given.iter().all(|second| (THEN..THEN + 20).contains(second)), "{wrong:?}: {given:?}");
    }
}

#[test]
fn a_stamp_that_is_no_time_becomes_that_of_its_neighbours_or_1970() {
    // Microseconds since 1970 that are more nanoseconds than 64 bits hold.
    let given = |ticks: &[u64]| {
        let mut file = [section(Order::Little, (1, 0)), interface(Order::Little, 1, 0, &[])].concat();
        for (number, ticks) in (0_u32..).zip(ticks) {
            file.extend(enhanced(Order::Little, 0, *ticks, 100 + number, &[0; 14]));
        }
        let mut capture = Ordered::new(reader(&file).unwrap());
        let mut given = Vec::new();
        while let Some(frame) = capture.next_frame() {
            assert_eq!(frame.wire_len, 100 + given.len() as u32, "in the order of the file");
            given.push(frame.time_ns / 1_000_000_000);
        }
        assert_eq!(given.len(), ticks.len());
        (given, capture.stamps())
    };
    let good: Vec<u64> = (0..20).map(|second| u64::from(THEN + second) * 1_000_000).collect();
    for count in [1, 9] {
        for at in 0..=20 - count {
            let mut ticks = good.clone();
            (0..count).for_each(|i| ticks[at + i] = u64::MAX - i as u64);
            let (given, stamps) = given(&ticks);
            assert_eq!(stamps, Stamps { wrong: count as u64, set_back: 0 }, "{count} at {at}");
            let of_others = |time: &u64| good.contains(&(time * 1_000_000));
            assert!(given.iter().all(of_others) && given.is_sorted(), "{count} at {at}: {given:?}");
        }
    }
    // Nothing but such stamps, fewer than wait and more: all at once, or one each second.
    for count in [1, 20, 10_000] {
        let ticks: Vec<u64> = (0..count).map(|i| u64::MAX - i).collect();
        assert_eq!(given(&ticks), (vec![0; count as usize], Stamps { wrong: count, set_back: 0 }));
        // In the years 2554, when 64 bits of nanoseconds end, and 3000.
        for first in [18_446_744_000_000_000, 32_503_680_000_000_000] {
            let ticks: Vec<u64> = (0..count).map(|second| first + second * 1_000_000).collect();
            assert_eq!(given(&ticks), ((0..count).collect(), Stamps { wrong: count, set_back: 0 }), "{first}");
        }
    }
}

#[test]
fn what_is_really_far_apart_stays() {
    let every = |step: u32, count: u32| (0..count).map(|i| THEN - 40 * YEAR + i * step).collect::<Vec<u32>>();
    let then = |first: u32| (0..20).map(|second| first + second).collect::<Vec<u32>>();
    let silence = [then(THEN), then(THEN + 7 * DAY)].concat();
    let at_the_end = [then(THEN), vec![THEN + 7 * DAY]].concat();
    for seconds in [every(DAY, 50), every(2 * YEAR, 9), every(2 * YEAR, 2), vec![THEN], silence, at_the_end] {
        assert_eq!(given(&seconds), (seconds.clone(), Stamps::default()));
    }
    let set_back = [then(THEN), then(THEN - 3600)].concat();
    assert_eq!(given(&set_back), (set_back.clone(), Stamps { wrong: 0, set_back: 1 }));
    // One a day, and one of them wrong.
    let mut seconds = every(DAY, 10);
    seconds[5] = WRONG;
    let (given, stamps) = given(&seconds);
    assert_eq!((given[5], stamps), (seconds[4], Stamps { wrong: 1, set_back: 0 }));
}

#[test]
fn a_frame_that_the_clock_agrees_with_waits_for_no_other() {
    let mut file = pcap_header(Order::Little, MICROSECONDS, (2, 4), 1);
    for second in [THEN, THEN + DAY] {
        file.extend(record(Order::Little, [second, 0, 14, 14], &[0; 14]));
    }
    // The reader fails behind them: whoever waits for a third one does not get them.
    let shown = |clock: fn() -> u64| {
        let mut capture = Ordered::new(reader(&file).unwrap()).with_clock(clock);
        let mut read_when_shown = Vec::new();
        while capture.next_frame().is_some() {
            read_when_shown.push(capture.reader().frames());
        }
        read_when_shown
    };
    assert_eq!(shown(|| u64::from(THEN) * 1_000_000_000), [1, 2]);
    assert_eq!(shown(|| 0), [2, 2]);
    assert_eq!(frames(&mut reader(&file).unwrap()).len(), 2);
}

//! Live windows over a clock of the test's own, whose readings and judgements take as long as they like.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use nta_common::flow::Counts;
use proptest::prelude::*;

use super::*;
use crate::pipeline::{Delivery, PipelineEvent, PipelineOptions};
use crate::source::Sink;
use nta_core::domain::{IdentityScope, Ledger, MapFill, OverflowDelta, PacketEvent, Readings, Status};
use nta_core::window::{Seed, Span, Window};

const MS: u64 = 1_000_000;
const SPAN_NS: u64 = 1_000 * MS;
/// Where the clock begins: a multiple of all spans.
const BEGAN_NS: u64 = 1_800_000_000_000_000_000 / (36 * SPAN_NS) * (36 * SPAN_NS);

/// Where the kernel's clock began.
const BOOTED_NS: u64 = BEGAN_NS - 1_000 * SPAN_NS;

/// Nanoseconds since the epoch, moved by whoever takes time.
type Clock = Arc<AtomicU64>;

/// A packet each millisecond.
struct Steady {
    clock: Clock,
    /// How long each reading takes.
    takes_ms: VecDeque<u64>,
    read_ns: u64,
    /// When the flows of each window were read to their end, and how long before that reading began.
    cuts: Vec<(u64, u64)>,
}

impl FlowSource for Steady {
    fn identify(&mut self, _ids: IdentityScope) {}

    fn drain(&mut self, _sink: &mut Sink<'_>) -> Result<(), SourceError> {
        Ok(())
    }

    fn overflows(&mut self, sink: &mut dyn FnMut(OverflowDelta)) -> Result<(), SourceError> {
        let took_ns = self.takes_ms.pop_front().unwrap_or(0) * MS;
        let now_ns = self.clock.fetch_add(took_ns, Relaxed) + took_ns;
        self.cuts.push((now_ns, took_ns));
        let packets = now_ns / MS - self.read_ns / MS;
        self.read_ns = now_ns;
        let counts = Counts { packets, bytes: 100 * packets, ip_bytes: 86 * packets };
        sink(OverflowDelta { destination: IpAddr::V4(Ipv4Addr::LOCALHOST), port: 9, proto: 17, syn: false, counts });
        Ok(())
    }

    fn events(&mut self, _sink: &mut dyn FnMut(PacketEvent)) -> Result<(), SourceError> {
        Ok(())
    }

    fn expire(&mut self, _now: Timestamp, _sink: &mut Sink<'_>) -> Result<(), SourceError> {
        Ok(())
    }

    fn finish(&mut self, _sink: &mut Sink<'_>) {}

    fn ledger(&mut self) -> Result<Ledger, SourceError> {
        Ok(Ledger::default())
    }

    fn readings(&self) -> Option<Readings> {
        let time_ns = self.read_ns.wrapping_sub(BOOTED_NS);
        Some(Readings { time_ns, clock_offset_ns: BOOTED_NS, ..Readings::default() })
    }

    fn maps(&self) -> Vec<MapFill> {
        Vec::new()
    }

    fn active(&self) -> u64 {
        0
    }
}

/// Takes windows, each of which takes its time.
#[derive(Default)]
struct Slow {
    clock: Clock,
    takes_ms: VecDeque<u64>,
    windows: Vec<(Span, Window)>,
}

impl crate::pipeline::Sink for Slow {
    fn take(&mut self, _number: u64, event: &PipelineEvent<'_>) {
        let PipelineEvent::Window(snapshot) = event else { return };
        self.windows.push((snapshot.span, snapshot.window.clone()));
        if snapshot.span == Span::Base {
            self.clock.fetch_add(self.takes_ms.pop_front().unwrap_or(0) * MS, Relaxed);
        }
    }
}

/// Windows, and when each was read to its end, with how long reading took, in nanoseconds.
type Ran = (Vec<(Span, Window)>, Vec<(u64, u64)>);

/// Runs over that many readings as the supervisor does: begun so late within a window, closed so late each time, stopped so far
/// into the last one. Returns the windows, and when each was cut.
fn run(began_ms: u64, late: &[u64], reading: &[u64], judging: &[u64], last_ms: u64) -> Ran {
    let began_ns = BEGAN_NS + began_ms * MS;
    let clock = Clock::new(AtomicU64::new(began_ns));
    let now = || Timestamp::from_nanos(clock.load(Relaxed));
    let options = PipelineOptions {
        span_ns: SPAN_NS,
        detect: Default::default(),
        baseline: Default::default(),
        models: Default::default(),
        baselines: None,
        mutes: None,
        delivery: Delivery::Immediate,
        seed: Seed::fixed(),
        ids: IdentityScope::default(),
        earlier: Vec::new(),
    };
    let mut pipeline = Pipeline::new(&options, Status { mode: Mode::Live, ..Status::default() });
    let takes_ms = reading.iter().copied().collect();
    let mut source = Steady { clock: clock.clone(), takes_ms, read_ns: began_ns, cuts: Vec::new() };
    let mut slow = Slow { clock: clock.clone(), takes_ms: judging.iter().copied().collect(), windows: Vec::new() };
    let mut output = Fanout::new(vec![&mut slow]);
    pipeline.begin(now());
    for late_ms in late {
        pipeline.open_next();
        let end_ns = pipeline.window_end().expect("a window is open").as_nanos();
        clock.store(end_ns.max(clock.load(Relaxed)) + late_ms * MS, Relaxed);
        pipeline.close_at(now(), &mut source, &mut output).expect("closed");
    }
    pipeline.open_next();
    clock.fetch_add(last_ms * MS, Relaxed);
    pipeline.finish(now(), &mut source, &mut output).expect("finished");
    (slow.windows, source.cuts)
}

fn packets(window: &Window) -> u64 {
    window.overflow.iter().map(|overflow| overflow.packets).sum()
}

/// Milliseconds that reading, judging, or waking up takes: most often next to nothing.
fn takes() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(prop_oneof![6 => 0..8_u64, 2 => 8..900_u64, 1 => 900..7_000_u64], 60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn windows_tile_time_and_hold_what_was_counted_in_it(
        began_ms in 0..1_000_u64, late in takes(), reading in takes(), judging in takes(), last_ms in 0..3_000_u64,
    ) {
        let (windows, cuts) = run(began_ms, &late, &reading, &judging, last_ms);
        let of = |span| windows.iter().filter(move |(of, _)| *of == span).map(|(_, window)| window).collect::<Vec<_>>();
        let base = of(Span::Base);
        prop_assert_eq!(base.len(), cuts.len());
        for span in [Span::Base, Span::Medium, Span::Long] {
            let windows = of(span);
            for pair in windows.windows(2) {
                prop_assert_eq!(pair[0].end, pair[1].start, "{:?}", span);
            }
            for window in windows {
                prop_assert_eq!(window.length_ns() + window.measured.gap_ns, window.end.since(window.start), "{:?}", span);
                prop_assert_eq!(window.measured.silence_ns, 0);
            }
        }
        prop_assert_eq!(base[0].measured.gap_ns, began_ms * MS, "counting began within the first window");
        let near_ns = SPAN_NS / PUNCTUAL_SHARE;
        let mut read_ns = BEGAN_NS + began_ms * MS;
        for (window, (cut_ns, took_ns)) in base.iter().zip(&cuts) {
            prop_assert_eq!(packets(window), cut_ns / MS - read_ns / MS, "exact");
            let behind_ns = cut_ns.checked_sub(window.end.as_nanos());
            prop_assert!(behind_ns.is_some_and(|ns| ns <= took_ns + near_ns), "{:?} read to {}", window, cut_ns);
            read_ns = *cut_ns;
        }
        let last = base.last().expect("a window");
        prop_assert_eq!(last.measured.not_whole, Some(NotWhole::RunEnded));
        let late = |window: &&&Window| window.measured.not_whole == Some(NotWhole::Late);
        let off = base[1..base.len() - 1].iter().filter(late).all(|window| window.length_ns() != SPAN_NS);
        prop_assert!(off, "a window of the usual length is not late");
    }
}

#[test]
fn the_next_run_goes_on_where_the_last_window_ended_however_long_reading_took() {
    let options = PipelineOptions {
        span_ns: SPAN_NS,
        detect: Default::default(),
        baseline: Default::default(),
        models: Default::default(),
        baselines: None,
        mutes: None,
        delivery: Delivery::Immediate,
        seed: Seed::fixed(),
        ids: IdentityScope::default(),
        earlier: Vec::new(),
    };
    let at = |ms: u64| Timestamp::from_nanos(BEGAN_NS + ms * MS);
    let clock = Clock::new(AtomicU64::new(at(1_003).as_nanos()));
    let mut source = Steady { clock, takes_ms: VecDeque::from([7]), read_ns: BEGAN_NS, cuts: Vec::new() };
    let mut slow = Slow::default();
    let mut pipeline = Pipeline::new(&options, Status { mode: Mode::Live, ..Status::default() });
    pipeline.begin(at(0));
    pipeline.close_at(at(1_003), &mut source, &mut Fanout::new(vec![&mut slow])).expect("closed");
    let ended = slow.windows[0].1.end;
    assert_eq!((ended, source.read_ns), (at(1_000), at(1_010).as_nanos()));
    let left = pipeline.status().readings.clone().expect("readings");
    let mut next = Pipeline::new(&options, Status { mode: Mode::Live, ..Status::default() });
    next.resume(Timestamp::from_nanos(left.time_ns + left.clock_offset_ns), at(1_600));
    assert_eq!(next.status().window_open_since, Some(ended));
}

#[test]
fn time_without_anything_attached_is_a_gap_and_no_silence() {
    let mut pipeline = Pipeline::new(
        &PipelineOptions {
            span_ns: SPAN_NS,
            detect: Default::default(),
            baseline: Default::default(),
            models: Default::default(),
            baselines: None,
            mutes: None,
            delivery: Delivery::Immediate,
            seed: Seed::fixed(),
            ids: IdentityScope::default(),
            earlier: Vec::new(),
        },
        Status { mode: Mode::Live, ..Status::default() },
    );
    let at = |ms: u64| Timestamp::from_nanos(BEGAN_NS + ms * MS);
    let clock = Clock::default();
    let mut source = Steady { clock, takes_ms: VecDeque::new(), read_ns: 0, cuts: Vec::new() };
    let mut slow = Slow::default();
    let mut output = Fanout::new(vec![&mut slow]);
    pipeline.begin(at(0));
    // Away from 0.4 s to 0.5 s, and from 0.7 s to 2.25 s.
    for (time, goes) in [(400, true), (500, false), (700, true)] {
        if goes { pipeline.stop_counting(at(time)) } else { pipeline.go_on_counting(at(time)) }
    }
    for second in 1..=4 {
        if second == 3 {
            pipeline.go_on_counting(at(2_250));
        }
        pipeline.close_at(at(second * 1_000), &mut source, &mut output).expect("closed");
        pipeline.open_next();
    }
    let said: Vec<_> = slow
        .windows
        .iter()
        .filter(|(span, _)| *span == Span::Base)
        .map(|(_, window)| (window.measured.gap_ns / MS, window.length_ns() / MS, window.measured.not_whole))
        .collect();
    let cut = Some(NotWhole::Interrupted);
    assert_eq!(said, [(400, 600, cut), (1_000, 0, cut), (250, 750, cut), (0, 1_000, None)]);
}

#[test]
fn the_status_has_the_ledger_of_what_is_attached_before_the_first_window_closes() {
    let options = PipelineOptions {
        span_ns: SPAN_NS,
        detect: Default::default(),
        baseline: Default::default(),
        models: Default::default(),
        baselines: None,
        mutes: None,
        delivery: Delivery::Immediate,
        seed: Seed::fixed(),
        ids: IdentityScope::default(),
        earlier: Vec::new(),
    };
    let mut pipeline = Pipeline::new(&options, Status { mode: Mode::Live, ..Status::default() });
    let eth0 = nta_core::domain::Interface { name: "eth0".to_owned(), counts: Default::default() };
    let ledger = Ledger { interfaces: vec![eth0] };
    pipeline.attach(Vec::new(), &ledger);
    assert_eq!(pipeline.status().ledger.interfaces.len(), 1);
}

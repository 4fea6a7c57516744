//! How packets are divided into windows makes no alert and hides none.

use std::collections::BTreeSet;
use std::net::IpAddr;

use nta_common::flow::Counts;
use nta_common::packet::proto;
use nta_common::{Counter, LedgerSlot};
use proptest::prelude::*;

use super::{Analysis, AnalysisOptions};
use crate::baseline::{BaselineConfig, Metric};
use crate::detect::DetectConfig;
use crate::domain::{
    AlertKind, ConnState, Endpoint, FlowId, FlowObservation, FlowRecord, History, IdentityScope, Party, RttSamples,
    TcpCounts, Timestamp,
};
use crate::model::Models;
use crate::window::{Lengths, Measured, NotWhole, Seed, Window, Windows};

#[path = "analysis_kept_tests.rs"]
mod kept;

const MS: u64 = 1_000_000;
/// Long enough that the baselines of 30 s windows are warm: in milliseconds.
const QUIET_MS: u64 = 210_000;
/// How long an attack lasts.
const ATTACK_MS: u64 = 240_000;
/// Where everything begins: the start of a window of every length that is used.
const BEGIN_MS: u64 = 1_700_000_100_000;

/// What comes on top of the usual traffic.
#[derive(Clone, Copy, Debug)]
enum Attack {
    Nothing,
    Spike,
    Syns,
    Echoes,
    Answers,
    Scattered,
    Deaf,
    ManySources,
    Ports,
    Upload,
}

impl Attack {
    const ALL: [Self; 9] = [
        Self::Spike,
        Self::Syns,
        Self::Echoes,
        Self::Answers,
        Self::Scattered,
        Self::Deaf,
        Self::ManySources,
        Self::Ports,
        Self::Upload,
    ];

    /// What a second brings at the threshold that the documents state, and the alert that it makes beyond it.
    fn threshold(self) -> (f64, Option<AlertKind>) {
        match self {
            Self::Nothing => (0.0, None),
            // 2.5 times the usual.
            Self::Spike => (1.5 * USUAL, Some(AlertKind::TrafficSpike)),
            // 360 in 180 s.
            Self::Syns => (2.0, Some(AlertKind::SynFlood)),
            // 240 in 30 s.
            Self::Echoes => (8.0, Some(AlertKind::IcmpFlood)),
            // 1,000 in 30 s.
            Self::Answers => (1_000.0 / 30.0, Some(AlertKind::Amplification)),
            // 150 in 30 s.
            Self::Scattered => (5.0, Some(AlertKind::UdpFlood)),
            Self::Deaf => (1_000.0, Some(AlertKind::UdpFlood)),
            Self::ManySources => (1_000.0, Some(AlertKind::DistributedFlood)),
            // 10 in 60 s.
            Self::Ports => (10.0 / 60.0, Some(AlertKind::PortScan)),
            // 20 MB in 180 s, in packets of a kilobyte; at least half of that time is summed up.
            Self::Upload => (20_000_000.0 / 180.0 / 1_000.0, Some(AlertKind::DataExfiltration)),
        }
    }
}

/// Packets a second of the usual traffic.
const USUAL: f64 = 5_000.0;

#[derive(Clone, Copy, Debug)]
struct Load {
    attack: Attack,
    /// What a second brings.
    rate: f64,
}

fn time(ms: u64) -> Timestamp {
    Timestamp::from_nanos((BEGIN_MS + ms) * MS)
}

/// A flow of so many packets of so many bytes, from `first` to `last` in milliseconds.
fn flow(protocol: u8, from: (u32, u16), to: (u32, u16), packets: [u64; 2], bytes: u64) -> FlowObservation {
    let counts = packets.map(|packets| Counts { packets, bytes: packets * bytes, ip_bytes: packets * (bytes - 14) });
    let end = |(host, port): (u32, u16), side: usize| Endpoint {
        address: IpAddr::from(std::net::Ipv4Addr::from(host)),
        port,
        sent: counts[side],
        tcp: TcpCounts::default(),
        payload_bytes: Some(0),
        translated: None,
    };
    let flow = FlowRecord {
        id: FlowId(u64::from(from.0) << 40 ^ u64::from(to.0) << 16 ^ u64::from(from.1) << 48 ^ u64::from(to.1)),
        proto: protocol,
        originator: end(from, 0),
        responder: end(to, 1),
        nesting: Default::default(),
        vlan: 0,
        first: time(0),
        last: time(0),
        handshake_us: [0; 2],
        service: None,
        conn_state: ConnState::Oth,
        history: History::default(),
        ended: None,
    };
    let (tcp, rtt) = ([TcpCounts::default(); 2], RttSamples::default());
    FlowObservation { flow, sent: counts, tcp, rtt, is_new: false }
}

/// A connection that is tried and made, or a SYN that nobody answers.
fn attempt(from: (u32, u16), to: (u32, u16), is_made: bool) -> FlowObservation {
    let mut seen = flow(proto::TCP, from, to, if is_made { [3, 2] } else { [1, 0] }, 60);
    let own = TcpCounts { syn: 1, ..TcpCounts::default() };
    let back = TcpCounts { syn_ack: u32::from(is_made), ..TcpCounts::default() };
    seen.tcp = [own, back];
    (seen.flow.originator.tcp, seen.flow.responder.tcp) = (own, back);
    seen.flow.history = History::parse(if is_made { "ShADadFf" } else { "S" });
    seen.flow.conn_state = if is_made { ConnState::Sf } else { ConnState::S0 };
    seen.is_new = true;
    seen
}

/// How many of what comes `rate` times a second, evenly, come from `start` to `end`, and the number of the first.
fn between(rate: f64, start: u64, end: u64) -> std::ops::Range<u64> {
    let before = |ms: u64| (ms as f64 * rate / 1_000.0 + 1e-6).floor() as u64;
    before(start)..before(end)
}

const LAN: u32 = 0x0a00_0000;
const OUTSIDE: u32 = 0xc633_6400;

/// What the attack brings in a window.
fn attacked(load: Load, start: u64, end: u64) -> Vec<FlowObservation> {
    let (start, end) = (start.max(QUIET_MS), end.max(QUIET_MS));
    let count = between(load.rate, start - QUIET_MS, end - QUIET_MS);
    let packets = count.end - count.start;
    if packets == 0 {
        return Vec::new();
    }
    let mut flows = match load.attack {
        Attack::Nothing => Vec::new(),
        Attack::Spike => vec![flow(proto::TCP, (LAN + 20, 5_001), (LAN + 21, 5_001), [packets / 2, packets / 2], 500)],
        Attack::Syns => {
            count.clone().map(|i| attempt((LAN + 30, 20_000 + (i % 30_000) as u16), (LAN + 31, 80), false)).collect()
        }
        Attack::Echoes => vec![flow(proto::ICMP, (LAN + 40, 8), (LAN + 41, 0), [packets, 0], 98)],
        Attack::Answers => vec![flow(proto::UDP, (OUTSIDE + 5, 53), (LAN + 50, 4_000), [packets, 0], 1_000)],
        Attack::Scattered => {
            let one = |i: u64| flow(proto::UDP, (LAN + 60, 20_000 + (i % 30_000) as u16), (LAN + 61, 9), [1, 0], 60);
            count.clone().map(|i| FlowObservation { is_new: true, ..one(i) }).collect()
        }
        Attack::Deaf => vec![flow(proto::UDP, (LAN + 70, 9_000), (LAN + 71, 9_000), [packets, 0], 1_000)],
        Attack::ManySources => (0..200)
            .map(|i| {
                let own = (packets + i) / 200;
                flow(proto::UDP, (OUTSIDE + i as u32, 9_000), (LAN + 0x100 + (i % 50) as u32, 9_000), [own, 0], 100)
            })
            .filter(|seen| seen.sent[0].packets > 0)
            .collect(),
        Attack::Ports => count.clone().map(|i| attempt((LAN + 80, 40_000), (LAN + 81, 1 + i as u16), false)).collect(),
        Attack::Upload => {
            vec![flow(proto::TCP, (LAN + 90, 40_000), (OUTSIDE + 9, 443), [packets, packets / 50], 1_000)]
        }
    };
    // Those that come once have their own time, streams last as long as the window.
    for (seen, number) in flows.iter_mut().zip(count) {
        let is_stream = !seen.is_new;
        let at = QUIET_MS + (number as f64 * 1_000.0 / load.rate) as u64;
        seen.flow.first = if is_stream { time(start) } else { time(at.clamp(start, end - 1)) };
        seen.flow.last = if is_stream { time(end - 1) } else { seen.flow.first };
    }
    flows
}

fn usual(start: u64, end: u64) -> Vec<FlowObservation> {
    let packets = between(USUAL / 2.0, start, end);
    let packets = packets.end - packets.start;
    let mut flows = vec![flow(proto::TCP, (LAN + 20, 5_000), (LAN + 21, 5_000), [packets, packets], 500)];
    (flows[0].flow.first, flows[0].flow.last) = (time(start), time(end - 1));
    flows.extend(between(10.0, start, end).map(|i| {
        let mut seen = attempt((LAN + 22, 10_000 + (i % 50_000) as u16), (LAN + 23, 443), true);
        let at = time((i * 100).clamp(start, end - 1));
        (seen.flow.first, seen.flow.last) = (at, at);
        seen
    }));
    flows
}

type Found = BTreeSet<(AlertKind, Party, Party)>;

/// The alerts over windows of these lengths, in milliseconds, where windows have `base_ms`; and the analysis.
fn run(base_ms: u64, lengths: impl IntoIterator<Item = u64>, load: Load) -> (Found, Analysis) {
    run_with(&Models::default(), base_ms, lengths, load)
}

fn run_with(models: &Models, base_ms: u64, lengths: impl IntoIterator<Item = u64>, load: Load) -> (Found, Analysis) {
    run_seen(models, base_ms, lengths, load, &mut |_| {})
}

fn run_seen(
    models: &Models,
    base_ms: u64,
    lengths: impl IntoIterator<Item = u64>,
    load: Load,
    see: &mut dyn FnMut(&Window),
) -> (Found, Analysis) {
    let mut detect = DetectConfig::default();
    // It judges no rate, and what it says of a scan just below `port_scan`'s threshold depends on when two minutes are over.
    detect.slow_scan.enabled = false;
    // Where a forest judges, everything is odd.
    detect.isolation_forest.threshold = 0.01;
    let baseline = BaselineConfig { warm_up_windows: 5, ..BaselineConfig::default() };
    let mut analysis = Analysis::new(&AnalysisOptions {
        base_ns: base_ms * MS,
        lengths: Lengths::Measured,
        detect: &detect,
        baseline: &baseline,
        models,
        ids: IdentityScope::default(),
        threads: 1,
    });
    let mut windows = Windows::new(base_ms * MS, Seed::fixed());
    let mut found = Found::new();
    let (mut start, mut ledger) = (0, LedgerSlot::default());
    let mut take = |alerts: &[(crate::domain::AlertChange, crate::domain::Alert)]| {
        found.extend(alerts.iter().map(|(_, alert)| (alert.key.kind, alert.key.source, alert.key.destination)));
    };
    for length in lengths {
        let end = start + length;
        windows.open(time(start), time(end));
        for seen in usual(start, end).into_iter().chain(attacked(load, start, end)) {
            ledger.packets[Counter::Seen as usize] += seen.sent[0].packets + seen.sent[1].packets;
            ledger.seen_bytes += seen.sent[0].bytes + seen.sent[1].bytes;
            windows.add(seen);
        }
        let not_whole = (length != base_ms).then_some(NotWhole::Late);
        let measured = Measured { length_ns: length * MS, not_whole, ..Measured::default() };
        let closed = windows.close_measured(&ledger, measured).expect("a window is open");
        analysis.close(closed).iter().for_each(|judged| {
            see(&judged.snapshot.window);
            take(&judged.alerts);
        });
        start = end;
    }
    analysis.finish(time(start)).judged.iter().for_each(|judged| take(&judged.alerts));
    (found, analysis)
}

fn regular(base_ms: u64) -> impl Iterator<Item = u64> {
    std::iter::repeat_n(base_ms, ((QUIET_MS + ATTACK_MS) / base_ms) as usize)
}

/// Windows of half to double their length that end where the regular ones do.
fn unequal() -> impl Strategy<Value = Vec<u64>> {
    proptest::collection::vec(2_500..=10_000_u64, 200).prop_map(|mut lengths| {
        let all = QUIET_MS + ATTACK_MS;
        let mut sum = 0;
        lengths.retain(|length| {
            sum += length;
            sum <= all
        });
        let rest = all - lengths.iter().sum::<u64>();
        lengths.extend(std::iter::repeat_n(5_000, (rest / 5_000) as usize));
        lengths.extend((!rest.is_multiple_of(5_000)).then_some(rest % 5_000));
        lengths
    })
}

fn attack() -> impl Strategy<Value = Attack> {
    proptest::sample::select(Attack::ALL.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() })]

    /// Well below a threshold and well above it, windows of any measured length make the alerts that regular ones make: the
    /// attack's own, or none.
    #[test]
    fn windows_of_unequal_length_make_the_same_alerts(
        lengths in unequal(),
        attack in attack(),
        factor in proptest::sample::select(vec![0.3, 0.7, 1.6, 2.0]),
    ) {
        let (threshold, kind) = attack.threshold();
        let load = Load { attack, rate: threshold * factor };
        let (expected, _) = run(5_000, regular(5_000), load);
        let (found, _) = run(5_000, lengths, load);
        prop_assert_eq!(&found, &expected);
        let is_found = found.iter().any(|(found, ..)| Some(*found) == kind);
        prop_assert_eq!(is_found, factor > 1.0, "{:?}", found);
    }

    /// A stall: eight seconds come in one window of a second. Whatever the rate, that makes no alert that eight windows would
    /// not have made.
    #[test]
    fn a_stall_makes_no_alert(
        attack in attack(),
        rate in 0.0..2.0_f64,
        at in 0..(QUIET_MS + ATTACK_MS) / 1_000 - 8,
    ) {
        let (threshold, _) = attack.threshold();
        let load = Load { attack, rate: (threshold * rate).round() };
        let (expected, _) = run(1_000, regular(1_000), load);
        let (found, _) = run(1_000, stalled(at), load);
        prop_assert!(found.is_subset(&expected), "{:?} beyond {:?}", found, expected);
    }
}

/// Windows of a second, but for one after so many that holds eight.
fn stalled(at: u64) -> impl Iterator<Item = u64> {
    let all = (QUIET_MS + ATTACK_MS) / 1_000;
    (0..at).map(|_| 1_000).chain([8_000]).chain((at + 8..all).map(|_| 1_000))
}

#[test]
fn a_stall_is_no_spike_and_is_not_learned_as_one() {
    let quiet = Load { attack: Attack::Nothing, rate: 0.0 };
    let (expected, regular) = run(1_000, regular(1_000), quiet);
    assert_eq!(expected, Found::new());
    // Each second window of 6 s has a stall in it, and there are three in a row.
    let all = (QUIET_MS + ATTACK_MS) / 1_000;
    let often = (0..all / 12).flat_map(|_| [8_000, 1_000, 1_000, 1_000, 1_000]);
    let in_a_row = (0..QUIET_MS / 1_000).map(|_| 1_000).chain([8_000; 3]).chain((0..100).map(|_| 1_000));
    for lengths in [often.collect::<Vec<u64>>(), in_a_row.collect()] {
        let (found, analysis) = run(1_000, lengths, quiet);
        assert_eq!(found, Found::new());
        for metric in [Metric::Bandwidth, Metric::Packets, Metric::Connections] {
            let [learned, usual] = [&analysis, &regular].map(|analysis| {
                analysis.baselines().expect(metric, time(QUIET_MS + ATTACK_MS)).expect("it is warm").median
            });
            assert!((learned / usual - 1.0).abs() < 0.01, "{metric:?}: {learned} for {usual}");
        }
    }
}

/// A scan of more ports than one thread takes alone, beside as many conversations: with two threads each detector gets what it
/// needs of every flow.
#[test]
fn two_threads_find_in_a_large_window_what_one_does() {
    let found = |threads| {
        let (detect, models) = (DetectConfig::default(), Models::default());
        let mut analysis = Analysis::new(&AnalysisOptions {
            base_ns: 5_000 * MS,
            lengths: Lengths::Measured,
            detect: &detect,
            baseline: &BaselineConfig::default(),
            models: &models,
            ids: IdentityScope::default(),
            threads,
        });
        let mut windows = Windows::new(5_000 * MS, Seed::fixed());
        windows.open(time(0), time(5_000));
        for port in 1..=2_000 {
            windows.add(attempt((LAN + 1, 40_000), (LAN + 2, port), false));
            windows.add(attempt((LAN + 3, 10_000 + port), (LAN + 4, 443), true));
        }
        let measured = Measured { length_ns: 5_000 * MS, ..Measured::default() };
        let closed = windows.close_measured(&LedgerSlot::default(), measured).expect("a window is open");
        let judged = analysis.close(closed);
        let alerts = judged.iter().flat_map(|judged| &judged.alerts);
        let mut found: Vec<_> = alerts.map(|(_, alert)| (alert.key, alert.finding.summary.clone())).collect();
        found.sort();
        found
    };
    let of_one = found(1);
    assert!(of_one.iter().any(|(key, _)| key.kind == AlertKind::PortScan), "{of_one:?}");
    assert_eq!(found(2), of_one);
}

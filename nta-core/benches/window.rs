//! How long a window with 100,000 hosts takes: its flows taken in; the window closed, merged into the longer one, and judged
//! by every detector; every host's features computed. Needs no rights.
//!
//! Run by `cargo xtask bench window`.
#![expect(clippy::print_stdout, reason = "the bench's result")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use nta_common::LedgerSlot;
use nta_common::flow::Counts;
use nta_common::packet::proto;
use nta_core::analysis::{Analysis, AnalysisOptions};
use nta_core::baseline::BaselineConfig;
use nta_core::detect::DetectConfig;
use nta_core::domain::{
    ConnState, Endpoint, FlowId, FlowObservation, FlowRecord, History, IdentityScope, TcpCounts, Timestamp,
};
use nta_core::features::{Extent, extract};
use nta_core::model::Models;
use nta_core::window::{Lengths, Seed, Snapshot, Span, Windows};

const HOSTS: u32 = 100_000;
/// Servers that these hosts talk to.
const SERVERS: u32 = 200;
const SPAN_NS: u64 = 5_000_000_000;
const ROUNDS: u64 = 13;

fn main() {
    let json = std::env::args().any(|arg| arg == "--json");
    // In no order, as the kernel's table hands its flows out: steps of a prime that does not divide their number.
    let flows: Vec<FlowObservation> =
        (0..HOSTS).map(|at| flow((u64::from(at) * 1_000_003 % u64::from(HOSTS)) as u32)).collect();
    let mut windows = Windows::new(SPAN_NS, Seed::random());
    let mut analysis = Analysis::new(&AnalysisOptions {
        base_ns: SPAN_NS,
        lengths: Lengths::Measured,
        detect: &DetectConfig::default(),
        baseline: &BaselineConfig::default(),
        models: &Models::default(),
        ids: IdentityScope::default(),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
    });
    let mut steps: [(&str, Vec<f64>); 3] = [("add", Vec::new()), ("close", Vec::new()), ("features", Vec::new())];
    let mut memory = 0;
    for round in 0..ROUNDS {
        windows.open_at(Timestamp::from_nanos(round * SPAN_NS));
        let began = Instant::now();
        flows.iter().for_each(|seen| windows.add(seen.clone()));
        steps[0].1.push(ms(began));
        let began = Instant::now();
        let Some(closed) = windows.close(&LedgerSlot::default()) else { return };
        let judged = analysis.close(closed);
        steps[1].1.push(ms(began));
        let began = Instant::now();
        let extent = Extent { seconds: 5.0, base_windows: 1.0 };
        let base = judged.iter().map(|judged| &judged.snapshot).filter(|snapshot| snapshot.span == Span::Base);
        let sum: f64 =
            base.flat_map(|snapshot| snapshot.hosts.iter()).map(|host| black_box(extract(host, extent))[0]).sum();
        steps[2].1.push(ms(began));
        assert!(sum > 0.0);
        memory = judged.iter().map(|judged| bytes(&judged.snapshot)).fold(memory, usize::max);
    }
    let mut total = 0.0;
    for (step, times) in steps {
        let (middle, longest) = (median(times.clone()), times.iter().copied().fold(0.0, f64::max));
        total += middle;
        line(json, step, middle, longest);
    }
    line(json, "total", total, total);
    if !json {
        println!("hosts of the longest window: {:.1} MiB", memory as f64 / f64::from(1 << 20));
    }
}

fn bytes(snapshot: &Snapshot) -> usize {
    snapshot.hosts.iter().map(nta_core::window::HostStats::memory_bytes).sum()
}

fn line(json: bool, step: &str, median_ms: f64, longest_ms: f64) {
    if json {
        println!(
            r#"{{"bench":"window","step":"{step}","hosts":{HOSTS},"ms":{median_ms:.2},"longest_ms":{longest_ms:.2}}}"#
        );
    } else {
        println!("window {step:<10} {HOSTS:>7} hosts {median_ms:>8.2} ms, longest {longest_ms:.2} ms");
    }
}

fn ms(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1000.0
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A connection of each host to one of the servers; every tenth host sends it a SYN and no more, as in a flood.
fn flow(n: u32) -> FlowObservation {
    let floods = n.is_multiple_of(10);
    let side = |address: u32, port, packets| Endpoint {
        address: IpAddr::V4(Ipv4Addr::from(address)),
        port,
        sent: Counts { packets, bytes: packets * 500, ip_bytes: packets * 486 },
        tcp: TcpCounts { syn: u32::from(port != 443), syn_ack: u32::from(port == 443), ..TcpCounts::default() },
        payload_bytes: Some(packets * 400),
        translated: None,
    };
    let originator = side(0x0a00_0000 + n, 40_000, if floods { 1 } else { 10 });
    let responder = side(0xc633_6400 + n % SERVERS, 443, if floods { 0 } else { 12 });
    let history = History::parse(if floods { "S" } else { "ShADad" });
    let record = FlowRecord {
        id: FlowId(u64::from(n)),
        proto: proto::TCP,
        originator,
        responder,
        nesting: Default::default(),
        vlan: 0,
        first: Timestamp::from_nanos(0),
        last: Timestamp::from_nanos(1_000_000_000),
        handshake_us: [20_000, 300],
        service: None,
        conn_state: if floods { ConnState::S0 } else { ConnState::S1 },
        history,
        ended: None,
    };
    FlowObservation {
        flow: record,
        sent: [originator.sent, responder.sent],
        tcp: [originator.tcp, responder.tcp],
        rtt: Default::default(),
        is_new: true,
    }
}

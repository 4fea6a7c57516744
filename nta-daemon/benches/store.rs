//! How long it takes to write 100,000 flows that changed in one window, in one transaction of a database file; 20,000 windows
//! in one transaction, and 2,000 windows as a replay writes them: one in a batch, as many batches together as wait.
//!
//! Run by `cargo bench -p nta-daemon --bench store`; NTA_DATABASE names another (empty) database, NTA_BENCH_CASES some of
//! `flows`, `windows` and `replay`, apart by commas.
#![expect(clippy::print_stdout, reason = "the bench's result")]

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use nta_common::flow::Counts;
use nta_core::domain::{ConnState, Endpoint, FlowId, FlowRecord, History, Mode, TcpCounts, Timestamp};
use nta_core::window::{Rtt, Talker, Window};
use nta_daemon::store::{Run, Store, WindowBatch};

const FLOWS: u64 = 100_000;
const WINDOWS: u64 = 20_000;
const SMALL_BATCHES: u64 = 2_000;
const FLOWS_OF_A_WINDOW: u64 = 10;
/// As the daemon's.
const QUEUE: usize = 64;
const ROUNDS: u64 = 5;
const SECOND: u64 = 1_000_000_000;

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = format!("sqlite:{}", folder.path().join("nta.db").display());
    let store = Store::open(&std::env::var("NTA_DATABASE").unwrap_or(file)).await.expect("a database");
    let started = Timestamp::from_nanos(SECOND);
    let run = Run {
        started,
        mode: Mode::Replay,
        source: "bench".to_owned(),
        version: "0".to_owned(),
        sensor: "test".to_owned(),
        uuid: Run::new_uuid(Timestamp::from_nanos(1)),
        analysis: None,
    };
    let run = store.begin_run(&run).await.expect("a run");
    let (writer, _task) = store.writer(run, QUEUE);
    let cases = std::env::var("NTA_BENCH_CASES").unwrap_or_else(|_| "flows,windows,replay".to_owned());
    let rounds = |case: &str| if cases.split(',').any(|named| named == case) { ROUNDS } else { 0 };
    for round in 1..=rounds("flows") {
        // Identities are hashes: spread over all 64 bits.
        let flows = (0..FLOWS).map(|n| flow(n.wrapping_mul(0x9e37_79b9_7f4a_7c15), round)).collect();
        writer.send(WindowBatch { window: None, flows, ..WindowBatch::default() }).await.expect("sent");
        writer.flush().await.expect("written");
        let what = if round == 1 { "inserted" } else { "updated" };
        println!("store {FLOWS} flows {what} in {} ms", store.stats().last_commit_us / 1000);
    }
    for round in 0..rounds("windows") {
        let longer = (0..WINDOWS).map(|n| (6, window(round * WINDOWS + n))).collect();
        writer.send(WindowBatch { longer, ..WindowBatch::default() }).await.expect("sent");
        writer.flush().await.expect("written");
        println!("store {WINDOWS} windows in {} ms", store.stats().last_commit_us / 1000);
    }
    for round in 0..rounds("replay") {
        let begin = Instant::now();
        for n in 0..SMALL_BATCHES {
            let number = round * SMALL_BATCHES + n;
            let flows = (0..FLOWS_OF_A_WINDOW).map(|at| flow(number * FLOWS_OF_A_WINDOW + at + 1, round)).collect();
            let batch = WindowBatch { window: Some(window(number)), flows, ..WindowBatch::default() };
            writer.send(batch).await.expect("sent");
        }
        writer.flush().await.expect("written");
        println!("store {SMALL_BATCHES} batches of a replay in {} ms", begin.elapsed().as_millis());
    }
}

fn window(n: u64) -> Window {
    let talker = |at: u64| Talker {
        address: Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, at as u8))),
        packets_sent: n / (at + 1),
        bytes_sent: n * 300 / (at + 1),
        flows: 3,
        ..Talker::default()
    };
    Window {
        id: n + 1,
        start: Timestamp::from_nanos(5 * n * SECOND),
        end: Timestamp::from_nanos(5 * (n + 1) * SECOND),
        packets: n,
        bytes: n * 700,
        rtt: Rtt { count: 10, sum_us: 125_000, min_us: 1_000, max_us: 80_000, ..Rtt::default() },
        top_talkers: (0..4).map(talker).collect(),
        ..Window::default()
    }
}

fn flow(id: u64, round: u64) -> FlowRecord {
    let side = |last_octet: u8, port| Endpoint {
        address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, last_octet)),
        port,
        sent: Counts { packets: round, bytes: round * 100, ip_bytes: round * 86 },
        tcp: TcpCounts::default(),
        payload_bytes: Some(round * 40),
        translated: None,
    };
    FlowRecord {
        id: FlowId(id),
        proto: 6,
        originator: side(1, 40_000),
        responder: side(2, 443),
        nesting: Default::default(),
        vlan: 0,
        first: Timestamp::from_nanos(SECOND),
        last: Timestamp::from_nanos((1 + round) * SECOND),
        handshake_us: [1500, 0],
        service: None,
        conn_state: ConnState::S1,
        history: History::parse("ShADad"),
        ended: None,
    }
}

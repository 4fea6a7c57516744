//! How long it takes to write 100,000 flows that changed in one window, in one transaction of a database file.
//!
//! Run by `cargo bench -p nta-daemon --bench store`; NTA_DATABASE names another (empty) database.
#![expect(clippy::print_stdout, reason = "the bench's result")]

use std::net::{IpAddr, Ipv4Addr};

use nta_common::flow::Counts;
use nta_core::domain::{ConnState, Endpoint, FlowId, FlowRecord, History, Mode, TcpCounts, Timestamp};
use nta_daemon::store::{Run, Store, WindowBatch};

const FLOWS: u64 = 100_000;
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
    let (writer, _task) = store.writer(run, 4);
    for round in 1..=ROUNDS {
        // Identities are hashes: spread over all 64 bits.
        let flows = (0..FLOWS).map(|n| flow(n.wrapping_mul(0x9e37_79b9_7f4a_7c15), round)).collect();
        writer.send(WindowBatch { window: None, flows, ..WindowBatch::default() }).await.expect("sent");
        writer.flush().await.expect("written");
        let what = if round == 1 { "inserted" } else { "updated" };
        println!("store {FLOWS} flows {what} in {} ms", store.stats().last_commit_us / 1000);
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
        conn_state: ConnState::S1,
        history: History::parse("ShADad"),
        ended: None,
    }
}

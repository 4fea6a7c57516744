//! How many windows a second a server takes into PostgreSQL from what gateways ship, by the collector's own path: messages are decoded,
//! stored as many together as have come, and answered with the watermark. Prints bytes on the wire of a window, and how much faster than real time a backlog goes in.
//!
//! Run by `cargo bench -p nta-daemon --bench ingest`; NTA_DATABASE names another (empty) database, NTA_BENCH_CASES some of `backlog`,
//! `vectors` and `steady`, apart by commas, NTA_BENCH_WINDOWS the windows of the backlog (100,000; 1,000,000 in the full form),
//! NTA_BENCH_COLLECTORS how many store at the same time (1).
#![expect(clippy::print_stdout, reason = "the bench's result")]

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use nta_core::domain::{Mode, Timestamp};
use nta_core::features::{FEATURES, SCHEMA_VERSION};
use nta_core::window::{Measured, Protocol, Rtt, Talker, Window};
use nta_daemon::api;
use nta_daemon::store::{About, FeatureRow, Head, MESSAGE_BYTES, Outbox, Run, Shipment, Store, WindowBatch};
use nta_tests::postgres::Postgres;

const S: u64 = 1_000_000_000;
/// As a collector takes them.
const MESSAGES_AT_ONCE: usize = 64;
const BYTES_TOGETHER: usize = 2 << 20;
/// Begin of everything, in seconds.
const BEGIN_S: u64 = 1_700_000_000 / 3600 * 3600;
const BASE_S: u64 = 5;
/// Gateways of the backlog, and of what comes as it is made.
const GATEWAYS: usize = 20;
const MANY_GATEWAYS: usize = 500;
/// Windows that each of the many sends, one in a message.
const STEADY_ROUNDS: u64 = 4;
/// The most active hosts of a window have a vector: as the daemon keeps them unless it is told otherwise.
const VECTORS: u64 = 50;
/// Of so many windows of a gateway's backlog, those with vectors.
const VECTOR_WINDOWS: u64 = 200;
/// The gateway whose messages are sent under the names of the others.
const NAME: &str = "gw-00000";

#[tokio::main]
async fn main() {
    let server = std::env::var("NTA_DATABASE").err().map(|_unset| {
        assert!(
            Postgres::is_installed(),
            "Debian's package postgresql is not installed, and NTA_DATABASE names no database"
        );
        // As the package sets it up: what is committed is on the disk.
        Postgres::start_with(|_| vec!["listen_addresses=".to_owned(), "fsync=on".to_owned()])
    });
    let url = server.as_ref().map_or_else(|| std::env::var("NTA_DATABASE").expect("is set"), Postgres::url);
    if let Some(server) = &server {
        while server.ask("SELECT 1").is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    let collectors =
        std::env::var("NTA_BENCH_COLLECTORS").map_or(1, |text| text.parse().expect("a number of collectors"));
    let mut stores = Vec::new();
    for _ in 0..collectors {
        stores.push(Store::open(&url).await.expect("a database"));
    }
    let cases = std::env::var("NTA_BENCH_CASES").unwrap_or_else(|_| "backlog,vectors,steady".to_owned());
    let is_asked = |case: &str| cases.split(',').any(|named| named == case);
    let windows = std::env::var("NTA_BENCH_WINDOWS").map_or(100_000, |text| text.parse().expect("a number of windows"));
    let mut names = 0..;
    let mut uuids = |count: usize| names.by_ref().take(count).collect::<Vec<usize>>();
    if is_asked("backlog") {
        let log = Log::of(windows * 10 / 17 / GATEWAYS as u64, 0, MESSAGE_BYTES).await;
        store_all(&stores, "a backlog", &log, &uuids(GATEWAYS)).await;
    }
    if is_asked("vectors") {
        let log = Log::of(VECTOR_WINDOWS, VECTORS, MESSAGE_BYTES).await;
        store_all(&stores, "a backlog with 50 vectors a window", &log, &uuids(GATEWAYS)).await;
    }
    if is_asked("steady") {
        let log = Log::of(STEADY_ROUNDS, 0, 1).await;
        store_all(&stores, "as it is made", &log, &uuids(MANY_GATEWAYS)).await;
    }
    for store in stores {
        store.close().await;
    }
}

/// What one gateway ships.
struct Log {
    uuid: [u8; 16],
    /// Messages as they go over the wire, before they are compressed.
    messages: Vec<Vec<u8>>,
    /// Windows of all lengths, and the seconds that they are of.
    windows: u64,
    seconds: u64,
}

impl Log {
    /// So many base windows with the longer ones and vectors of hosts, in messages as full as a gateway makes them.
    async fn of(base_windows: u64, vectors: u64, message_bytes: u64) -> Self {
        let outbox = Outbox { flows: false, raw_packets: false, max_bytes: 1 << 40 };
        let store = Store::open("sqlite::memory:").await.expect("a database").with_outbox(outbox);
        let uuid = Run::new_uuid(Timestamp::from_nanos(BEGIN_S * S));
        let run = Run {
            started: Timestamp::from_nanos(BEGIN_S * S),
            mode: Mode::Live,
            source: "eth0".to_owned(),
            version: "0".to_owned(),
            sensor: NAME.to_owned(),
            uuid,
            analysis: None,
        };
        let run = store.begin_run(&run).await.expect("a run");
        let (writer, _task) = store.writer(run, 64);
        for n in 0..base_windows {
            let lengths: Vec<u64> =
                [2, 6, 36, 720].into_iter().filter(|factor| (n + 1).is_multiple_of(*factor)).collect();
            let judged = lengths.iter().filter(|factor| [6, 36].contains(*factor));
            let features = [1].iter().chain(judged).flat_map(|factor| (0..vectors).map(|at| vector(n, *factor, at)));
            let batch = WindowBatch {
                window: Some(window(n, 1)),
                features: features.collect(),
                longer: lengths.iter().map(|factor| (*factor, window(n / factor, *factor))).collect(),
                ..WindowBatch::default()
            };
            writer.send(batch).await.expect("sent");
        }
        writer.flush().await.expect("written");
        let windows = [1, 2, 6, 36, 720].iter().map(|factor| base_windows / factor).sum();
        let epoch = store.log_state().await.expect("a log").epoch;
        let (mut messages, mut next) = (Vec::new(), 1);
        loop {
            let state = store.outbox_state().await.expect("an outbox");
            let sent = Timestamp::from_nanos(BEGIN_S * S);
            let head = Head { sensor: NAME.to_owned(), epoch: epoch.clone(), sent, about: About::default() };
            let shipment = store.shipment(next, message_bytes, head, &state).await.expect("a message");
            let Some((_, last)) = shipment.range() else { break };
            next = last + 1;
            messages.push(zstd::decode_all(&shipment.encode().expect("bytes")[12..]).expect("zstd"));
        }
        Self { uuid, messages, windows, seconds: base_windows * BASE_S }
    }

    /// Its messages, each from all of these gateways before the next: as many logs, and as many runs.
    fn messages_of(&self, gateways: &[usize]) -> Vec<Vec<u8>> {
        let of = |message: &Vec<u8>, gateway: usize| {
            let mut uuid = self.uuid;
            uuid[8..].copy_from_slice(&(gateway as u64).to_be_bytes());
            let named = replaced(message, NAME.as_bytes(), format!("gw-{gateway:05}").as_bytes());
            let plain = replaced(&named, &self.uuid, &uuid);
            let packed = zstd::bulk::compress(&plain, 3).expect("zstd");
            [b"ntaship2".as_slice(), &crc32fast::hash(&plain).to_be_bytes(), &packed].concat()
        };
        self.messages.iter().flat_map(|message| gateways.iter().map(move |gateway| of(message, *gateway))).collect()
    }
}

/// Stores what these gateways ship, and says how fast it was.
async fn store_all(stores: &[Store], what: &str, log: &Log, gateways: &[usize]) {
    let messages = log.messages_of(gateways);
    let bytes: usize = messages.iter().map(Vec::len).sum();
    let plain: usize = log.messages.iter().map(Vec::len).sum();
    let (windows, count) = (log.windows * gateways.len() as u64, messages.len());
    let mut of_collectors = vec![Vec::new(); stores.len()];
    for (at, message) in messages.into_iter().enumerate() {
        of_collectors[at % gateways.len() % stores.len()].push(message);
    }
    let begun = Instant::now();
    let collectors: Vec<_> = stores
        .iter()
        .zip(of_collectors)
        .map(|(store, messages)| tokio::spawn(collect(store.clone(), messages)))
        .collect();
    let mut stored = 0;
    for collector in collectors {
        stored += collector.await.expect("a collector");
    }
    let took_s = begun.elapsed().as_secs_f64();
    assert_eq!(stored, log.seconds / BASE_S * gateways.len() as u64, "each batch once");
    println!(
        "ingest {what}: {windows} windows of {} gateways in {count} messages in {took_s:.2} s: {:.0} windows/s, {:.0} messages/s, \
         {:.0} bytes a window on the wire ({:.0} plain), {:.0} times real time",
        gateways.len(),
        windows as f64 / took_s,
        count as f64 / took_s,
        bytes as f64 / windows as f64,
        plain as f64 / log.windows as f64,
        log.seconds as f64 / took_s,
    );
}

/// Stores messages in groups as a collector does; how many batches there were.
async fn collect(store: Store, messages: Vec<Vec<u8>>) -> u64 {
    let received = Timestamp::from_nanos(BEGIN_S * S);
    let (mut stored, mut messages) = (0, messages.into_iter().peekable());
    while messages.peek().is_some() {
        let (mut come, mut bytes) = (Vec::new(), 0);
        while let Some(message) = messages.next_if(|_| come.len() < MESSAGES_AT_ONCE && bytes < BYTES_TOGETHER) {
            bytes += message.len();
            come.push(Shipment::decode(&message).expect("a message"));
        }
        for taken in api::ingest(&store, &come, received, None).await.expect("stored") {
            stored += taken.expect("stored").stored;
        }
    }
    stored
}

/// Bytes with all that are like some replaced by as many others.
fn replaced(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut replaced = bytes.to_vec();
    let mut at = 0;
    while let Some(found) = replaced[at..].windows(old.len()).position(|window| window == old) {
        replaced[at + found..][..old.len()].copy_from_slice(new);
        at += found + old.len();
    }
    replaced
}

/// A window of a network with some hundred hosts: as many talkers and protocols as there can be, numbers that differ.
fn window(n: u64, factor: u64) -> Window {
    let noise = |at: u64| (n * 31 + at + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44;
    let talker = |at: u64| Talker {
        address: Some(host(noise(at))),
        packets_sent: noise(at + 10) * factor,
        packets_received: noise(at + 20) * factor,
        bytes_sent: noise(at + 30) * 700 * factor,
        bytes_received: noise(at + 40) * 300 * factor,
        flows: 3 + noise(at + 50) % 100,
    };
    let protocol = |number: u8| Protocol {
        number,
        packets: noise(number.into()) * factor,
        bytes: noise(number.into()) * 700 * factor,
        flows: noise(number.into()) % 1000,
    };
    let (start, span) = (BEGIN_S + n * factor * BASE_S, factor * BASE_S);
    Window {
        id: n + 1,
        start: Timestamp::from_nanos(start * S),
        end: Timestamp::from_nanos((start + span) * S),
        packets: noise(60) * factor,
        bytes: noise(60) * 700 * factor,
        flows: noise(61) % 5000,
        new_flows: noise(62) % 1000,
        rtt: Rtt { count: 10, sum_us: 125_000 + noise(63), min_us: 1_000, max_us: 80_000, ..Rtt::default() },
        protocols: [6, 17, 1].map(protocol).to_vec(),
        top_talkers: (0..10).map(talker).collect(),
        measured: Measured { span_ns: span * S, ..Measured::default() },
        ..Window::default()
    }
}

fn vector(n: u64, factor: u64, at: u64) -> FeatureRow {
    let (start, span) = (BEGIN_S + n / factor * factor * BASE_S, factor * BASE_S);
    FeatureRow {
        start: Timestamp::from_nanos(start * S),
        end: Timestamp::from_nanos((start + span) * S),
        span_ns: span * S,
        host: host(at * 31),
        schema_version: SCHEMA_VERSION,
        vector: (0..FEATURES.len())
            .map(|of| if of % 2 == 0 { 0.0 } else { (n + at) as f64 / (of + 3) as f64 })
            .collect(),
    }
}

fn host(n: u64) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(0x0a00_0000 | (n & 0xffff) as u32))
}

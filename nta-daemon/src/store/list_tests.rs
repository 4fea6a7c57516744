//! Lists over more rows than a page, and what is counted beside them.

use super::detection_tests::alert;
use super::server_tests::Server;
use super::tests::{FIRST_PAGE, begin, flow, window};
use super::*;
use ipnet::IpNet;
use nta_core::domain::{AlertId, Severity, Timestamp};
use std::net::IpAddr;

const S: u64 = 1_000_000_000;

#[tokio::test]
async fn pages_of_windows_that_are_made_keep_their_limit_and_meet_each_of_several_runs_once() {
    let store = Store::open("sqlite::memory:").await.expect("open");
    for _run in 0..3 {
        let (writer, _task) = begin(&store).await;
        for id in 1..=8 {
            writer.send(WindowBatch { window: Some(window(id)), ..WindowBatch::default() }).await.expect("send");
        }
        writer.flush().await.expect("flush");
    }
    let fifteen = WindowFilter { span_ns: Some(15 * S), ..WindowFilter::default() };
    for descending in [false, true] {
        for limit in 1..=10 {
            let mut position = Position { descending, after: None, limit };
            let mut met = Vec::new();
            loop {
                let page = store.merged_windows(&fifteen, 5 * S, position).await.expect("windows");
                assert!((1..=limit as usize).contains(&page.items.len()), "{limit}: {}", page.items.len());
                met.extend(page.items.into_iter().map(|window| (window.id, window.packets)));
                let Some(next) = page.next else { break };
                position.after = Some(next);
            }
            let mut sums: Vec<u64> = met.iter().map(|(_, packets)| *packets).collect();
            if descending {
                sums.reverse();
            }
            // Windows 1 and 2; 3 to 5; 6 to 8.
            assert_eq!(sums, [3, 3, 3, 12, 12, 12, 21, 21, 21], "limit {limit}");
            met.sort_unstable();
            met.dedup();
            assert_eq!(met.len(), 9, "each once");
        }
    }
}

/// A window that is made says which time of it is not in the database; whatever the page, the order and the interval.
async fn windows_whose_parts_are_gone(store: &Store) {
    let (writer, _task) = begin(store).await;
    // Number 1 begins at 5 s. Batches 13 and 14 were lost, and what lies before 11 is deleted.
    for id in (1..=12).chain(15..=22) {
        writer.send(WindowBatch { window: Some(window(id)), ..WindowBatch::default() }).await.expect("send");
    }
    // The run before it began late, and stands for its silence.
    let (quiet, _task) = begin(store).await;
    for id in 11..=13 {
        let mut window = window(id);
        window.measured.silence_ns = if id == 11 { 600 * S } else { 0 };
        quiet.send(WindowBatch { window: Some(window), ..WindowBatch::default() }).await.expect("send");
    }
    writer.flush().await.expect("flush");
    quiet.flush().await.expect("flush");
    let fifteen = WindowFilter { span_ns: Some(15 * S), ..WindowFilter::default() };
    let made = async |filter: &WindowFilter, descending, limit| {
        let mut position = Position { descending, after: None, limit };
        let mut made = Vec::new();
        loop {
            let page = store.merged_windows(filter, 5 * S, position).await.expect("windows");
            made.extend(page.items.into_iter().map(|window| {
                let [start, span, gap, lacks] = [
                    window.start.as_nanos(),
                    window.length_ns(),
                    window.measured.gap_ns,
                    window.measured.not_stored_ns,
                ]
                .map(|ns| ns / S);
                let is_said = window.measured.not_whole.is_some_and(|why| why.word() == "not_stored");
                assert_eq!(is_said, lacks > 0, "{window:?}");
                assert_eq!(span + gap + lacks, window.end.since(window.start) / S, "{window:?}");
                (start, window.packets, span, gap, lacks)
            }));
            let Some(next) = page.next else { break };
            position.after = Some(next);
        }
        made.sort_unstable();
        made
    };
    // What begins within a window because the run did is its gap.
    let whole = made(&fifteen, false, 10).await;
    assert_eq!(whole[0], (0, 3, 10, 5, 0));
    let retention = Retention { max_windows: 13 + 4, ..Retention::default() };
    let store_with_less = store.clone().with_retention(retention);
    store_with_less.retain().await.expect("retention");
    let oldest = store.windows(&WindowFilter::default(), WindowSort::Time, FIRST_PAGE).await.expect("windows");
    let gone = oldest.items[0].start.as_nanos() / S;
    assert!(gone > 15 && !gone.is_multiple_of(15), "it cuts a window in two: {gone}");
    let whole = made(&fifteen, false, 10).await;
    assert!(whole.iter().all(|(.., gap, _)| *gap == 0), "somebody counted all the time: {whole:?}");
    let lacks: Vec<u64> = whole.iter().map(|(.., lacks)| *lacks).filter(|lacks| *lacks > 0).collect();
    assert_eq!(lacks, [gone % 15, 10], "{whole:?}");
    for descending in [false, true] {
        for limit in 1..=4 {
            assert_eq!(made(&fifteen, descending, limit).await, whole, "{descending} {limit}");
        }
        // From any instant on the same is said of each window.
        for from in (0..=110).step_by(5) {
            let from = WindowFilter { from: Some(Timestamp::from_nanos(from * S)), ..fifteen.clone() };
            for window in made(&from, descending, 3).await {
                assert!(whole.contains(&window), "{window:?} is none of {whole:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_window_whose_parts_are_gone_says_so_on_sqlite() {
    windows_whose_parts_are_gone(&Store::open("sqlite::memory:").await.expect("open")).await;
}

#[tokio::test]
async fn a_window_whose_parts_are_gone_says_so_on_postgresql() {
    let Some(server) = Server::start("a_window_whose_parts_are_gone_says_so_on_postgresql") else { return };
    let store = server.open().await;
    windows_whose_parts_are_gone(&store).await;
    store.close().await;
}

/// Numbers `first` to `last`, of six alerts whose severity rises in the middle.
fn anomalies(first: u64, last: u64) -> Vec<Anomaly> {
    let finding = alert(1, 105).finding;
    let severity = |number| if number > 150 { Severity::High } else { Severity::Medium };
    (first..=last)
        .map(|number| Anomaly {
            number,
            alert: AlertId(number % 6),
            severity: severity(number),
            finding: finding.clone(),
        })
        .collect()
}

async fn counts_of_anomalies(store: &Store) {
    let (writer, _task) = begin(store).await;
    // The second batch brings some of the first one's again.
    for (first, last) in [(1, 290), (201, 310)] {
        let anomalies = anomalies(first, last);
        writer.send(WindowBatch { anomalies, ..WindowBatch::default() }).await.expect("send");
        writer.flush().await.expect("flush");
    }
    let counted = store.anomaly_counts(&AnomalyFilter::default()).await.expect("counts");
    let all_time = AnomalyFilter { from: Some(Timestamp::default()), ..AnomalyFilter::default() };
    assert_eq!(counted, store.anomaly_counts(&all_time).await.expect("counts"), "as the rows themselves say");
    let kinds: Vec<_> = counted.iter().map(|row| (row.severity, row.count, row.alerts)).collect();
    assert_eq!(kinds, [(Severity::Medium as i64, 150, 6), (Severity::High as i64, 160, 6)]);
}

#[tokio::test]
async fn anomalies_are_counted_once_each_on_sqlite() {
    counts_of_anomalies(&Store::open("sqlite::memory:").await.expect("open")).await;
}

#[tokio::test]
async fn anomalies_are_counted_once_each_on_postgresql() {
    let Some(server) = Server::start("anomalies_are_counted_once_each_on_postgresql") else { return };
    let store = server.open().await;
    counts_of_anomalies(&store).await;
    store.close().await;
}

/// Who sends a complaint names the address that the provider saw, and its port.
async fn flows_by_the_address_that_a_gateway_gives(store: &Store) {
    let outside = |port: u64| Some(std::net::SocketAddr::from(([203, 0, 113, 1], port as u16)));
    let flows = (1..=300_u64).map(|id| {
        let mut flow = flow(id, 10 + id, id);
        flow.originator.translated = if id % 2 == 0 { outside(20_000 + id) } else { None };
        // Back in again: both ends are of the gateway's address, and the flow is one.
        flow.responder.translated = if id % 10 == 0 { outside(443) } else { None };
        flow
    });
    let (writer, _task) = begin(store).await;
    writer.send(WindowBatch { flows: flows.collect(), ..WindowBatch::default() }).await.expect("send");
    writer.flush().await.expect("flush");
    let hosts = Addresses::from(IpAddr::from([203, 0, 113, 1]));
    let time = |s: u64| Some(Timestamp::from_nanos(s * S));
    for (filter, expected) in [
        (FlowFilter { hosts: hosts.clone(), ..FlowFilter::default() }, (2..=300).step_by(2).collect::<Vec<u64>>()),
        (FlowFilter { hosts: hosts.clone(), ports: vec![20_002], ..FlowFilter::default() }, vec![2]),
        (FlowFilter { ports: vec![20_300], ..FlowFilter::default() }, vec![300]),
        (
            FlowFilter { hosts: hosts.clone(), from: time(306), to: time(400), ..FlowFilter::default() },
            vec![296, 298, 300],
        ),
        (
            FlowFilter { hosts: IpAddr::from([10, 0, 0, 1]).into(), ports: vec![20_004], ..FlowFilter::default() },
            vec![4],
        ),
    ] {
        for sort in [FlowSort::Time, FlowSort::LastTime] {
            let mut position = Position { descending: true, after: None, limit: 40 };
            let mut met = Vec::new();
            loop {
                let page = store.find_flows(&filter, sort, position).await.expect("flows");
                met.extend(page.items.iter().map(|flow| flow.id.0));
                let Some(next) = page.next else { break };
                position.after = Some(next);
            }
            met.sort_unstable();
            assert_eq!(met, expected, "{filter:?} {sort:?}");
        }
    }
}

#[tokio::test]
async fn flows_are_found_by_the_address_that_a_gateway_gives_on_sqlite() {
    flows_by_the_address_that_a_gateway_gives(&Store::open("sqlite::memory:").await.expect("open")).await;
}

#[tokio::test]
async fn flows_are_found_by_the_address_that_a_gateway_gives_on_postgresql() {
    let name = "flows_are_found_by_the_address_that_a_gateway_gives_on_postgresql";
    let Some(server) = Server::start(name) else { return };
    let store = server.open().await;
    flows_by_the_address_that_a_gateway_gives(&store).await;
    store.close().await;
}

/// Windows 1 to 50,000, each with as many packets as its number; `numbers` is a table of the numbers from 2 on.
async fn write_windows_by_size(store: &Store, numbers: &str) {
    let (writer, _task) = begin(store).await;
    writer.send(WindowBatch { window: Some(window(1)), ..WindowBatch::default() }).await.expect("send");
    writer.flush().await.expect("flush");
    let copies = format!(
        "{numbers} INSERT INTO windows (id, run_id, sensor_id, factor, number, start_ns, end_ns, span_ns, packets, bytes, flows, \
         connections, bandwidth_bps, rtt_samples, body) SELECT i, run_id, sensor_id, 1, i, i * 5000000000, (i + 1) * 5000000000, span_ns, \
         i, 0, 0, 0, 0, 0, body FROM windows, n WHERE id = 1"
    );
    let mut transaction = store.database.begin().await.expect("begin");
    transaction.conn().expect("a connection").execute(Query::new(copies)).await.expect("copies");
    transaction.commit().await.expect("commit");
}

/// The two largest of a time in seconds, of these sensors or of all.
async fn largest(store: &Store, [from, to]: [u64; 2], whose: &[&str]) -> Result<Vec<u64>, StoreError> {
    let [from, to] = [from, to].map(|s| Some(Timestamp::from_nanos(s * S)));
    let whose = whose.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>().into();
    let filter = WindowFilter { from, to, span_ns: Some(5 * S), whose };
    let first = Position { descending: true, after: None, limit: 2 };
    store.windows(&filter, WindowSort::Packets, first).await.map(|page| page.items.iter().map(|w| w.id).collect())
}

#[tokio::test]
async fn windows_of_a_long_time_are_sorted_where_the_range_holds_most_of_them_or_few() {
    let store = Store::open("sqlite::memory:").await.expect("open");
    let numbers = "WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 50000)";
    write_windows_by_size(&store, numbers).await;
    let ids = async |from, to| largest(&store, [from, to], &[]).await.expect("windows");
    assert_eq!(ids(0, 1_000_000).await, [50_000, 49_999], "all of the time");
    assert_eq!(ids(5000, 10_000).await, [1999, 1998], "few, far from the largest");
    assert_eq!(ids(0, 240_000).await, [47_999, 47_998], "many, behind some that are larger");
    let refused = largest(&store, [0, 125_000], &[]).await.expect_err("many, behind many that are larger");
    assert!(matches!(refused, StoreError::TooMuch { table: "windows", .. }), "{refused}");
}

#[tokio::test]
async fn windows_of_any_time_are_sorted_on_postgresql() {
    let Some(server) = Server::start("windows_of_any_time_are_sorted_on_postgresql") else { return };
    let store = server.open().await;
    write_windows_by_size(&store, "WITH n (i) AS (SELECT generate_series(2, 50000))").await;
    let many = ["test", "b", "c", "d", "e", "f", "g", "h", "i"];
    for whose in [&[], &many[..1], &many] {
        let ids = async |from, to| largest(&store, [from, to], whose).await.expect("windows");
        assert_eq!(ids(0, 1_000_000).await, [50_000, 49_999], "all of the time, of {whose:?}");
        assert_eq!(ids(5000, 10_000).await, [1999, 1998], "few, far from the largest, of {whose:?}");
        assert_eq!(ids(0, 125_000).await, [24_999, 24_998], "many, behind many that are larger, of {whose:?}");
    }
    assert!(largest(&store, [0, 1_000_000], &many[1..]).await.expect("windows").is_empty(), "of others");
    store.close().await;
}

/// The largest flows come first, in pages that meet each once, with whatever filter.
async fn flows_by_size(store: &Store) {
    let (writer, _task) = begin(store).await;
    let packets = |id: u64| id * 37 % 50;
    let flows = (1..=40).map(|id| flow(id, 100 + id, packets(id))).collect();
    writer.send(WindowBatch { flows, ..WindowBatch::default() }).await.expect("send");
    writer.flush().await.expect("flush");
    let time = |seconds: u64| Some(Timestamp::from_nanos(seconds * S));
    for filter in [
        FlowFilter::default(),
        FlowFilter { from: time(1), to: time(1_000), ..FlowFilter::default() },
        FlowFilter { hosts: IpAddr::from([10, 0, 0, 1]).into(), from: time(1), ..FlowFilter::default() },
        FlowFilter {
            hosts: ["10.0.0.0/24".parse::<IpNet>().expect("network")].into_iter().collect(),
            ..FlowFilter::default()
        },
        FlowFilter { ports: vec![443], whose: Some("test").into(), ..FlowFilter::default() },
    ] {
        for (sort, descending) in [(FlowSort::Bytes, true), (FlowSort::Packets, true), (FlowSort::Packets, false)] {
            let mut position = Position { descending, after: None, limit: 7 };
            let mut met = Vec::new();
            loop {
                let page = store.find_flows(&filter, sort, position).await.expect("flows");
                met.extend(page.items.iter().map(|flow| {
                    let ends = [&flow.originator.sent, &flow.responder.sent];
                    let of = |count: &nta_common::flow::Counts| match sort {
                        FlowSort::Bytes => count.bytes,
                        _ => count.packets,
                    };
                    (ends.map(of).iter().sum::<u64>(), flow.id.0)
                }));
                if let Some(last) = page.items.last() {
                    let key = store.flow_key(last.id.0, sort).await.expect("key").expect("a flow");
                    assert_eq!(Some(key.value), met.last().and_then(|(size, _)| i64::try_from(*size).ok()));
                }
                let Some(next) = page.next else { break };
                position.after = Some(next);
            }
            assert_eq!(met.len(), 40, "{filter:?}");
            let is_in_order =
                |pair: &[(u64, u64)]| if descending { pair[0].0 >= pair[1].0 } else { pair[0].0 <= pair[1].0 };
            assert!(met.windows(2).all(is_in_order), "{filter:?} {sort:?}: {met:?}");
            met.sort_unstable_by_key(|(_, id)| *id);
            met.dedup();
            assert_eq!(met.len(), 40, "each once: {filter:?}");
        }
    }
    // More than an answer may be made of is refused, and not read.
    let flows = (41..=50_050).map(|id| flow(id, 100, 1)).collect();
    writer.send(WindowBatch { flows, ..WindowBatch::default() }).await.expect("send");
    writer.flush().await.expect("flush");
    let first = Position { descending: true, after: None, limit: 1 };
    let refused = store.find_flows(&FlowFilter::default(), FlowSort::Bytes, first).await;
    assert!(matches!(refused, Err(StoreError::TooMuch { .. })), "{refused:?}");
    // The largest of many are told as long as they are large: what comes behind them is not known.
    let large = [(60_001, 5_000), (60_002, 9_000), (60_003, 5_500), (60_004, 7_000)];
    let flows = large.map(|(id, packets)| flow(id, 100 + id % 2, packets)).into();
    writer.send(WindowBatch { flows, ..WindowBatch::default() }).await.expect("send");
    writer.flush().await.expect("flush");
    for sort in [FlowSort::Bytes, FlowSort::Packets] {
        let mut position = Position { descending: true, after: None, limit: 2 };
        let page = store.find_flows(&FlowFilter::default(), sort, position).await.expect("flows");
        assert_eq!(page.items.iter().map(|flow| flow.id.0).collect::<Vec<_>>(), [60_002, 60_004], "{sort:?}");
        position.after = page.next;
        position.limit = 1;
        let page = store.find_flows(&FlowFilter::default(), sort, position).await.expect("flows");
        assert_eq!(page.items.iter().map(|flow| flow.id.0).collect::<Vec<_>>(), [60_003], "{sort:?}");
        position.after = page.next;
        let refused = store.find_flows(&FlowFilter::default(), sort, position).await;
        assert!(matches!(refused, Err(StoreError::TooMuch { .. })), "{refused:?}");
    }
    let filter = FlowFilter { ports: vec![443], hosts: IpAddr::from([10, 0, 0, 1]).into(), ..FlowFilter::default() };
    let page = store.find_flows(&filter, FlowSort::Bytes, first).await.expect("flows");
    assert_eq!(page.items.iter().map(|flow| flow.id.0).collect::<Vec<_>>(), [60_002]);
}

#[tokio::test]
async fn flows_by_size_on_sqlite() {
    flows_by_size(&Store::open("sqlite::memory:").await.expect("open")).await;
}

#[tokio::test]
async fn flows_by_size_on_postgresql() {
    let Some(server) = Server::start("flows_by_size_on_postgresql") else { return };
    let store = server.open().await;
    flows_by_size(&store).await;
    store.close().await;
}

//! What retention deletes takes with it what was kept of it, and takes nothing that goes on; on both databases.

use super::db::Query;
use super::detection_tests::alert;
use super::server_tests::Server;
use super::tests::{FIRST_PAGE, begin, flow, window};
use super::*;
use nta_core::domain::{AlertChange, EndReason, FlowRecord, Mode, Timestamp};
use nta_core::window::{Measured, Window};

const S: u64 = 1_000_000_000;

/// Declares a test for each database: `name(store)` on a store that retention keeps within `bounds`.
macro_rules! on_both {
    ($check:ident, $sqlite:ident, $postgres:ident, $bounds:expr) => {
        #[tokio::test]
        async fn $sqlite() {
            let folder = tempfile::tempdir().expect("folder");
            let url = format!("sqlite:{}", folder.path().join("nta.db").display());
            let store = Store::open(&url).await.expect("open").with_retention($bounds);
            $check(&store).await;
        }

        #[tokio::test]
        async fn $postgres() {
            let Some(server) = Server::start(stringify!($postgres)) else { return };
            let store = server.open().await.with_retention($bounds);
            $check(&store).await;
            store.close().await;
        }
    };
}

async fn write(writer: &StoreWriter, batch: WindowBatch) {
    writer.send(batch).await.expect("send");
    writer.flush().await.expect("flush");
}

/// What hosts did is counted once, however few flows are kept: one that goes on stays until it is over.
async fn sums_of_hosts_hold(store: &Store) {
    let (writer, task) = begin(store).await;
    const FLOWS: u64 = 20;
    for packets in [3, 7, 12] {
        let flows = (1..=FLOWS).map(|id| flow(id, 100 + packets, packets)).collect();
        write(&writer, WindowBatch { flows, ..WindowBatch::default() }).await;
        store.retain().await.expect("retention");
    }
    assert_eq!(store.flow_count().await.expect("count"), FLOWS, "all of them go on");
    let sums = async || {
        let hosts = store.host([10, 0, 0, 1].into(), &Whose::default()).await.expect("host");
        (hosts[0].flows, hosts[0].packets_sent, hosts[0].bytes_received)
    };
    let expected = (FLOWS as i64, 12 * FLOWS as i64, 1200 * FLOWS as i64);
    assert_eq!(sums().await, expected);
    // Some are over, and are the ones that go; the others grow once more.
    let flows =
        (1..=FLOWS).map(|id| FlowRecord { ended: (id <= 15).then_some(EndReason::Closed), ..flow(id, 120, 12) });
    write(&writer, WindowBatch { flows: flows.collect(), ..WindowBatch::default() }).await;
    store.retain().await.expect("retention");
    let left: Vec<u64> = store.last_flows(100).await.expect("flows").iter().map(|flow| flow.id.0).collect();
    assert_eq!(left.len(), 5, "{left:?}");
    assert!(left.iter().all(|id| *id > 15), "{left:?}");
    // With the run its flows end, and no more are kept than may be.
    let end = WindowBatch { end: Some("completed"), ..WindowBatch::default() };
    write(&writer, end).await;
    writer.shutdown().await.expect("shutdown");
    task.await.expect("the writer ends");
    assert_eq!(store.flow_count().await.expect("count"), 2);
    assert_eq!(sums().await, expected);
}

on_both!(
    sums_of_hosts_hold,
    sums_of_hosts_hold_whatever_is_deleted_on_sqlite,
    sums_of_hosts_hold_whatever_is_deleted_on_postgresql,
    Retention { max_flows: 2, ..Retention::default() }
);

/// An hour of windows of 5, 10 and 30 s, and that of the hour itself.
async fn long_windows_stay(store: &Store) {
    // Nothing goes while it is written.
    let (writer, _task) = begin(&store.clone().with_retention(Retention::default())).await;
    for id in 1..720_u64 {
        let longer = [2, 6, 720].into_iter().filter(|factor| (id + 1).is_multiple_of(*factor)).map(|factor| {
            let start = Timestamp::from_nanos((id + 1 - factor) * 5 * S);
            let measured = Measured { span_ns: factor * 5 * S, ..Measured::default() };
            let end = start.plus(factor * 5 * S);
            (factor, Window { id: (id + 1) / factor, start, end, measured, ..window(id) })
        });
        let batch = WindowBatch { window: Some(window(id)), longer: longer.collect(), ..WindowBatch::default() };
        writer.send(batch).await.expect("send");
    }
    writer.flush().await.expect("flush");
    let by_length = async || {
        let count = Query::new("SELECT span_ns, count(*) AS windows FROM windows GROUP BY span_ns ORDER BY span_ns");
        let count = store.read("windows", count, |row| Ok((row.int("span_ns")? / S as i64, row.int("windows")?)));
        count.await.expect("counted")
    };
    assert_eq!(by_length().await, [(5, 719), (10, 360), (30, 120), (3600, 1)]);
    store.retain().await.expect("retention");
    // The newest begins with second 3595: of those of 5 and 10 s ten minutes stay, of those of 30 s twenty.
    assert_eq!(by_length().await, [(5, 121), (10, 60), (30, 40), (3600, 1)]);
    let stats = store.stats();
    let aged = [stats.windows_5s_aged, stats.windows_30s_aged, stats.windows_180s_aged, stats.windows_1h_aged];
    assert_eq!((aged, stats.windows_deleted), ([598 + 300, 80, 0, 0], 978));
    let sums = store.windows_summary(&WindowFilter { span_ns: Some(3600 * S), ..WindowFilter::default() }).await;
    assert_eq!(sums.expect("summary").windows, 1, "the hour is known by its own window");
}

on_both!(
    long_windows_stay,
    long_windows_stay_when_short_ones_are_too_old_on_sqlite,
    long_windows_stay_when_short_ones_are_too_old_on_postgresql,
    Retention {
        max_window_age_ns: [Some(600 * S), Some(1200 * S), None, Some(3600 * S)],
        reached_windows: 0,
        ..Retention::default()
    }
);

/// A window of so many packets of 1000 bytes that was counted for some of its time.
fn part(id: u64, packets: u64, counted_ms: u64) -> Window {
    let whole = window(id);
    let length_ns = (counted_ms * 1_000_000).max(1);
    let gap_ns = whole.end.since(whole.start) - length_ns;
    let measured = Measured { span_ns: 5 * S, length_ns, gap_ns, ..Measured::default() };
    Window { packets, bytes: packets * 1000, measured, ..whole }
}

/// The mean bandwidth is that of the time in which packets were counted, and sums are those of the windows that are stored.
async fn sums_are_of_stored_windows(store: &Store) {
    let (writer, _task) = begin(store).await;
    // The hour begins with two windows; the last one was counted for 0.27 s.
    let windows = [part(1, 50, 5_000), part(2, 50, 5_000), part(3, 30, 3_000), part(721, 6, 600), part(722, 10, 1_000)];
    for window in windows {
        write(&writer, WindowBatch { window: Some(window), ..WindowBatch::default() }).await;
    }
    // By hours, and window by window.
    let (all, these) =
        (WindowFilter::default(), WindowFilter { to: Some(Timestamp::from_nanos(3_640 * S)), ..Default::default() });
    let sums = async |filter: &WindowFilter| {
        let sums = store.windows_summary(filter).await.expect("summary");
        (sums.windows, sums.bytes, sums.span_ns, sums.min_bps, sums.max_bps)
    };
    // A rate divides by a second at least.
    let expected = (5, 146_000, 15 * S as i64, Some(48_000), Some(80_000));
    assert_eq!((sums(&all).await, sums(&these).await), (expected, expected));
    store.retain().await.expect("retention");
    assert_eq!(store.window_count().await.expect("count"), 2);
    let expected = (2, 16_000, 2 * S as i64, Some(48_000), Some(80_000));
    assert_eq!((sums(&all).await, sums(&these).await), (expected, expected), "what is deleted is counted no more");

    // For these nobody counted: they have no bandwidth.
    let of =
        async |window: Window| write(&writer, WindowBatch { window: Some(window), ..WindowBatch::default() }).await;
    of(part(723, 0, 0)).await;
    let expected = (3, 16_000, 2 * S as i64 + 1, Some(48_000), Some(80_000));
    assert_eq!((sums(&all).await, sums(&these).await), (expected, expected), "nothing was measured");
    let alone = WindowFilter { from: Some(Timestamp::from_nanos(3_615 * S)), ..Default::default() };
    assert_eq!(sums(&alone).await, (1, 0, 1, None, None), "least and most of nothing");
    of(part(724, 10, 1_000)).await;
    store.retain().await.expect("retention");
    let expected = (2, 10_000, S as i64 + 1, Some(80_000), Some(80_000));
    assert_eq!((sums(&all).await, sums(&these).await), (expected, expected), "made again");
    of(part(725, 0, 5_000)).await;
    assert_eq!((sums(&all).await.3, sums(&these).await.3), (Some(0), Some(0)), "a silence was measured");
}

on_both!(
    sums_are_of_stored_windows,
    sums_are_of_stored_windows_on_sqlite,
    sums_are_of_stored_windows_on_postgresql,
    Retention { max_windows: 2, ..Retention::default() }
);

/// Anomalies go with their alert, and counts by kind are those of what is stored.
async fn anomalies_go_with_their_alert(store: &Store) {
    let (writer, _task) = begin(store).await;
    let mut found = Found::new(store.clone(), 6);
    for n in 1..=6 {
        let known = alert(n, 100 + u64::from(n));
        found.alert(AlertChange::Raised, &known);
        let mut again = alert(n, 105 + u64::from(n));
        (again.id, again.finding.score, again.raised) = (known.id, f64::from(n) / 10.0, known.raised);
        again.latest = again.finding.clone();
        found.alert(AlertChange::Updated, &again);
    }
    let mut batch = WindowBatch::default();
    found.move_into(&mut batch);
    write(&writer, batch).await;
    // Counted anew of the rows, and as it was kept.
    let of_rows = AnomalyFilter { from: Some(Timestamp::from_nanos(0)), ..AnomalyFilter::default() };
    let stored = async || {
        let kept = store.anomaly_counts(&AnomalyFilter::default()).await.expect("counts");
        assert_eq!(kept, store.anomaly_counts(&of_rows).await.expect("counts"));
        kept.iter().map(|kind| (kind.count, kind.alerts)).collect::<Vec<_>>()
    };
    assert_eq!(stored().await, [(12, 6)]);
    store.retain().await.expect("retention");
    let anomalies = store.anomalies(&AnomalyFilter::default(), AnomalySort::Time, FIRST_PAGE).await.expect("anomalies");
    for anomaly in &anomalies.items {
        assert!(store.alert(&anomaly.alert).await.expect("query").is_some(), "{anomaly:?}");
    }
    assert_eq!((anomalies.items.len(), stored().await), (4, vec![(4, 2)]));
    assert_eq!(store.stats().anomalies_deleted, 8);
    // One by one as well.
    let bound = Retention { max_anomalies: 1, ..Retention::default() };
    store.clone().with_retention(bound).retain().await.expect("retention");
    assert_eq!(stored().await, [(1, 1)]);
    let nothing = Query::new("DELETE FROM anomalies");
    let mut transaction = store.database.begin().await.expect("begin");
    let gone = deleted::delete(transaction.conn().expect("open"), "anomalies", nothing).await.expect("deleted");
    transaction.commit().await.expect("commit");
    assert_eq!((gone.rows, stored().await), (1, vec![]));
}

on_both!(
    anomalies_go_with_their_alert,
    anomalies_go_with_their_alert_on_sqlite,
    anomalies_go_with_their_alert_on_postgresql,
    Retention { max_alerts: 2, ..Retention::default() }
);

/// Old rows of a sensor go by the time that it has reached; what was found in a capture of long ago goes with the capture.
async fn what_a_capture_has_does_not_age(store: &Store) {
    let capture = sensor_of_capture(&format!("{:032x}", 7));
    for sensor in ["gw", capture.as_str()] {
        let run = Run {
            started: Timestamp::from_nanos(S),
            mode: Mode::Live,
            source: "eth0".to_owned(),
            version: "0".to_owned(),
            sensor: sensor.to_owned(),
            uuid: Run::new_uuid(Timestamp::from_nanos(1)),
            analysis: None,
        };
        let (writer, _task) = store.writer(store.begin_run(&run).await.expect("run"), 4);
        let mut found = Found::new(store.clone(), 6);
        found.alert(AlertChange::Raised, &alert(1, 10));
        let flow = FlowRecord { ended: Some(EndReason::Closed), ..flow(1, 10, 1) };
        let mut batch = WindowBatch { window: Some(window(1)), flows: vec![flow], ..WindowBatch::default() };
        found.move_into(&mut batch);
        write(&writer, batch).await;
        if sensor == "gw" {
            for id in [400_000, 400_001] {
                write(&writer, WindowBatch { window: Some(window(id)), ..WindowBatch::default() }).await;
            }
        }
        write(&writer, WindowBatch { end: Some("completed"), ..WindowBatch::default() }).await;
    }
    store.retain().await.expect("retention");
    for (sensor, [windows, flows, alerts]) in [("gw", [2, 0, 0]), (capture.as_str(), [1, 1, 1])] {
        let whose = Whose::from(Some(sensor));
        let filter = WindowFilter { span_ns: Some(5 * S), whose: whose.clone(), ..WindowFilter::default() };
        let stored = store.windows(&filter, WindowSort::Time, FIRST_PAGE).await.expect("windows").items.len();
        assert_eq!(stored, windows, "{sensor}");
        let filter = FlowFilter { whose: whose.clone(), ..FlowFilter::default() };
        let stored = store.find_flows(&filter, FlowSort::Time, FIRST_PAGE).await.expect("flows").items.len();
        assert_eq!(stored, flows, "{sensor}");
        let filter = AlertFilter { whose: whose.clone(), ..AlertFilter::default() };
        let stored = store.alerts(&filter, AlertSort::Time, FIRST_PAGE).await.expect("alerts").items.len();
        assert_eq!(stored, alerts, "{sensor}");
    }
}

on_both!(
    what_a_capture_has_does_not_age,
    what_a_capture_has_does_not_age_on_sqlite,
    what_a_capture_has_does_not_age_on_postgresql,
    Retention { max_age_ns: Some(86_400 * S), reached_windows: 0, ..Retention::default() }
);

/// Of too many flows those go that were stored first, and a capture's were stored when it was analysed, however old its packets are.
async fn what_was_stored_first_goes_first(store: &Store) {
    let capture = sensor_of_capture(&format!("{:032x}", 7));
    let write_flow = async |sensor: &str, started_s: u64, id: u64, last_s: u64| {
        let run = Run {
            started: Timestamp::from_nanos(started_s * S),
            mode: Mode::Replay,
            source: "x".to_owned(),
            version: "0".to_owned(),
            sensor: sensor.to_owned(),
            uuid: Run::new_uuid(Timestamp::from_nanos(1)),
            analysis: None,
        };
        let (writer, _task) = store.writer(store.begin_run(&run).await.expect("run"), 4);
        let last = Timestamp::from_nanos(last_s * S);
        let flow = FlowRecord { ended: Some(EndReason::Closed), first: last, last, ..flow(id, 10, 1) };
        write(&writer, WindowBatch { flows: vec![flow], ..WindowBatch::default() }).await;
        write(&writer, WindowBatch { end: Some("completed"), ..WindowBatch::default() }).await;
    };
    let left = async || {
        let mut left = Vec::new();
        for sensor in ["gw", capture.as_str()] {
            let filter = FlowFilter { whose: Whose::from(Some(sensor)), ..FlowFilter::default() };
            let page = store.find_flows(&filter, FlowSort::Time, FIRST_PAGE).await.expect("flows");
            left.extend(page.items.into_iter().map(|flow| flow.item.id.0));
        }
        left.sort_unstable();
        left
    };
    // Of packets of long ago, analysed between what the sensor saw.
    write_flow("gw", 50, 1, 100).await;
    write_flow(&capture, 1000, 2, 7).await;
    write_flow("gw", 50, 3, 2000).await;
    store.retain().await.expect("retention");
    assert_eq!(left().await, [2, 3], "the sensor's first was stored first");
    write_flow("gw", 50, 4, 3000).await;
    store.retain().await.expect("retention");
    assert_eq!(left().await, [3, 4], "then the capture's");
}

on_both!(
    what_was_stored_first_goes_first,
    what_was_stored_first_goes_first_on_sqlite,
    what_was_stored_first_goes_first_on_postgresql,
    Retention { max_flows: 2, ..Retention::default() }
);

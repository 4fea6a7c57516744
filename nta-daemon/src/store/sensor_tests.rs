//! Two sensors on one database: each row says whose it is, and each list can be had of one.

use super::detection_tests::alert;
use super::server_tests::Server;
use super::tests::{FIRST_PAGE, flow, window};
use super::*;
use nta_core::baseline::{BaselineConfig, Baselines, Export};
use nta_core::domain::{AlertId, Mode, Severity, Timestamp};
use nta_core::window::{Span, Window};

const S: u64 = 1_000_000_000;

/// Both see the same hosts at the same time; what `b` sees is ten times as much.
async fn two(store: &Store) {
    for (sensor, factor) in [("a", 1), ("b", 10)] {
        let run = Run {
            started: Timestamp::from_nanos(S),
            mode: Mode::Live,
            source: "eth0".to_owned(),
            version: "0".to_owned(),
            sensor: sensor.to_owned(),
            uuid: Run::new_uuid(Timestamp::from_nanos(1)),
            analysis: None,
        };
        let run = store.begin_run(&run).await.expect("run");
        let (writer, task) = store.writer(run, 4);
        for id in 1..=3 {
            let mut window = window(id);
            window.packets *= factor;
            // Identities contain the sensor.
            let flows = vec![flow(id + factor * 100, 10 + id, factor)];
            let mut batch = WindowBatch { window: Some(window.clone()), flows, ..WindowBatch::default() };
            if id == 3 {
                let alert = nta_core::domain::Alert { id: AlertId(factor), ..alert(3, 15) };
                let finding = alert.finding.clone();
                batch.anomalies = vec![Anomaly { number: 1, alert: alert.id, severity: Severity::Medium, finding }];
                batch.alerts = vec![alert];
                batch.longer = vec![(6, Window { packets: factor * 6, end: window.start.plus(30 * S), ..window })];
                batch.features = vec![FeatureRow {
                    start: Timestamp::from_nanos(15 * S),
                    end: Timestamp::from_nanos(20 * S),
                    span_ns: 5 * S,
                    host: [10, 0, 0, 1].into(),
                    schema_version: 1,
                    vector: vec![factor as f64],
                }];
                let usual = Export { updated_ns: factor, ..Baselines::new(BaselineConfig::default()).export() };
                batch.baselines = Some((Mode::Live, usual.into()));
            }
            writer.send(batch).await.expect("send");
        }
        writer.shutdown().await.expect("shutdown");
        task.await.expect("writer");
    }
}

/// The names that rows have, each once.
fn names<'a, T: 'a>(items: impl IntoIterator<Item = &'a BySensor<T>>) -> Vec<&'a str> {
    sorted(items.into_iter().map(|item| item.sensor.as_deref().expect("noted")))
}

fn sorted<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    names.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

async fn each_list_says_whose_its_rows_are_and_takes_one_sensor(store: &Store) {
    two(store).await;
    for (wanted, expected) in [(None, vec!["a", "b"]), (Some("a"), vec!["a"]), (Some("b"), vec!["b"])] {
        let sensor = wanted.map(str::to_owned);
        let sensors = expected.len();
        let both = |factor_a: u64| match wanted {
            None => factor_a * 11,
            Some("a") => factor_a,
            _ => factor_a * 10,
        };
        for span_ns in [5 * S, 15 * S] {
            let filter = WindowFilter { span_ns: Some(span_ns), sensor: sensor.clone(), ..WindowFilter::default() };
            let page = match span_ns / S {
                5 => store.windows(&filter, WindowSort::Packets, FIRST_PAGE).await,
                _ => store.merged_windows(&filter, 5 * S, FIRST_PAGE).await,
            };
            let page = page.expect("windows").items;
            assert_eq!(names(&page), expected, "{span_ns}");
            assert_eq!(page.iter().map(|window| window.packets).sum::<u64>(), both(6), "{span_ns}: {wanted:?}");
            for window in &page {
                let factor = if window.sensor.as_deref() == Some("b") { 10 } else { 1 };
                assert!(
                    window.packets % factor == 0 && window.packets <= 6 * factor,
                    "no window is of both: {window:?}"
                );
            }
        }
        let filter = WindowFilter { sensor: sensor.clone(), ..WindowFilter::default() };
        let summary = store.windows_summary(&filter).await.expect("summary");
        assert_eq!((summary.windows, summary.packets), (3 * sensors as i64, both(6) as i64));
        let from = Some(Timestamp::from_nanos(7 * S));
        let summary = store.windows_summary(&WindowFilter { from, ..filter.clone() }).await.expect("summary");
        assert_eq!(summary.windows, 3 * sensors as i64, "edges of the hour");
        let medium = WindowFilter { span_ns: Some(30 * S), ..filter };
        let medium = store.network_windows(Span::Medium, &medium, 10).await.expect("windows");
        assert_eq!(medium.iter().map(|window| window.packets).sum::<u64>(), both(6));

        for filter in [
            FlowFilter::default(),
            FlowFilter { host: Some([10, 0, 0, 1].into()), ..FlowFilter::default() },
            FlowFilter { port: Some(443), proto: Some(6), ..FlowFilter::default() },
            FlowFilter { from, ..FlowFilter::default() },
        ] {
            for sort in [FlowSort::Time, FlowSort::LastTime] {
                let filter = FlowFilter { sensor: sensor.clone(), ..filter.clone() };
                let page = store.find_flows(&filter, sort, FIRST_PAGE).await.expect("flows").items;
                assert_eq!((names(&page), page.len()), (expected.clone(), 3 * sensors), "{filter:?}");
            }
        }
        let hosts = store.hosts([None, None], wanted, HostSort::Bytes, FIRST_PAGE).await.expect("hosts").items;
        assert_eq!(sorted(hosts.iter().map(|host| host.sensor.as_deref().expect("noted"))), expected);
        let host =
            store.host([10, 0, 0, 1].into(), wanted).await.expect("host").into_iter().reduce(|sum, row| sum.and(&row));
        let host = host.expect("seen");
        assert_eq!((host.flows, host.packets_sent), (3 * sensors as i64, 3 * both(1) as i64));
        let peers = store.top_peers([10, 0, 0, 1].into(), wanted, 5).await.expect("peers");
        assert_eq!(peers.iter().map(|peer| peer.flows).sum::<i64>(), 3 * sensors as i64);
        let ports = store.top_ports([10, 0, 0, 1].into(), wanted, 5).await.expect("ports");
        assert_eq!(ports.iter().map(|port| port.flows).sum::<i64>(), 3 * sensors as i64);

        for filter in
            [AlertFilter::default(), AlertFilter { host: Some("10.0.0.3".to_owned()), ..AlertFilter::default() }]
        {
            let filter = AlertFilter { sensor: sensor.clone(), ..filter };
            let alerts = store.alerts(&filter, AlertSort::Time, FIRST_PAGE).await.expect("alerts").items;
            assert_eq!(sorted(alerts.iter().map(|alert| alert.sensor.as_deref().expect("noted"))), expected);
        }
        let long = Timestamp::from_nanos(u64::MAX / 4);
        let between = store.alerts_between(Timestamp::from_nanos(0), long, wanted).await.expect("alerts");
        assert_eq!(between.len(), sensors);
        let filter = AnomalyFilter { sensor: sensor.clone(), ..AnomalyFilter::default() };
        for sort in [AnomalySort::Time, AnomalySort::Score] {
            let anomalies = store.anomalies(&filter, sort, FIRST_PAGE).await.expect("anomalies").items;
            assert_eq!(sorted(anomalies.iter().map(|anomaly| anomaly.sensor.as_deref().expect("noted"))), expected);
        }
        let counts = store.anomaly_counts(&filter).await.expect("counts");
        assert_eq!(counts.iter().map(|count| count.count).sum::<i64>(), sensors as i64);
        let filter = FeatureFilter { span_ns: Some(5 * S), sensor: sensor.clone(), ..FeatureFilter::default() };
        let features = store.features(&filter, FIRST_PAGE).await.expect("features").items;
        assert_eq!(names(features.iter().map(|(_, row)| row)), expected);
    }
    let nobody = WindowFilter { sensor: Some("c".to_owned()), span_ns: Some(5 * S), ..WindowFilter::default() };
    assert!(store.windows(&nobody, WindowSort::Time, FIRST_PAGE).await.expect("windows").items.is_empty());
    // What is usual for one is not for the other.
    for (sensor, updated_ns) in [("a", 1), ("b", 10)] {
        let kept = store.baselines(&baselines_name(Mode::Live, sensor)).await.expect("readable").expect("kept");
        assert_eq!(kept.updated_ns, updated_ns);
    }
}

#[tokio::test]
async fn two_sensors_on_one_sqlite_file_are_told_apart() {
    let store = Store::open("sqlite::memory:").await.expect("open");
    each_list_says_whose_its_rows_are_and_takes_one_sensor(&store).await;
}

#[tokio::test]
async fn two_sensors_on_one_postgresql_database_are_told_apart() {
    let Some(server) = Server::start("two_sensors_on_one_postgresql_database_are_told_apart") else { return };
    let store = server.open().await;
    each_list_says_whose_its_rows_are_and_takes_one_sensor(&store).await;
    store.close().await;
}

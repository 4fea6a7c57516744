//! Two sensors on one database: each row says whose it is, and each list can be had of one.

use super::db::{Dialect, Query};
use super::detection_tests::alert;
use super::server_tests::Server;
use super::tests::{FIRST_PAGE, flow, window};
use super::*;
use nta_core::baseline::{BaselineConfig, Baselines, Export};
use nta_core::domain::{AlertId, Mode, Severity, Timestamp};
use nta_core::window::{Span, Window};
use std::net::IpAddr;

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

fn names_of_flows(flows: &[StoredFlow]) -> Vec<&str> {
    sorted(flows.iter().map(|flow| flow.sensor.as_deref().expect("noted")))
}

fn sorted<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    names.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

async fn each_list_says_whose_its_rows_are_and_takes_one_sensor(store: &Store) {
    two(store).await;
    let one = |name: &'static str| (Whose::from(Some(name)), vec![name]);
    let named = Whose::from(vec!["b".to_owned(), "a".to_owned(), "nobody".to_owned()]);
    for (whose, expected) in [(Whose::default(), vec!["a", "b"]), (named, vec!["a", "b"]), one("a"), one("b")] {
        let sensors = expected.len();
        let both = |factor_a: u64| match expected.as_slice() {
            ["a", "b"] => factor_a * 11,
            ["a"] => factor_a,
            _ => factor_a * 10,
        };
        for span_ns in [5 * S, 15 * S] {
            let filter = WindowFilter { span_ns: Some(span_ns), whose: whose.clone(), ..WindowFilter::default() };
            let page = match span_ns / S {
                5 => store.windows(&filter, WindowSort::Packets, FIRST_PAGE).await,
                _ => store.merged_windows(&filter, 5 * S, FIRST_PAGE).await,
            };
            let page = page.expect("windows").items;
            assert_eq!(names(&page), expected, "{span_ns}");
            assert_eq!(page.iter().map(|window| window.packets).sum::<u64>(), both(6), "{span_ns}: {whose:?}");
            for window in &page {
                let factor = if window.sensor.as_deref() == Some("b") { 10 } else { 1 };
                assert!(
                    window.packets % factor == 0 && window.packets <= 6 * factor,
                    "no window is of both: {window:?}"
                );
            }
        }
        let filter = WindowFilter { whose: whose.clone(), ..WindowFilter::default() };
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
            FlowFilter { hosts: IpAddr::from([10, 0, 0, 1]).into(), ..FlowFilter::default() },
            FlowFilter { ports: vec![443], protos: vec![6], ..FlowFilter::default() },
            FlowFilter { from, ..FlowFilter::default() },
        ] {
            for sort in [FlowSort::Time, FlowSort::LastTime] {
                let filter = FlowFilter { whose: whose.clone(), ..filter.clone() };
                let page = store.find_flows(&filter, sort, FIRST_PAGE).await.expect("flows").items;
                assert_eq!((names_of_flows(&page), page.len()), (expected.clone(), 3 * sensors), "{filter:?}");
            }
        }
        let hosts = store.hosts(&Addresses::default(), &whose, HostSort::Bytes, FIRST_PAGE).await.expect("hosts").items;
        assert_eq!(sorted(hosts.iter().map(|host| host.sensor.as_deref().expect("noted"))), expected);
        let host =
            store.host([10, 0, 0, 1].into(), &whose).await.expect("host").into_iter().reduce(|sum, row| sum.and(&row));
        let host = host.expect("seen");
        assert_eq!((host.flows, host.packets_sent), (3 * sensors as i64, 3 * both(1) as i64));
        let peers = store.top_peers([10, 0, 0, 1].into(), &whose, 5).await.expect("peers");
        assert_eq!(peers.iter().map(|peer| peer.flows).sum::<i64>(), 3 * sensors as i64);
        let ports = store.top_ports([10, 0, 0, 1].into(), &whose, 5).await.expect("ports");
        assert_eq!(ports.iter().map(|port| port.flows).sum::<i64>(), 3 * sensors as i64);

        for filter in
            [AlertFilter::default(), AlertFilter { host: IpAddr::from([10, 0, 0, 3]).into(), ..AlertFilter::default() }]
        {
            let filter = AlertFilter { whose: whose.clone(), ..filter };
            let alerts = store.alerts(&filter, AlertSort::Time, FIRST_PAGE).await.expect("alerts").items;
            assert_eq!(sorted(alerts.iter().map(|alert| alert.sensor.as_deref().expect("noted"))), expected);
        }
        let long = Timestamp::from_nanos(u64::MAX / 4);
        let wanted = whose.names().first().map(String::as_str).filter(|_| whose.names().len() == 1);
        let between = store.alerts_between(Timestamp::from_nanos(0), long, wanted).await.expect("alerts");
        assert_eq!(between.len(), sensors);
        let filter = AnomalyFilter { whose: whose.clone(), ..AnomalyFilter::default() };
        for sort in [AnomalySort::Time, AnomalySort::Score] {
            let anomalies = store.anomalies(&filter, sort, FIRST_PAGE).await.expect("anomalies").items;
            assert_eq!(sorted(anomalies.iter().map(|anomaly| anomaly.sensor.as_deref().expect("noted"))), expected);
        }
        let counts = store.anomaly_counts(&filter).await.expect("counts");
        assert_eq!(counts.iter().map(|count| count.count).sum::<i64>(), sensors as i64);
        let filter = FeatureFilter { span_ns: Some(5 * S), whose: whose.clone(), ..FeatureFilter::default() };
        let features = store.features(&filter, FIRST_PAGE).await.expect("features").items;
        assert_eq!(names(features.iter().map(|(_, row)| row)), expected);
    }
    let nobody = WindowFilter { whose: Some("c").into(), span_ns: Some(5 * S), ..WindowFilter::default() };
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

/// Windows, flows, alerts, anomalies, vectors and hosts of one sensor, then so many of two others that none of its rows is among
/// the newest or the largest that a list reads.
async fn three(store: &Store) {
    two(store).await;
    let copies = MOST_READ_AND_MORE;
    let mut transaction = store.database.begin().await.expect("begin");
    let conn = transaction.conn().expect("a connection");
    conn.run("INSERT INTO sensors (name) VALUES ('c')").await.expect("a third");
    // Every column as it is, but for those that are named; half of the copies are c's.
    for (table, id, new) in [
        (
            "windows",
            "id",
            "number = number + n * 10, start_ns = start_ns + n * 5000000000, end_ns = end_ns + n * 5000000000",
        ),
        (
            "flows",
            "number",
            "id = id + n * 1000, first_ns = first_ns + n * 1000000, last_ns = last_ns + n * 1000000000",
        ),
        (
            "detected_alerts",
            "number",
            "id = n, last_ns = last_ns + n, raised_ns = raised_ns + n, severity = 3, score_ppm = 1000000",
        ),
        (
            "anomalies",
            "id",
            "number = number + n, start_ns = start_ns + n, end_ns = end_ns + n, severity = 3, score_ppm = 1000000",
        ),
        ("aggregated_features", "id", "start_ns = start_ns + n * 5000000000, end_ns = end_ns + n * 5000000000"),
        ("hosts", "number", "host = n, last_ns = last_ns + n"),
    ] {
        let first = conn.fetch_all(Query::new(format!("SELECT * FROM {table} ORDER BY {id}"))).await.expect("rows");
        let columns = columns(&first[0]);
        let set: std::collections::BTreeMap<&str, &str> =
            new.split(", ").filter_map(|new| new.split_once(" = ")).collect();
        let names: Vec<&str> = columns.iter().map(String::as_str).filter(|name| *name != id).collect();
        let is_sqlite = conn.dialect() == Dialect::Sqlite;
        let value = |name: &&str| match (*name, set.get(*name)) {
            ("sensor_id", _) => "2 + n % 2".to_owned(),
            ("sensor", _) => "CASE n % 2 WHEN 0 THEN 'b' ELSE 'c' END".to_owned(),
            ("host", Some(_)) if is_sqlite => "CAST(substr('00000000' || n, -16) AS BLOB)".to_owned(),
            ("host", Some(_)) => "convert_to(lpad(CAST(n AS TEXT), 16, '0'), 'UTF8')".to_owned(),
            ("id", Some(_)) if table == "detected_alerts" => "CAST(n AS TEXT)".to_owned(),
            (_, Some(new)) => (*new).to_owned(),
            (name, None) => name.to_owned(),
        };
        let values: Vec<String> = names.iter().map(value).collect();
        let owner = if table == "hosts" { "sensor = 'b'" } else { "sensor_id = 2" };
        let copy = format!(
            "WITH RECURSIVE c (n) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT n + 1 FROM c WHERE n < {copies}) \
             INSERT INTO {table} ({}) SELECT {} FROM {table}, c WHERE {id} = (SELECT min({id}) FROM {table} WHERE {owner})",
            names.join(", "),
            values.join(", "),
        );
        conn.execute(Query::new(copy)).await.unwrap_or_else(|error| panic!("{table}: {error}"));
    }
    transaction.commit().await.expect("commit");
}

fn columns(row: &Row) -> Vec<String> {
    use sqlx::{Column as _, Row as _};
    match row {
        Row::Sqlite(row) => row.columns().iter().map(|column| column.name().to_owned()).collect(),
        Row::Postgres(row) => row.columns().iter().map(|column| column.name().to_owned()).collect(),
    }
}

/// More than a list reads beside what it answers, and again for the other sensor.
const MOST_READ_AND_MORE: u64 = 21_000;

async fn a_sensor_is_found_behind_many_rows_of_others(store: &Store) {
    three(store).await;
    // One sensor, and several.
    for names in [vec!["a"], vec!["a", "nobody"]] {
        is_found(store, &names.into_iter().map(str::to_owned).collect::<Vec<_>>().into()).await;
    }
    // Of those that are many, a page is the newest.
    let newest = Position { descending: true, after: None, limit: 10 };
    let filter = WindowFilter { span_ns: Some(5 * S), whose: Some("c").into(), ..WindowFilter::default() };
    let windows = store.windows(&filter, WindowSort::Time, newest).await.expect("windows").items;
    let starts: Vec<u64> = windows.iter().map(|window| window.start.as_nanos() / S).collect();
    let last = starts[0];
    assert_eq!(starts, (0..10).map(|n| last - n * 10).collect::<Vec<_>>(), "every second window is c's");
}

async fn is_found(store: &Store, whose: &Whose) {
    let host = IpAddr::from([10, 0, 0, 1]);
    for after in [None, Some(Key { value: i64::MAX - 1, id: 1 })] {
        let position = Position { descending: true, after, limit: 10 };
        for span_ns in [5 * S, 15 * S] {
            let filter = WindowFilter { span_ns: Some(span_ns), whose: whose.clone(), ..WindowFilter::default() };
            for sort in [WindowSort::Time, WindowSort::Packets, WindowSort::Bandwidth] {
                let page = match span_ns / S {
                    5 => store.windows(&filter, sort, position).await,
                    _ => store.merged_windows(&filter, 5 * S, Position { after: None, ..position }).await,
                };
                assert_eq!(names(&page.expect("windows").items), ["a"], "{span_ns} {sort:?}");
            }
        }
        for filter in [
            FlowFilter::default(),
            FlowFilter { hosts: host.into(), ..FlowFilter::default() },
            FlowFilter { ports: vec![443], ..FlowFilter::default() },
            FlowFilter { from: Some(Timestamp::from_nanos(S)), ..FlowFilter::default() },
        ] {
            for sort in [FlowSort::Time, FlowSort::LastTime] {
                let filter = FlowFilter { whose: whose.clone(), ..filter.clone() };
                let flows = store.find_flows(&filter, sort, position).await.expect("flows").items;
                assert_eq!((names_of_flows(&flows), flows.len()), (vec!["a"], 3), "{filter:?} {sort:?}");
            }
        }
        for sort in [AlertSort::Time, AlertSort::LastTime, AlertSort::Severity, AlertSort::Score] {
            for kind in [None, Some("port_scan")] {
                let filter = AlertFilter { whose: whose.clone(), kind, ..AlertFilter::default() };
                let alerts = store.alerts(&filter, sort, position).await.expect("alerts").items;
                assert_eq!(alerts.len(), 1, "{sort:?} {kind:?}");
            }
        }
        for sort in [AnomalySort::Time, AnomalySort::Score, AnomalySort::Severity] {
            for kind in [None, Some("port_scan")] {
                let filter = AnomalyFilter { whose: whose.clone(), kind, ..AnomalyFilter::default() };
                assert_eq!(
                    store.anomalies(&filter, sort, position).await.expect("anomalies").items.len(),
                    1,
                    "{sort:?}"
                );
            }
        }
        for host in [None, Some(host)] {
            let filter = FeatureFilter {
                span_ns: Some(5 * S),
                hosts: host.into(),
                whose: whose.clone(),
                ..FeatureFilter::default()
            };
            let features = store.features(&filter, position).await.expect("features").items;
            assert_eq!(names(features.iter().map(|(_, row)| row)), ["a"]);
        }
        for sort in [HostSort::LastTime, HostSort::Bytes] {
            let hosts = store.hosts(&Addresses::default(), whose, sort, position).await.expect("hosts").items;
            assert!(!hosts.is_empty() && hosts.iter().all(|host| host.sensor.as_deref() == Some("a")), "{sort:?}");
        }
    }
}

#[tokio::test]
async fn a_sensor_is_found_behind_many_rows_of_others_on_sqlite() {
    let store = Store::open("sqlite::memory:").await.expect("open");
    a_sensor_is_found_behind_many_rows_of_others(&store).await;
}

#[tokio::test]
async fn a_sensor_is_found_behind_many_rows_of_others_on_postgresql() {
    let Some(server) = Server::start("a_sensor_is_found_behind_many_rows_of_others_on_postgresql") else { return };
    let store = server.open().await;
    a_sensor_is_found_behind_many_rows_of_others(&store).await;
    store.close().await;
}

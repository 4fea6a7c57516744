//! The plans of every statement that a route reads by, on both databases: none goes through a whole large table.

use super::db::{Dialect, Query};
use super::server_tests::Server;
use super::tests::{FIRST_PAGE, begin, window};
use super::*;
use ipnet::IpNet;
use nta_core::domain::{Severity, Timestamp};
use nta_core::window::Span;
use std::net::IpAddr;

const S: u64 = 1_000_000_000;
const WINDOW_SORTS: [WindowSort; 6] = [
    WindowSort::Time,
    WindowSort::Bandwidth,
    WindowSort::Packets,
    WindowSort::Bytes,
    WindowSort::Flows,
    WindowSort::Connections,
];
/// Tables that grow with traffic.
const LARGE: [&str; 8] =
    ["flows", "windows", "hosts", "detected_alerts", "anomalies", "aggregated_features", "events", "raw_packets"];

/// Every statement that a route reads by.
async fn ask_everything(store: &Store) -> Vec<Query> {
    // The middle of a window of 10 s: whether the one before it is stored is asked as well.
    let (writer, _task) = begin(store).await;
    let late = WindowBatch { window: Some(window(3)), ..WindowBatch::default() };
    writer.send(late).await.expect("send");
    writer.flush().await.expect("flush");
    let of_the_writer = store.database.seen().len();
    let whole = WindowFilter { span_ns: Some(10 * S), ..WindowFilter::default() };
    let made = store.merged_windows(&whole, 5 * S, FIRST_PAGE).await.expect("windows");
    assert_eq!(made.items[0].measured.not_stored_ns, 5 * S);
    let time = Some(Timestamp::from_nanos(S));
    let position = Position { after: Some(Key { value: 7, id: 7 }), ..FIRST_PAGE };
    let host = IpAddr::from([10, 0, 0, 1]);
    let network: Addresses =
        ["10.0.0.0/8", "192.0.2.0/24"].map(|net| net.parse::<IpNet>().expect("network")).into_iter().collect();
    let several = Whose::from(vec!["a".to_owned(), "b".to_owned()]);
    let week = Some(Timestamp::from_nanos(S + 7 * 86_400 * S));
    for filter in [
        FlowFilter::default(),
        FlowFilter {
            hosts: host.into(),
            ports: vec![1],
            protos: vec![6],
            from: time,
            to: time,
            ..FlowFilter::default()
        },
        FlowFilter {
            hosts: ["10.0.0.0/8".parse::<IpNet>().expect("network")].into_iter().collect(),
            ports: vec![1],
            from: time,
            to: week,
            ..FlowFilter::default()
        },
        FlowFilter { whose: Some("a").into(), from: time, to: week, ..FlowFilter::default() },
        FlowFilter { whose: several.clone(), from: time, to: week, ..FlowFilter::default() },
        FlowFilter { whose: Some("a").into(), hosts: host.into(), ..FlowFilter::default() },
        FlowFilter {
            hosts: ["10.0.0.1/32", "10.0.0.3/32"].map(|net| net.parse::<IpNet>().expect("host")).into_iter().collect(),
            ports: vec![1, 2],
            from: time,
            ..FlowFilter::default()
        },
        FlowFilter { hosts: network.clone(), from: time, ..FlowFilter::default() },
        FlowFilter { ports: vec![1], protos: vec![6], from: time, ..FlowFilter::default() },
        FlowFilter { protos: vec![6], from: time, ..FlowFilter::default() },
        FlowFilter { from: time, ..FlowFilter::default() },
        FlowFilter { from: time, to: week, ..FlowFilter::default() },
    ] {
        for sort in [FlowSort::Time, FlowSort::LastTime] {
            store.find_flows(&filter, sort, FIRST_PAGE).await.expect("flows");
            for descending in [false, true] {
                let position = Position { descending, ..position };
                store.find_flows(&filter, sort, position).await.expect("flows");
                store.flows_between(&filter, sort, position).await.expect("flows");
            }
        }
        for sort in [FlowSort::Bytes, FlowSort::Packets] {
            for position in [FIRST_PAGE, position].map(|position| Position { descending: true, ..position }) {
                store.large_flows(&filter, sort, position).await.expect("flows");
            }
        }
    }
    for sort in [FlowSort::Time, FlowSort::LastTime] {
        store.flow_key(7, sort).await.expect("flow");
    }
    for sort in [HostSort::Bytes, HostSort::Packets, HostSort::Flows, HostSort::LastTime] {
        for (range, sensor) in [([time, None], None), ([time, week], None), ([time, week], Some("a"))] {
            for hosts in [Addresses::default(), host.into(), network.clone()] {
                store.hosts(&hosts, &sensor.into(), sort, position).await.expect("hosts");
            }
            let [from, to] = range;
            let filter = FlowFilter { from, to, whose: sensor.into(), ..FlowFilter::default() };
            store.hosts_between(&filter, sort, position).await.expect("hosts");
        }
    }
    for sensor in [None, Some("a")] {
        store.services(Range { from: time, to: week }, &sensor.into()).await.expect("services");
    }
    store.host(host, &Whose::default()).await.expect("host");
    store.profile_flows(host, &Some("a").into()).await.expect("flows");
    store.top_peers(host, &Some("a").into(), 10).await.expect("peers");
    store.top_ports(host, &Whose::default(), 10).await.expect("ports");
    store.runs_alike(&[7; 16]).await.expect("runs");
    for span_ns in [None, Some(10 * S)] {
        for (to, sensor) in [(time, None), (week, None), (week, Some("a".to_owned()))] {
            let filter = WindowFilter { from: time, to, span_ns, whose: sensor.clone().into() };
            for sort in WINDOW_SORTS {
                store.windows(&filter, sort, position).await.expect("windows");
            }
            store.windows_summary(&filter).await.expect("summary");
            store.merged_windows(&filter, 5 * S, position).await.expect("windows");
        }
        store.windows_summary(&WindowFilter { span_ns, ..WindowFilter::default() }).await.expect("summary");
    }
    let ten = WindowFilter { span_ns: Some(10 * S), ..WindowFilter::default() };
    for sort in WINDOW_SORTS {
        store.windows(&ten, sort, position).await.expect("windows");
    }
    let thirty = WindowFilter { span_ns: Some(30 * S), ..WindowFilter::default() };
    store.network_windows(Span::Medium, &thirty, 10).await.expect("windows");
    store.window(1).await.expect("window");
    store.window_ids(&[(1, 15, 20), (2, 15, 20)]).await.expect("windows");
    store.window_count().await.expect("count");
    store.flow_count().await.expect("count");
    for filter in [
        AlertFilter { from: time, ..AlertFilter::default() },
        AlertFilter { kind: Some("port_scan"), from: time, ..AlertFilter::default() },
        AlertFilter { severity: Some(Severity::High), from: time, ..AlertFilter::default() },
        AlertFilter { whose: Some("a").into(), from: time, ..AlertFilter::default() },
        AlertFilter { whose: several.clone(), from: time, ..AlertFilter::default() },
        AlertFilter { kinds: vec!["port_scan", "syn_flood"], from: time, ..AlertFilter::default() },
        AlertFilter {
            statuses: vec!["open", "acknowledged"],
            severities: vec![Severity::High],
            ..AlertFilter::default()
        },
        AlertFilter {
            host: PartyFilter::new(vec!["*".to_owned()], vec!["10.0.0.0/8".parse().expect("network")]),
            ..AlertFilter::default()
        },
        AlertFilter { host: IpAddr::from([10, 0, 0, 1]).into(), ..AlertFilter::default() },
        AlertFilter { source: IpAddr::from([10, 0, 0, 1]).into(), from: time, to: time, ..AlertFilter::default() },
    ] {
        for sort in [AlertSort::Time, AlertSort::LastTime, AlertSort::Severity, AlertSort::Score] {
            store.alerts(&filter, sort, FIRST_PAGE).await.expect("alerts");
            store.open_alerts(&filter).await.expect("alerts");
            store.alerts(&filter, sort, position).await.expect("alerts");
        }
    }
    store.alert("1").await.expect("alert");
    store.alert_notes("1").await.expect("notes");
    store.mutes().await.expect("mutes");
    store.alert_changes("1").await.expect("changes");
    store.anomalies_of_alert("1", 1000).await.expect("anomalies");
    for filter in [
        AnomalyFilter { from: time, ..AnomalyFilter::default() },
        AnomalyFilter { kind: Some("port_scan"), from: time, ..AnomalyFilter::default() },
        AnomalyFilter { severity: Some(Severity::High), from: time, to: week, ..AnomalyFilter::default() },
        AnomalyFilter {
            kind: Some("port_scan"),
            severity: Some(Severity::High),
            from: time,
            to: week,
            ..AnomalyFilter::default()
        },
        AnomalyFilter {
            kinds: vec!["port_scan", "syn_flood"],
            severities: vec![Severity::High, Severity::Critical],
            from: time,
            to: week,
            ..AnomalyFilter::default()
        },
        AnomalyFilter { whose: Some("a").into(), from: time, ..AnomalyFilter::default() },
        AnomalyFilter { whose: several.clone(), from: time, ..AnomalyFilter::default() },
    ] {
        for sort in [AnomalySort::Time, AnomalySort::Score, AnomalySort::Severity] {
            store.anomalies(&filter, sort, position).await.expect("anomalies");
        }
        store.anomaly_counts(&filter).await.expect("counts");
    }
    store.anomaly_counts(&AnomalyFilter::default()).await.expect("counts");
    store.anomalies_of_window(1, AnomalySort::Time, position).await.expect("anomalies");
    let features =
        FeatureFilter { span_ns: Some(5), hosts: host.into(), from: time, to: time, whose: Whose::default() };
    for hosts in [Addresses::default(), host.into(), network.clone()] {
        store.features(&FeatureFilter { hosts, ..features.clone() }, position).await.expect("features");
    }
    store
        .features(&FeatureFilter { hosts: Addresses::default(), whose: Some("a").into(), ..features.clone() }, position)
        .await
        .expect("features");
    store.events_after(5, 10).await.expect("events");
    store.raw_packets(5).await.expect("heads");
    store.baselines("live").await.expect("baselines");
    store.database.seen().split_off(of_the_writer)
}

/// Whether a statement that goes along an index ends with its limit: it filters nothing, so that every row counts, or looks
/// for the first row that is too many.
fn is_bounded_by_its_limit(sql: &str) -> bool {
    let is_filtered = sql.contains(" WHERE ") && !sql.contains(" WHERE 1 = 1 ORDER BY");
    !is_filtered && sql.contains(" LIMIT ") || sql.contains(" LIMIT 1 OFFSET ")
}

/// Whether a list is to be read in the order of an index.
fn is_in_order(sql: &str) -> bool {
    sql.contains("WHERE 1 = 1") && !sql.contains(" + 0 ASC") && !sql.contains(" + 0 DESC") && !sql.contains("UNION ALL")
}

/// Whether an index finds what is asked for: by one of the filters, and by the host where that is one, as of all that there are
/// its rows are the fewest.
fn are_found(filters: &[&str], is_found: impl Fn(&str) -> bool) -> bool {
    let hosts = ["host", "source", "destination", "orig_addr", "resp_addr", "orig_nat_addr", "resp_nat_addr"];
    let mut named = filters.iter().filter(|name| hosts.contains(name)).peekable();
    let is_any = filters.is_empty() || filters.iter().any(|name| is_found(name));
    if named.peek().is_some() { named.all(|name| is_found(name)) } else { is_any }
}

#[tokio::test]
async fn no_route_scans_a_table_on_sqlite() {
    let store = Store::open("sqlite::memory:").await.expect("open");
    let queries = ask_everything(&store).await;
    assert!(queries.len() > 200, "{}", queries.len());
    let all: std::collections::BTreeSet<&str> = queries.iter().flat_map(|query| filters(query.sql())).collect();
    assert!(
        ["host", "span_ns", "proto", "kind", "severity", "source"].iter().all(|name| all.contains(name)),
        "{all:?}"
    );
    let mut used = std::collections::BTreeSet::new();
    for query in queries {
        let text = format!("{query:?}");
        let mut found = String::new();
        for step in store.database.fetch_all(query.clone().explained(Dialect::Sqlite)).await.expect("a plan") {
            let step = step.text("detail").expect("a step");
            let is_large = LARGE.iter().any(|table| step.split(' ').any(|word| word == *table));
            let is_walk = step.contains("USING INDEX") || step.contains("USING COVERING INDEX");
            let is_bounded = is_walk && is_bounded_by_its_limit(query.sql());
            assert!(!step.starts_with("SCAN") || !is_large || is_bounded, "{step}\n{text}");
            let sorts = step.contains("USE TEMP B-TREE FOR ORDER BY");
            assert!(!sorts || !is_in_order(query.sql()), "sorted: {text}");
            used.extend(step.split(' ').filter(|word| word.starts_with("flows_")).map(str::to_owned));
            found += &step;
        }
        let is_found = |name: &str| found.contains(&format!("{name}=?")) || found.contains(&format!("({name},"));
        assert!(is_found_by_sensor(query.sql(), &is_found), "not by its sensor: {found}\n{text}");
        assert!(are_found(&filters(query.sql()), is_found), "no index finds it: {found}\n{text}");
    }
    // What no route reads by makes every batch of flows dearer. The flows that are active are what a run's end looks for.
    let indexes =
        Query::new("SELECT name FROM sqlite_schema WHERE type = 'index' AND name GLOB 'flows_*' ORDER BY name");
    let indexes = store.database.fetch_all(indexes).await.expect("the indexes");
    let indexes: Vec<String> = indexes.iter().map(|row| row.text("name").expect("a name")).collect();
    let unused: Vec<_> = indexes.iter().filter(|name| *name != "flows_active" && !used.contains(*name)).collect();
    assert!(indexes.len() > 10 && unused.is_empty(), "of {indexes:?} no route reads by {unused:?}");
}

/// Whether the index that is asked for by a sensor, and other columns behind it, finds the rows.
fn is_found_by_sensor(sql: &str, is_found: &impl Fn(&str) -> bool) -> bool {
    ["sensor_id", "sensor"].iter().all(|name| !sql.contains(&format!(" AND ({name}, ")) || is_found(name))
}

/// The columns that a statement holds against one value as they are; what is meant to be looked at row by row is written as
/// an expression.
fn filters(sql: &str) -> Vec<&str> {
    let is_name = |name: &&str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    sql.split(" AND ")
        .skip(1)
        .filter_map(|part| part.split_once(" = $"))
        .map(|(name, _)| name)
        .filter(is_name)
        .collect()
}

#[tokio::test]
async fn no_route_scans_a_table_on_postgresql() {
    let Some(server) = Server::start("no_route_scans_a_table_on_postgresql") else { return };
    let store = server.open().await;
    let queries = ask_everything(&store).await;
    let mut conn = store.database.connect().await.expect("a connection");
    // The tables are empty: what an index can do, it does; what is left is what no index can do.
    conn.run("SET enable_seqscan = off; SET enable_bitmapscan = off").await.expect("set");
    // Nor do the statistics of an empty table say that sorting costs more than an order that is there.
    let mut ordered = store.database.connect().await.expect("a connection");
    ordered.run("SET enable_seqscan = off; SET enable_bitmapscan = off").await.expect("set");
    ordered.run("SET enable_sort = off; SET enable_incremental_sort = off").await.expect("set");
    let scans = Query::new("SELECT * FROM flows WHERE orig_packets = 1").explained(Dialect::Postgres);
    let plan = conn.fetch_all(scans).await.expect("a plan");
    assert!(is_scan(&plan[0].text("QUERY PLAN").expect("a step")), "a scan is found where there is one");
    for query in queries {
        let text = format!("{query:?}");
        let is_by_sensor = query.sql().contains("ORDER BY sensor");
        let conn = if is_by_sensor { &mut ordered } else { &mut conn };
        let plan = conn.fetch_all(query.clone().explained(Dialect::Postgres)).await.expect("a plan");
        let steps: Vec<String> = plan.iter().map(|step| step.text("QUERY PLAN").expect("a step")).collect();
        let found: String = steps.iter().filter(|step| step.contains("Index Cond:")).map(String::as_str).collect();
        let is_found = |name: &str| found.contains(&format!("({name} = ")) || found.contains(&format!("ROW({name}, "));
        // Of what is sorted by another column, statistics decide: the tables are empty.
        let is_its = !is_by_sensor || is_found_by_sensor(query.sql(), &is_found);
        assert!(is_its, "not by its sensor: {steps:#?}\n{text}");
        // Of base windows a bounded time does: those of longer ones are in other parts.
        let is_of_time = ["(start_ns >= ", "(start_ns <"].iter().all(|bound| found.contains(bound));
        let is_found = |name: &str| is_found(name) || name == "factor" && is_of_time;
        assert!(are_found(&filters(query.sql()), is_found), "no index finds it: {steps:#?}\n{text}");
        for (index, step) in steps.iter().enumerate() {
            assert!(!is_scan(step), "{step}\n{text}");
            let is_large = is_on_large(step, " on ");
            if step.contains("Index") && step.contains("Scan using") && is_large {
                let is_bounded = steps.get(index + 1).is_some_and(|next| next.contains("Index Cond:"));
                assert!(is_bounded || is_bounded_by_its_limit(query.sql()), "{steps:#?}\n{text}");
            }
        }
    }
    store.close().await;
}

fn is_scan(step: &str) -> bool {
    is_on_large(step, "Seq Scan on ")
}

/// Whether a step reads a large table, or a part of one, in this way.
fn is_on_large(step: &str, way: &str) -> bool {
    let table = step.split_once(way).and_then(|(_, rest)| rest.split(' ').next());
    table.is_some_and(|table| {
        LARGE.contains(&table) || table.starts_with("windows_") // its parts
    })
}

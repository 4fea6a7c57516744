//! One suite on both databases, the query plans, and a database of the version before.

use super::body::before;
use super::db::Query;
use super::detection_tests::alert;
use super::flow_group_tests::grouped;
use super::server_tests::Server;
use super::tests::{FIRST_PAGE, begin, flow, window};
use super::*;
use nta_core::domain::{EndReason, FlowId, FlowRecord, Load, Mode, Nesting, Timestamp};
use nta_core::window::{Rtt, Window};
use std::net::IpAddr;

const S: u64 = 1_000_000_000;

/// The shortest round trip is a sample, also over windows of before, of which only means are known: that is said.
async fn shortest_round_trips(store: &Store) {
    let (writer, _task) = begin(store).await;
    let round_trips = |id: u64, us: [u64; 2]| {
        let rtt = Rtt { count: 2, sum_us: us[0] + us[1], min_us: us[0] as u32, max_us: us[1] as u32, ..Rtt::default() };
        WindowBatch { window: Some(Window { rtt, ..window(id) }), ..WindowBatch::default() }
    };
    let all = WindowFilter::default();
    // A part of an hour, which is read window by window.
    let part = WindowFilter { to: Some(Timestamp::from_nanos(1800 * S)), ..all.clone() };
    let write = |batches: Vec<WindowBatch>| async {
        for batch in batches {
            writer.send(batch).await.expect("send");
        }
        writer.flush().await.expect("flush");
        let mut found = Vec::new();
        for filter in [&all, &part] {
            let sums = store.windows_summary(filter).await.expect("summary");
            found.push((sums.rtt_min_ms, sums.rtt_means > 0, sums.rtt_max_ms));
        }
        found
    };
    let none = WindowBatch { window: Some(window(3)), ..WindowBatch::default() };
    let sums = write(vec![round_trips(1, [4_000, 8_000]), none, round_trips(2, [2_000, 30_000])]).await;
    assert_eq!(sums, [(Some(2.0), false, Some(30.0)); 2]);
    // As the version before left them.
    for table in ["windows", "window_hours"] {
        let mut transaction = store.database.begin().await.expect("a transaction");
        let before = Query::new(format!("UPDATE {table} SET rtt_shortest_ms = NULL"));
        transaction.conn().expect("a connection").execute(before).await.expect("an update");
        transaction.commit().await.expect("a commit");
    }
    assert_eq!(write(vec![]).await, [(Some(6.0), true, Some(30.0)); 2]);
    let sums = write(vec![round_trips(4, [1_000, 2_000])]).await;
    // Of an hour with such windows only their means are known.
    assert_eq!(sums, [(Some(1.5), true, Some(30.0)), (Some(1.0), true, Some(30.0))]);
    let sums = write(vec![round_trips(720, [500, 2_000])]).await;
    assert_eq!(sums, [(Some(0.5), true, Some(30.0)), (Some(1.0), true, Some(30.0))]);
}

#[tokio::test]
async fn the_shortest_round_trip_is_a_sample_on_sqlite() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(&format!("sqlite:{}", folder.path().join("nta.db").display())).await.expect("open");
    shortest_round_trips(&store).await;
}

#[tokio::test]
async fn the_shortest_round_trip_is_a_sample_on_postgresql() {
    let Some(server) = Server::start("the_shortest_round_trip_is_a_sample_on_postgresql") else { return };
    let store = server.open().await;
    shortest_round_trips(&store).await;
    store.close().await;
}

/// What every database must do.
async fn suite(store: &Store) {
    let (writer, _task) = begin(store).await;
    let flows = (1..=1200).map(|id| flow(id, 10 + id, id)).collect();
    let alerts = vec![alert(3, 105)];
    let batch = WindowBatch { window: Some(window(1)), flows, alerts, ..WindowBatch::default() };
    writer.send(batch).await.expect("send");
    // Some go on, some are new.
    let flows = (1000..=1300).map(|id| flow(id, 20 + id, id + 1)).collect();
    writer.send(WindowBatch { window: Some(window(2)), flows, ..WindowBatch::default() }).await.expect("send");
    writer.flush().await.expect("flush");
    assert_eq!((store.stats().failures, store.flow_count().await.expect("count")), (0, 1300));
    assert_eq!(store.window_count().await.expect("count"), 2);
    assert_eq!(store.last_flows(1).await.expect("last"), [flow(1300, 1320, 1301)]);

    let host = store.host([10, 0, 0, 1].into(), &Whose::default()).await.expect("query").remove(0);
    let packets: u64 = (1..1000).sum::<u64>() + (1000..=1300).map(|id| id + 1).sum::<u64>();
    assert_eq!((host.flows, host.flows_out, host.packets_sent), (1300, 1300, i64::try_from(packets).expect("fits")));
    let second = |s: u64| Some(Timestamp::from_nanos(s * S));
    let packets = i64::try_from(packets).expect("fits");
    let services = store.services(Range::default(), &Some("test").into()).await.expect("services");
    let whole =
        ServiceTotals { name: "https".to_owned(), proto: 0, flows: 1300, packets: 2 * packets, bytes: 200 * packets };
    assert_eq!(services, [whole]);
    // The steps from 300 s to 900 s: of these flows the last packet came 10 s after as many seconds as their id is.
    let part = store.services(Range { from: second(420), to: second(601) }, &Whose::default()).await.expect("services");
    let packets: i64 = (290..890).sum();
    assert_eq!((part[0].flows, part[0].packets, part[0].bytes), (600, 2 * packets, 200 * packets));
    let whose = Some("another").into();
    assert_eq!(store.services(Range::default(), &whose).await.expect("services"), []);
    let list = store.hosts(&Addresses::default(), &Whose::default(), HostSort::Bytes, FIRST_PAGE).await.expect("hosts");
    assert_eq!(list.items.len(), 2);
    assert_eq!(store.top_ports([10, 0, 0, 2].into(), &Whose::default(), 5).await.expect("ports")[0].what, "443");
    assert_eq!(store.top_peers([10, 0, 0, 2].into(), &Whose::default(), 5).await.expect("peers")[0].what, "10.0.0.1");
    for filter in [
        FlowFilter { hosts: IpAddr::from([10, 0, 0, 2]).into(), ..FlowFilter::default() },
        FlowFilter { ports: vec![443], ..FlowFilter::default() },
        FlowFilter { protos: vec![6], ..FlowFilter::default() },
    ] {
        // Page by page, each flow once.
        let mut position = Position { descending: true, after: None, limit: 500 };
        let mut seen = std::collections::BTreeSet::new();
        loop {
            let page = store.find_flows(&filter, FlowSort::LastTime, position).await.expect("flows");
            assert!(page.items.iter().all(|flow| seen.insert(flow.id.0)), "twice");
            let Some(next) = page.next else { break };
            position.after = Some(next);
        }
        assert_eq!(seen.len(), 1300, "{filter:?}");
    }
    let none = FlowFilter { hosts: IpAddr::from([10, 9, 9, 9]).into(), ..FlowFilter::default() };
    assert!(store.find_flows(&none, FlowSort::Time, FIRST_PAGE).await.expect("flows").items.is_empty());

    let summary = store.windows_summary(&WindowFilter::default()).await.expect("summary");
    assert_eq!((summary.windows, summary.packets, summary.bytes), (2, 3, 3000));
    let id = alert(3, 105).id.to_string();
    let patch = AlertPatch {
        verdict: None,
        status: Some("resolved"),
        note: Some("seen\0before".to_owned()),
        withdraw: None,
        by: Some("mira".to_owned()),
        at: Timestamp::from_nanos(S),
    };
    assert_eq!(store.patch_alert(&id, &patch).await.expect("patch"), Patched::Done);
    assert_eq!(store.alert_notes(&id).await.expect("notes").len(), 1);

    // The end of the run closes what is open.
    assert_eq!(store.alert(&id).await.expect("query").expect("alert").state, "raised");
    writer.send(WindowBatch { end: Some("completed"), ..WindowBatch::default() }).await.expect("send");
    writer.flush().await.expect("flush");
    let closed = store.alert(&id).await.expect("query").expect("alert");
    assert_eq!((closed.state.as_str(), closed.status.as_str()), ("cleared", "resolved"));
    assert!(store.last_flows(1).await.expect("last")[0].ended.is_some(), "no flow is active any more");
    let events = store.events_after(0, 100).await.expect("events");
    let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    let all =
        ["run_begun", "window_closed", "alert_raised", "window_closed", "alert_handled", "alert_cleared", "run_ended"];
    assert_eq!(kinds, all);
    assert!(events.iter().map(|event| event.seq).eq(1..=7), "numbers without gaps");

    // A live run that is killed is closed by the next start.
    let live = Run {
        started: Timestamp::from_nanos(S),
        mode: Mode::Live,
        source: "eth0".to_owned(),
        version: "0".to_owned(),
        sensor: "gw".to_owned(),
        uuid: Run::new_uuid(Timestamp::from_nanos(S)),
        analysis: None,
    };
    let (writer, _task) = store.writer(store.begin_run(&live).await.expect("run"), 4);
    let batch = WindowBatch { window: Some(window(9)), alerts: vec![alert(4, 106)], ..WindowBatch::default() };
    writer.send(WindowBatch { flows: vec![flow(5000, 9, 1)], ..batch }).await.expect("send");
    writer.flush().await.expect("flush");
    let next = Run { uuid: Run::new_uuid(Timestamp::from_nanos(2 * S)), ..live };
    store.begin_run(&next).await.expect("the next start");
    let alert = store.alert(&alert(4, 106).id.to_string()).await.expect("query").expect("alert");
    assert_eq!(alert.state, "cleared");
    let ended = store.events_after(7, 100).await.expect("events").into_iter().find(|event| event.kind == "run_ended");
    let ended = ended.expect("the killed run ended");
    assert_eq!((ended.time, ended.body.as_str()), (window(9).end, r#"{"reason":"interrupted"}"#));

    let lease = store.lease("gw").await.expect("free");
    assert!(matches!(store.lease("gw").await, Err(StoreError::Leased { .. })));
    drop(lease);
    // The last base window, and one of each greater length.
    let store = store.clone().with_retention(Retention { max_flows: 10, max_windows: 5, ..Retention::default() });
    store.retain().await.expect("retention");
    assert_eq!((store.flow_count().await.expect("count"), store.window_count().await.expect("count")), (10, 1));
    let name = store.sensor_name("box", None).await.expect("a name");
    assert_eq!(store.sensor_name("box", None).await.expect("the same"), name);
    // A server is shared by gateways; a file goes with its machine.
    let is_shared = store.path().is_none();
    assert_eq!(store.sensor_name("other", None).await.expect("a name") != name, is_shared);
    ties_have_an_order(&store).await;
}

/// Ports with as many bytes and flows as others stand by number, then by protocol.
async fn ties_have_an_order(store: &Store) {
    let (writer, _task) = begin(store).await;
    let of = |id, proto, port| {
        let mut flow = FlowRecord { proto, ..flow(id, 900, 5) };
        (flow.responder.address, flow.responder.port) = ([10, 0, 0, 77].into(), port);
        flow
    };
    let flows = vec![of(8_000, 17, 53), of(8_001, 132, 53), of(8_002, 6, 53), of(8_003, 6, 22)];
    writer.send(WindowBatch { flows, ..WindowBatch::default() }).await.expect("send");
    writer.flush().await.expect("flush");
    let ports = store.top_ports([10, 0, 0, 77].into(), &Whose::default(), 5).await.expect("ports");
    let ports: Vec<_> = ports.iter().map(|port| (port.what.as_str(), port.proto)).collect();
    assert_eq!(ports, [("22", 6), ("53", 6), ("53", 17), ("53", 132)]);
}

/// What a tunnel carries, and in which flow a flow lies, comes back as it was written, and as it grew.
async fn nested(store: &Store) {
    let (writer, _task) = begin(store).await;
    let carries = |packets: u64| Nesting::within([None; 2], [Load { packets, bytes: 150 * packets }, Load::default()]);
    let ids = [Some(FlowId(7_000)), Some(FlowId(u64::MAX - 1))];
    let with = |id, packets, nesting| FlowRecord { nesting, ..flow(id, 900, packets) };
    let written = [
        with(7_000, 5, carries(3)),
        with(7_001, 3, Nesting::within([ids[0], None], Default::default())),
        with(7_002, 3, Nesting::default()),
    ];
    // The other direction of a tunnel shows later, and both grow.
    let grown = [
        with(7_000, 9, carries(8)),
        with(7_001, 6, Nesting::within(ids, Default::default())),
        with(7_002, 4, Nesting::within([None, ids[1]], Default::default())),
    ];
    for flows in [written, grown] {
        writer.send(WindowBatch { flows: flows.to_vec(), ..WindowBatch::default() }).await.expect("send");
        writer.flush().await.expect("flush");
        let page = store.find_flows(&FlowFilter::default(), FlowSort::LastTime, FIRST_PAGE).await.expect("flows");
        let mut read: Vec<FlowRecord> = page.items.iter().map(|flow| flow.item).collect();
        read.retain(|read| flows.iter().any(|flow| flow.id == read.id));
        read.sort_by_key(|flow| flow.id);
        assert_eq!(read, flows);
    }
}

/// A flow is found by what it has now, whatever of it changed, and its indexes agree with it.
async fn changing(store: &Store) {
    let (writer, _task) = begin(store).await;
    let at = |octet: u8| IpAddr::from([10, 66, 0, octet]);
    let of = |id: u64, last_s, packets| {
        let mut flow = flow(id, last_s, packets);
        (flow.originator.address, flow.responder.address) = (at(1), at(2));
        flow.originator.port = 50_000 + (id % 1000) as u16;
        flow
    };
    // More than one statement takes, of each kind.
    let ids = 66_000..66_120;
    let first: Vec<FlowRecord> = ids.clone().map(|id| of(id, 900, 1)).collect();
    let goes_on: Vec<FlowRecord> = ids.clone().map(|id| of(id, 910 + id % 7, 3)).collect();
    let ended = goes_on.iter().map(|flow| FlowRecord { ended: Some(EndReason::Idle), vlan: 9, ..*flow });
    let ended: Vec<FlowRecord> = ended.collect();
    // It turns out who began some, one is translated, and some are left as they are.
    let mut turned = ended.clone();
    for flow in turned.iter_mut().filter(|flow| flow.id.0 % 3 == 0) {
        std::mem::swap(&mut flow.originator, &mut flow.responder);
    }
    turned[1].responder.translated = Some(([192, 0, 2, 1], 8443).into());
    for flows in [&first, &goes_on, &ended, &turned] {
        writer.send(WindowBatch { flows: flows.clone(), ..WindowBatch::default() }).await.expect("send");
        writer.flush().await.expect("flush");
        let all = Position { limit: 200, ..FIRST_PAGE };
        let filter = FlowFilter { hosts: at(1).into(), ..FlowFilter::default() };
        let found = store.find_flows(&filter, FlowSort::LastTime, all).await.expect("flows");
        let mut found: Vec<FlowRecord> = found.items.iter().map(|flow| flow.item).collect();
        assert!(found.is_sorted_by_key(|flow| flow.last), "{found:?}");
        found.sort_by_key(|flow| flow.id);
        assert_eq!(found, *flows);
        for flow in [&flows[0], &flows[1]] {
            let port = flow.originator.port;
            let hosts = flow.originator.address.into();
            let filter = FlowFilter { ports: vec![port], hosts, ..FlowFilter::default() };
            let found = store.find_flows(&filter, FlowSort::Time, all).await.expect("flows");
            assert!(found.items.iter().any(|found| found.item == *flow), "{port}: {found:?}");
        }
    }
    let totals = store.host(at(1), &Whose::default()).await.expect("host");
    let totals: Vec<_> = totals.iter().map(|host| (host.flows, host.packets_sent + host.packets_received)).collect();
    assert_eq!(totals, [(120, 120 * 6)]);
    let filter = FlowFilter { hosts: IpAddr::from([192, 0, 2, 1]).into(), ..FlowFilter::default() };
    let found = store.find_flows(&filter, FlowSort::Time, FIRST_PAGE).await.expect("flows");
    assert_eq!(found.items.iter().map(|flow| flow.item).collect::<Vec<_>>(), [turned[1]]);
    if store.database.dialect() == db::Dialect::Sqlite {
        let check = Query::new("SELECT integrity_check AS said FROM pragma_integrity_check");
        let said = store.database.fetch_optional(check).await.expect("a check").expect("an answer");
        assert_eq!(said.text("said").expect("a word"), "ok");
    }
}

#[tokio::test]
async fn the_suite_on_sqlite() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(&format!("sqlite:{}", folder.path().join("nta.db").display())).await.expect("open");
    suite(&store).await;
    nested(&store).await;
    changing(&store).await;
    grouped(&store).await;
}

#[tokio::test]
async fn the_suite_on_postgresql() {
    let Some(server) = Server::start("the_suite_on_postgresql") else { return };
    let store = server.open().await;
    suite(&store).await;
    nested(&store).await;
    changing(&store).await;
    grouped(&store).await;
    store.close().await;
}

#[tokio::test]
async fn a_database_of_the_version_before_is_migrated_with_its_data() {
    let folder = tempfile::tempdir().expect("folder");
    let url = format!("sqlite:{}", folder.path().join("nta.db").display());
    let pool = sqlx::SqlitePool::connect(&format!("{url}?mode=rwc")).await.expect("open");
    let all = db::migrations::sqlite();
    let older: Vec<_> = all.iter().filter(|migration| migration.version < 5).cloned().collect();
    let older = sqlx::migrate::Migrator { migrations: older.into(), ..sqlx::migrate::Migrator::DEFAULT };
    older.run(&pool).await.expect("the older tables");
    let (body, alert_body, anomaly_body) = (before::WINDOW, before::alert(), before::anomaly());
    for sql in [
        "INSERT INTO runs (started_ns, mode, source, version) VALUES (1, 'live', 'eth0', '0')".to_owned(),
        format!(
            "INSERT INTO windows (id, run_id, factor, number, start_ns, end_ns, span_ns, packets, bytes, flows, \
             connections, bandwidth_bps, rtt_samples, body) VALUES (41, 1, 1, 3, 15000000000, 20000000000, 5000000000, \
             3, 3000, 0, 0, 4800, 0, '{body}')"
        ),
        "INSERT INTO flows (id, run_id, proto, orig_addr, orig_port, resp_addr, resp_port, vlan, first_ns, last_ns, \
         orig_packets, orig_bytes, orig_ip_bytes, resp_packets, resp_bytes, resp_ip_bytes, handshake_resp_us, \
         handshake_orig_us, state) VALUES (-5, 1, 17, '10.0.0.1', 40000, '2001:db8::1', 53, 0, 5, 9, 1, 100, 86, 2, 200, \
         172, 0, 0, 0)"
            .to_owned(),
        format!(
            "INSERT INTO detected_alerts (id, number, run_id, kind, severity, score_ppm, state, first_ns, last_ns, \
             raised_ns, body) VALUES ('00000000000000aa', 7, 1, 'port_scan', 1, 5, 'raised', 1, 2, 2, '{alert_body}')"
        ),
        format!(
            "INSERT INTO anomalies (run_id, number, alert_id, kind, severity, score_ppm, start_ns, end_ns, body) VALUES \
             (1, 1, '00000000000000aa', 'port_scan', 1, 500000, 1, 2, '{anomaly_body}')"
        ),
        "INSERT INTO alert_notes (alert_id, at_ns, author, note) VALUES ('00000000000000aa', 5, 'mira', 'kept')".to_owned(),
        "INSERT INTO aggregated_features (run_id, start_ns, end_ns, span_ns, host, schema_version, vector) \
         VALUES (1, 5, 10, 5, '10.0.0.1', 1, '[1.5]')"
            .to_owned(),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&pool).await.expect("an older row");
    }
    pool.close().await;

    let store = Store::open(&url).await.expect("migrated");
    assert_eq!(store.window(41).await.expect("query").map(|window| window.packets), Some(9));
    assert_eq!(store.windows_summary(&WindowFilter::default()).await.expect("summary").bytes, 3000);
    let flows = store.last_flows(5).await.expect("flows");
    assert_eq!(flows.iter().map(|flow| flow.responder.address.to_string()).collect::<Vec<_>>(), ["2001:db8::1"]);
    assert!(flows[0].ended.is_some(), "its daemon is gone");
    assert_eq!(
        store.host([10, 0, 0, 1].into(), &Whose::default()).await.expect("host").first().map(|host| host.bytes_sent),
        Some(100)
    );
    let stored = store.alert("00000000000000aa").await.expect("query").expect("alert");
    assert_eq!((stored.state.as_str(), stored.finding.summary.as_str()), ("cleared", "10.0.0.3 tried 40 ports"));
    let anomalies = store.anomalies(&AnomalyFilter::default(), AnomalySort::Time, FIRST_PAGE).await.expect("anomalies");
    assert_eq!(anomalies.items[0].finding, stored.finding);
    assert_eq!(store.alert_notes("00000000000000aa").await.expect("notes").len(), 1);
    assert_eq!(store.features(&FeatureFilter::default(), FIRST_PAGE).await.expect("features").items.len(), 1);
    store.close().await;
    let store = Store::open(&url).await.expect("opens again");
    // The default list shows windows of two, which that version did not store.
    let two = WindowFilter { span_ns: Some(10 * S), ..WindowFilter::default() };
    let made = store.windows(&two, WindowSort::Time, FIRST_PAGE).await.expect("windows").items;
    assert_eq!(made.iter().map(|window| window.packets).collect::<Vec<_>>(), [9]);
    assert_eq!((store.flow_count().await.expect("count"), store.window_count().await.expect("count")), (1, 1));
}

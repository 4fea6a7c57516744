//! Alerts, anomalies, features and baselines against a real database.

use nta_common::LedgerSlot;
use nta_common::flow::Counts;

use super::tests::{begin, flow, window};
use super::*;
use nta_core::baseline::{BaselineConfig, Baselines, Export};
use nta_core::domain::{
    Alert, AlertChange, AlertKey, AlertKind, AlertState, Finding, FlowObservation, Measure, Mode, Party, RttSamples,
    Severity, TcpCounts, Timestamp,
};
use nta_core::window::{Seed, Snapshot, Span, Windows};

const S: u64 = 1_000_000_000;
const FIRST_PAGE: Position = Position { descending: false, after: None, limit: 100 };

pub(super) fn alert(source: u8, last_s: u64) -> Alert {
    let time = |seconds: u64| Timestamp::from_nanos(seconds * S);
    let finding = Finding {
        detector: "port_scan",
        basis: nta_core::domain::Basis::Rule,
        kind: AlertKind::PortScan,
        source: Party::Host([10, 0, 0, source].into()),
        destination: Party::Many,
        port: None,
        start: time(last_s - 5),
        end: time(last_s),
        measure: Measure { name: "ports", unit: "ports", observed: 40.0, expected: None, threshold: 15.0 },
        score: 0.5,
        summary: String::new(),
        facts: Vec::new(),
        contributors: Vec::new(),
        crowd: None,
        seen: None,
    };
    let key = AlertKey::of(&finding);
    Alert {
        seen: None,
        id: nta_core::domain::IdentityScope::default().alert_id(&key, finding.end),
        key,
        state: AlertState::Raised,
        severity: Severity::Medium,
        first: finding.start,
        last: finding.end,
        raised: finding.end,
        cleared: None,
        clear_reason: None,
        windows: 1,
        merged: 0,
        detectors: vec![finding.detector],
        opinions: vec![nta_core::domain::Opinion::of(&finding)],
        latest: finding.clone(),
        finding,
    }
}

/// A window in which host 10.0.0.n sends n packets to 10.0.0.200, for n from 1 to `hosts`.
fn snapshot(hosts: u8) -> Snapshot {
    let mut windows = Windows::new(5 * S, Seed::fixed());
    windows.open_at(Timestamp::from_nanos(100 * S));
    for n in 1..=hosts {
        let mut record = flow(n.into(), 101, 1);
        record.originator.address = [10, 0, 0, n].into();
        record.responder.address = [10, 0, 0, 200].into();
        let packets = u64::from(n);
        windows.add(FlowObservation {
            flow: record,
            sent: [Counts { packets, bytes: packets * 60, ip_bytes: packets * 46 }, Counts::default()],
            tcp: [TcpCounts::default(); 2],
            rtt: RttSamples::default(),
            is_new: true,
        });
    }
    windows.close(&LedgerSlot::default()).expect("an open window").complete()
}

async fn write(store: &Store, writer: &StoreWriter, batch: WindowBatch) {
    writer.send(batch).await.expect("send");
    writer.flush().await.expect("flush");
    assert_eq!(store.stats().failures, 0);
}

#[tokio::test]
async fn a_window_and_what_was_found_in_it_are_one_batch() {
    let store = Store::open("sqlite::memory:").await.expect("open");
    let (writer, _task) = begin(&store).await;
    let mut found = Found::new(store.clone(), 3);
    let base = snapshot(20);
    found.window(&base);
    found.alert(AlertChange::Raised, &alert(2, 105));
    found.alert(AlertChange::Updated, &Alert { windows: 2, ..alert(2, 105) });
    found.judged(&base);
    found.window(&Snapshot::of_network(Span::Medium, window(7)));
    let mut batch = WindowBatch { window: Some(base.window.clone()), ..WindowBatch::default() };
    found.move_into(&mut batch);
    write(&store, &writer, batch).await;

    let features = store.features(&FeatureFilter::default(), FIRST_PAGE).await.expect("features").items;
    let hosts: Vec<String> = features.iter().map(|(_, row)| row.host.to_string()).collect();
    assert_eq!(hosts, ["10.0.0.200", "10.0.0.20", "10.0.0.19", "10.0.0.2"], "the most active, and who is named");
    assert_eq!(store.stats().features_left_out, 17);
    let alerts = store.alerts(&AlertFilter::default(), AlertSort::Time, FIRST_PAGE).await.expect("alerts").items;
    assert_eq!(alerts.iter().map(|stored| stored.windows).collect::<Vec<_>>(), [2], "in its last state");
    let anomalies = store.anomalies(&AnomalyFilter::default(), AnomalySort::Time, FIRST_PAGE).await;
    assert_eq!(anomalies.expect("anomalies").items.len(), 2, "each finding");
    assert_eq!(store.window_count().await.expect("count"), 1, "base windows");
    let of_span = |span_s: u64| WindowFilter { span_ns: Some(span_s * S), ..WindowFilter::default() };
    let list = store.windows(&of_span(5), WindowSort::Time, FIRST_PAGE).await.expect("windows");
    assert_eq!(list.items.len(), 2, "both are as long");

    found.alert(AlertChange::Cleared, &alert(2, 105));
    let next = snapshot(20);
    found.judged(&next);
    let mut batch = WindowBatch::default();
    found.move_into(&mut batch);
    assert_eq!((batch.features.len(), batch.anomalies.len(), batch.alerts.len()), (3, 0, 1), "named no more");
}

#[tokio::test]
async fn retention_covers_what_was_found() {
    let store = Store::open("sqlite::memory:").await.expect("open");
    let retention = Retention { max_alerts: 2, max_anomalies: 3, max_features: 4, ..Retention::default() };
    let store = store.with_retention(retention);
    let (writer, _task) = begin(&store).await;
    let mut found = Found::new(store.clone(), 6);
    (1..=5).for_each(|n| found.alert(AlertChange::Raised, &alert(n, 100 + u64::from(n))));
    found.judged(&snapshot(5));
    let mut batch = WindowBatch::default();
    found.move_into(&mut batch);
    write(&store, &writer, batch).await;
    let patch = |status: Option<&'static str>, note: Option<&str>| AlertPatch {
        verdict: None,
        status,
        note: note.map(str::to_owned),
        withdraw: None,
        by: Some("mira".to_owned()),
        at: Timestamp::from_nanos(S),
    };
    let resolved = alert(4, 104).id.to_string();
    store.patch_alert(&resolved, &patch(Some("resolved"), Some("done"))).await.expect("patch");
    store.retain().await.expect("retention");
    let alerts = store.alerts(&AlertFilter::default(), AlertSort::Time, FIRST_PAGE).await.expect("alerts").items;
    let sources: Vec<_> = alerts.iter().map(|stored| stored.source.as_deref()).collect();
    assert_eq!(sources, [Some("10.0.0.3"), Some("10.0.0.5")], "resolved ones first, then the oldest");
    assert!(store.alert_notes(&resolved).await.expect("notes").is_empty(), "notes go with their alert");
    let stats = store.stats();
    assert_eq!(
        (stats.alerts_deleted, stats.anomalies_deleted, stats.features_deleted),
        (3, 3, 2),
        "anomalies go with their alert"
    );

    let newest = WindowBatch { window: Some(snapshot(5).window), ..WindowBatch::default() };
    write(&store, &writer, newest).await;
    let store = store.with_retention(Retention { max_age_ns: Some(S / 2), reached_windows: 0, ..Retention::default() });
    store.retain().await.expect("retention by age");
    let anomalies = store.anomalies(&AnomalyFilter::default(), AnomalySort::Time, FIRST_PAGE).await;
    assert_eq!(anomalies.expect("anomalies").items.len(), 1);
}

#[tokio::test]
async fn baselines_are_kept_by_name_and_read_back() {
    let store = Store::open("sqlite::memory:").await.expect("open");
    let (writer, _task) = begin(&store).await;
    let mut learned = Baselines::new(BaselineConfig::default());
    learned.learn(&snapshot(3), &|_, _| false);
    let export = learned.export();
    let batch = WindowBatch { baselines: Some((Mode::Replay, export.clone().into())), ..WindowBatch::default() };
    write(&store, &writer, batch).await;
    assert_eq!(store.baselines("replay").await.expect("query"), Some(export.clone()));
    assert_eq!(store.baselines("live").await.expect("query"), None);
    store.save_baselines("live", &Export::default()).await.expect("save");
    assert_eq!(store.baselines("live").await.expect("query"), Some(Export::default()));
    Baselines::new(BaselineConfig::default()).import(export).expect("what was stored can be used");
}

//! What people do about alerts, one and many, on both databases.

use super::detection_tests::alert;
use super::server_tests::Server;
use super::tests::begin;
use super::*;
use nta_core::domain::{AlertChange, Timestamp};

const S: u64 = 1_000_000_000;

fn patch(status: Option<&'static str>, verdict: Option<Option<&'static str>>, by: Option<&str>) -> AlertPatch {
    AlertPatch {
        status,
        verdict,
        note: None,
        withdraw: None,
        by: by.map(str::to_owned),
        at: Timestamp::from_nanos(500 * S),
    }
}

/// What the log says that people did.
async fn handled(store: &Store) -> Vec<serde_json::Value> {
    let events = store.events_after(0, 1000).await.expect("events").into_iter();
    let handled = events.filter(|event| event.kind == "alert_handled");
    handled
        .map(|event| {
            assert_eq!((event.time, event.sensor.as_deref()), (Timestamp::from_nanos(500 * S), Some("test")));
            let body: serde_json::Value = serde_json::from_str(&event.body).expect("JSON");
            let about = ["type", "source", "severity", "raised_at"].map(|name| body[name].as_str().unwrap_or_default());
            assert_eq!(about, ["port_scan", "10.0.0.1", "medium", "1970-01-01T00:01:41.000000Z"], "{body}");
            ["by", "status_before", "status", "verdict_before", "verdict", "note"].map(|name| body[name].clone()).into()
        })
        .collect()
}

/// Five alerts, those of the hosts 10.0.0.1 to 10.0.0.5.
async fn suite(store: &Store) {
    let (writer, _task) = begin(store).await;
    let mut found = Found::new(store.clone(), 6);
    (1..=5).for_each(|n| found.alert(AlertChange::Raised, &alert(n, 100 + u64::from(n))));
    let mut batch = WindowBatch::default();
    found.move_into(&mut batch);
    writer.send(batch).await.expect("send");
    writer.flush().await.expect("flush");
    let id = |n: u8| alert(n, 100 + u64::from(n)).id.to_string();

    // One by one: each change of status or verdict is in the history, with what was before.
    let done = store.patch_alert(&id(1), &patch(Some("resolved"), Some(Some("benign")), Some("mira"))).await;
    assert_eq!(done.expect("patch"), Patched::Done);
    store.patch_alert(&id(1), &patch(None, Some(None), Some("noor"))).await.expect("patch");
    let one = store.alert(&id(1)).await.expect("query").expect("alert");
    assert_eq!((one.status.as_str(), &one.verdict, one.status_by.as_deref()), ("resolved", &None, Some("mira")));
    let history = store.alert_changes(&id(1)).await.expect("history");
    let said: Vec<_> = history.iter().map(|one| (one.by.as_str(), one.status.clone(), one.verdict.clone())).collect();
    let [open, resolved] = ["open", "resolved"].map(str::to_owned);
    let benign = Some("benign".to_owned());
    assert_eq!(
        said,
        [
            ("mira", [open, resolved.clone()], [None, benign.clone()]),
            ("noor", [resolved.clone(), resolved], [benign, None])
        ]
    );

    // Each is an event, with who and what was before; what is as it was is none.
    store.patch_alert(&id(1), &patch(Some("resolved"), None, None)).await.expect("patch");
    let noted = AlertPatch { note: Some("seen".to_owned()), ..patch(None, None, Some("noor")) };
    store.patch_alert(&id(1), &noted).await.expect("patch");
    let said = handled(store).await;
    let expected = [
        serde_json::json!(["mira", "open", "resolved", null, "benign", null]),
        serde_json::json!(["noor", "resolved", "resolved", "benign", null, null]),
        serde_json::json!(["noor", "resolved", "resolved", null, null, "seen"]),
    ];
    assert_eq!(said, expected);

    // Many: the one that is resolved already does not count.
    let all = AlertFilter::default();
    let resolve = patch(Some("resolved"), Some(Some("false_positive")), None);
    let plain = patch(Some("resolved"), None, None);
    let found = store.alerts_to_change(&all, &plain).await.expect("query").expect("few");
    assert_eq!(found.count(), 4);
    let found = store.alerts_to_change(&all, &resolve).await.expect("query").expect("few");
    assert_eq!(found.count(), 5, "its verdict is another");
    assert_eq!(store.patch_alerts(&found, &resolve, 4).await.expect("patch"), PatchedAll::Other(5));
    let open = AlertFilter { status: Some("open"), ..AlertFilter::default() };
    assert_eq!(
        store.alerts_to_change(&open, &plain).await.expect("query").expect("few").count(),
        4,
        "none was changed"
    );
    // Another request comes in between.
    store.patch_alert(&id(2), &resolve).await.expect("patch");
    assert_eq!(store.patch_alerts(&found, &resolve, 5).await.expect("patch"), PatchedAll::Other(4));
    assert_eq!(store.alerts_to_change(&open, &plain).await.expect("query").expect("few").count(), 3, "all or none");
    let found = store.alerts_to_change(&all, &resolve).await.expect("query").expect("few");
    assert_eq!(store.patch_alerts(&found, &resolve, 4).await.expect("patch"), PatchedAll::Done(4));
    for n in 1..=5 {
        let one = store.alert(&id(n)).await.expect("query").expect("alert");
        assert_eq!((one.status.as_str(), one.verdict.as_deref()), ("resolved", Some("false_positive")), "{n}");
    }
    let of = async |verdict| {
        let filter = AlertFilter { verdict: Some(verdict), ..AlertFilter::default() };
        store.alerts(&filter, AlertSort::Time, tests::FIRST_PAGE).await.expect("alerts").items.len()
    };
    assert_eq!((of("false_positive").await, of("none").await), (5, 0));

    // The history has a limit; the oldest go.
    for n in 0..201_u32 {
        let verdict = if n.is_multiple_of(2) { "benign" } else { "true_positive" };
        store.patch_alert(&id(3), &patch(None, Some(Some(verdict)), Some(&n.to_string()))).await.expect("patch");
    }
    let history = store.alert_changes(&id(3)).await.expect("history");
    assert_eq!((history.len(), history[0].by.as_str(), history[199].by.as_str()), (200, "1", "200"));
    assert!(store.alert_changes(&id(4)).await.expect("history").len() == 1, "another one's stays");
}

#[tokio::test]
async fn one_and_many_alerts_are_changed_on_sqlite() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(&format!("sqlite:{}", folder.path().join("nta.db").display())).await.expect("open");
    suite(&store).await;
}

#[tokio::test]
async fn one_and_many_alerts_are_changed_on_postgresql() {
    let Some(server) = Server::start("one_and_many_alerts_are_changed_on_postgresql") else { return };
    suite(&server.open().await).await;
}

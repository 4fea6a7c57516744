//! Alerts are found by whom they concern, on both databases.

use std::sync::Arc;

use super::db::Query;
use super::detection_tests::alert;
use super::server_tests::Server;
use super::tests::{FIRST_PAGE, begin};
use super::*;
use nta_core::domain::{Alert, AlertKey, Contributor, Crowd, Finding, Party};
use std::net::IpAddr;

/// One that is about these parties.
fn between(number: u8, source: Party, destination: Party, change: impl FnOnce(&mut Finding)) -> Alert {
    let known = alert(number, 100 + u64::from(number));
    let mut finding = Finding { source, destination, ..known.finding.clone() };
    change(&mut finding);
    Alert { key: AlertKey::of(&finding), latest: finding.clone(), finding, ..known }
}

async fn alerts_are_found_by_whom_they_concern(store: &Store) {
    let (writer, _task) = begin(store).await;
    let host = |text: &str| Party::Host(text.parse().expect("an address"));
    let hosts = (1..=200).map(|n| IpAddr::from([10, 0, 1, n]));
    let alerts = vec![
        between(1, host("192.0.2.1"), Party::Many, |finding| {
            finding.crowd = Some(Arc::new(Crowd::new(["192.0.2.1".parse().expect("an address")], hosts)));
            finding.contributors = vec![Contributor { what: "10.0.9.9".to_owned(), amount: 1.0 }];
        }),
        between(2, Party::Many, host("10.0.1.77"), |finding| {
            finding.contributors =
                ["2001:db8::7", "port 80"].map(|what| Contributor { what: what.to_owned(), amount: 1.0 }).into();
        }),
        between(3, Party::Many, Party::Network([10, 0, 5, 0].into(), 24), |_| {}),
        between(4, host("192.0.2.4"), host("10.0.1.200"), |_| {}),
        between(5, Party::Nobody, Party::Nobody, |_| {}),
    ];
    // As one that goes on is written with each window.
    for _ in 0..2 {
        writer.send(WindowBatch { alerts: alerts.clone(), ..WindowBatch::default() }).await.expect("send");
    }
    writer.flush().await.expect("flush");
    let party = |text: &str| match text.parse() {
        Ok(network) => PartyFilter::new(Vec::new(), vec![network]),
        Err(_) => PartyFilter::new(vec![text.to_owned()], Vec::new()),
    };
    let number = |id: &str| 1 + alerts.iter().position(|alert| alert.id.to_string() == id).expect("one of these");
    for (parameter, text, expected) in [
        ("host", "10.0.1.77", &[1, 2][..]),
        ("host", "10.0.1.200", &[1, 4]),
        ("host", "10.0.9.9", &[1]),
        ("host", "192.0.2.1", &[1]),
        ("host", "2001:db8::7", &[2]),
        ("host", "10.0.5.9", &[3]),
        ("host", "10.0.6.9", &[]),
        ("host", "10.0.1.0/24", &[1, 2, 4]),
        ("host", "10.0.0.0/16", &[1, 2, 3, 4]),
        ("host", "2001:db8::/32", &[2]),
        ("host", "*", &[1, 2, 3]),
        ("destination", "10.0.1.77", &[1, 2]),
        ("destination", "10.0.9.9", &[1]),
        ("destination", "10.0.1.0/25", &[1, 2]),
        ("destination", "192.0.2.1", &[]),
        ("source", "10.0.1.77", &[]),
        ("source", "2001:db8::7", &[2]),
        ("source", "192.0.2.0/24", &[1, 4]),
    ] {
        let mut filter = AlertFilter::default();
        match parameter {
            "host" => filter.host = party(text),
            "source" => filter.source = party(text),
            _ => filter.destination = party(text),
        }
        for sort in [AlertSort::Time, AlertSort::LastTime, AlertSort::Score] {
            // Two at a time: each once, on whichever page.
            let (mut found, mut position) = (Vec::new(), Position { limit: 2, ..FIRST_PAGE });
            loop {
                let page = store.alerts(&filter, sort, position).await.expect("alerts");
                found.extend(page.items.iter().map(|alert| number(&alert.id)));
                match page.next {
                    Some(next) => position.after = Some(next),
                    None => break,
                }
            }
            found.sort_unstable();
            assert_eq!(found, expected, "{parameter}={text} by {sort:?}");
        }
        let patch = AlertPatch {
            status: Some("resolved"),
            verdict: None,
            note: None,
            withdraw: None,
            by: None,
            at: nta_core::domain::Timestamp::from_nanos(1),
        };
        let all = store.alerts_to_change(&filter, &patch).await.expect("alerts").expect("few");
        assert_eq!(all.count(), expected.len() as u64, "what changes them finds the same by {parameter}={text}");
    }
    let left = || async {
        let query = Query::new("SELECT count(*) FROM alert_hosts");
        let row = store.database.fetch_optional(query).await.expect("a query").expect("a row");
        row.first().expect("a number")
    };
    assert_eq!(left().await, 202, "of the first all hosts but its source, of the second one");
    let mut transaction = store.database.begin().await.expect("a transaction");
    transaction
        .conn()
        .expect("a connection")
        .execute(Query::new("DELETE FROM detected_alerts"))
        .await
        .expect("deleted");
    transaction.commit().await.expect("a commit");
    assert_eq!(left().await, 0, "they go with their alerts");
}

#[tokio::test]
async fn alerts_are_found_by_whom_they_concern_on_sqlite() {
    let store = Store::open("sqlite::memory:").await.expect("open");
    alerts_are_found_by_whom_they_concern(&store).await;
}

#[tokio::test]
async fn alerts_are_found_by_whom_they_concern_on_postgresql() {
    let Some(server) = Server::start("alerts_are_found_by_whom_they_concern_on_postgresql") else { return };
    let store = server.open().await;
    alerts_are_found_by_whom_they_concern(&store).await;
    store.close().await;
}

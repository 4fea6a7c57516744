//! A SQLite database goes to PostgreSQL whole, or not at all, and goes on there.

use tokio_util::sync::CancellationToken;

use super::db::Query;
use super::detection_tests::alert;
use super::server_tests::Server;
use super::tests::{FIRST_PAGE, begin, flow, window};
use super::*;

const WINDOWS: u64 = 30;
/// More than go in one message.
const FLOWS: u64 = 2_500;

async fn number(store: &Store, sql: &str) -> i64 {
    store.database.fetch_optional(Query::new(sql)).await.expect("read").expect("a row").first().expect("a number")
}

async fn change(store: &Store, query: Query) {
    let mut transaction = store.database.begin().await.expect("a transaction");
    transaction.conn().expect("a connection").execute(query).await.expect("changed");
    transaction.commit().await.expect("a commit");
}

/// A database with windows, flows, alerts, texts that PostgreSQL does not hold as they are, and numbers that were given and are gone.
async fn source(folder: &tempfile::TempDir) -> Store {
    let store = Store::open(&format!("sqlite:{}", folder.path().join("nta.db").display())).await.expect("open");
    let (writer, task) = begin(&store).await;
    for id in 1..=WINDOWS {
        writer.send(WindowBatch { window: Some(window(id)), ..WindowBatch::default() }).await.expect("send");
    }
    let flows = (1..=FLOWS).map(|id| flow(id, id, id)).collect();
    let alerts = vec![alert(1, 9)];
    writer.send(WindowBatch { flows, alerts, ..WindowBatch::default() }).await.expect("send");
    writer.shutdown().await.expect("shutdown");
    task.await.expect("writer");
    let texts = Query::new("INSERT INTO meta (name, value) VALUES ($1, $2)").bind("a\u{0}b").bind("c\u{0}d");
    change(&store, texts).await;
    change(&store, Query::new("DELETE FROM windows WHERE id = (SELECT max(id) FROM windows)")).await;
    store
}

#[tokio::test]
async fn everything_arrives_and_goes_on_with_its_numbers() {
    let Some(server) = Server::start("everything_arrives_and_goes_on_with_its_numbers") else { return };
    let folder = tempfile::tempdir().expect("folder");
    let (from, to) = (source(&folder).await, server.open().await);
    let go = CancellationToken::new();

    let held = from.lease("test").await.expect("free");
    let refused = transfer(&from, &to, false, &go, |_, _| {}).await.expect_err("a daemon captures");
    assert!(matches!(refused, TransferError::Store(StoreError::Leased { .. })), "{refused}");
    drop(held);

    // Broken off behind the first flows: nothing is there, and it begins anew.
    let stop = CancellationToken::new();
    let broken = transfer(&from, &to, false, &stop, |table, rows| {
        if table == "flows" && rows > 0 {
            stop.cancel();
        }
    });
    assert!(matches!(broken.await, Err(TransferError::Stopped)));
    assert_eq!(number(&to, "SELECT count(*) FROM runs").await, 0);

    let (epoch, last) =
        (from.meta("log_epoch").await.expect("read"), number(&from, "SELECT max(seq) FROM events").await);
    let windows = number(&from, "SELECT max(id) FROM windows").await + 1;
    let done = transfer(&from, &to, false, &go, |_, _| {}).await.expect("transferred");
    assert_eq!((done.rows["flows"], done.rows["windows"]), (FLOWS, WINDOWS - 1));
    assert!(done.left_out.is_empty() && done.rows["detected_alerts"] == 1, "{done:?}");
    for (table, rows) in &done.rows {
        let count = format!("SELECT count(*) FROM \"{table}\"");
        assert_eq!(number(&from, &count).await, to_sql(*rows), "{table}");
        assert!(number(&to, &count).await >= to_sql(*rows), "{table}");
    }
    assert_eq!(to.meta("log_epoch").await.expect("read"), epoch, "whoever reads events goes on");
    assert_eq!(to.meta("a\u{fffd}b").await.expect("read").as_deref(), Some("c\u{fffd}d"));
    let position = FIRST_PAGE;
    let [there, here] = [&from, &to].map(|store| store.flows(FlowSort::Time, position));
    assert_eq!(there.await.expect("read").items, here.await.expect("read").items);

    let again = transfer(&from, &to, false, &go, |_, _| {}).await.expect_err("it is there");
    assert!(matches!(&again, TransferError::NotEmpty(tables) if tables.contains("flows")), "{again}");

    // The next run goes on: no number is given twice, and of events none is left out.
    let (writer, task) = begin(&to).await;
    writer.send(WindowBatch { window: Some(window(99)), ..WindowBatch::default() }).await.expect("send");
    writer.shutdown().await.expect("shutdown");
    task.await.expect("writer");
    assert!(
        number(&to, "SELECT max(id) FROM windows").await > windows,
        "a number that was given before is not given again"
    );
    let later = format!("SELECT count(*) FROM events WHERE seq > {last}");
    let added = number(&to, &later).await;
    assert!(added > 0 && number(&to, "SELECT max(seq) FROM events").await == last + added);
}

#[tokio::test]
async fn a_row_that_postgres_cannot_hold_is_named_and_left_out_by_request_alone() {
    let Some(server) = Server::start("a_row_that_postgres_cannot_hold_is_named_and_left_out_by_request_alone") else {
        return;
    };
    let folder = tempfile::tempdir().expect("folder");
    let (from, to) = (source(&folder).await, server.open().await);
    let go = CancellationToken::new();
    change(&from, Query::new("UPDATE flows SET orig_packets = 'many' WHERE id = 7")).await;
    let refused = transfer(&from, &to, false, &go, |_, _| {}).await.expect_err("a text in the place of a number");
    let said = refused.to_string();
    assert!(said.contains("flows") && said.contains("orig_packets") && said.contains("--leave-damaged"), "{said}");
    assert_eq!(number(&to, "SELECT count(*) FROM runs").await, 0);
    let done = transfer(&from, &to, true, &go, |_, _| {}).await.expect("the others");
    assert_eq!((done.rows["flows"], done.left_out["flows"]), (FLOWS - 1, 1));
    assert_eq!(number(&to, "SELECT count(*) FROM flows").await, to_sql(FLOWS - 1));
}

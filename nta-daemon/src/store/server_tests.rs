//! A PostgreSQL server for the tests.

use std::path::Path;

use nta_tests::postgres::Postgres;

use super::db::{Conn, Database, Query};
use super::{Store, StoreError};

/// A PostgreSQL server of its own, on a socket in a temporary folder; stopped when dropped.
pub(crate) struct Server(Postgres);

impl Server {
    /// Starts one that listens on a socket only; none says that it cannot be run.
    pub(crate) fn start(test: &str) -> Option<Self> {
        Self::start_with(test, |_| Some(vec!["listen_addresses=".to_owned()]))
    }

    /// Starts one with the settings that `settings` makes in its folder; none says that it cannot be run.
    pub(super) fn start_with(test: &str, settings: impl FnOnce(&Path) -> Option<Vec<String>>) -> Option<Self> {
        if !Postgres::can_run(test) {
            return None;
        }
        let mut can_run = true;
        let server = Postgres::start_with(|folder| {
            settings(folder).unwrap_or_else(|| {
                can_run = false;
                Vec::new()
            })
        });
        can_run.then_some(Self(server))
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        self.0.url()
    }

    /// The path of a file in its folder.
    pub(super) fn file(&self, name: &str) -> String {
        self.0.folder().join(name).display().to_string()
    }

    /// A handle on an empty database, once the server answers.
    pub(crate) async fn open(&self) -> Store {
        Self::open_at(&self.url()).await
    }

    pub(super) async fn open_at(url: &str) -> Store {
        for _ in 0..600 {
            match Store::open(url).await {
                Ok(store) => return store,
                Err(StoreError::Open { .. }) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
                Err(error) => panic!("{}", error.chain()),
            }
        }
        panic!("the server does not answer");
    }
}

/// A table of either database that is away: every statement about it fails until it is back.
pub(crate) struct Away(Conn, String);

impl Away {
    /// Moves it away.
    pub(crate) async fn of(url: &str, table: &str) -> Self {
        let mut conn = Database::open(url).await.expect("open").connect().await.expect("connect");
        rename_table(&mut conn, table, "away").await;
        Self(conn, table.to_owned())
    }

    /// Puts it back.
    pub(crate) async fn put_back(mut self) {
        rename_table(&mut self.0, "away", &self.1).await;
    }
}

/// Runs a statement over a connection of its own.
pub(crate) async fn run(url: &str, sql: &'static str) {
    let mut conn = Database::open(url).await.expect("open").connect().await.expect("connect");
    conn.run(sql).await.expect("done");
}

async fn rename_table(conn: &mut Conn, from: &str, to: &str) {
    let sql: &'static str = format!("ALTER TABLE {from} RENAME TO {to}").leak();
    conn.run(sql).await.expect("renamed");
}

#[tokio::test]
async fn every_table_that_grows_can_be_partitioned_by_its_time() {
    let Some(server) = Server::start("every_table_that_grows_can_be_partitioned_by_its_time") else { return };
    let store = server.open().await;
    let mut conn = store.database.connect().await.expect("a connection");
    for (table, time) in [
        ("windows", "start_ns"),
        ("window_hours", "hour_ns"),
        ("flows", "first_ns"),
        ("detected_alerts", "raised_ns"),
        ("alert_notes", "at_ns"),
        ("anomalies", "start_ns"),
        ("aggregated_features", "start_ns"),
        ("raw_packets", "time_ns"),
        ("events", "time_ns"),
    ] {
        // Refused where a key does not contain the time.
        let made = format!("CREATE TABLE {table}_parts (LIKE {table} INCLUDING ALL) PARTITION BY RANGE ({time})");
        conn.execute(Query::new(made)).await.unwrap_or_else(|error| panic!("{table}: {error}"));
    }
    let refused =
        conn.execute(Query::new("CREATE TABLE hosts_parts (LIKE hosts INCLUDING ALL) PARTITION BY RANGE (last_ns)"));
    refused.await.expect_err("hosts are kept one by one, whatever the time");
    store.close().await;
}

#[tokio::test]
async fn a_database_that_does_not_hold_every_text_is_refused() {
    let Some(server) = Server::start("a_database_that_does_not_hold_every_text_is_refused") else { return };
    let open = server.open().await;
    let mut conn = open.database.connect().await.expect("a connection");
    conn.run("CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
        .await
        .expect("made");
    let refused = Store::open(&server.url().replace("/postgres?", "/latin?")).await.expect_err("refused").to_string();
    assert!(refused.contains("encoding LATIN1") && refused.contains("UTF8"), "{refused}");
}

#[tokio::test]
async fn what_the_server_refuses_is_said_in_its_words_and_without_lines_of_its_source() {
    let name = "what_the_server_refuses_is_said_in_its_words_and_without_lines_of_its_source";
    let Some(server) = Server::start(name) else { return };
    let open = server.open().await;
    let refused = Store::open(&server.url().replace("/postgres?", "/nowhere?")).await.expect_err("refused").chain();
    assert!(refused.ends_with("database \"nowhere\" does not exist"), "{refused}");
    assert_eq!(refused.matches("does not exist").count(), 1, "{refused}");
    let mut conn = open.database.connect().await.expect("a connection");
    let refused = StoreError::query("windows")(conn.run("SELECT nothing").await.expect_err("refused")).chain();
    assert!(refused.ends_with("column \"nothing\" does not exist"), "{refused}");
}

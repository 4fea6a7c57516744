//! A PostgreSQL server for the tests of routes that touch the store.

use std::time::Duration;

use nta_daemon::store::{Store, StoreError};
use nta_tests::postgres::Postgres;

/// A server on a socket in a temporary folder; stopped when dropped.
pub(crate) struct Server(Postgres);

impl Server {
    /// Starts one; `None` says that this cannot be run here, which the test then reports.
    pub(crate) fn start(test: &str) -> Option<Self> {
        Postgres::can_run(test).then(|| Self(Postgres::start()))
    }

    /// A handle on its empty database, once it answers.
    pub(crate) async fn open(&self) -> Store {
        for _ in 0..600 {
            match Store::open(&self.0.url()).await {
                Ok(store) => return store,
                Err(StoreError::Open { .. }) => tokio::time::sleep(Duration::from_millis(50)).await,
                Err(error) => panic!("{}", error.chain()),
            }
        }
        panic!("the server does not answer");
    }
}

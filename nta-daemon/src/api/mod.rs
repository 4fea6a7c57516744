//! The REST API: one router, one file for each resource, one error type. Reads the store and the pipeline's last
//! published status; never touches the data path.

mod accept;
mod access;
mod alert_page;
mod caching;
mod error;
mod explain;
mod extract;
mod fleet;
mod found;
mod graphql;
mod guard;
mod headers;
mod inside;
mod links;
mod openapi;
mod order;
mod page;
mod process;
mod ranged;
mod requests;
mod router;
mod routes;
mod serve;
mod state;
mod tls;
mod whose;
mod wire;
mod workers;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use futures_util::Stream;
use nkeys::KeyPair;
use tokio::net::TcpListener;

use crate::anonymize::Anonymizer;
use crate::sink::ship;
use crate::store::{Shipment, Store, StoreError};
pub use access::{Caller, Role, Rules, Secret, names};
pub use error::ApiError;
pub use explain::{Explanation, Question, explain};
pub use extract::parse_time;
pub(crate) use fleet::{MOST as MOST_LOGS, SensorJson, sensors};
pub(crate) use found::{AnomalyItem, FlowItem, WindowItem, anomaly};
pub use guard::AllowedHosts;
use nta_core::domain::Timestamp;
pub use router::router;
pub use state::ApiState;
pub use tls::{Tls, TlsError};

pub use crate::jobs::AnalysisAccess;

/// What `GET /api/export` answers to these parameters, in pieces; with other addresses where there is something to replace them by.
///
/// # Errors
/// What the route refuses: a parameter that is wrong or not one of what is exported; a store that does not answer.
pub async fn export(
    state: ApiState,
    parameters: Vec<(String, String)>,
    anonymizer: Option<Anonymizer>,
) -> Result<impl Stream<Item = Result<Bytes, ApiError>>, ApiError> {
    routes::export::by_pairs(state, parameters, anonymizer).await
}

/// What `GET /metrics` answers in the text format of Prometheus.
///
/// # Errors
/// While jobs have not begun.
pub async fn exposition(state: &ApiState) -> Result<String, ApiError> {
    routes::prometheus::plain(state).await
}

/// What became of a sensor's message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Batches that are stored now and were not before.
    pub stored: u64,
    /// Batches that were there already.
    pub doubles: u64,
    /// What `POST /ingest` answers to it.
    pub answer: Vec<u8>,
}

/// Stores messages of sensors as `POST /ingest` does, those that can be in one transaction; what a sensor is to do is signed by
/// the nkey, where there is one.
///
/// # Errors
/// When the store takes nothing now. What it can never take is an error of its message.
pub async fn ingest(
    store: &Store,
    shipments: &[Shipment],
    received: Timestamp,
    key: Option<&KeyPair>,
) -> Result<Vec<Result<Taken, StoreError>>, StoreError> {
    let mut all = Vec::with_capacity(shipments.len());
    for (shipment, ingested) in shipments.iter().zip(store.ingest_all(shipments, received).await?) {
        all.push(match ingested {
            Ok(ingested) => {
                let answer = routes::ingest::answer(store, shipment, ingested, |version, text: &str| {
                    ship::sign_by_key(key?, &shipment.sensor, version, text)
                })
                .await?;
                let (stored, doubles) = (answer.stored, answer.doubles);
                Ok(Taken { stored, doubles, answer: serde_json::to_vec(&answer).unwrap_or_default() })
            }
            Err(refused) => Err(refused),
        });
    }
    Ok(all)
}

/// How often tokens are read at least.
const TOKENS_EVERY: Duration = Duration::from_secs(5);

/// Serves until `shutdown` completes, then lets open requests finish. A stream to a slow reader may take long: the
/// caller sets the deadline.
pub async fn serve<F>(listener: TcpListener, state: ApiState, shutdown: F) -> std::io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    if let Err(error) = state.read_tokens().await {
        tracing::warn!(%error, "api: nobody is let in before the store has said who may be");
    }
    if matches!(state.access.demands_token().await, Ok(false)) {
        tracing::info!(
            "api: no token was ever made: whoever reaches this listener may do all, until `nta-daemon tokens create --role admin` makes one"
        );
    }
    let allowed = serve::Allowed { tls: state.tls.clone(), ..state.allowed.clone() };
    let (connections, events) = (Arc::clone(&state.connections), state.events.clone());
    let shutdown = async move {
        shutdown.await;
        // They have no end of their own.
        events.end();
    };
    // What tokens there are is known also while nobody asks, so that a database which loses them gets them again.
    let access = Arc::clone(&state.access);
    let watched = async move {
        loop {
            tokio::time::sleep(TOKENS_EVERY).await;
            let _demanded = access.demands_token().await;
        }
    };
    tokio::select! {
        served = serve::serve(listener, router(state), connections, allowed, shutdown) => served,
        never = watched => never,
    }
}

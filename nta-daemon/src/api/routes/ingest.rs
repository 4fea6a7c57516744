//! `POST /ingest`: what sensors ship.

use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use serde::Serialize;

use super::ingest_packets::{self, PacketsMessage};
use crate::api::access::{Caller, Role, Secret, bearer};
use crate::api::error::Problem;
use crate::api::extract::{Json, Query, whole};
use crate::api::fleet::NumbersJson;
use crate::api::state::now;
use crate::api::{ApiError, ApiState};
use crate::sink::ship;
use crate::store::{Ingested, Settings, Shipment, Store, StoreError};

const JSON: &str = "application/json";
/// Ranges of missing numbers in an answer; the sensor asks again behind them.
const MOST_RANGES: usize = 64;

/// What became of a message.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct IngestAnswer {
    pub(super) sensor: String,
    /// Identity of the sensor's log, in which the numbers count.
    pub(super) epoch: String,
    /// Batches that are stored now and were not before.
    pub(in crate::api) stored: u64,
    /// Batches that were there already; they add nothing.
    pub(in crate::api) doubles: u64,
    /// All up to this number is stored: the sensor needs to keep nothing of it.
    pub(super) watermark: u64,
    /// Numbers behind it that are missing although later ones are there; the first 64 ranges.
    pub(super) missing: Vec<NumbersJson>,
    /// Batches that can never be stored.
    pub(super) refused: Vec<RefusedJson>,
    /// What the sensor is to do; null where nothing was set.
    #[schema(required)]
    pub(super) settings: Option<SignedSettings>,
    /// The capture that packets of records are in; null where the message has none.
    #[schema(required)]
    pub(super) file_id: Option<String>,
}

/// A batch that can never be stored.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct RefusedJson {
    number: u64,
    /// Why.
    reason: String,
}

/// What a sensor is to do.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct SignedSettings {
    /// Their number, which rises.
    version: u64,
    /// A JSON object as text, as it was signed.
    text: String,
    /// HMAC-SHA-256 of `VERSION.TEXT` in hexadecimal digits, by the SHA-256 of the token that was shown; null where none was. Over NATS
    /// Ed25519 of `nta settings SENSOR VERSION TEXT` in Base64, by the collector's nkey; null where it has none.
    #[schema(required)]
    signature: Option<String>,
}

/// Takes what a sensor ships, and answers how far this server is. The message is `nta-daemon`'s own (`application/octet-stream`): numbered
/// batches of windows, alerts, findings, features and, if configured, flows. Or it has packets as records (`application/json`), which become
/// a capture that is analysed while it grows. Sending either again adds nothing. One sensor's token is for the sensors in its scope, or for
/// all where it has none.
#[utoipa::path(
    post,
    path = "/ingest",
    operation_id = "ingest",
    tag = "sensors",
    request_body(content((Vec<u8> = "application/octet-stream"), (PacketsMessage = "application/json")), description = "A message of a sensor."),
    responses(
        (status = 200, description = "How far this server is.", body = IngestAnswer),
        (status = 409, description = "Another request sends packets of this log.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The packets do not fit into a capture.", body = Problem, content_type = "application/problem+json"),
        (status = 507, description = "There is no room for the packets.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "It is no message of a sensor, or one of a version that this one cannot read.", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn post(
    _: Query<()>,
    State(state): State<ApiState>,
    caller: Caller,
    request: Request,
) -> Result<Json<IngestAnswer>, ApiError> {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let is = |known: &str| kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(known);
    let is_packets = is(JSON);
    if !is_packets && !is(ship::CONTENT_TYPE) {
        let detail = format!("expected `Content-Type: {}`, or `{JSON}` with packets as records", ship::CONTENT_TYPE);
        return Err(ApiError::MediaType { field: "Content-Type", detail });
    }
    let token = bearer(request.headers())?.map(Secret::hash_of);
    // Of these few are read and stored at a time; the others come again.
    let Ok(_place) = state.shipments.clone().try_acquire_owned() else {
        return Err(ApiError::TooMany { wait_s: 1 });
    };
    if is_packets {
        return ingest_packets::post(&state, &caller, request).await;
    }
    let bytes = whole(request, &state).await?;
    let shipment =
        Shipment::decode(&bytes).map_err(|error| ApiError::MediaType { field: "body", detail: error.to_string() })?;
    if caller.role == Role::Sensor {
        caller.check_sensor(&shipment.sensor)?;
    }
    let ingested = state.store.ingest(&shipment, now()).await?;
    let sign = |version, text: &str| token.as_ref().map(|hash| ship::sign(hash, version, text));
    Ok(Json(answer(&state.store, &shipment, ingested, sign).await?))
}

/// How far the store is behind a message; what the sensor is to do, a number and a text, is signed by `sign` where it can be.
pub(in crate::api) async fn answer(
    store: &Store,
    shipment: &Shipment,
    ingested: Ingested,
    sign: impl Fn(u64, &str) -> Option<String>,
) -> Result<IngestAnswer, StoreError> {
    let settings = store.sensor_settings(&shipment.sensor).await?;
    let signed =
        |Settings { version, text }: Settings| SignedSettings { signature: sign(version, &text), version, text };
    Ok(IngestAnswer {
        sensor: shipment.sensor.clone(),
        epoch: shipment.epoch.clone(),
        stored: ingested.stored,
        doubles: ingested.doubles,
        watermark: ingested.watermark,
        missing: ingested.missing.into_iter().take(MOST_RANGES).map(NumbersJson::from).collect(),
        refused: ingested.refused.into_iter().map(|(number, reason)| RefusedJson { number, reason }).collect(),
        settings: (settings.version > 0).then(|| signed(settings)),
        file_id: None,
    })
}

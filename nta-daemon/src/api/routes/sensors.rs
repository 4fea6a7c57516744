//! `/api/sensors`: the gateways whose daemons ship to this one, how far they are, and whether anything is missing.

use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::ingest::NumbersJson;
use crate::api::access::Caller;
use crate::api::error::Problem;
use crate::api::extract::{InPath, Json, Path, PathParameter, Query, Sensor};
use crate::api::page::List;
use crate::api::state::now;
use crate::api::{ApiError, ApiState};
use crate::json::{seconds, words};
use crate::store::{About, Said, Shipped};
use nta_core::domain::Timestamp;

/// Logs that are listed.
const MOST: u32 = 1000;
/// A sensor says something every ten seconds; after so many it is silent.
const SILENT_AFTER_S: f64 = 60.0;

/// A sensor, by one of its logs: a new database begins a new one.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct SensorJson {
    name: String,
    /// Identity of its log: numbers count in it.
    epoch: String,
    /// Version of its daemon.
    version: String,
    /// `ok`; `degraded` with reasons; `silent` where nothing was heard of it for a minute.
    #[schema(value_type = words::SensorState)]
    state: &'static str,
    /// Why it is degraded, as it says.
    reasons: Vec<String>,
    /// Whether all that it ever numbered is stored here.
    is_complete: bool,
    /// The same in words: "1…8,412 complete, none double", or what is missing.
    completeness: String,
    /// The first number that this server was told of.
    first: u64,
    /// All up to this number is stored.
    watermark: u64,
    /// The newest number that the sensor gave.
    newest: u64,
    /// Numbers behind the watermark that are missing although later ones are there.
    missing: Vec<NumbersJson>,
    /// Batches that are lost: the sensor does not have them any more, or lost all but the alerts of them to its bound, or they could
    /// not be stored.
    lost: u64,
    /// Batches that came again and added nothing.
    doubles: u64,
    /// Packets of the windows stored.
    packets: u64,
    /// From the end of its newest window here until now; null before the first.
    #[schema(required)]
    lag_s: Option<f64>,
    /// End of its newest window here.
    #[schema(required, format = DateTime)]
    last_window: Option<String>,
    /// When it was heard of last.
    #[schema(format = DateTime)]
    last_seen: String,
    /// Its clock less this one's when it was heard of last, with the time on the way.
    clock_skew_s: f64,
    /// What waits at the sensor.
    spool: SpoolJson,
    /// Number of the settings that it follows; 0 for its own.
    settings: u64,
}

/// What waits at a sensor, as it said last.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct SpoolJson {
    /// Batches that this server has not confirmed.
    pending: u64,
    /// Their bytes on its disk.
    pending_bytes: u64,
    /// When the oldest of them was made; null where none waits.
    #[schema(required, format = DateTime)]
    pending_since: Option<String>,
    /// Batches that this server has confirmed since it knows the sensor.
    processed: u64,
    /// Batches that are never sent: they were refused, or cannot be read back.
    failed: u64,
}

impl SensorJson {
    fn new(shipped: Shipped, now: Timestamp) -> Self {
        let (watermark, is_complete, missing) = (shipped.watermark(), shipped.is_complete(), shipped.missing());
        let (gone, completeness) = (shipped.gone(), completeness(&shipped));
        let Shipped { sensor, epoch, first, doubles, packets, last, received, said, .. } = shipped;
        let Said { newest, sent_ns, about } = said;
        let About { version, pending_batches, pending_bytes, pending_since_ns, failed, reasons, settings, .. } = about;
        let is_silent = seconds(now.since(received)) > SILENT_AFTER_S;
        let state = match reasons.is_empty() {
            _ if is_silent => "silent",
            true => "ok",
            false => "degraded",
        };
        let skew_ns = i128::from(sent_ns) - i128::from(received.as_nanos());
        Self {
            name: sensor,
            epoch,
            version,
            state,
            reasons,
            is_complete,
            completeness,
            first,
            watermark,
            newest,
            missing: missing.into_iter().map(NumbersJson::from).collect(),
            lost: gone,
            doubles,
            packets,
            lag_s: last.map(|last| seconds(now.since(last))),
            last_window: last.map(|last| last.to_string()),
            last_seen: received.to_string(),
            clock_skew_s: (skew_ns as f64 / 1e6).round() / 1e3,
            spool: SpoolJson {
                pending: pending_batches,
                pending_bytes,
                pending_since: pending_since_ns.map(|since| Timestamp::from_nanos(since).to_string()),
                processed: (watermark + 1).saturating_sub(first),
                failed,
            },
            settings,
        }
    }
}

/// Whether anything is missing, with a number.
fn completeness(shipped: &Shipped) -> String {
    let (first, watermark, newest) = (shipped.first, shipped.watermark(), shipped.said.newest);
    if watermark < first {
        return format!("nothing yet of {first}…{}", newest.max(first));
    }
    let range = format!("{}…{}", grouped(first), grouped(watermark));
    let holes: u64 = shipped.missing().iter().map(|hole| hole.last - hole.first + 1).sum();
    match (shipped.gone(), holes, newest.saturating_sub(watermark)) {
        (0, 0, 0) => format!("{range} complete, none double"),
        (0, 0, behind) => format!("{range} complete, none double; {} on the way", grouped(behind)),
        (0, holes, _) => format!("{range} complete; {} missing behind it, asked for again", grouped(holes)),
        (lost, ..) => format!("{range} incomplete: {} lost", grouped(lost)),
    }
}

/// A number with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

impl PathParameter for Sensor {
    const NAME: &'static str = "id";
    const ABOUT: &'static str = "Name of the sensor.";
}

/// What a sensor is to do otherwise than it is configured; what is null or left out stays as it configures it.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct SensorSettings {
    /// Whether it ships flows.
    flows: Option<bool>,
    /// Whether it ships heads of frames.
    headers: Option<bool>,
    /// Most bytes a second that it sends; 0 is no bound.
    #[schema(maximum = 1_000_000_000_000_u64)]
    max_bytes_per_s: Option<u64>,
}

/// The settings of a sensor, which it takes up with its next message.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct SensorSettingsSet {
    /// Their number: the sensor shows it once it follows them.
    version: u64,
    settings: SensorSettings,
}

/// The sensors that ship to this server, the one heard of last first; a sensor that got a new database comes with each of its logs.
#[utoipa::path(
    get,
    path = "/api/sensors",
    operation_id = "list_sensors",
    tag = "sensors",
    responses((status = 200, description = "The sensors.", body = List<SensorJson>))
)]
pub(in crate::api) async fn list(
    _: Query<()>,
    State(state): State<ApiState>,
) -> Result<Json<List<SensorJson>>, ApiError> {
    let now = now();
    let shipped = state.store.shipped(None, MOST).await?;
    Ok(Json(List::whole(shipped.into_iter().map(|shipped| SensorJson::new(shipped, now)).collect(), MOST)))
}

/// A sensor by its newest log.
#[utoipa::path(
    get,
    path = "/api/sensors/{id}",
    operation_id = "get_sensor",
    tag = "sensors",
    params(InPath<Sensor>),
    responses(
        (status = 200, description = "The sensor.", body = SensorJson),
        (status = 404, description = "None of this name ships to this server.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn one(
    _: Query<()>,
    State(state): State<ApiState>,
    Path(Sensor(name)): Path<Sensor>,
) -> Result<Json<SensorJson>, ApiError> {
    let shipped = state.store.shipped(Some(&name), 1).await?.pop().ok_or_else(|| unknown(&name))?;
    Ok(Json(SensorJson::new(shipped, now())))
}

/// Says what a sensor is to do. It gets this with the answer to its next message, signed by what both know of its token, and keeps to
/// it until it is started again and hears of it anew.
#[utoipa::path(
    put,
    path = "/api/sensors/{id}/settings",
    operation_id = "set_sensor_settings",
    tag = "sensors",
    params(InPath<Sensor>),
    request_body = SensorSettings,
    responses(
        (status = 200, description = "The settings are kept.", body = SensorSettingsSet),
        (status = 404, description = "None of this name ships to this server.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn set(
    _: Query<()>,
    State(state): State<ApiState>,
    caller: Caller,
    Path(Sensor(name)): Path<Sensor>,
    Json(settings): Json<SensorSettings>,
) -> Result<Json<SensorSettingsSet>, ApiError> {
    if settings.max_bytes_per_s.is_some_and(|most| most > 1_000_000_000_000) {
        return Err(ApiError::invalid("max_bytes_per_s", "expected a number from 0 to 1000000000000"));
    }
    if state.store.shipped(Some(&name), 1).await?.is_empty() {
        return Err(unknown(&name));
    }
    let before = state.store.sensor_settings(&name).await?;
    let after = serde_json::json!(settings);
    let version = state.store.set_sensor_settings(&name, &after.to_string()).await?;
    let mut change = caller.audit("set sensor's settings", name);
    change.before = serde_json::from_str(&before.text).ok();
    change.after = Some(after);
    state.record(&change).await;
    Ok(Json(SensorSettingsSet { version, settings }))
}

fn unknown(name: &str) -> ApiError {
    ApiError::NotFound { detail: format!("no sensor `{name}` ships to this server; GET /api/sensors lists them") }
}

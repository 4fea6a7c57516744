//! `/api/sensors`: the gateways whose daemons ship to this one, how far they are, and whether anything is missing.

use axum::extract::State;
use axum::http::StatusCode;

use crate::api::access::Caller;
use crate::api::error::Problem;
use crate::api::extract::{InPath, Json, Path, PathParameter, Query, Sensor};
use crate::api::fleet::{MOST, SensorJson, SensorSettings, SensorSettingsSet, sensors};
use crate::api::page::List;
use crate::api::state::now;
use crate::api::{ApiError, ApiState};
use crate::store::{Audit, StoreError};

impl PathParameter for Sensor {
    const NAME: &'static str = "id";
    const ABOUT: &'static str = "Name of the sensor.";
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
    Ok(Json(List::whole(of(&state, None).await?, MOST)))
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
    let logs = of(&state, Some(&name)).await?;
    logs.into_iter().next().map(Json).ok_or_else(|| unknown(&name))
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
    // Below it a gateway's own windows would not pass any more.
    if settings.max_bytes_per_s.is_some_and(|most| most != 0 && !(1000..=1_000_000_000_000).contains(&most)) {
        let expected = "expected a number from 1000 to 1000000000000, or 0 for no bound";
        return Err(ApiError::invalid("max_bytes_per_s", expected));
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

/// Forgets a sensor that ships no more, so that nobody waits for it: its logs and what it was to do. Its windows, flows and alerts stay for as
/// long as they are kept. One that still ships, or that was heard of in the last minute, is not forgotten: revoke its token first.
#[utoipa::path(
    delete,
    path = "/api/sensors/{id}",
    operation_id = "forget_sensor",
    tag = "sensors",
    params(InPath<Sensor>),
    responses(
        (status = 204, description = "It is forgotten."),
        (status = 404, description = "None of this name ships to this server.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It was heard of in the last minute.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn forget(
    _: Query<()>,
    State(state): State<ApiState>,
    caller: Caller,
    Path(Sensor(name)): Path<Sensor>,
) -> Result<StatusCode, ApiError> {
    let logs = state.store.shipped(Some(&name), MOST).await?;
    if logs.is_empty() {
        return Err(unknown(&name));
    }
    if let Some(heard) = logs.iter().find(|log| !log.is_silent(now())) {
        let detail =
            format!("`{name}` was heard of at {}: revoke its token, and try again after a minute", heard.received);
        return Err(ApiError::Conflict { detail });
    }
    let last = logs.first().map(|log| serde_json::json!({ "watermark": log.watermark(), "packets": log.packets }));
    state.store.forget_sensor(&name, &Audit { before: last, ..caller.audit("forget sensor", &name) }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The logs of one sensor or all, as they are now.
async fn of(state: &ApiState, name: Option<&str>) -> Result<Vec<SensorJson>, StoreError> {
    let logs = state.store.shipped(name, MOST).await?;
    Ok(sensors(logs, &state.store.settings_by_sensor(MOST).await?, now()))
}

fn unknown(name: &str) -> ApiError {
    ApiError::NotFound { detail: format!("no sensor `{name}` ships to this server; GET /api/sensors lists them") }
}

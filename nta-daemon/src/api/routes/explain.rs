//! `GET /api/explain`: why there was an alert about a host, or none.

use std::net::IpAddr;

use axum::extract::State;

use crate::api::explain::{Explanation, Question, explain};
use crate::api::extract::{Json, Query, parameters};
use crate::api::state::now;
use crate::api::whose::WhoseQuery;
use crate::api::{ApiError, ApiState};
use nta_core::detect::{declarations, detectors};
use nta_core::domain::{Basis, Mode, ModelUse, Timestamp};

parameters! {
    /// Which host, and when.
    pub(in crate::api) struct ExplainQuery {
        /// Address of the host. It must be given.
        "host" => host: IpAddr,
        /// The time; RFC 3339 or Unix seconds. Unless given the end of the last window that was closed: with `capture`, of that capture.
        "at" => at: Timestamp,
        ..whose: WhoseQuery,
    }
}

/// What every detector measured of a host at a time, beside its threshold: why there was an alert, or none. Measures are kept from a
/// quarter of a threshold on, as long as their window; `state` says what of that time is not kept, and `reason` why.
#[utoipa::path(
    get,
    path = "/api/explain",
    operation_id = "explain",
    tag = "alerts",
    params(ExplainQuery),
    responses((status = 200, description = "What was measured.", body = Explanation))
)]
pub(in crate::api) async fn get(
    State(state): State<ApiState>,
    Query(ExplainQuery { host, at, whose }): Query<ExplainQuery>,
) -> Result<Json<Explanation>, ApiError> {
    let Some(host) = host else {
        return Err(ApiError::invalid("host", "expected the address of a host: it must be given"));
    };
    let status = state.status();
    let sensor = whose.sensor.as_ref().map(|sensor| sensor.0.clone());
    let scope = state.scope(whose).await?;
    // The last instant of the last window: of the capture that is asked about, else of this daemon.
    let end = state.span_of(&scope).await?.to.or(status.last_window_end);
    let last = end.map(|end| Timestamp::from_nanos(end.as_nanos().saturating_sub(1)));
    let at = at.or(last).unwrap_or_else(now);
    let running: Vec<&str> = detectors(&state.analysis.detect.now()).iter().map(|one| one.declaration().name).collect();
    let is_rule = |name: &str| declarations().iter().any(|one| one.name == name && one.basis == Basis::Rule);
    let models_judge = status.model.state == ModelUse::InUse || !status.learning.unusual.is_empty();
    let (mut off, mut unsure) = (Vec::new(), Vec::new());
    for declared in declarations() {
        match (is_rule(declared.name), models_judge) {
            (true, _) if !running.contains(&declared.name) => off.push(declared.name.to_owned()),
            (false, true) => unsure.push(declared.name.to_owned()),
            (false, false) if status.mode == Mode::Live => off.push(declared.name.to_owned()),
            (false, false) => unsure.push(declared.name.to_owned()),
            _ => {}
        }
    }
    let asked =
        Question { host: host.to_canonical(), at, sensor, whose: scope.whose, base_ns: state.base_ns(), off, unsure };
    Ok(Json(explain(&state.store, &asked).await?))
}

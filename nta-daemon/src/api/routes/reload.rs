//! `/api/control/reload`: the configuration is read again, and what can be taken up without detaching is.

use axum::extract::State;
use serde::Serialize;
use serde_json::json;

use crate::api::access::Caller;
use crate::api::error::Problem;
use crate::api::extract::{Json, Query};
use crate::api::{ApiError, ApiState};
use crate::config::{Current, ReloadError, ReloadHandle, Reloaded};
use crate::store::Audit;

/// What a reload did.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct ReloadJson {
    /// Settings that hold from now on, by section and key; those of detection from the next window on.
    taken: Vec<String>,
    /// Settings that hold from the next start of the daemon on.
    restart: Vec<String>,
    /// Settings that could not be taken up: they are as before.
    failed: Vec<FailedJson>,
    /// How many settings are as they were.
    unchanged: u64,
    /// Whether new connections get the certificate that is there now; null where the daemon does not serve by TLS.
    #[schema(required)]
    certificate: Option<bool>,
}

/// A setting that could not be taken up.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct FailedJson {
    setting: String,
    /// Why not.
    reason: String,
}

impl ApiState {
    /// Shows the settings in effect, and has them read again by this.
    #[must_use]
    pub fn with_reload(mut self, config: Current, reload: ReloadHandle) -> Self {
        (self.config, self.reload) = (config, Some(reload));
        self
    }
}

impl From<Reloaded> for ReloadJson {
    fn from(reloaded: Reloaded) -> Self {
        let Reloaded { taken, restart, failed, unchanged, certificate } = reloaded;
        let mut failed: Vec<_> = failed.into_iter().map(|(setting, reason)| FailedJson { setting, reason }).collect();
        if let Some(Err(reason)) = &certificate {
            failed.push(FailedJson { setting: "api.tls_cert".to_owned(), reason: reason.clone() });
        }
        let certificate = certificate.map(|read| read.is_ok());
        Self { taken, restart, failed, unchanged: unchanged as u64, certificate }
    }
}

/// Reads the configuration again, as SIGHUP does, and takes up what can be taken up without detaching: interfaces, detection, how much is
/// kept, the certificate. What else has changed is named. A configuration that cannot be used changes nothing.
#[utoipa::path(
    post,
    path = "/api/control/reload",
    operation_id = "reload",
    tag = "control",
    responses(
        (status = 200, description = "It was read.", body = ReloadJson),
        (status = 409, description = "This daemon reads its configuration once: it replays or collects.", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "The configuration cannot be used; `detail` has everything that is wrong, a line each.",
            body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Another reload is under way.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn post(
    _: Query<()>,
    caller: Caller,
    State(state): State<ApiState>,
) -> Result<Json<ReloadJson>, ApiError> {
    let once = || ApiError::Conflict { detail: "this daemon reads its configuration when it starts".to_owned() };
    let reload = state.reload.clone().ok_or_else(once)?;
    let audit = caller.audit("reload", "configuration".to_owned());
    // Carried out and recorded whether its client is still there or not.
    let reloading = tokio::spawn(async move {
        let reloaded = reload.reload().await?;
        let after = json!({"taken": reloaded.taken, "restart": reloaded.restart});
        state.record(&Audit { after: Some(after), ..audit }).await;
        Ok::<_, ReloadError>(ReloadJson::from(reloaded))
    });
    match reloading.await {
        Ok(Ok(reloaded)) => Ok(Json(reloaded)),
        Ok(Err(error)) => Err(error.into()),
        Err(_panicked) => Err(ApiError::Internal),
    }
}

impl From<ReloadError> for ApiError {
    fn from(error: ReloadError) -> Self {
        match error {
            ReloadError::Invalid(detail) => Self::Unprocessable { field: None, detail },
            ReloadError::Once(detail) => Self::Conflict { detail: detail.to_owned() },
            ReloadError::Busy => Self::Unavailable { detail: error.to_string() },
        }
    }
}

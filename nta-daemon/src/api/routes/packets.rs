//! `/api/alerts/{id}/evidence.pcap`: the packets of an alert, where they are kept.

use std::path::PathBuf;

use axum::extract::State;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse as _, Response};

use super::alerts::AlertId;
use crate::api::error::Problem;
use crate::api::extract::{InPath, Path, Query};
use crate::api::{ApiError, ApiState};
use crate::archive::{self, End, Found, MOST_BYTES, NotFound, Wanted};
use crate::store::{StoredAlert, capture_of_sensor};

/// Says in an answer whether there are more packets than it has.
const CUT: HeaderName = HeaderName::from_static("nta-cut");

/// The packets between the parties of an alert from `first_seen` to `last_seen`, a second around: of recordings, the packet buffer
/// (`capture.ring`) and captures of that time; of an alert that was found in an uploaded capture those of that capture, of a replay those of the files that are replayed. A viewer may
/// read them: they are what the alert is about. Whole captures are for operators, who send and record them. pcap with nanoseconds, at most 64 MiB. `nta-cut: true` says that there are more.
#[utoipa::path(
    get,
    path = "/api/alerts/{id}/evidence.pcap",
    operation_id = "get_evidence_packets",
    tag = "alerts",
    params(InPath<AlertId>),
    responses(
        (status = 200, description = "The capture.", body = String, content_type = "application/vnd.tcpdump.pcap"),
        (status = 404, description = "There is no such alert, or its packets are not kept; `detail` says which, and why.",
            body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn get(
    _: Query<()>,
    State(state): State<ApiState>,
    Path(AlertId(id)): Path<AlertId>,
) -> Result<Response, ApiError> {
    let unknown = || ApiError::NotFound { detail: format!("there is no alert {id}") };
    let alert = state.store.alert(&id).await?.ok_or_else(unknown)?;
    let ends = [&alert.source, &alert.destination].map(|party| End::of_party(party.as_deref()));
    let wanted = Wanted { ends, times: alert.seen.unwrap_or([alert.first, alert.last]) };
    let (folders, captures) = sources(&state, &alert, &wanted).await?;
    let found = state.workers.run(move |cancel| {
        archive::search((&folders, &captures), &wanted, &|| cancel.check().is_ok()).map_err(ApiError::from)
    });
    let Found { pcap, packets, is_cut } = found.await?;
    tracing::debug!(alert = id, packets, most = MOST_BYTES, is_cut, "api: packets of an alert");
    let name = format!("attachment; filename=\"nta-alert-{id}.pcap\"");
    let headers = [
        (header::CONTENT_TYPE, "application/vnd.tcpdump.pcap".to_owned()),
        (header::CONTENT_DISPOSITION, name),
        (CUT, is_cut.to_string()),
    ];
    Ok((headers, pcap).into_response())
}

/// Where packets are looked for: those of an alert that was found in an uploaded capture in that capture; else in the captures of the
/// replay, or recordings and the packet buffer, and captures of that time.
async fn sources(
    state: &ApiState,
    alert: &StoredAlert,
    wanted: &Wanted,
) -> Result<(Vec<PathBuf>, Vec<PathBuf>), ApiError> {
    if let Some(file_id) = alert.sensor.as_deref().and_then(capture_of_sensor) {
        let upload = state.store.upload(file_id).await?;
        return Ok((Vec::new(), upload.iter().map(|upload| state.uploads.file_of(upload)).collect()));
    }
    let around = archive::around(wanted.times);
    let uploads = state.store.uploads_of(around).await?;
    let uploaded = uploads.iter().map(|upload| state.uploads.file_of(upload));
    let captures = state.replayed.iter().cloned().chain(uploaded).collect();
    Ok((state.packet_folders.to_vec(), captures))
}

impl From<NotFound> for ApiError {
    fn from(error: NotFound) -> Self {
        match error {
            NotFound::GaveUp => Self::Busy,
            NotFound::Write(_) => Self::Internal,
            why => Self::NotFound { detail: why.to_string() },
        }
    }
}

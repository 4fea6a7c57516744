//! `/api/captures/{file_id}/file`: the bytes of a capture.

use std::fs::File;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use super::uploads::{FileId, refused};
use crate::api::error::Problem;
use crate::api::extract::{InPath, Path, Query};
use crate::api::ranged::Download;
use crate::api::{ApiError, ApiState};
use crate::store::UploadState;

/// The capture as it was sent or recorded, byte by byte. A whole capture holds more than any alert is about, so it is for operators, who
/// send and record captures; a viewer reads the packets of an alert (`/api/alerts/{id}/evidence.pcap`).
#[utoipa::path(
    get,
    path = "/api/captures/{file_id}/file",
    operation_id = "get_capture_file",
    tag = "captures",
    params(InPath<FileId>),
    responses(
        (status = 200, description = "The file. `ETag` is its SHA-256.", body = String, content_type = "application/vnd.tcpdump.pcap"),
        (status = 206, description = "The part that `Range` asks for.", body = String, content_type = "application/vnd.tcpdump.pcap"),
        (status = 404, description = "There is none of that name, or its file is gone; `detail` says which.", body = Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "Not all of it is here yet.", body = Problem, content_type = "application/problem+json"),
        (status = 416, description = "It has no such bytes as `Range` asks for; `Content-Range` says how many it has.", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn get(
    _: Query<()>,
    State(state): State<ApiState>,
    headers: HeaderMap,
    Path(FileId(file_id)): Path<FileId>,
) -> Result<Response, ApiError> {
    let upload = state.uploads.known(&file_id).await.map_err(refused)?;
    if upload.state == UploadState::Receiving {
        return Err(ApiError::NotYet { detail: format!("the capture {file_id} is still being sent") });
    }
    let gone = || ApiError::NotFound { detail: format!("the file of the capture {file_id} is gone") };
    let file = File::open(state.uploads.file_of(&upload)).map_err(|_gone| gone())?;
    let name = format!("nta-{file_id}.pcap");
    Download { file, media_type: "application/vnd.tcpdump.pcap", name, sha256: upload.sha256 }.answer(&headers)
}

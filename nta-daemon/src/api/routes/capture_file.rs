//! `/api/captures/{file_id}/file`: the bytes of a capture.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::try_unfold;
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

use super::uploads::{FileId, refused};
use crate::api::error::Problem;
use crate::api::extract::{InPath, Path, Query};
use crate::api::{ApiError, ApiState};
use crate::store::UploadState;

/// Bytes that are read at a time.
const CHUNK: usize = 256 << 10;

/// The capture as it was sent or recorded, byte by byte.
#[utoipa::path(
    get,
    path = "/api/captures/{file_id}/file",
    operation_id = "get_capture_file",
    tag = "captures",
    params(InPath<FileId>),
    responses(
        (status = 200, description = "The file. `ETag` is its SHA-256.", body = String, content_type = "application/vnd.tcpdump.pcap"),
        (status = 404, description = "There is none of that name, or its file is gone; `detail` says which.", body = Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "Not all of it is here yet.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn get(
    _: Query<()>,
    State(state): State<ApiState>,
    Path(FileId(file_id)): Path<FileId>,
) -> Result<Response, ApiError> {
    let upload = state.uploads.known(&file_id).await.map_err(refused)?;
    if upload.state == UploadState::Receiving {
        return Err(ApiError::NotYet { detail: format!("the capture {file_id} is still being sent") });
    }
    let gone = || ApiError::NotFound { detail: format!("the file of the capture {file_id} is gone") };
    let file = File::open(state.uploads.file_of(&upload)).await.map_err(|_gone| gone())?;
    let bytes = file.metadata().await.map_err(|_gone| gone())?.len();
    let body = try_unfold((file, bytes), |(mut file, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let most = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let mut chunk = vec![0; most];
        let read = file.read(&mut chunk).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        chunk.truncate(read);
        Ok::<_, std::io::Error>(Some((Bytes::from(chunk), (file, left - read as u64))))
    });
    let headers = [
        (header::CONTENT_TYPE, "application/vnd.tcpdump.pcap".to_owned()),
        (header::CONTENT_LENGTH, bytes.to_string()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"nta-{file_id}.pcap\"")),
        (header::ETAG, format!("\"{}\"", upload.sha256.unwrap_or_default())),
    ];
    Ok((headers, Body::from_stream(body)).into_response())
}

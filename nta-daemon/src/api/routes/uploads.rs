//! `/upload` and `/api/upload`: captures that clients send, in one piece or in parts.

use axum::body::Body;
use axum::extract::{FromRequest as _, Multipart, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use serde::Serialize;
use std::time::Duration;
use tokio::time::timeout;
use utoipa::openapi::Schema;

use super::upload_headers::{PART_TYPES, TYPES, check_type, encoding, essence, media_type, number};
use crate::api::access::Caller;
use crate::api::error::Problem;
use crate::api::extract::{InPath, Json, Parameter, Path, PathParameter, Query, parameters, text};
use crate::api::{ApiError, ApiState};
use crate::store::Audit;
use crate::uploads::{Encoding, Incoming, Received, Refusal};

/// Longest name of a capture.
const MOST_NAME: usize = 255;
pub(in crate::api) const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");

/// Names a capture.
#[derive(Clone, Debug)]
pub(in crate::api) struct FileId(pub(in crate::api) String);

impl Parameter for FileId {
    fn parse(text: &str) -> Result<Self, String> {
        let is_sound = text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        is_sound.then(|| Self(text.to_owned())).ok_or_else(|| "32 hexadecimal digits, as in `file_id`".to_owned())
    }

    fn schema() -> Schema {
        text().pattern(Some("^[0-9a-f]{32}$")).into()
    }
}

impl PathParameter for FileId {
    const NAME: &'static str = "file_id";
    const ABOUT: &'static str = "Name of the capture: `file_id` of its upload.";
}

/// What a client calls a capture. It is shown, and never a path.
#[derive(Clone, Debug)]
pub(in crate::api) struct CaptureName(String);

impl Parameter for CaptureName {
    fn parse(text: &str) -> Result<Self, String> {
        let is_sound = text.chars().count() <= MOST_NAME && !text.contains(char::is_control);
        is_sound.then(|| Self(text.to_owned())).ok_or_else(|| format!("up to {MOST_NAME} characters on one line"))
    }

    fn schema() -> Schema {
        text().max_length(Some(MOST_NAME)).into()
    }
}

parameters! {
    /// What is sent.
    pub(in crate::api) struct UploadQuery {
        /// What the capture is called in lists and reports; of a form, the name of its file.
        "name" => name: CaptureName,
    }
}

/// A capture that was received, or announced.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct Uploaded {
    /// Its name here; of bytes that were there already, that of the first.
    #[schema(pattern = "^[0-9a-f]{32}$")]
    file_id: String,
    /// SHA-256 of its bytes; null while not all of them are here.
    #[schema(required, pattern = "^[0-9a-f]{64}$")]
    sha256: Option<String>,
    /// Bytes that are here.
    bytes: u64,
    /// Whether these bytes were there already.
    is_duplicate: bool,
    /// The job that analyses it; null where it is not begun, or these bytes were there already.
    #[schema(required)]
    job: Option<String>,
    /// The capture in the list.
    capture: String,
    /// How far its analysis is.
    analysis: String,
    /// Its report, once it is analysed.
    report: String,
}

impl Uploaded {
    fn new(file_id: String, (sha256, bytes): (Option<String>, u64), is_duplicate: bool, job: Option<String>) -> Self {
        Self {
            capture: format!("/api/captures/{file_id}"),
            analysis: format!("/analysis/{file_id}"),
            report: format!("/report/{file_id}"),
            file_id,
            sha256,
            bytes,
            is_duplicate,
            job,
        }
    }
}

/// Takes a capture: pcap or pcapng, plain or packed with gzip or zstd; raw, raw with `Content-Encoding`, or as the one file of a
/// form. It is analysed while it arrives. What it is its first kilobyte says, whatever name or type it has.
///
/// With `Upload-Length` and no body a capture is announced that comes in parts, see `PATCH /api/upload/{file_id}`.
#[utoipa::path(
    post,
    path = "/api/upload",
    operation_id = "upload_capture",
    tag = "captures",
    params(UploadQuery, ("Upload-Length" = Option<u64>, Header, description = "Bytes of a capture that comes in parts; with an empty body.")),
    request_body(content((Vec<u8> = "application/octet-stream"), (Object = "multipart/form-data")), description = "The capture."),
    responses(
        (status = 200, description = "These bytes were there already.", body = Uploaded),
        (status = 201, description = "It was received, or announced: `Location` says where parts go.", body = Uploaded),
        (status = 408, description = "Nothing came for too long, or too little.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "It is too large, or becomes too large when it is unpacked.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "It is no capture; `detail` says what it is. Or its type or encoding is not taken.", body = Problem, content_type = "application/problem+json"),
        (status = 507, description = "There is no room for it: the quota is used up, or the disk is full.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn post(
    State(state): State<ApiState>,
    caller: Caller,
    Query(query): Query<UploadQuery>,
    request: Request,
) -> Result<Response, ApiError> {
    receive(&state, &caller, query, request).await
}

/// Takes a capture, as `/api/upload` does.
#[utoipa::path(
    post,
    path = "/upload",
    operation_id = "upload_capture_root",
    tag = "captures",
    params(UploadQuery, ("Upload-Length" = Option<u64>, Header, description = "Bytes of a capture that comes in parts; with an empty body.")),
    request_body(content((Vec<u8> = "application/octet-stream"), (Object = "multipart/form-data")), description = "The capture."),
    responses(
        (status = 200, description = "These bytes were there already.", body = Uploaded),
        (status = 201, description = "It was received, or announced: `Location` says where parts go.", body = Uploaded),
        (status = 408, description = "Nothing came for too long, or too little.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "It is too large, or becomes too large when it is unpacked.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "It is no capture; `detail` says what it is. Or its type or encoding is not taken.", body = Problem, content_type = "application/problem+json"),
        (status = 507, description = "There is no room for it: the quota is used up, or the disk is full.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn post_root(
    State(state): State<ApiState>,
    caller: Caller,
    Query(query): Query<UploadQuery>,
    request: Request,
) -> Result<Response, ApiError> {
    receive(&state, &caller, query, request).await
}

/// How many bytes of a capture are here.
#[utoipa::path(
    head,
    path = "/api/upload/{file_id}",
    operation_id = "get_upload_offset",
    tag = "captures",
    params(InPath<FileId>),
    responses(
        (status = 200, description = "The next part begins there.", headers(
            ("Upload-Offset" = u64, description = "Bytes that are here."),
            ("Upload-Length" = u64, description = "Bytes that there will be."),
        )),
        (status = 404, description = "There is no such capture."),
    )
)]
pub(in crate::api) async fn head(
    _: Query<()>,
    State(state): State<ApiState>,
    Path(FileId(file_id)): Path<FileId>,
) -> Result<Response, ApiError> {
    let (offset, length) = state.uploads.offset(&file_id).await.map_err(refused)?;
    let headers = [
        (UPLOAD_OFFSET, HeaderValue::from(offset)),
        (UPLOAD_LENGTH, HeaderValue::from(length)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((StatusCode::OK, headers).into_response())
}

/// Takes the next part of a capture that was announced. A part that breaks off stays as far as it came: `HEAD` says where the next
/// one begins. With its last byte the capture is whole, and the answer is that of `POST /api/upload`.
#[utoipa::path(
    patch,
    path = "/api/upload/{file_id}",
    operation_id = "upload_part",
    tag = "captures",
    params(InPath<FileId>, ("Upload-Offset" = u64, Header, description = "Number of the part's first byte, from 0.")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "The part."),
    responses(
        (status = 200, description = "It is whole, and these bytes were there already.", body = Uploaded),
        (status = 201, description = "It is whole.", body = Uploaded),
        (status = 202, description = "More is to come.", body = Uploaded),
        (status = 404, description = "There is no such capture.", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "Nothing came for too long, or too little.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Another byte is due, which `Upload-Offset` names; another request sends; or it is whole.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "It is longer than was announced.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "It is no capture; `detail` says what it is. Or its type or encoding is not taken.", body = Problem, content_type = "application/problem+json"),
        (status = 507, description = "There is no room for it.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn patch(
    _: Query<()>,
    State(state): State<ApiState>,
    caller: Caller,
    Path(FileId(file_id)): Path<FileId>,
    request: Request,
) -> Result<Response, ApiError> {
    check_type(request.headers(), &PART_TYPES)?;
    if encoding(request.headers())? != Encoding::Identity {
        return Err(media_type(
            "Content-Encoding",
            "a part is not packed on the way; the capture itself may be".to_owned(),
        ));
    }
    let offset = number(request.headers(), &UPLOAD_OFFSET)?
        .ok_or_else(|| ApiError::invalid("Upload-Offset", "is missing: the number of the part's first byte"))?;
    let mut incoming = match state.uploads.go_on(&file_id, offset).await {
        Ok(incoming) => incoming.by(&caller.name),
        Err(refusal @ Refusal::Offset { expected }) => {
            let mut response = refused(refusal).into_response();
            response.headers_mut().insert(UPLOAD_OFFSET, HeaderValue::from(expected));
            return Ok(response);
        }
        Err(refusal) => return Err(refused(refusal)),
    };
    pour(&state, request.into_body(), &mut incoming).await?;
    let job = incoming.job();
    match incoming.pause().await.map_err(refused)? {
        Ok(received) => Ok(answer(&state, &caller, received).await),
        Err(written) => {
            let more = Uploaded::new(file_id, (None, written), false, job);
            Ok((StatusCode::ACCEPTED, [(UPLOAD_OFFSET, HeaderValue::from(written))], Json(more)).into_response())
        }
    }
}

async fn receive(
    state: &ApiState,
    caller: &Caller,
    UploadQuery { name }: UploadQuery,
    request: Request,
) -> Result<Response, ApiError> {
    let headers = request.headers();
    let name = name.map(|name| name.0).unwrap_or_default();
    let encoding = encoding(headers)?;
    let length = number(headers, &header::CONTENT_LENGTH)?;
    if let Some(announced) = number(headers, &UPLOAD_LENGTH)? {
        if length.is_some_and(|length| length > 0) {
            return Err(ApiError::invalid("Upload-Length", "goes with an empty body: the parts come by PATCH"));
        }
        if announced == 0 {
            return Err(ApiError::invalid("Upload-Length", "expected the size of the capture, at least 1"));
        }
        let file_id = state.uploads.announce(&name, announced).await.map_err(|refusal| match refusal {
            // It is the header that says so, and not the body.
            Refusal::TooLarge { .. } | Refusal::NoRoom(_) => ApiError::Refused {
                status: status_of_room(&refusal),
                field: "Upload-Length",
                detail: refusal.to_string(),
            },
            refusal => refused(refusal),
        })?;
        state.record(&Audit { after: Some(announced.into()), ..caller.audit("announce capture", &file_id) }).await;
        let location = format!("/api/upload/{file_id}");
        let headers = [(header::LOCATION, location), (UPLOAD_OFFSET, "0".to_owned())];
        return Ok((StatusCode::CREATED, headers, Json(Uploaded::new(file_id, (None, 0), false, None))).into_response());
    }
    if essence(headers).is_some_and(|given| given.eq_ignore_ascii_case("multipart/form-data")) {
        if encoding != Encoding::Identity {
            return Err(media_type("Content-Encoding", "a form is not packed on the way; its file may be".to_owned()));
        }
        let received = form(state, caller, name, request).await?;
        return Ok(answer(state, caller, received).await);
    }
    check_type(headers, &TYPES)?;
    let mut incoming = state.uploads.begin(&name, encoding, length).await.map_err(refused)?.by(&caller.name);
    pour(state, request.into_body(), &mut incoming).await?;
    let received = incoming.finish().await.map_err(refused)?;
    Ok(answer(state, caller, received).await)
}

/// The one file of a form.
async fn form(state: &ApiState, caller: &Caller, name: String, request: Request) -> Result<Received, ApiError> {
    let malformed = |detail: String| ApiError::invalid("body", detail);
    let mut form =
        Multipart::from_request(request, state).await.map_err(|error| malformed(format!("no form: {error}")))?;
    let idle = Duration::from_secs(state.uploads.config().idle_s);
    let late = || refused(Refusal::Idle { seconds: idle.as_secs() });
    let next = timeout(idle, form.next_field()).await.map_err(|_elapsed| late())?;
    let field = next.map_err(|error| malformed(format!("no form: {error}")))?;
    let mut field =
        field.ok_or_else(|| malformed("the form has no file: expected one, as of `curl -F file=@…`".to_owned()))?;
    let name = if name.is_empty() { shown(field.file_name().unwrap_or_default()) } else { name };
    let mut incoming = state.uploads.begin(&name, Encoding::Identity, None).await.map_err(refused)?.by(&caller.name);
    loop {
        let chunk = timeout(idle, field.chunk()).await.map_err(|_elapsed| late())?;
        match chunk.map_err(|_broken| refused(Refusal::Broken))? {
            Some(bytes) => incoming.take(&bytes).await.map_err(refused)?,
            None => break,
        }
    }
    drop(field);
    let more = timeout(idle, form.next_field()).await.map_err(|_elapsed| late())?;
    if more.map_err(|error| malformed(format!("no form: {error}")))?.is_some() {
        return Err(malformed("expected one file in a form: send captures one by one".to_owned()));
    }
    incoming.finish().await.map_err(refused)
}

/// A name as it is shown: on one line, and not too long.
fn shown(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(MOST_NAME).collect()
}

/// Takes a body to its end.
async fn pour(state: &ApiState, body: Body, incoming: &mut Incoming) -> Result<(), ApiError> {
    let idle = Duration::from_secs(state.uploads.config().idle_s);
    let mut pieces = body.into_data_stream();
    loop {
        match timeout(idle, pieces.next()).await {
            Err(_) => return Err(refused(Refusal::Idle { seconds: idle.as_secs() })),
            Ok(None) => return Ok(()),
            Ok(Some(Err(_broken))) => return Err(refused(Refusal::Broken)),
            Ok(Some(Ok(bytes))) => incoming.take(&bytes).await.map_err(refused)?,
        }
    }
}

async fn answer(state: &ApiState, caller: &Caller, received: Received) -> Response {
    let Received { file_id, sha256, bytes, is_new, job } = received;
    if is_new {
        state.record(&Audit { after: Some(sha256.clone().into()), ..caller.audit("upload capture", &file_id) }).await;
    }
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let location = [(header::LOCATION, format!("/api/captures/{file_id}"))];
    (status, location, Json(Uploaded::new(file_id, (Some(sha256), bytes), !is_new, job))).into_response()
}

/// The status of what does not fit: into the bound of one capture, or into what is left.
const fn status_of_room(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::NoRoom(_) => StatusCode::INSUFFICIENT_STORAGE,
        _ => StatusCode::PAYLOAD_TOO_LARGE,
    }
}

/// Why an upload is not taken, as an answer.
pub(in crate::api) fn refused(refusal: Refusal) -> ApiError {
    let detail = refusal.to_string();
    let (status, field) = match refusal {
        Refusal::Content(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "body"),
        Refusal::TooLarge { .. } | Refusal::Bomb { .. } | Refusal::Longer { .. } => (status_of_room(&refusal), "body"),
        Refusal::Packed(_) | Refusal::Broken => (StatusCode::BAD_REQUEST, "body"),
        Refusal::NoRoom(_) => (status_of_room(&refusal), "body"),
        Refusal::Idle { .. } | Refusal::Slow { .. } => (StatusCode::REQUEST_TIMEOUT, "body"),
        Refusal::Offset { .. } => (StatusCode::CONFLICT, "Upload-Offset"),
        Refusal::Taken | Refusal::Whole | Refusal::Coming(_) => return ApiError::Conflict { detail },
        Refusal::NotFound(_) => return ApiError::NotFound { detail },
        Refusal::Busy | Refusal::Stopping => return ApiError::Busy,
        Refusal::Io(error) => {
            tracing::error!(%error, "api: an upload cannot be written");
            return ApiError::Internal;
        }
        Refusal::Store(error) => return error.into(),
    };
    ApiError::Refused { status, field, detail }
}

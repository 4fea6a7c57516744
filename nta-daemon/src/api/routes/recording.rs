//! `/api/analysis/start-tcpdump` and `/stop-tcpdump`: packets of an interface recorded into pcap files.

use std::time::Duration;

use axum::extract::State;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::openapi::Schema;

use crate::api::access::{Caller, INTERFACE_PATTERN};
use crate::api::error::Problem;
use crate::api::extract::{Count, Json, Query, Text, number, or_null, text};
use crate::api::{ApiError, ApiState};
use crate::recording::{End, LEAST_BYTES, MAX_SNAP_LENGTH, RecordError, RecordedFile, Recorder, Recording, Request};
use crate::source::kernel::packet_socket::PacketSocketError;
use crate::store::Audit;
use nta_core::domain::Timestamp;

/// Longest filter in characters.
const MAX_FILTER: usize = 4000;
/// Longest recording in seconds: a week.
const MAX_SECONDS: u32 = 7 * 86_400;

/// What is to be recorded.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct RecordingRequest {
    /// Interface, as in `ip link`; `lo` too.
    #[schema(schema_with = interface_schema)]
    interface: String,
    /// Only packets that this takes: the language of tcpdump. Everything unless given.
    #[schema(schema_with = Text::<MAX_FILTER>::schema)]
    filter: Option<Text<MAX_FILTER>>,
    /// Bytes of each packet that are recorded; all unless given.
    #[schema(schema_with = Count::<MAX_SNAP_LENGTH>::schema)]
    snaplen: Option<Count<MAX_SNAP_LENGTH>>,
    /// Bytes of all files together; the oldest of eight goes when they would take more. Unless given, and at most,
    /// `recordings.max_bytes`.
    #[schema(schema_with = Size::schema)]
    max_bytes: Option<Size>,
    /// Ends by itself after so many seconds; by request unless given.
    #[schema(schema_with = Count::<MAX_SECONDS>::schema)]
    duration: Option<Count<MAX_SECONDS>>,
}

fn interface_schema() -> Schema {
    text().pattern(Some(INTERFACE_PATTERN)).into()
}

/// Bytes of a recording.
#[derive(Clone, Copy, Debug)]
struct Size(u64);

impl Size {
    fn schema() -> Schema {
        or_null(number(LEAST_BYTES, 1 << 50).into())
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        // JSON knows one kind of number: 1048576.0 is 1048576.
        let whole = value.as_f64().filter(|number| number.fract().abs() < f64::EPSILON);
        let within = whole.filter(|number| (LEAST_BYTES as f64..=(1_u64 << 50) as f64).contains(number));
        let expected = || D::Error::custom(format!("`{value}`: expected a number of bytes from {LEAST_BYTES} on"));
        within.map(|number| Self(number as u64)).ok_or_else(expected)
    }
}

/// A recording.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct RecordingJson {
    interface: String,
    /// The filter; null where everything is recorded.
    filter: Option<String>,
    /// Bytes of each packet.
    snaplen: u32,
    /// Most bytes of all files.
    max_bytes: u64,
    /// Seconds after which it ends by itself; null where it does not.
    duration_s: Option<u64>,
    #[schema(format = DateTime)]
    started_at: String,
    /// Null while it runs.
    #[schema(format = DateTime)]
    ended_at: Option<String>,
    /// Why it ended: `stopped` by request, `duration`, `failed`; null while it runs.
    #[schema(pattern = "^(stopped|duration|failed)$")]
    ended: Option<&'static str>,
    /// What failed; null where nothing did.
    failure: Option<String>,
    /// Packets recorded; 0 when it begins.
    packets: u64,
    /// Packets that the kernel dropped since the recording did not take them in time.
    dropped_by_kernel: u64,
    /// Files that had to go to keep within `max_bytes`, and the packets in them.
    files_deleted: u64,
    /// Packets in those.
    packets_deleted: u64,
    /// The files that are there, the oldest first; empty while it runs.
    files: Vec<RecordedFileJson>,
}

/// A file of a recording.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct RecordedFileJson {
    /// Its name in the folder of recordings.
    name: String,
    /// Its name among the captures, `/api/captures/{file_id}`; null for a file without packets, and where the database does not
    /// answer: the next start takes it.
    #[schema(required, pattern = "^[0-9a-f]{32}$")]
    file_id: Option<String>,
    bytes: u64,
    packets: u64,
    /// Time of the first packet; null without packets.
    #[schema(format = DateTime)]
    first_time: Option<String>,
    /// Time of the last packet.
    #[schema(format = DateTime)]
    last_time: Option<String>,
}

impl From<RecordedFile> for RecordedFileJson {
    fn from(file: RecordedFile) -> Self {
        let time = |at: usize| file.times.map(|times| Timestamp::from_nanos(times[at]).to_string());
        let (first_time, last_time) = (time(0), time(1));
        Self { name: file.name, file_id: None, bytes: file.bytes, packets: file.packets, first_time, last_time }
    }
}

impl From<Recording> for RecordingJson {
    fn from(recording: Recording) -> Self {
        let Recording { request, ended, deleted: [files_deleted, packets_deleted], .. } = recording;
        let (ended_at, end) = ended.map(|(at, end)| (at.to_string(), end)).unzip();
        Self {
            interface: request.interface,
            filter: Some(request.filter).filter(|filter| !filter.is_empty()),
            snaplen: request.snap_length,
            max_bytes: recording.max_bytes,
            duration_s: request.duration.map(|duration| duration.as_secs()),
            started_at: recording.started.to_string(),
            ended_at,
            ended: end.as_ref().map(End::word),
            failure: match end {
                Some(End::Failed(reason)) => Some(reason),
                _ => None,
            },
            packets: recording.packets,
            dropped_by_kernel: recording.drops,
            files_deleted,
            packets_deleted,
            files: recording.files.into_iter().map(RecordedFileJson::from).collect(),
        }
    }
}

/// Begins to record an interface's packets into pcap files, whether it is watched or not. One recording runs at a time.
#[utoipa::path(
    post,
    path = "/api/analysis/start-tcpdump",
    operation_id = "start_recording",
    tag = "analysis",
    request_body = RecordingRequest,
    responses(
        (status = 200, description = "It runs.", body = RecordingJson),
        (status = 409, description = "Another recording runs, or this daemon captures nothing.", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "There is no such interface, the filter cannot be compiled, or all recordings would take more than \
            they may; `detail` says which.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn start(
    _: Query<()>,
    caller: Caller,
    State(state): State<ApiState>,
    Json(body): Json<RecordingRequest>,
) -> Result<Json<RecordingJson>, ApiError> {
    caller.check_interface(&body.interface)?;
    let recorder = recorder(&state)?;
    let max_bytes = body.max_bytes.map(|size| size.0);
    if let Some(asked) = max_bytes.filter(|asked| *asked > recorder.max_bytes()) {
        let most = recorder.max_bytes();
        return Err(ApiError::invalid(
            "max_bytes",
            format!("`{asked}`: expected at most {most} (recordings.max_bytes)"),
        ));
    }
    let request = Request {
        interface: body.interface,
        filter: body.filter.map(|filter| filter.0).unwrap_or_default(),
        snap_length: body.snaplen.map_or(MAX_SNAP_LENGTH, |length| length.0),
        max_bytes,
        duration: body.duration.map(|seconds| Duration::from_secs(seconds.0.into())),
    };
    let change = caller.audit("start recording", request.interface.clone());
    let recording = RecordingJson::from(recorder.start(request).map_err(|error| hidden(error, &caller))?);
    state.record(&Audit { after: serde_json::to_value(&recording).ok(), ..change }).await;
    Ok(Json(recording))
}

/// Ends the recording, and says what it has: packets, what the kernel dropped, files. One that ended by itself is answered once.
#[utoipa::path(
    post,
    path = "/api/analysis/stop-tcpdump",
    operation_id = "stop_recording",
    tag = "analysis",
    responses(
        (status = 200, description = "What was recorded.", body = RecordingJson),
        (status = 409, description = "Nothing is being recorded.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn stop(
    _: Query<()>,
    caller: Caller,
    State(state): State<ApiState>,
) -> Result<Json<RecordingJson>, ApiError> {
    let recorder = recorder(&state)?;
    let running = recorder.now();
    if let Some(running) = &running {
        let recorded = std::iter::once(running.request.interface.as_str());
        caller.check_all(recorded, "what is being recorded comes from another interface")?;
    }
    let before = running.and_then(|running| serde_json::to_value(RecordingJson::from(running)).ok());
    let ended = recorder.stop()?;
    let adopted = state.uploads.adopt(&ended.files).await.unwrap_or_else(|error| {
        tracing::warn!(%error, "a recording is not among the captures; the next start takes it");
        Vec::new()
    });
    let mut recording = RecordingJson::from(ended);
    for file in &mut recording.files {
        file.file_id = adopted.iter().find(|(name, _)| *name == file.name).map(|(_, file_id)| file_id.clone());
    }
    let change = caller.audit("stop recording", recording.interface.clone());
    state.record(&Audit { before, after: serde_json::to_value(&recording).ok(), ..change }).await;
    Ok(Json(recording))
}

/// A refusal that names no interface that the token is not for.
fn hidden(error: RecordError, caller: &Caller) -> ApiError {
    match (error, &caller.scope) {
        (RecordError::Running { interface, .. }, Some(scope)) if !scope.contains(&interface) => ApiError::Conflict {
            detail: "another interface is being recorded; one recording runs at a time".to_owned(),
        },
        (RecordError::Interface { name, .. }, Some(scope)) => {
            RecordError::Interface { name, there_are: format!("the token is for {}", scope.join(", ")) }.into()
        }
        (error, _) => error.into(),
    }
}

fn recorder(state: &ApiState) -> Result<&Recorder, ApiError> {
    let detail = || "this daemon captures nothing: packets are recorded by `nta-daemon run`".to_owned();
    state.recorder.as_deref().ok_or_else(|| ApiError::Conflict { detail: detail() })
}

impl From<RecordError> for ApiError {
    fn from(error: RecordError) -> Self {
        let detail = error.to_string();
        let unprocessable = |field: &str| Self::Unprocessable { field: Some(field.to_owned()), detail: detail.clone() };
        match error {
            RecordError::Running { .. } | RecordError::Idle => Self::Conflict { detail },
            RecordError::Interface { .. } | RecordError::Socket(PacketSocketError::LinkType { .. }) => {
                unprocessable("interface")
            }
            RecordError::Filter { .. } => unprocessable("filter"),
            RecordError::Quota { .. } => unprocessable("max_bytes"),
            RecordError::Socket(PacketSocketError::Right) => Self::Forbidden { field: "interface".to_owned(), detail },
            RecordError::Socket(_) | RecordError::Folder { .. } => {
                tracing::error!(error = detail, "api: recording cannot begin");
                Self::Unprocessable { field: None, detail }
            }
        }
    }
}

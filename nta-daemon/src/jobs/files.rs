//! What jobs that read captures and write results have in common: a capture by its name, how far it was read, and how a file is
//! put into the list.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use axum::http::StatusCode;
use serde::Serialize;

use super::{JobContext, JobError};
use crate::api::ApiError;
use crate::capture::clock;
use crate::results::{Draft, Kept, ResultError};
use crate::room::NoRoom;
use crate::store::{ResultFile, ResultKind};
use crate::uploads::Refusal;
use nta_capture::{CaptureError, CaptureReader};

/// A capture that was found, and how many of its bytes were read.
pub(super) struct Capture {
    pub(super) reader: CaptureReader,
    pub(super) bytes: u64,
    pub(super) read: Arc<AtomicU64>,
}

/// A file of the list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ResultLink {
    /// Its name.
    name: String,
    /// Its rows, without the lines around them.
    rows: u64,
    /// Its length.
    bytes: u64,
    /// Where it is.
    path: String,
}

/// Opens a capture: one that was uploaded by its `file_id`, one that was recorded by the name of its file.
pub(super) fn open_capture(context: &JobContext, name: &str) -> Result<Capture, JobError> {
    let uploads = &context.tools.uploads;
    let is_upload = name.len() == 32 && name.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let (file, shown) = if is_upload {
        context.wait(async { uploads.open(name).await.map_err(|refusal| JobError::from(unusable(refusal))) })?
    } else {
        let file = recording(context, name).map_err(|error| {
            tracing::error!(%error, "job: a recording cannot be opened");
            JobError::from(ApiError::Internal)
        })?;
        (file.ok_or_else(|| wrong("capture", format!("there is no capture {name}: expected the `file_id` of an upload (GET /api/captures) or a file of stop-tcpdump")))?, name.to_owned())
    };
    let bytes = file.metadata().map_or(0, |metadata| metadata.len());
    let read = Arc::new(AtomicU64::new(0));
    let shown = if shown.is_empty() { name.to_owned() } else { shown };
    let counted = Counted { file, read: Arc::clone(&read) };
    let reader = CaptureReader::from_read(shown, Box::new(counted)).map_err(|error| unreadable(&error))?;
    let reader = reader.with_most_unpacked(uploads.config().max_unpacked_bytes);
    Ok(Capture { reader, bytes, read })
}

/// A file in the folder of recordings, looked up among those that are there: a name is no path.
fn recording(context: &JobContext, name: &str) -> io::Result<Option<File>> {
    let tools = &context.tools;
    let folder = tools.uploads.settings().recordings.folder(tools.store.path());
    let entries = match folder.read_dir() {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut entries = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    let Some(entry) = entries.find(|entry| entry.file_name().to_str() == Some(name)) else { return Ok(None) };
    OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(entry.path()).map(Some)
}

fn unusable(refusal: Refusal) -> ApiError {
    let detail = refusal.to_string();
    match refusal {
        Refusal::NotFound(_) | Refusal::Coming(_) => {
            ApiError::Unprocessable { field: Some("capture".to_owned()), detail }
        }
        Refusal::Store(error) => error.into(),
        refusal => {
            tracing::error!(error = %refusal, "job: a capture cannot be opened");
            ApiError::Internal
        }
    }
}

/// That a capture is none.
pub(super) fn unreadable(error: &CaptureError) -> JobError {
    wrong("capture", error.to_string())
}

/// That a field of the request cannot be done.
pub(super) fn wrong(field: &str, detail: String) -> JobError {
    ApiError::Unprocessable { field: Some(field.to_owned()), detail }.into()
}

/// That a file cannot be written.
pub(super) fn unwritten(error: &io::Error) -> JobError {
    if let Some(reason) = NoRoom::of(error) {
        let detail = format!("{reason}; old files go after `[results] keep_days`");
        return ApiError::Refused { status: StatusCode::INSUFFICIENT_STORAGE, field: "body", detail }.into();
    }
    tracing::error!(%error, "job: a result cannot be written");
    ApiError::Internal.into()
}

impl From<ResultError> for JobError {
    fn from(error: ResultError) -> Self {
        match error {
            ResultError::Store(error) => error.into(),
            ResultError::Io(error) => unwritten(&error),
        }
    }
}

/// What is to be noted of files beside themselves.
pub(super) struct About<'a> {
    pub(super) source: &'a str,
    pub(super) model: Option<String>,
}

/// Puts files into their places and into the list: of a job all or none.
pub(super) fn keep(
    context: &JobContext,
    drafts: Vec<(Draft, ResultKind, u64)>,
    about: &About<'_>,
) -> Result<Vec<ResultLink>, JobError> {
    context.check()?;
    let tools = &context.tools;
    let mut files = Vec::new();
    for (draft, kind, rows) in drafts {
        let Kept { name, bytes, sha256 } = draft.keep().map_err(|error| unwritten(&error))?;
        files.push(ResultFile {
            name,
            sensor: tools.sensor.clone().unwrap_or_default(),
            kind,
            job: context.id.clone(),
            source: about.source.to_owned(),
            model: about.model.clone(),
            rows,
            bytes,
            sha256,
            created: clock::now(),
        });
    }
    context.wait_to_the_end(tools.results.note(&files))?;
    let link = |file: ResultFile| ResultLink {
        path: format!("/api/analysis/download/{}", file.name),
        name: file.name,
        rows: file.rows,
        bytes: file.bytes,
    };
    Ok(files.into_iter().map(link).collect())
}

/// Counts what is read.
struct Counted {
    file: File,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.read.fetch_add(read as u64, Relaxed);
        Ok(read)
    }
}

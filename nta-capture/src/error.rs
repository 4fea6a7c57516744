//! Why a capture could not be opened, and how one that was opened ended.

use std::io;

/// Why a file cannot be read as a capture. Each message is one line and names the file.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    #[error("{path}: no such file")]
    NotFound { path: String },
    #[error("{path}: cannot be read: {source}")]
    Io { path: String, source: io::Error },
    #[error("{path}: empty file")]
    Empty { path: String },
    #[error("{path}: not a capture file: {detail}")]
    NotACapture { path: String, detail: String },
    #[error("{path}: cut off in the file header: {detail}")]
    HeaderCutOff { path: String, detail: String },
    #[error("{path}: {reason}")]
    Filter { path: String, reason: String },
}

impl CaptureError {
    /// The header could not be read: the file ended there in this way.
    pub(super) fn from_end(path: &str, end: End) -> Self {
        let path = path.to_owned();
        match end {
            End::Complete | End::Stopped => Self::Empty { path },
            End::CutOff { detail, .. } => Self::HeaderCutOff { path, detail },
            End::Corrupt { detail, .. } => Self::NotACapture { path, detail },
        }
    }
}

/// How a capture ended, after its last frame. Offsets count decompressed bytes from the start of the file and point at the
/// record that could not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// The file ends where a record ends.
    #[default]
    Complete,
    /// The file, or the compressed stream, ends within a record.
    CutOff { at_byte: u64, detail: String },
    /// It was not read to its end, as whoever reads it stopped.
    Stopped,
    /// What follows is no record.
    Corrupt { at_byte: u64, detail: String },
}

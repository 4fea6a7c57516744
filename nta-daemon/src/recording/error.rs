//! Why there is no recording.

use std::io;
use std::path::PathBuf;

use crate::source::kernel::packet_socket::PacketSocketError;
use nta_core::domain::Timestamp;

/// Why there is no recording.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// One runs already.
    #[error("{interface} is being recorded since {since}; one recording runs at a time")]
    Running {
        /// Its interface.
        interface: String,
        /// Since when.
        since: Timestamp,
    },
    /// None runs.
    #[error("nothing is being recorded")]
    Idle,
    /// There is no such interface.
    #[error("there is no interface `{name}`: {there_are}")]
    Interface {
        /// What was asked for.
        name: String,
        /// Those that there are.
        there_are: String,
    },
    /// The filter cannot be compiled.
    #[error("`{filter}`: {reason}")]
    Filter {
        /// What was asked for.
        filter: String,
        /// In libpcap's words.
        reason: String,
    },
    /// There would be more than may be kept.
    #[error(
        "recordings take {used} bytes, and with up to {more} more they would exceed recordings.quota_bytes ({quota}): ask for less \
         (`max_bytes`), or delete some of {folder}", folder = folder.display()
    )]
    Quota {
        /// Bytes of those that are there.
        used: u64,
        /// What this one may take.
        more: u64,
        /// What all may take.
        quota: u64,
        /// Where they are.
        folder: PathBuf,
    },
    /// The kernel refused.
    #[error(transparent)]
    Socket(#[from] PacketSocketError),
    /// The folder cannot be used.
    #[error("{}: {source}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

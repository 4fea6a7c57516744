//! Why an upload is not taken.

use crate::room::NoRoom;
use crate::store::StoreError;

/// Why an upload is not taken, or not taken further.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It is something else.
    #[error("this is no capture but {0}: expected pcap or pcapng, plain or packed with gzip or zstd")]
    Content(String),
    /// It has more bytes than are taken.
    #[error("the capture is larger than the {most} bytes that `[uploads] max_bytes` allows{}", announced.map_or_else(String::new, |bytes| format!(": it has {bytes}")))]
    TooLarge {
        /// The bound.
        most: u64,
        /// Its bytes, where they are known.
        announced: Option<u64>,
    },
    /// It becomes too large when it is unpacked.
    #[error("the body unpacks to more than {ratio} times its size: no capture does")]
    Bomb {
        /// The bound.
        ratio: u64,
    },
    /// It cannot be unpacked as its header says.
    #[error("the body cannot be unpacked as `Content-Encoding` says: {0}")]
    Packed(String),
    /// The quota is used up, or the disk is full.
    #[error("{0}: delete captures, see GET /api/captures")]
    NoRoom(#[from] NoRoom),
    /// Nothing came for too long.
    #[error("no byte came for {seconds} s (`[uploads] idle_s`)")]
    Idle {
        /// So long.
        seconds: u64,
    },
    /// It comes too slowly.
    #[error("fewer than {least} bytes a second came: others wait for the place")]
    Slow {
        /// The bound.
        least: u64,
    },
    /// As many are received as may be at a time.
    #[error("as many uploads are received as `[uploads] at_once` allows; try again later")]
    Busy,
    /// The client went away in the middle.
    #[error("the body ended before it was whole")]
    Broken,
    /// Another part is to come next.
    #[error("the next byte is number {expected}: send from there, with `Upload-Offset: {expected}`")]
    Offset {
        /// Which.
        expected: u64,
    },
    /// More comes than was announced.
    #[error("more bytes came than `Upload-Length` announced: {length}")]
    Longer {
        /// So many were.
        length: u64,
    },
    /// Another request sends to the same upload.
    #[error("another request sends to this upload at the moment")]
    Taken,
    /// It is whole already.
    #[error("this upload is whole; its capture cannot be changed")]
    Whole,
    /// There is none.
    #[error("there is no capture {0}; GET /api/captures lists them")]
    NotFound(String),
    /// Not all of it is here.
    #[error("the capture {0} has not come to its end yet")]
    Coming(String),
    /// The daemon ends.
    #[error("the daemon is stopping")]
    Stopping,
    /// The folder cannot be written.
    #[error("the capture cannot be written: {0}")]
    Io(#[from] std::io::Error),
    /// The database cannot be used.
    #[error("{}", .0.chain())]
    Store(#[from] StoreError),
}

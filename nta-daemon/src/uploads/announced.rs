//! An upload before its first byte: how it is noted, and how much of it is here.

use super::{Refusal, Uploads, new_id};
use crate::capture::clock;
use crate::private;
use crate::store::{Upload, UploadState, UploadTotals};

impl Uploads {
    /// Notes a capture of `length` bytes that comes in parts.
    ///
    /// # Errors
    /// When there is no room for it.
    pub async fn announce(&self, name: &str, length: u64) -> Result<String, Refusal> {
        let most = self.0.config.max_bytes;
        if length > most {
            return Err(Refusal::TooLarge { most, announced: Some(length) });
        }
        self.0.make_folder()?;
        self.0.room.expect(length)?;
        let file_id = new_id();
        private::make_file(&self.0.path(&file_id))?;
        self.0.store.insert_upload(&upload(&file_id, name, Some(length))).await?;
        Ok(file_id)
    }

    /// Bytes that have come of a capture in parts, and all that were announced; of one that is whole, its size.
    ///
    /// # Errors
    /// When there is none of that name.
    pub async fn offset(&self, file_id: &str) -> Result<(u64, u64), Refusal> {
        let upload = self.known(file_id).await?;
        if upload.state != UploadState::Receiving {
            return Ok((upload.bytes, upload.bytes));
        }
        let on_disk = self.0.path(file_id).metadata().map_or(0, |metadata| metadata.len());
        Ok((on_disk, upload.length.unwrap_or(on_disk)))
    }
}

/// A capture that begins to come.
pub(super) fn upload(file_id: &str, name: &str, length: Option<u64>) -> Upload {
    let now = clock::now();
    Upload {
        file_id: file_id.to_owned(),
        name: name.to_owned(),
        state: UploadState::Receiving,
        bytes: 0,
        length,
        sha256: None,
        head: None,
        added: now,
        changed: now,
        run: None,
        totals: UploadTotals::default(),
        problem: None,
        recorded: None,
        span: None,
    }
}

//! A file that is being written.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::{Inner, PART};
use crate::private;

/// Bytes that room is taken for at a time.
const BUFFER: usize = 256 << 10;

/// A file that is being written; one that is dropped before it is kept leaves nothing.
#[derive(Debug)]
pub struct Draft {
    to: BufWriter<Counted>,
    name: String,
}

/// A file that is whole and in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of its bytes.
    pub sha256: String,
}

impl Draft {
    pub(super) fn begin(inner: Arc<Inner>, name: &str) -> io::Result<Self> {
        let path = inner.folder.join(format!(".{name}{PART}"));
        // What a process that was killed has left of the same job.
        inner.remove(&path)?;
        let file = private::make_file(&path)?;
        let counted = Counted { inner, path, file, hash: Sha256::new(), bytes: 0, is_kept: false, has_failed: false };
        Ok(Self { to: BufWriter::with_capacity(BUFFER, counted), name: name.to_owned() })
    }

    /// Moves the file to its place, once all of it is on the disk.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(mut self) -> io::Result<Kept> {
        self.to.flush()?;
        let counted = self.to.get_mut();
        counted.file.sync_all()?;
        let place = counted.inner.folder.join(&self.name);
        let before = place.symlink_metadata().map_or(0, |metadata| metadata.len());
        std::fs::rename(&counted.path, &place)?;
        counted.inner.room.give_back(before);
        counted.is_kept = true;
        File::open(&counted.inner.folder)?.sync_all()?;
        let sha256 = counted.hash.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Kept { name: self.name.clone(), bytes: counted.bytes, sha256 })
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// The file, with the room that it has taken.
#[derive(Debug)]
struct Counted {
    inner: Arc<Inner>,
    path: PathBuf,
    file: File,
    hash: Sha256,
    bytes: u64,
    is_kept: bool,
    /// Nothing more is written: what a buffer still holds when it is dropped is tried once more.
    has_failed: bool,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.has_failed {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.inner.room.take(bytes.len() as u64).inspect_err(|_| self.has_failed = true)?;
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes)?;
        self.hash.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if !self.is_kept {
            let _gone = std::fs::remove_file(&self.path);
            self.inner.room.give_back(self.bytes);
        }
    }
}

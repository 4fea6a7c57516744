//! The bytes of a capture as they come: unpacked, looked at, hashed and written.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::unpack::{Encoding, Unpack};
use super::{Refusal, content, hex};
use crate::private;
use crate::room::Room;

/// Bytes that are read at a time where a file has to be hashed again.
const PIECE: usize = 1 << 20;

/// A file that is being written. Everything here may block.
pub(super) struct Body {
    file: File,
    unpack: Unpack,
    hash: Sha256,
    head: Vec<u8>,
    is_checked: bool,
    /// Bytes in the file.
    written: u64,
    /// Bytes that came, as they were packed.
    packed: u64,
    most: u64,
    room: Arc<Room>,
}

impl Body {
    /// Makes the file.
    pub(super) fn create(path: &Path, encoding: Encoding, most: u64, room: &Arc<Room>) -> Result<Self, Refusal> {
        let file = private::make_file(path)?;
        Self::over(file, (encoding, most), room)
    }

    /// Goes on with a file that is there.
    pub(super) fn reopen(path: &Path, most: u64, room: &Arc<Room>) -> Result<Self, Refusal> {
        let mut before = File::open(path)?;
        let file = OpenOptions::new().append(true).open(path)?;
        let mut body = Self::over(file, (Encoding::Identity, most), room)?;
        let mut piece = vec![0; PIECE];
        loop {
            let read = before.read(&mut piece)?;
            if read == 0 {
                break;
            }
            body.note(&piece[..read]);
        }
        body.packed = body.written;
        body.check(false)?;
        Ok(body)
    }

    fn over(file: File, (encoding, most): (Encoding, u64), room: &Arc<Room>) -> Result<Self, Refusal> {
        Ok(Self {
            file,
            unpack: Unpack::new(encoding, most)?,
            hash: Sha256::new(),
            head: Vec::new(),
            is_checked: false,
            written: 0,
            packed: 0,
            most,
            room: Arc::clone(room),
        })
    }

    /// Takes a piece.
    pub(super) fn write(&mut self, piece: &[u8]) -> Result<(), Refusal> {
        let packed = self.packed;
        self.packed += piece.len() as u64;
        let mut unpack = std::mem::replace(&mut self.unpack, Unpack::Identity);
        let written = unpack.piece(piece, packed, &mut |bytes| self.append(bytes));
        self.unpack = unpack;
        written
    }

    /// Nothing more comes: the SHA-256 of all of it.
    pub(super) fn finish(&mut self) -> Result<String, Refusal> {
        let mut unpack = std::mem::replace(&mut self.unpack, Unpack::Identity);
        unpack.finish(self.packed, &mut |bytes| self.append(bytes))?;
        self.check(true)?;
        Ok(hex(&self.hash.finalize_reset()))
    }

    /// Has the disk hold what was written.
    pub(super) fn sync(&self) -> Result<(), Refusal> {
        Ok(self.file.sync_data()?)
    }

    /// Bytes in the file.
    pub(super) const fn written(&self) -> u64 {
        self.written
    }

    /// Bytes that came.
    pub(super) const fn packed(&self) -> u64 {
        self.packed
    }

    /// SHA-256 of the first bytes, once it is known that they are those of a capture.
    pub(super) fn head(&self) -> Option<String> {
        self.is_checked.then(|| hex(&Sha256::digest(&self.head)))
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        if self.written + bytes.len() as u64 > self.most {
            return Err(Refusal::TooLarge { most: self.most, announced: None });
        }
        self.room.take(bytes.len() as u64)?;
        if let Err(error) = self.file.write_all(bytes) {
            self.room.give_back(bytes.len() as u64);
            return Err(error.into());
        }
        self.note(bytes);
        self.check(false)
    }

    fn note(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.written += bytes.len() as u64;
        let wanted = content::LOOKED_AT.saturating_sub(self.head.len());
        self.head.extend_from_slice(&bytes[..wanted.min(bytes.len())]);
    }

    /// Looks at the first bytes when enough of them are there.
    fn check(&mut self, is_all: bool) -> Result<(), Refusal> {
        if !self.is_checked && (is_all || self.head.len() >= content::LOOKED_AT) {
            content::check(&self.head, is_all).map_err(Refusal::Content)?;
            self.is_checked = true;
        }
        Ok(())
    }
}

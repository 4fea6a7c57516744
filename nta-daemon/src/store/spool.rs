//! Batches that the database does not take, on disk in order: a file each, written aside and renamed, with a checksum.
//!
//! Bounded in bytes. What the bound forces out is counted: of the oldest batches all but the alerts first, then these.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::rows::BatchRows;
use super::waiting::{Cut, thin};
use crate::private;

const MAGIC: &[u8; 8] = b"ntaspl08";
/// How the marks of all versions begin.
const MAGIC_OF_ALL: &[u8] = b"ntaspl";
const SUFFIX: &str = "seg";
/// Of what is set aside.
const ASIDE: &str = "bad";

/// Wait before what could not be read or removed is tried again; doubles each time.
const FIRST_RETRY: Duration = Duration::from_millis(if cfg!(test) { 0 } else { 1000 });
/// Longest wait.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// The folder, and what is in it.
#[derive(Debug)]
pub(super) struct Spool {
    folder: PathBuf,
    max_bytes: u64,
    segments: VecDeque<Segment>,
    bytes: u64,
    next: u64,
    pub(super) cut: Cut,
    /// Segments that could not be read and were set aside.
    pub(super) corrupt: u64,
    /// Segments that somebody else removed before they were stored.
    pub(super) gone: u64,
    /// Why something in it cannot be read or changed, and how often that was found.
    trouble: Option<(String, u64)>,
    retry_at: Instant,
    wait: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    number: u64,
    bytes: u64,
    /// Whether only the alerts are left of it.
    is_thin: bool,
    state: State,
    /// What is in it, where this process wrote it.
    rows: Option<Cut>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    /// It cannot be read now: others are not held up by it.
    PassedOver,
    /// It is in the database and cannot be removed now.
    Stored,
    /// Nothing will take it, and it cannot be set aside now.
    Refused,
}

/// Whether batches wait in the folder of a spool.
pub(super) fn has_segments(folder: &Path) -> bool {
    let is_segment = |path: PathBuf| path.extension().is_some_and(|suffix| suffix == SUFFIX);
    fs::read_dir(folder).into_iter().flatten().flatten().any(|entry| is_segment(entry.path()))
}

impl Spool {
    /// Opens the folder, makes it where it is not there, and finds what an earlier run left in it.
    pub(super) fn open(folder: &Path, max_bytes: u64) -> io::Result<Self> {
        private::make_folder(folder)?;
        let mut segments = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
            if let Some(number) = number
                && path.extension().is_some_and(|suffix| suffix == SUFFIX)
            {
                // What is no file has none, and what cannot be looked at is reported when it is read.
                let bytes = fs::metadata(&path).ok().filter(fs::Metadata::is_file).map_or(0, |about| about.len());
                segments.push(Segment { number, bytes, is_thin: false, state: State::Waiting, rows: None });
            }
        }
        segments.sort_unstable_by_key(|segment| segment.number);
        let next = segments.last().map_or(1, |segment| segment.number + 1);
        let bytes = segments.iter().map(|segment| segment.bytes).sum();
        Ok(Self {
            folder: folder.to_owned(),
            max_bytes,
            segments: segments.into(),
            bytes,
            next,
            cut: Cut::default(),
            corrupt: 0,
            gone: 0,
            trouble: None,
            retry_at: Instant::now(),
            wait: FIRST_RETRY,
        })
    }

    /// Batches that are not in the database.
    pub(super) fn len(&self) -> usize {
        self.ready() + self.passed_over()
    }

    /// Of these, batches that can be written now, as far as is known.
    pub(super) fn ready(&self) -> usize {
        self.count(State::Waiting)
    }

    /// Batches that could not be read and wait until they can be.
    pub(super) fn passed_over(&self) -> usize {
        self.count(State::PassedOver)
    }

    fn count(&self, state: State) -> usize {
        self.segments.iter().filter(|segment| segment.state == state).count()
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Why something in it cannot be read or changed.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_ref().map(|(reason, _)| reason.as_str())
    }

    /// When what could not be read or changed is tried again.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        (self.segments.len() > self.ready()).then_some(self.retry_at)
    }

    /// Tries again what could not be read or changed, where it is time.
    pub(super) fn retry(&mut self, now: Instant) {
        if self.retry_at().is_none_or(|at| now < at) {
            return;
        }
        self.retry_at = now + self.wait;
        self.wait = (self.wait * 2).min(LONGEST_RETRY);
        for index in (0..self.segments.len()).rev() {
            match self.segments[index].state {
                State::Waiting => {}
                State::PassedOver => self.segments[index].state = State::Waiting,
                State::Stored => self.remove(index),
                State::Refused => self.move_aside(index),
            }
        }
    }

    /// To be called when all that can be written is: says that the trouble is over, once it is.
    pub(super) fn note_end_of_trouble(&mut self) {
        if self.trouble.is_some() && self.segments.len() == self.ready() {
            self.trouble = None;
            self.wait = FIRST_RETRY;
            tracing::info!("store: the spool can be read and changed again");
        }
    }

    /// Notes why a segment cannot be read or changed: logged once, and then rarely.
    fn note(&mut self, path: &Path, what: &str, error: &io::Error) {
        if self.trouble.is_none() {
            self.retry_at = Instant::now() + self.wait;
        }
        let (times, reason) =
            (self.trouble.take().map_or(1, |(_, times)| times + 1), format!("{}: {error}", path.display()));
        if times.is_power_of_two() {
            tracing::warn!(path = %path.display(), %error, times, "store: a segment of the spool cannot be {what}");
        }
        self.trouble = Some((reason, times));
    }

    /// Puts a batch behind all others.
    pub(super) fn push(&mut self, rows: &BatchRows) -> io::Result<()> {
        let bytes = self.store(self.next, rows)?;
        let mut of = Cut { batches: 1, ..Cut::default() };
        of.count(rows);
        let segment = Segment { number: self.next, bytes, is_thin: false, state: State::Waiting, rows: Some(of) };
        self.segments.push_back(segment);
        self.next += 1;
        self.bytes += bytes;
        self.make_room();
        Ok(())
    }

    /// The oldest batch that can be read. One that is corrupt is set aside, one that is gone is counted as lost, and one that
    /// cannot be read now is passed over until the next [`retry`](Self::retry).
    pub(super) fn front(&mut self) -> Option<BatchRows> {
        while let Some(index) = self.index() {
            let path = self.path(self.segments[index].number);
            let bytes = match fs::read(&path) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.lose(index);
                    continue;
                }
                Err(error) => {
                    self.segments[index].state = State::PassedOver;
                    self.note(&path, "read and is passed over, it is tried again", &error);
                    continue;
                }
            };
            let read = decode(&bytes);
            if read.is_some() {
                return read;
            }
            let aside = path.with_extension(ASIDE);
            let (path, aside) = (path.display(), aside.display());
            if bytes.starts_with(MAGIC_OF_ALL) && !bytes.starts_with(MAGIC) {
                tracing::error!(
                    %path, %aside,
                    "store: a segment of the spool was written by another version and is set aside: rename it back and start \
                     that version once to store it, or delete it"
                );
            } else {
                tracing::error!(%path, %aside, "store: a segment of the spool is corrupt and is set aside; delete it");
            }
            self.corrupt += 1;
            self.move_aside(index);
        }
        None
    }

    /// Takes the oldest batch away, which is in the database now. Where its segment cannot be removed, this process does not
    /// store it again, and the next one finds it in the database.
    pub(super) fn pop_front(&mut self) {
        if let Some(index) = self.index() {
            self.remove(index);
        }
    }

    /// Keeps the oldest batch under another name, where nothing looks for it.
    pub(super) fn set_aside(&mut self) {
        if let Some(index) = self.index() {
            self.move_aside(index);
        }
    }

    /// To be called at the end of a run.
    pub(super) fn say_what_is_left(&self) {
        let (batches, reason) = (self.passed_over(), self.trouble());
        if batches > 0 {
            tracing::warn!(
                batches,
                reason,
                "store: batches in the spool could not be read; the next start tries again"
            );
        }
    }

    fn index(&self) -> Option<usize> {
        self.segments.iter().position(|segment| segment.state == State::Waiting)
    }

    fn remove(&mut self, index: usize) {
        let path = self.path(self.segments[index].number);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                self.segments[index].state = State::Stored;
                self.note(&path, "removed, although it is stored", &error);
            }
            _ => self.forget(index),
        }
    }

    fn move_aside(&mut self, index: usize) {
        let path = self.path(self.segments[index].number);
        match fs::rename(&path, path.with_extension(ASIDE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                self.segments[index].state = State::Refused;
                self.note(&path, "set aside", &error);
            }
            _ => self.forget(index),
        }
    }

    /// Counts a batch whose segment somebody removed.
    fn lose(&mut self, index: usize) {
        let segment = self.segments[index];
        let path = self.path(segment.number);
        tracing::error!(path = %path.display(), "store: a segment of the spool is gone, its batch is lost");
        self.gone += 1;
        self.cut.add(segment.rows.unwrap_or(Cut { batches: 1, ..Cut::default() }));
        self.forget(index);
    }

    fn forget(&mut self, index: usize) {
        if let Some(segment) = self.segments.remove(index) {
            self.bytes -= segment.bytes;
        }
    }

    fn make_room(&mut self) {
        let mut index = 0;
        // The newest one stays whole.
        while self.bytes > self.max_bytes && index + 1 < self.segments.len() {
            let segment = self.segments[index];
            if segment.state == State::Waiting
                && !segment.is_thin
                && let Some(mut rows) = fs::read(self.path(segment.number)).ok().and_then(|bytes| decode(&bytes))
            {
                let left = thin(&mut rows);
                match self.store(segment.number, &left) {
                    Ok(bytes) => {
                        self.cut.batches += 1;
                        self.cut.count(&rows);
                        self.bytes = self.bytes - segment.bytes + bytes;
                        let mut of = Cut::default();
                        of.count(&left);
                        self.segments[index] = Segment { bytes, is_thin: true, rows: Some(of), ..segment };
                    }
                    Err(error) => return self.note(&self.path(segment.number), "made smaller", &error),
                }
            }
            index += 1;
        }
        while self.bytes > self.max_bytes && self.ready() > 1 {
            let rows = self.front();
            // Those before the newest may have been passed over.
            let Some(index) = self.index().filter(|_| self.ready() > 1) else { return };
            let path = self.path(self.segments[index].number);
            if let Err(error) = fs::remove_file(&path)
                && error.kind() != io::ErrorKind::NotFound
            {
                // To give up others would make no room either.
                return self.note(&path, "removed, although the spool is full", &error);
            }
            if let Some(rows) = rows {
                self.cut.count(&rows);
            }
            self.forget(index);
        }
    }

    /// Writes a segment aside, and renames it once it is on the disk.
    fn store(&self, number: u64, rows: &BatchRows) -> io::Result<u64> {
        let payload = postcard::to_stdvec(rows).map_err(io::Error::other)?;
        let aside = self.path(number).with_extension("tmp");
        let written = (|| {
            let mut file = match File::create(&aside) {
                // Somebody removed the folder.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    private::make_folder(&self.folder)?;
                    File::create(&aside)?
                }
                file => file?,
            };
            file.write_all(&sealed(&payload))?;
            file.sync_all()
        })();
        if let Err(error) = written {
            // A disk without room must not keep the half of it.
            let _ = fs::remove_file(&aside);
            return Err(error);
        }
        fs::rename(&aside, self.path(number))?;
        File::open(&self.folder)?.sync_all()?;
        Ok((MAGIC.len() + 4 + payload.len()) as u64)
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:020}.{SUFFIX}"))
    }
}

/// A batch as it lies on disk: a mark, its checksum, what it is of.
pub(super) fn sealed(payload: &[u8]) -> Vec<u8> {
    [MAGIC.as_slice(), &crc32fast::hash(payload).to_be_bytes(), payload].concat()
}

pub(super) fn decode(bytes: &[u8]) -> Option<BatchRows> {
    let (checksum, payload) = bytes.strip_prefix(MAGIC)?.split_at_checked(4)?;
    (crc32fast::hash(payload).to_be_bytes() == checksum).then(|| postcard::from_bytes(payload).ok())?
}

#[cfg(test)]
#[path = "spool_tests.rs"]
mod tests;

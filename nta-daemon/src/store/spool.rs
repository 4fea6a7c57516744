//! Batches that the database does not take, on disk in order: a file each, written aside and renamed, with a checksum.
//!
//! Bounded in bytes. What the bound forces out is counted: of the oldest batches all but the alerts first, then these.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::rows::BatchRows;
use super::waiting::{Cut, thin};

const MAGIC: &[u8; 8] = b"ntaspl04";
/// How the marks of all versions begin.
const MAGIC_OF_ALL: &[u8] = b"ntaspl";
const SUFFIX: &str = "seg";
/// Of what is set aside.
const ASIDE: &str = "bad";

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
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    number: u64,
    bytes: u64,
    /// Whether only the alerts are left of it.
    is_thin: bool,
}

impl Spool {
    /// Opens the folder, makes it where it is not there, and finds what an earlier run left in it.
    pub(super) fn open(folder: &Path, max_bytes: u64) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let mut segments = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
            if let Some(number) = number
                && path.extension().is_some_and(|suffix| suffix == SUFFIX)
            {
                segments.push(Segment { number, bytes: fs::metadata(&path)?.len(), is_thin: false });
            }
        }
        segments.sort_unstable_by_key(|segment| segment.number);
        let next = segments.last().map_or(1, |segment| segment.number + 1);
        let bytes = segments.iter().map(|segment| segment.bytes).sum();
        let (cut, corrupt) = (Cut::default(), 0);
        Ok(Self { folder: folder.to_owned(), max_bytes, segments: segments.into(), bytes, next, cut, corrupt })
    }

    pub(super) fn len(&self) -> usize {
        self.segments.len()
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Puts a batch behind all others.
    pub(super) fn push(&mut self, rows: &BatchRows) -> io::Result<()> {
        let bytes = self.store(self.next, rows)?;
        self.segments.push_back(Segment { number: self.next, bytes, is_thin: false });
        self.next += 1;
        self.bytes += bytes;
        self.make_room()
    }

    /// The oldest batch. One that cannot be read is set aside, and the next one is the oldest.
    pub(super) fn front(&mut self) -> io::Result<Option<BatchRows>> {
        while let Some(segment) = self.segments.front().copied() {
            let path = self.path(segment.number);
            let mut is_of_another_version = false;
            let read = match fs::read(&path) {
                Ok(bytes) => {
                    is_of_another_version = bytes.starts_with(MAGIC_OF_ALL) && !bytes.starts_with(MAGIC);
                    decode(&bytes)
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
            if read.is_some() {
                return Ok(read);
            }
            let aside = path.with_extension(ASIDE);
            let (path, aside) = (path.display(), aside.display());
            if is_of_another_version {
                tracing::error!(
                    %path, %aside,
                    "store: a segment of the spool was written by another version and is set aside: rename it back and start \
                     that version once to store it, or delete it"
                );
            } else {
                tracing::error!(%path, %aside, "store: a segment of the spool is corrupt and is set aside; delete it");
            }
            self.corrupt += 1;
            self.set_aside()?;
        }
        Ok(None)
    }

    /// Takes the oldest batch away, which is in the database now.
    pub(super) fn pop_front(&mut self) -> io::Result<()> {
        if let Some(segment) = self.segments.front().copied() {
            fs::remove_file(self.path(segment.number))?;
            self.forget_front();
        }
        Ok(())
    }

    /// Keeps the oldest batch under another name, where nothing looks for it.
    pub(super) fn set_aside(&mut self) -> io::Result<()> {
        if let Some(segment) = self.segments.front().copied() {
            let path = self.path(segment.number);
            match fs::rename(&path, path.with_extension(ASIDE)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => self.forget_front(),
            }
        }
        Ok(())
    }

    fn forget_front(&mut self) {
        if let Some(segment) = self.segments.pop_front() {
            self.bytes -= segment.bytes;
        }
    }

    fn make_room(&mut self) -> io::Result<()> {
        let mut index = 0;
        while self.bytes > self.max_bytes && self.segments.len() > 1 {
            // The newest one stays whole.
            if index + 1 >= self.segments.len() {
                if let Some(rows) = self.front()? {
                    self.cut.count(&rows);
                }
                self.pop_front()?;
                index = 0;
                continue;
            }
            let segment = self.segments[index];
            if !segment.is_thin
                && let Some(mut rows) = fs::read(self.path(segment.number)).ok().and_then(|bytes| decode(&bytes))
            {
                let bytes = self.store(segment.number, &thin(&mut rows))?;
                self.cut.batches += 1;
                self.cut.count(&rows);
                self.bytes = self.bytes - segment.bytes + bytes;
                self.segments[index] = Segment { number: segment.number, bytes, is_thin: true };
            }
            index += 1;
        }
        Ok(())
    }

    /// Writes a segment aside, and renames it once it is on the disk.
    fn store(&self, number: u64, rows: &BatchRows) -> io::Result<u64> {
        let payload = postcard::to_stdvec(rows).map_err(io::Error::other)?;
        let aside = self.path(number).with_extension("tmp");
        let written = (|| {
            let mut file = File::create(&aside)?;
            file.write_all(MAGIC)?;
            file.write_all(&crc32fast::hash(&payload).to_be_bytes())?;
            file.write_all(&payload)?;
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

fn decode(bytes: &[u8]) -> Option<BatchRows> {
    let (checksum, payload) = bytes.strip_prefix(MAGIC)?.split_at_checked(4)?;
    (crc32fast::hash(payload).to_be_bytes() == checksum).then(|| postcard::from_bytes(payload).ok())?
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::rows;
    use super::*;

    #[test]
    fn batches_come_back_in_order_after_a_restart_and_a_corrupt_one_is_set_aside() {
        let folder = tempfile::tempdir().expect("folder");
        let mut spool = Spool::open(folder.path(), u64::MAX).expect("open");
        for number in 1..=4 {
            spool.push(&rows(number, 10)).expect("push");
        }
        assert_eq!(spool.front().expect("front"), Some(rows(1, 10)));
        spool.pop_front().expect("pop");
        let mut bytes = fs::read(spool.path(2)).expect("the second");
        bytes[20] ^= 1;
        fs::write(spool.path(2), bytes).expect("damaged");

        let mut spool = Spool::open(folder.path(), u64::MAX).expect("open again");
        let mut numbers = Vec::new();
        while let Some(rows) = spool.front().expect("front") {
            numbers.push(rows.number);
            spool.pop_front().expect("pop");
        }
        assert_eq!((numbers, spool.corrupt, spool.len()), (vec![3, 4], 1, 0));
        assert!(folder.path().join(format!("{:020}.bad", 2)).exists());
    }

    #[test]
    fn what_another_version_wrote_is_set_aside_and_counted() {
        let folder = tempfile::tempdir().expect("folder");
        let mut spool = Spool::open(folder.path(), u64::MAX).expect("open");
        for number in 1..=2 {
            spool.push(&rows(number, 10)).expect("push");
        }
        let bytes = fs::read(spool.path(1)).expect("the first");
        let older = [b"ntaspl01", &bytes[MAGIC.len()..]].concat();
        fs::write(spool.path(1), &older).expect("as the version before wrote it");
        assert_eq!(spool.front().expect("front"), Some(rows(2, 10)));
        assert_eq!((spool.corrupt, spool.len()), (1, 1));
        let aside = spool.path(1).with_extension(ASIDE);
        assert_eq!(fs::read(aside).expect("set aside"), older, "renamed back, that version reads it");
    }

    #[test]
    fn the_bound_takes_alerts_last() {
        let folder = tempfile::tempdir().expect("folder");
        let mut spool = Spool::open(folder.path(), 25_000).expect("open");
        for number in 1..=5 {
            spool.push(&rows(number, 10_000)).expect("push");
        }
        let first = spool.front().expect("front").expect("a batch");
        assert_eq!((first.number, first.alerts.len(), first.raw_packets.len()), (1, 1, 0), "its alerts are left");
        assert_eq!((spool.len(), spool.cut.alerts), (5, 0));
        assert!(spool.bytes <= 25_000, "{}", spool.bytes);
    }
}

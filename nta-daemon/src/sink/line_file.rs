//! A file of lines that turns over by size and never ends in the middle of one.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// How much of a file's end is looked at for the end of its last whole line: more than the longest line.
const LOOK_BACK: u64 = 16 << 20;

/// A file of lines, and those that it was before.
#[derive(Debug)]
pub(super) struct LineFile {
    path: PathBuf,
    max_bytes: u64,
    keep: u32,
    /// The file with its length; `None` after it could not be written: it is opened anew.
    open: Option<(File, u64)>,
}

impl LineFile {
    /// Goes on with a file, behind its last whole line.
    pub(super) fn open(path: &Path, max_bytes: u64, keep: u32) -> io::Result<Self> {
        let open = Some(append(path)?);
        Ok(Self { path: path.to_owned(), max_bytes, keep, open })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes lines with their ends, or nothing of them.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let written = self.try_write(lines);
        if written.is_err()
            && let Some((file, length)) = self.open.take()
        {
            // What of them was written goes; where that fails too, the next one that opens the file cuts it.
            let _ = file.set_len(length);
        }
        written
    }

    fn try_write(&mut self, lines: &[u8]) -> io::Result<()> {
        let added = lines.len() as u64;
        // Whoever turns files over by renaming or deleting them has this one begin anew.
        self.open.take_if(|(file, _)| !is_at(file, &self.path));
        if self.open.as_ref().is_some_and(|(_, length)| *length > 0 && length.saturating_add(added) > self.max_bytes) {
            self.turn_over()?;
        }
        let (file, length) = match &mut self.open {
            Some(open) => open,
            closed => closed.insert(append(&self.path)?),
        };
        file.write_all(lines)?;
        *length += added;
        Ok(())
    }

    /// `x` becomes `x.1`, that one `x.2`, and so on; the last one goes.
    fn turn_over(&mut self) -> io::Result<()> {
        let name = |n: u32| {
            let mut name = OsString::from(self.path.as_os_str());
            if n > 0 {
                name.push(format!(".{n}"));
            }
            PathBuf::from(name)
        };
        for n in (0..self.keep).rev() {
            match fs::rename(name(n), name(n + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if self.keep == 0 {
            fs::remove_file(&self.path)?;
        }
        self.open = None;
        Ok(())
    }
}

/// Whether this is the file that lies there.
fn is_at(file: &File, path: &Path) -> bool {
    let both = file.metadata().ok().zip(fs::metadata(path).ok());
    both.is_some_and(|(file, there)| (file.dev(), file.ino()) == (there.dev(), there.ino()))
}

/// Opens a file to write behind its last whole line; what a kill left of another one is cut.
fn append(path: &Path) -> io::Result<(File, u64)> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
    let length = file.metadata()?.len();
    let from = length.saturating_sub(LOOK_BACK);
    let mut end = Vec::new();
    file.seek(SeekFrom::Start(from))?;
    if length > 0 {
        Read::by_ref(&mut file).take(LOOK_BACK).read_to_end(&mut end)?;
    }
    let whole = end.iter().rposition(|byte| *byte == b'\n').map_or(from, |at| from + at as u64 + 1);
    if whole < length {
        file.set_len(whole)?;
    }
    Ok((file, whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_moved_or_deleted_begins_anew() {
        let folder = tempfile::tempdir().expect("folder");
        let (path, moved) = (folder.path().join("eve.json"), folder.path().join("eve.json.1"));
        let mut file = LineFile::open(&path, 1 << 20, 1).expect("open");
        let mut lines = |text: &str| file.write(text.as_bytes()).expect("written");
        lines("a\n");
        fs::rename(&path, &moved).expect("moved");
        lines("b\n");
        fs::remove_file(&path).expect("deleted");
        lines("c\n");
        let read = |path: &Path| fs::read_to_string(path).expect("a file");
        assert_eq!((read(&moved).as_str(), read(&path).as_str()), ("a\n", "c\n"));
    }
}

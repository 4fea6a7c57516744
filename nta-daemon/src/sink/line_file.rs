//! A file of lines that turns over by size and never ends in the middle of one.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
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

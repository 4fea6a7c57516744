//! The folder: `TABLE/date=YYYY-MM-DD/sensor=NAME/HH.parquet`, as Hive lays out partitions. What is there is whole.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// How a file is called until it is whole.
const PART: &str = "part";

/// The folder; clones are of the same one.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    path: PathBuf,
    max_bytes: u64,
}

impl Folder {
    /// Makes it, and removes what a kill left of files.
    pub(super) fn open(path: &Path, max_bytes: u64) -> io::Result<Self> {
        fs::create_dir_all(path).map_err(|error| of(path, &error))?;
        let folder = Self { path: path.to_owned(), max_bytes };
        for file in folder.files(PART)? {
            fs::remove_file(&file).map_err(|error| of(&file, &error))?;
        }
        Ok(folder)
    }

    /// The place of an hour, which is counted from 1970.
    pub(super) fn file(&self, table: &str, sensor: &str, hour: u64) -> PathBuf {
        let seconds = i64::try_from(hour).unwrap_or_default().saturating_mul(3600);
        let time = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX);
        let mut path = self.path.join(table);
        path.push(time.strftime("date=%Y-%m-%d").to_string());
        path.push(format!("sensor={}", escaped(sensor)));
        path.push(time.strftime("%H.parquet").to_string());
        path
    }

    /// A file that takes its place once it is whole; else it goes.
    pub(super) fn draft(&self, place: &Path) -> io::Result<Draft> {
        let part = place.with_extension(PART);
        let make = || {
            fs::create_dir_all(place.parent().unwrap_or(&self.path))?;
            File::create(&part)
        };
        let file = make().map_err(|error| of(&part, &error))?;
        Ok(Draft { file, part, place: place.to_owned() })
    }

    /// Removes the oldest hours until what is there is within the bound, and says how many files went.
    pub(super) fn make_room(&self) -> io::Result<u64> {
        if self.max_bytes == 0 {
            return Ok(0);
        }
        let mut files = Vec::new();
        for path in self.files("parquet")? {
            let bytes = path.metadata().map_err(|error| of(&path, &error))?.len();
            // By date and hour, whatever the table and the sensor.
            let date = path.ancestors().nth(2).and_then(Path::file_name).map(ToOwned::to_owned);
            files.push(((date, path.file_name().map(ToOwned::to_owned)), bytes, path));
        }
        files.sort();
        let mut used: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        let mut gone = 0;
        for (_, bytes, path) in files {
            if used <= self.max_bytes {
                break;
            }
            fs::remove_file(&path).map_err(|error| of(&path, &error))?;
            tracing::info!(file = %path.display(), "archive: removed, `archive.max_bytes` is reached");
            used -= bytes;
            gone += 1;
            // The folders of a day whose last file it was.
            for folder in path.ancestors().skip(1).take(2) {
                if fs::remove_dir(folder).is_err() {
                    break;
                }
            }
        }
        Ok(gone)
    }

    /// Files of hours that end so.
    fn files(&self, extension: &str) -> io::Result<Vec<PathBuf>> {
        let mut folders = vec![self.path.clone()];
        for _level in ["tables", "dates", "sensors", "hours"] {
            let mut inside = Vec::new();
            for folder in &folders {
                match fs::read_dir(folder) {
                    Ok(entries) => inside.extend(entries.flatten().map(|entry| entry.path())),
                    Err(error) if matches!(error.kind(), io::ErrorKind::NotADirectory | io::ErrorKind::NotFound) => {}
                    Err(error) => return Err(of(folder, &error)),
                }
            }
            folders = inside;
        }
        folders.retain(|file| file.extension().is_some_and(|found| found == extension));
        Ok(folders)
    }
}

/// A file that is being written.
#[derive(Debug)]
pub(super) struct Draft {
    file: File,
    part: PathBuf,
    place: PathBuf,
}

impl Draft {
    /// It takes its place, on disk.
    pub(super) fn keep(self) -> io::Result<()> {
        let kept = self.file.sync_all().and_then(|()| fs::rename(&self.part, &self.place));
        kept.and_then(|()| File::open(self.place.parent().unwrap_or(&self.place))?.sync_all())
            .map_err(|error| of(&self.place, &error))
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes).map_err(|error| of(&self.part, &error))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Of what was kept there is none.
        let _ = fs::remove_file(&self.part);
    }
}

/// An error that names its file.
fn of(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// As Hive writes what a name of a folder cannot have.
fn escaped(name: &str) -> String {
    let mut escaped = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_whole_goes_and_beyond_the_bound_the_oldest_hours() {
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(&temporary.path().join("a/b"), 25).expect("made");
        let write = |table: &str, sensor: &str, hour: u64| {
            let file = folder.file(table, sensor, hour);
            let mut draft = folder.draft(&file).expect("a draft");
            draft.write_all(b"ten bytes!").expect("written");
            assert!(!file.exists(), "it is not whole");
            draft.keep().expect("kept");
            file
        };
        let files = [("windows", "gw/1", 490_000), ("flows", "gw/1", 490_001), ("windows", "gw 2", 490_024)]
            .map(|(t, s, h)| write(t, s, h));
        assert!(files[0].ends_with("windows/date=2025-11-24/sensor=gw%2F1/16.parquet"), "{}", files[0].display());
        assert_eq!(folder.make_room().expect("removed"), 1);
        assert_eq!(files.each_ref().map(|file| file.exists()), [false, true, true]);
        assert!(!files[0].parent().expect("a folder").exists());
        assert_eq!(folder.make_room().expect("nothing"), 0);
        drop(folder.draft(&files[0]).expect("a draft"));
        let cut_off = files[1].with_extension(PART);
        fs::write(&cut_off, "ten").expect("written");
        let folder = Folder::open(&temporary.path().join("a/b"), 0).expect("opened");
        assert!(!cut_off.exists() && files[1].exists());
        assert!(folder.files(PART).expect("a list").is_empty());
        assert_eq!(folder.make_room().expect("no bound"), 0);
    }
}

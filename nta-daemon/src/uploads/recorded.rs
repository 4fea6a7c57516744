//! Recordings as captures: their files stay where they were recorded, are known by their SHA-256, and are analysed when somebody
//! asks for it.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use sha2::{Digest as _, Sha256};

use super::{Inner, Refusal, Uploads, hex, new_id};
use crate::capture::clock;
use crate::recording::RecordedFile;
use crate::store::{Upload, UploadState, UploadTotals};
use nta_capture::CaptureReader;
use nta_core::domain::Timestamp;

/// The header of a file: one without packets has nothing else.
const WITHOUT_PACKETS: u64 = 24;

impl Uploads {
    /// Takes the files of a recording that has ended among the captures, those with packets, and answers the name that each has there.
    ///
    /// # Errors
    /// When a file cannot be read, or the database does not answer.
    pub async fn adopt(&self, files: &[RecordedFile]) -> Result<Vec<(String, String)>, Refusal> {
        let _alone = self.0.adopting.lock().await;
        let mut adopted = Vec::new();
        for file in files.iter().filter(|file| file.packets > 0) {
            adopted.push((file.name.clone(), self.0.adopt(file).await?));
        }
        Ok(adopted)
    }

    /// When a capture is deleted; `None` for never.
    pub fn expires(&self, upload: &Upload) -> Option<Timestamp> {
        self.0.expires(upload)
    }

    /// The file of a capture that is whole.
    pub fn file_of(&self, upload: &Upload) -> PathBuf {
        self.0.path_of(upload)
    }

    /// Bytes of all recordings that are kept, most bytes of them, and for how many days they are.
    pub fn recordings(&self) -> [u64; 3] {
        let config = &self.0.settings.recordings;
        let bytes = recordings_in(&self.0.recordings).map(|(_, bytes)| bytes).sum();
        [bytes, config.quota_bytes, config.keep_days]
    }
}

impl Inner {
    /// Where the bytes of a capture are.
    pub(super) fn path_of(&self, upload: &Upload) -> PathBuf {
        upload.recorded.as_ref().map_or_else(|| self.path(&upload.file_id), |name| self.recordings.join(name))
    }

    /// Whether the file of a recording was deleted by hand before anybody had it analysed.
    pub(super) fn is_gone(&self, upload: &Upload) -> bool {
        let is_gone = |path: PathBuf| path.metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        upload.state == UploadState::Recorded && is_gone(self.path_of(upload))
    }

    async fn adopt(&self, file: &RecordedFile) -> Result<String, Refusal> {
        if let Some(known) = self.store.recorded(&file.name).await? {
            return Ok(known.file_id);
        }
        let path = self.recordings.join(&file.name);
        let known = (file.packets > 0).then_some((file.packets, file.times));
        let looked = tokio::task::spawn_blocking(move || {
            let (sha256, bytes) = hash(&path)?;
            Ok::<_, io::Error>((sha256, bytes, known.map_or_else(|| packets(&path), Ok)?))
        });
        let looked = looked.await.map_err(|_panicked| io::Error::other("hashing stopped"))??;
        let (sha256, bytes, (packets, times)) = looked;
        let now = clock::now();
        let upload = Upload {
            file_id: new_id(),
            name: file.name.clone(),
            state: UploadState::Recorded,
            bytes,
            length: None,
            sha256: Some(sha256),
            head: None,
            added: now,
            changed: now,
            run: None,
            totals: UploadTotals { captures: 1, file_bytes: bytes, packets, ..UploadTotals::default() },
            problem: None,
            recorded: Some(file.name.clone()),
            span: times.map(|times| times.map(Timestamp::from_nanos)),
        };
        let same = self.store.insert_recorded(&upload).await?;
        Ok(same.unwrap_or(upload.file_id))
    }

    /// Takes recordings of earlier processes that are not among the captures: those that nobody ended.
    pub(super) async fn adopt_left(&self) {
        let _alone = self.adopting.lock().await;
        // What is being recorded now is taken when it ends.
        let left: Vec<_> = recordings_in(&self.recordings).collect();
        for (name, bytes) in left {
            let changed = self.recordings.join(&name).metadata().and_then(|about| about.modified());
            let changed = changed.ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
            let is_left = changed.is_some_and(|at| at.as_nanos() < self.started.as_nanos().into());
            if bytes <= WITHOUT_PACKETS || !is_left {
                continue;
            }
            let taken = match self.store.recorded(&name).await {
                Ok(Some(_)) => continue,
                Ok(None) => {
                    let file = RecordedFile { name: name.clone(), bytes: 0, packets: 0, times: None };
                    self.adopt(&file).await.map(drop)
                }
                Err(error) => Err(error.into()),
            };
            if let Err(error) = taken {
                tracing::warn!(name, %error, "a recording is not among the captures");
            }
        }
    }
}

/// Names and lengths of the recordings in a folder.
fn recordings_in(folder: &Path) -> impl Iterator<Item = (String, u64)> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let about = entry.metadata().ok().filter(fs::Metadata::is_file)?;
        Some((entry.file_name().into_string().ok().filter(|name| name.ends_with(".pcap"))?, about.len()))
    })
}

/// SHA-256 and length of a file.
fn hash(path: &Path) -> io::Result<(String, u64)> {
    let (mut file, mut hasher) = (File::open(path)?, Sha256::new());
    let (mut part, mut bytes) = (vec![0; 256 << 10], 0);
    loop {
        match file.read(&mut part)? {
            0 => return Ok((hex(&hasher.finalize()), bytes)),
            read => {
                hasher.update(&part[..read]);
                bytes += read as u64;
            }
        }
    }
}

/// Packets of a recording that nobody ended, and the first and last of their times: as many as are whole.
fn packets(path: &Path) -> io::Result<(u64, Option<[u64; 2]>)> {
    let name = path.display().to_string();
    let Ok(mut capture) = CaptureReader::from_read(name, Box::new(File::open(path)?)) else { return Ok((0, None)) };
    let (mut packets, mut times) = (0, None);
    while let Some(frame) = capture.next_frame() {
        packets += 1;
        let [first, last] = times.unwrap_or([frame.time_ns; 2]);
        times = Some([first.min(frame.time_ns), last.max(frame.time_ns)]);
    }
    Ok((packets, times))
}

/// Deletes the file of a recording.
pub(super) fn remove_recording(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, path = %path.display(), "a recording cannot be deleted");
        }
        _ => {}
    }
}

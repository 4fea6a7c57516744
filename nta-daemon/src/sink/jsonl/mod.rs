//! JSON lines as a sink: `metrics.jsonl` has each base window, `anomalies.jsonl` each anomaly, in the shapes of the API.
//!
//! A thread of its own writes, behind a bounded queue: a slow disk never holds up the capture. A line that finds the queue full, or
//! that the disk does not take, is dropped and counted; the log says when that begins and when it is over. The files have whole
//! lines alone, also after a disk was full and after a kill.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::{fs, io, thread};

use serde::Serialize;

use super::line_file::LineFile;
use crate::config::JsonlConfig;
use crate::json::{AnomalyJson, WindowJson};
use crate::pipeline::{PipelineEvent, Sink};
use nta_core::domain::{Alert, AlertChange};
use nta_core::window::Span;

/// Lines that wait for the disk: with windows of 5 s an hour of windows and their anomalies.
const QUEUE: usize = 4096;

/// The files, by their place in [`Counters`].
const FILES: [&str; 2] = ["metrics.jsonl", "anomalies.jsonl"];

/// What became of the lines of a file.
#[derive(Debug, Default)]
pub struct Counters {
    written: [AtomicU64; 2],
    queue_full: [AtomicU64; 2],
    failed: [AtomicU64; 2],
    failing: AtomicBool,
}

/// What became of the lines of one file so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileCount {
    /// Its name.
    pub file: &'static str,
    /// Lines written.
    pub written: u64,
    /// Lines dropped since too many waited.
    pub queue_full: u64,
    /// Lines dropped since the disk did not take them.
    pub failed: u64,
}

impl Counters {
    /// The numbers of each file.
    pub fn files(&self) -> [FileCount; 2] {
        [0, 1].map(|at| FileCount {
            file: FILES[at],
            written: self.written[at].load(Ordering::Relaxed),
            queue_full: self.queue_full[at].load(Ordering::Relaxed),
            failed: self.failed[at].load(Ordering::Relaxed),
        })
    }

    /// Whether the last line could not be written.
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }
}

/// Why there are no files.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// The folder or a file in it cannot be used.
    #[error("jsonl.folder: {} cannot be written: {source}", path.display())]
    Unusable {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is no thread for it.
    #[error("jsonl.folder: there is no thread to write it: {0}")]
    Thread(io::Error),
}

/// Writes windows and anomalies of a sensor.
#[derive(Debug)]
pub struct Mirror {
    sensor: String,
    /// Gone at the end, which ends the thread.
    lines: Option<SyncSender<(usize, Vec<u8>)>>,
    counters: Arc<Counters>,
    writes: Option<JoinHandle<()>>,
    anomalies: u64,
}

/// A line: who saw it, and what.
#[derive(Serialize)]
struct Line<'a, T> {
    sensor: &'a str,
    #[serde(flatten)]
    item: T,
}

impl Mirror {
    /// Begins; `None` where no folder is configured.
    ///
    /// # Errors
    /// Names the folder or the file that cannot be written.
    pub fn open(config: &JsonlConfig, sensor: &str) -> Result<Option<Self>, MirrorError> {
        let folder = &config.folder;
        if folder.as_os_str().is_empty() {
            return Ok(None);
        }
        let unusable = |path: &Path| {
            let path = path.to_owned();
            move |source| MirrorError::Unusable { path, source }
        };
        match fs::create_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(unusable(folder)(error)),
            _ => {}
        }
        let mut files = Vec::new();
        for name in FILES {
            let path = folder.join(name);
            files.push(LineFile::open(&path, config.max_bytes, config.keep).map_err(unusable(&path))?);
        }
        let counters = Arc::new(Counters::default());
        let (lines, queue) = sync_channel(QUEUE);
        let counted = Arc::clone(&counters);
        let thread = thread::Builder::new().name("jsonl".to_owned());
        let writes = thread.spawn(move || write(files, &queue, &counted)).map_err(MirrorError::Thread)?;
        let sensor = sensor.to_owned();
        Ok(Some(Self { sensor, lines: Some(lines), counters, writes: Some(writes), anomalies: 0 }))
    }

    /// What became of the lines; counts on while they are written.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    fn send(&self, file: usize, item: impl Serialize) {
        let Ok(mut line) = serde_json::to_vec(&Line { sensor: &self.sensor, item }) else { return };
        line.push(b'\n');
        let Some(lines) = &self.lines else { return };
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = lines.try_send((file, line)) {
            let dropped = self.counters.queue_full[file].fetch_add(1, Ordering::Relaxed) + 1;
            if dropped.is_power_of_two() {
                tracing::warn!(file = FILES[file], dropped, "jsonl: the disk is too slow, lines are dropped");
            }
        }
    }

    fn anomaly(&mut self, alert: &Alert) {
        self.anomalies += 1;
        let anomaly = AnomalyJson {
            id: self.anomalies,
            alert: Some(alert.id.to_string()),
            severity: Some(alert.severity.word().to_owned()),
            ..AnomalyJson::from(&alert.latest)
        };
        self.send(1, anomaly);
    }
}

impl Sink for Mirror {
    fn take(&mut self, _number: u64, event: &PipelineEvent<'_>) {
        match *event {
            PipelineEvent::Window(snapshot) if snapshot.span == Span::Base => {
                self.send(0, WindowJson::from(&snapshot.window));
            }
            PipelineEvent::Alert(change, alert) if change != AlertChange::Cleared => self.anomaly(alert),
            _ => {}
        }
    }
}

impl Drop for Mirror {
    /// Writes what waits.
    fn drop(&mut self) {
        self.lines = None;
        if let Some(writes) = self.writes.take() {
            let _ = writes.join(); // a panic was logged
        }
    }
}

/// Writes lines until nobody sends any more.
fn write(mut files: Vec<LineFile>, queue: &Receiver<(usize, Vec<u8>)>, counters: &Counters) {
    while let Ok((at, line)) = queue.recv() {
        let Some(file) = files.get_mut(at) else { continue };
        match file.write(&line) {
            Ok(()) => {
                counters.written[at].fetch_add(1, Ordering::Relaxed);
                if counters.failing.swap(false, Ordering::Relaxed) {
                    let dropped: u64 = counters.failed.iter().map(|failed| failed.load(Ordering::Relaxed)).sum();
                    tracing::info!(
                        dropped,
                        "jsonl: lines are written again; those that were dropped are in the database alone"
                    );
                }
            }
            Err(error) => {
                counters.failed[at].fetch_add(1, Ordering::Relaxed);
                if !counters.failing.swap(true, Ordering::Relaxed) {
                    let path = file.path().display().to_string();
                    tracing::error!(path, %error, "jsonl: lines cannot be written and are dropped until they can");
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "jsonl_tests.rs"]
mod tests;

//! What is analysed: the captures by their SHA-256, and the settings that decide what comes of them.

use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use super::{Selection, Summary};
use crate::app::Analysis;
use crate::config::Config;

/// Captures of so many bytes together are hashed without being asked for it: that takes 0.1 s at most.
const MOST_UNASKED: u64 = 16 << 20;
/// Bytes that are hashed at once.
const PIECE: usize = 1 << 20;

/// The analysis of these captures; `None` when one is a pipe, which is read once, or cannot be read, which the replay reports.
pub fn analysis_of(paths: &[PathBuf], config: &Config, selection: &Selection, again: bool) -> Option<Analysis> {
    let captures: Vec<(String, String, u64)> = paths.iter().map(|path| capture(path)).collect::<Option<_>>()?;
    // They are merged by time: in which order they were given changes nothing.
    let mut hashes: Vec<&str> = captures.iter().map(|(sha256, ..)| sha256.as_str()).collect();
    hashes.sort_unstable();
    let selection = selection.identity().unwrap_or_default();
    let key = key(hashes.into_iter().chain([env!("CARGO_PKG_VERSION")]), config, &selection)?;
    Some(Analysis { key, captures, again })
}

/// The key of the analysis of an upload with this SHA-256. It is another one than that of a replay of the same capture: the rows are kept
/// apart, and go with the upload.
pub fn key_of_upload(sha256: &str, config: &Config) -> Option<String> {
    key([sha256, env!("CARGO_PKG_VERSION")].into_iter(), config, "upload")
}

fn key<'a>(parts: impl Iterator<Item = &'a str>, config: &Config, last: &str) -> Option<String> {
    let Config { capture, events, windows, detect, baseline, model, .. } = config;
    let settings = (
        capture.tunnel_ports().map(|ports| (ports.vxlan, ports.geneve)),
        capture.sample,
        capture.map_memory_mib,
        events,
        windows,
        detect,
        baseline,
        model,
    );
    let settings = serde_json::to_vec(&settings).ok()?;
    let mut hash = Sha256::new();
    parts.for_each(|part| hash.update(part));
    hash.update(settings);
    hash.update(last);
    Some(hex(&hash.finalize()))
}

/// Length and last change of captures before they are hashed. One that differs when it was analysed was not analysed under its hash.
pub struct States(Vec<(PathBuf, Option<(u64, SystemTime)>)>);

impl States {
    /// As they are now.
    pub fn of(paths: &[PathBuf]) -> Self {
        Self(paths.iter().map(|path| (path.clone(), state(path))).collect())
    }

    /// Whether none has changed; the log names those that have.
    pub fn are_the_same(&self) -> bool {
        let changed: Vec<_> = self.0.iter().filter(|(path, before)| state(path) != *before).collect();
        for (path, _) in &changed {
            let capture = path.display().to_string();
            tracing::warn!(
                capture,
                "changed while it was read: this analysis is not called complete, the next replay makes another"
            );
        }
        changed.is_empty()
    }
}

fn state(path: &Path) -> Option<(u64, SystemTime)> {
    let file = path.metadata().ok().filter(std::fs::Metadata::is_file)?;
    Some((file.len(), file.modified().ok()?))
}

/// The hashes of captures, found out on a thread of its own while they are analysed.
#[derive(Default)]
pub struct Hashes(Vec<Option<String>>, Option<JoinHandle<Vec<Option<String>>>>);

impl Hashes {
    /// Begins to hash these files, all of them or, unless `is_asked`, if they are small. Those of pipes stay unknown.
    pub fn begin(paths: Vec<PathBuf>, is_asked: bool) -> Self {
        let bytes = |path: &PathBuf| path.metadata().map_or(0, |metadata| metadata.len());
        if !is_asked && paths.iter().map(bytes).sum::<u64>() > MOST_UNASKED {
            return Self::default();
        }
        let hash = move || paths.iter().map(|path| Some(capture(path)?.0)).collect();
        // Without a thread there are none: they decide nothing.
        Self(Vec::new(), std::thread::Builder::new().name("nta-hash".to_owned()).spawn(hash).ok())
    }

    /// Those that are known already, in the order of the captures.
    pub fn known(analysis: &Analysis) -> Self {
        Self(analysis.captures.iter().map(|(sha256, ..)| Some(sha256.clone())).collect(), None)
    }

    /// Waits for them and puts them into the summary; of a replay that was stopped those that are known by now.
    pub fn finish(self, summary: &mut Summary) {
        let Self(known, begun) = self;
        let begun = begun.filter(|thread| !summary.stopped || thread.is_finished());
        let all = begun.map_or(known, |thread| thread.join().unwrap_or_default());
        for file in &mut summary.files {
            file.sha256 = all.get(file.number).cloned().flatten();
        }
    }
}

/// SHA-256, name and bytes of a file.
fn capture(path: &Path) -> Option<(String, String, u64)> {
    if !path.metadata().ok()?.is_file() {
        return None;
    }
    let mut file = BufReader::with_capacity(PIECE, File::open(path).ok()?);
    let (mut hash, mut bytes, mut piece) = (Sha256::new(), 0, vec![0; PIECE]);
    loop {
        let read = file.read(&mut piece).ok()?;
        if read == 0 {
            break;
        }
        hash.update(&piece[..read]);
        bytes += read as u64;
    }
    Some((hex(&hash.finalize()), path.display().to_string(), bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

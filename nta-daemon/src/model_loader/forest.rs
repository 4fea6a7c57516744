//! Isolation forests in files, and the one that the configuration names.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::registry::id_of;
use crate::config::{Config, read_regular};
use nta_core::model::forest::{self, IsolationForest, MAX_FILE_BYTES, Manifest, Refusal, Schema};

/// Why a file is no forest that can be used.
#[derive(Debug, thiserror::Error)]
pub enum ForestError {
    /// It cannot be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is too large.
    #[error("{path}: larger than {MAX_FILE_BYTES} bytes: no isolation forest", path = path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is not what it should be.
    #[error("{path}: {reason}", path = path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why it is refused.
        reason: Refusal,
    },
}

/// Reads the forest, if one is named; without it the others judge alone, and the log says so.
pub(super) fn load(config: &Config) -> Option<(Arc<IsolationForest>, String)> {
    let path = &config.model.forest;
    if path.as_os_str().is_empty() {
        return None;
    }
    match named(path, &forest::schema(config.windows.seconds)) {
        Ok((forest, manifest, id)) => {
            let (rows, threshold) = (manifest.rows, manifest.threshold);
            tracing::info!(path = %path.display(), rows, threshold, "isolation forest judges beside the rules");
            Some((Arc::new(forest), id))
        }
        Err(error) => {
            tracing::error!(%error, "isolation forest refused, judging without it");
            None
        }
    }
}

/// What is wrong with the forest that is named.
pub(super) fn check(config: &Config) -> Option<String> {
    let path = &config.model.forest;
    let is_named = !path.as_os_str().is_empty();
    is_named.then(|| read(path, &forest::schema(config.windows.seconds)).err()).flatten().map(|error| error.to_string())
}

/// Writes a forest beside its place and moves it there, so that nobody reads half of it.
///
/// # Errors
/// If it cannot be written.
pub fn save(forest: &IsolationForest, path: &Path, manifest: Manifest) -> Result<(), ForestError> {
    let failed = |source| ForestError::Io { path: path.to_owned(), source };
    let text = forest.to_json(manifest).map_err(|error| failed(error.into()))?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.tmp", std::process::id()));
    let written = (|| {
        let mut file = File::create(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    })();
    written.map_err(|source| {
        // What is left of it is of no use to anybody.
        fs::remove_file(&beside).ok();
        failed(source)
    })
}

/// Reads a forest that was trained on rows of this schema.
///
/// # Errors
/// If it cannot be read, or is none that can be used.
pub fn read(path: &Path, schema: &Schema) -> Result<(IsolationForest, Manifest), ForestError> {
    named(path, schema).map(|(forest, manifest, _)| (forest, manifest))
}

/// The same with the first digits of the file's SHA-256.
fn named(path: &Path, schema: &Schema) -> Result<(IsolationForest, Manifest, String), ForestError> {
    let failed = |source| ForestError::Io { path: path.to_owned(), source };
    let bytes = read_regular(path, MAX_FILE_BYTES).map_err(|error| match error.kind() {
        ErrorKind::FileTooLarge => ForestError::TooLarge { path: path.to_owned() },
        _ => failed(error),
    })?;
    let (forest, manifest) = IsolationForest::from_json(&bytes, schema)
        .map_err(|reason| ForestError::Refused { path: path.to_owned(), reason })?;
    Ok((forest, manifest, id_of(&bytes)))
}

/// A forest from the bytes of its file, for base windows of this length; else why it cannot be used.
pub(super) fn from_bytes(bytes: &[u8], seconds: u64) -> Result<IsolationForest, String> {
    let read = IsolationForest::from_json(bytes, &forest::schema(seconds));
    read.map(|(forest, _)| forest).map_err(|reason| reason.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nta_core::model::forest::{Params, train};

    #[test]
    fn a_forest_read_back_is_the_same_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("forest.json");
        let schema = Schema { version: 1, features: ["a", "b", "c"].map(str::to_owned).into(), window_s: 30 };
        let rows: Vec<[f64; 3]> = (0..1_000).map(|i| [f64::from(i % 37), f64::from(i % 11), 7.0]).collect();
        let forest = train(&rows, &Params::default()).expect("a forest");
        fs::write(&path, "what was there before").expect("a file");
        save(&forest, &path, forest.manifest(schema.clone(), "a test")).expect("saved");
        let (found, manifest) = read(&path, &schema).expect("a forest");
        assert_eq!(found, forest);
        assert_eq!((manifest.rows, manifest.trained_from.as_str()), (1_000, "a test"));
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);

        let nowhere = folder.path().join("gone/forest.json");
        let error = save(&forest, &nowhere, manifest).expect_err("no such folder");
        assert!(matches!(error, ForestError::Io { .. }) && error.to_string().contains("gone"), "{error}");
    }
}

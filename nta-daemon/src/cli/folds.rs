//! Models of folds in a folder: what `train --folds-out` writes and `evaluate --folds` judges by. `folds.tsv` says which capture is
//! to be judged by which model, one that has not seen its source.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::model_loader;
use nta_core::model::{Classifier, Manifest, ModelError};
use nta_core::train::{Part, Split, Table, Trained};

/// Which capture goes to which model.
const INDEX: &str = "folds.tsv";
const HEADER: &str = "file\tmodel\tfold";
/// Longest index that is read in bytes.
const MAX_INDEX: u64 = 16 << 20;
/// Models that are read; training makes fewer.
const MAX_MODELS: usize = 256;
/// The model of all folds, which judges what was kept back.
const WHOLE: &str = "whole.json";

/// Why a folder of folds cannot be used or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum FoldsError {
    /// A file cannot be read or written.
    #[error("{file}: {source}")]
    File {
        /// Which.
        file: String,
        /// Why not.
        source: io::Error,
    },
    /// A model cannot be used.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A manifest cannot be written as JSON.
    #[error(transparent)]
    Manifest(#[from] serde_json::Error),
    /// The index is none.
    #[error("{file}: line {line}: {reason}")]
    Line {
        /// Which.
        file: String,
        /// From 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

/// Models by the captures that they are to judge.
pub(super) struct Folds {
    by_capture: BTreeMap<String, Arc<Classifier>>,
}

impl Folds {
    /// Reads the index and every model that it names.
    pub(super) fn read(folder: &Path) -> Result<Self, FoldsError> {
        let index = folder.join(INDEX);
        let file = index.display().to_string();
        let text = crate::config::read_regular(&index, MAX_INDEX)
            .and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other))
            .map_err(|source| FoldsError::File { file: file.clone(), source })?;
        let wrong =
            |line: usize, reason: &str| FoldsError::Line { file: file.clone(), line, reason: reason.to_owned() };
        let mut lines = text.lines().enumerate();
        if lines.next().is_none_or(|(_, header)| header != HEADER) {
            return Err(wrong(1, "not what `train --folds-out` writes (file, model, fold)"));
        }
        let mut models: BTreeMap<String, Arc<Classifier>> = BTreeMap::new();
        let mut by_capture = BTreeMap::new();
        for (number, line) in lines {
            let mut cells = line.split('\t');
            let (Some(capture), Some(name)) = (cells.next(), cells.next()) else {
                return Err(wrong(number + 1, "a capture and a model are needed"));
            };
            if name.is_empty() || name.contains('/') {
                return Err(wrong(number + 1, "a model's name has no folder"));
            }
            let model = match models.get(name) {
                Some(model) => Arc::clone(model),
                None if models.len() == MAX_MODELS => return Err(wrong(number + 1, "more models than are read")),
                None => {
                    let model = Arc::new(model_loader::read(&folder.join(name))?);
                    models.insert(name.to_owned(), Arc::clone(&model));
                    model
                }
            };
            by_capture.insert(capture.to_owned(), model);
        }
        Ok(Self { by_capture })
    }

    /// The model that has not seen the source of a capture; `None` if every one has.
    pub(super) fn model(&self, capture: &str) -> Option<&Arc<Classifier>> {
        self.by_capture.get(capture)
    }
}

/// Writes the models of all folds, and last the index: without it the folder is none.
pub(super) fn save(folder: &Path, table: &Table, split: &Split, trained: &Trained) -> Result<(), FoldsError> {
    fs::create_dir_all(folder).map_err(|source| FoldsError::File { file: folder.display().to_string(), source })?;
    let mut index = format!("{HEADER}\n");
    let recipe = &trained.manifest.recipe;
    for (number, fold) in trained.folds.iter().enumerate() {
        let name = format!("fold-{:02}.json", number + 1);
        let mut manifest = fold.manifest.clone();
        (manifest.recipe.labels_sha256, manifest.recipe.window_s) = (recipe.labels_sha256.clone(), recipe.window_s);
        manifest.created.clone_from(&trained.manifest.created);
        write_model(folder, &name, &fold.model, &manifest)?;
        let words = &split.folds[fold.fold];
        index.extend(fold.captures.iter().map(|capture| format!("{capture}\t{name}\t{words}\n")));
    }
    let kept_back = table.sources.iter().zip(&split.parts).filter(|(_, part)| **part == Part::HeldOut);
    let mut kept_back = kept_back.peekable();
    if kept_back.peek().is_some() {
        write_model(folder, WHOLE, &trained.model, &trained.manifest)?;
        index.extend(kept_back.map(|(source, _)| format!("{}\t{WHOLE}\tkept back\n", source.file)));
    }
    write(&folder.join(INDEX), index.as_bytes())
}

fn write_model(folder: &Path, name: &str, model: &[u8], manifest: &Manifest) -> Result<(), FoldsError> {
    let path = folder.join(name);
    write(&path, model)?;
    let text = serde_json::to_string_pretty(manifest)? + "\n";
    write(&model_loader::manifest_path(&path), text.as_bytes())
}

/// Whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> Result<(), FoldsError> {
    let beside = path.with_extension("tmp");
    fs::write(&beside, bytes)
        .and_then(|()| fs::rename(&beside, path))
        .map_err(|source| FoldsError::File { file: path.display().to_string(), source })
}

//! The big collection of captures beside the workspace (`../shared/captures`, or NTA_CAPTURES), which is not part of it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{is_long, root};

/// Where the collection is, if it is on this machine.
pub fn captures() -> Option<PathBuf> {
    let folder = std::env::var_os("NTA_CAPTURES").map_or_else(|| root().join("../shared/captures"), PathBuf::from);
    folder.join(MANIFEST).is_file().then_some(folder)
}

/// Why nothing was compared when [`captures`] is `None`.
pub const ABSENT: &str = "no captures: neither ../shared/captures nor NTA_CAPTURES has a MANIFEST.tsv";

/// Captures of the collection that are compared, relative to it, in the manifest's order.
pub fn all(captures: &Path) -> Vec<String> {
    rows(captures).into_iter().map(|(path, _)| path).collect()
}

/// Captures of one folder of the collection that are compared, relative to the collection.
pub fn of_folder(captures: &Path, folder: &str) -> Vec<String> {
    let paths = manifest(captures).into_iter().map(|(path, _)| path);
    let paths = paths.filter(|path| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')));
    paths.step_by(if is_long() { 1 } else { EVERY_OF_FOLDER }).collect()
}

/// Of the collection every eighth capture is compared, of one folder every second, and each by `cargo xtask ci`.
const EVERY: usize = 8;
const EVERY_OF_FOLDER: usize = 2;

/// These captures with the number of frames that the manifest gives each.
pub fn rows(captures: &Path) -> Vec<(String, Option<u64>)> {
    manifest(captures).into_iter().step_by(if is_long() { 1 } else { EVERY }).collect()
}

fn manifest(captures: &Path) -> Vec<(String, Option<u64>)> {
    let manifest = fs::read_to_string(captures.join(MANIFEST)).expect("MANIFEST.tsv");
    let rows = manifest.lines().skip(1).map(|row| row.split('\t').collect::<Vec<_>>());
    // path, bytes, sha256, link-type, packets, …
    rows.filter(|row| row.len() > 4).map(|row| (row[0].to_owned(), row[4].parse().ok())).collect()
}

const MANIFEST: &str = "MANIFEST.tsv";

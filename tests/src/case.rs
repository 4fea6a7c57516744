//! Captures that come with the workspace: `tests/cases/<name>/`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cases;

/// Every case, in the order of the names.
///
/// # Panics
/// When the folder cannot be read.
pub fn folders() -> Vec<PathBuf> {
    let listed = fs::read_dir(cases()).expect("tests/cases");
    let mut folders: Vec<PathBuf> = listed.map(|entry| entry.expect("an entry of tests/cases").path()).collect();
    folders.sort();
    folders
}

/// A case's capture.
///
/// # Panics
/// When it has none.
pub fn input(folder: &Path) -> PathBuf {
    let names = ["input.pcap", "input.pcapng", "input.pcap.gz", "input.pcapng.gz"].map(|name| folder.join(name));
    names.into_iter().find(|path| path.is_file()).unwrap_or_else(|| panic!("{} has no input", folder.display()))
}

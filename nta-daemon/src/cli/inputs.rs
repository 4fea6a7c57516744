//! Which captures a command reads: files as they are named, and those of a folder. Their order does not matter, they are
//! merged by time.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Captures of a folder that are read; one of a ring buffer has a few thousand.
const MOST_CAPTURES: usize = 100_000;

/// The files behind these paths: a folder stands for the captures in it, and what is named twice is read once.
///
/// # Errors
/// Names the folder that cannot be read, or that has no capture.
pub(super) fn captures(paths: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let mut all = Vec::new();
    for path in paths {
        if path.is_dir() {
            all.extend(of_folder(path)?);
        } else {
            all.push(path.clone());
        }
    }
    let mut seen = HashSet::new();
    all.retain(|path| {
        let is_new = seen.insert(path.canonicalize().unwrap_or_else(|_| path.clone()));
        if !is_new {
            tracing::warn!(capture = %path.display(), "named twice, read once");
        }
        is_new
    });
    Ok(all)
}

/// The captures right in a folder. Other files, as a ring buffer's log, are passed over and said.
fn of_folder(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let refused = |reason: &dyn std::fmt::Display| format!("{}: {reason}", folder.display());
    let mut files = Vec::new();
    for entry in folder.read_dir().map_err(|error| refused(&error))? {
        let path = entry.map_err(|error| refused(&error))?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_file() && !is_hidden {
            files.push(path);
        }
        if files.len() > MOST_CAPTURES {
            return Err(refused(&format_args!("more than {MOST_CAPTURES} files")));
        }
    }
    files.sort();
    let (captures, others): (Vec<_>, Vec<_>) = files.into_iter().partition(|path| nta_capture::open(path).is_ok());
    if captures.is_empty() {
        return Err(refused(&"no capture in this folder"));
    }
    if let Some(other) = others.first() {
        tracing::warn!(folder = %folder.display(), files = others.len(), first = %other.display(), "passed over: no captures");
    }
    Ok(captures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_stands_for_its_captures_and_what_is_named_twice_is_read_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let capture = [0xa1b2_c3d4_u32, 4 << 16 | 2, 0, 0, 65_535, 1].map(u32::to_le_bytes).concat();
        for name in ["b.pcap", "a.pcap", ".hidden.pcap"] {
            std::fs::write(at(name), &capture).expect("written");
        }
        std::fs::write(at("ring.log"), "text").expect("written");
        std::fs::create_dir(at("empty")).expect("made");
        let all = captures(&[at("b.pcap"), folder.path().to_owned()]).expect("captures");
        assert_eq!(all, [at("b.pcap"), at("a.pcap")]);
        let refused = captures(&[at("empty")]).expect_err("nothing in it");
        assert!(refused.contains("empty: no capture"), "{refused}");
        assert_eq!(captures(&["-".into()]).expect("as it is"), [PathBuf::from("-")]);
    }
}

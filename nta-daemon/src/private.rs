//! Files and folders that may hold packets, or say who talked to whom: for this user alone, whatever its umask.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Of a folder, and of those above it that are made with it.
const FOLDER: u32 = 0o700;
/// Of a file.
const FILE: u32 = 0o600;

/// Makes a folder, and those above it. One that is there stays as it is: its rights are its owner's choice.
///
/// # Errors
/// When it cannot be made.
pub fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER).create(path)
}

/// Whether others than its owner get at a folder, as it was there before.
pub fn is_open(path: &Path) -> bool {
    path.metadata().is_ok_and(|about| about.permissions().mode() & 0o077 != 0)
}

/// Makes a file to write, which must not be there, nor a link in its place.
///
/// # Errors
/// When it cannot be made.
pub fn make_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(FILE).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_gets_at_what_is_made() {
        let folder = tempfile::tempdir().expect("folder");
        let (inner, file) = (folder.path().join("a/b"), folder.path().join("a/b/c"));
        make_folder(&inner).expect("made");
        make_folder(&inner).expect("there");
        make_file(&file).expect("made");
        assert_eq!(make_file(&file).expect_err("there").kind(), io::ErrorKind::AlreadyExists);
        for (path, mode) in [(folder.path().join("a"), FOLDER), (inner, FOLDER), (file, FILE)] {
            let found = path.metadata().expect("there").permissions().mode() & 0o777;
            assert_eq!(found, mode, "{}", path.display());
            assert!(!is_open(&path));
        }
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("changed");
        make_folder(folder.path()).expect("there");
        assert!(is_open(folder.path()), "whoever made it is warned");
    }
}

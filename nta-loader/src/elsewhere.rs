//! What is pinned below a path for other network namespaces: it goes on counting there, and is taken away from there.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::pin::{entries, indices_of, namespace_folder};

/// Namespaces that are looked at.
const MAX_NAMESPACES: usize = 256;
/// Where `ip netns` keeps them by name.
const NAMED: &str = "/run/netns";

/// What is pinned for another network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// Its folder.
    pub folder: String,
    /// Its inode.
    pub inode: u64,
    /// Its name, if `ip netns` gave it one.
    pub name: Option<String>,
    /// Links of programs, and folders of maps.
    pub pinned: usize,
}

/// What is pinned below this path for other network namespaces than one's own, in the order of the folders.
pub fn pinned_elsewhere(path: &Path) -> Vec<Elsewhere> {
    let Ok(own) = namespace_folder(path) else { return Vec::new() };
    let mut folders = entries(path);
    folders.retain(|folder| *folder != own);
    folders.sort();
    let found = folders.into_iter().take(MAX_NAMESPACES).filter_map(|folder| {
        let inode = folder.file_name()?.to_str()?.strip_prefix("net")?.parse().ok()?;
        let pinned = entries(&folder).iter().filter(|path| indices_of(path).is_some()).count();
        let folder = folder.display().to_string();
        (pinned > 0).then(|| Elsewhere { folder, inode, name: name_of(inode), pinned })
    });
    found.collect()
}

fn name_of(inode: u64) -> Option<String> {
    let is_it = |path: &Path| fs::metadata(path).is_ok_and(|namespace| namespace.ino() == inode);
    let named = entries(Path::new(NAMED)).into_iter().take(MAX_NAMESPACES).find(|path| is_it(path))?;
    Some(named.file_name()?.to_string_lossy().into_owned())
}

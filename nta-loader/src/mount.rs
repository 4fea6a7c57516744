//! The BPF file system that the loader pins in: `/sys/fs/bpf` is root's alone, so it has one of its own.

use std::fs;
use std::path::Path;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount as unmount_at};

use crate::on_bpffs;

/// Mounts a BPF file system at the folder above `pin_path`, if that is on none, and gives `pin_path` to a user.
///
/// # Errors
/// A sentence that says what failed.
pub fn prepare(pin_path: &Path, user: &str) -> Result<(), String> {
    let mounted_at = pin_path.parent().filter(|parent| parent.parent().is_some());
    let mounted_at = mounted_at.ok_or_else(|| format!("pin_path {}: has no folder to mount at", pin_path.display()))?;
    let failed = |error: std::io::Error| format!("{}: {error}", mounted_at.display());
    let (uid, gid) = ids_of(user)?;
    if !on_bpffs(mounted_at) {
        fs::create_dir_all(mounted_at).map_err(failed)?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount("bpf", mounted_at, "bpf", flags, Some(c"mode=0711")).map_err(|error| failed(error.into()))?;
        tracing::info!(path = %mounted_at.display(), "mounted a BPF file system");
    }
    fs::create_dir_all(pin_path).map_err(failed)?;
    give(pin_path, uid, gid).map_err(failed)
}

/// A folder with all that is in it: an upgrade may run the loader as another user.
fn give(folder: &Path, uid: u32, gid: u32) -> std::io::Result<()> {
    std::os::unix::fs::lchown(folder, Some(uid), Some(gid))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => give(&entry.path(), uid, gid)?,
            false => std::os::unix::fs::lchown(entry.path(), Some(uid), Some(gid))?,
        }
    }
    Ok(())
}

/// Unmounts what [`prepare`] mounted.
///
/// # Errors
/// A sentence that says what failed.
pub fn unmount(pin_path: &Path) -> Result<(), String> {
    let Some(mounted_at) = pin_path.parent().filter(|parent| on_bpffs(parent)) else { return Ok(()) };
    let failed = |error: std::io::Error| format!("{}: {error}", mounted_at.display());
    unmount_at(mounted_at, UnmountFlags::empty()).map_err(|error| failed(error.into()))?;
    fs::remove_dir(mounted_at).map_err(failed)
}

/// Of a system user, which is always in this file.
fn ids_of(user: &str) -> Result<(u32, u32), String> {
    let table = fs::read_to_string("/etc/passwd").map_err(|error| format!("/etc/passwd: {error}"))?;
    let ids = table.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(user)).then(|| Some((fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?)))?
    });
    ids.ok_or_else(|| format!("there is no user `{}` in /etc/passwd", user.escape_debug()))
}

//! Disks of a test's own, which it fills and breaks.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use nta_tests::netns::{output, run};

/// A small disk in memory.
pub(crate) struct Disk(PathBuf);

impl Disk {
    /// Of 3 MiB, which a database fills soon.
    pub(crate) fn small(folder: &Path) -> Self {
        Self::new(folder, "3m")
    }

    /// In the folder `disk` of this one; as large as `mount` takes it.
    pub(crate) fn new(folder: &Path, size: &str) -> Self {
        let path = folder.join("disk");
        std::fs::create_dir(&path).expect("a folder");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(&path));
        Self(path)
    }

    /// Makes it larger.
    pub(crate) fn grow(&self, size: &str) {
        run(Command::new("mount").args(["-o", &format!("remount,size={size}")]).arg(&self.0));
    }

    /// One of ext4 in a file, which turns read-only when something is wrong with it.
    pub(crate) fn ext4(folder: &Path) -> Self {
        let disk = Self(folder.join("disk"));
        std::fs::create_dir(&disk.0).expect("a folder");
        let image = disk.image();
        File::create(&image).and_then(|file| file.set_len(32 << 20)).expect("an image");
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image));
        disk.mount();
        disk
    }

    fn image(&self) -> PathBuf {
        self.0.with_extension("img")
    }

    fn mount(&self) {
        run(Command::new("mount").args(["-o", "loop"]).arg(self.image()).arg(&self.0));
    }

    /// Makes it read-only as an error of the disk does; what was written before is on the disk.
    pub(crate) fn fails(&self) {
        run(Command::new("sync").arg("-f").arg(&self.0));
        run(Command::new("mount").args(["-o", "remount,abort"]).arg(&self.0));
    }

    /// Repairs it. The kernel makes a file system that has failed writable only anew, once nobody has a file of it open.
    pub(crate) fn is_repaired(&self) {
        run(Command::new("umount").arg(&self.0));
        let repaired = output(Command::new("e2fsck").arg("-fy").arg(self.image()));
        assert!(matches!(repaired.status.code(), Some(0 | 1)), "{}", String::from_utf8_lossy(&repaired.stdout));
        self.mount();
    }

    /// Where a database lies on it.
    pub(crate) fn database(&self) -> PathBuf {
        self.0.join("nta.db")
    }

    /// Fills it to the last byte.
    pub(crate) fn fill(&self) {
        let mut filler = File::options().create(true).append(true).open(self.0.join("filler")).expect("a file");
        for size in [1 << 16, 1 << 12, 1] {
            while filler.write(&vec![0; size]).is_ok_and(|written| written > 0) {}
        }
    }

    /// Takes back what [`fill`](Self::fill) put there.
    pub(crate) fn give_room(&self) {
        std::fs::remove_file(self.0.join("filler")).expect("removed");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status(); // a panic here would hide another
    }
}

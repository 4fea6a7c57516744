//! An archive in cpio's `newc` format, which the kernel unpacks as its first file system.

/// Files and folders, in the order in which they are added.
#[derive(Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// A folder; those above it have to be there already.
    pub(super) fn folder(&mut self, path: &str) {
        self.entry(path, FOLDER, 2, &[]);
    }

    /// A file that everybody may execute.
    pub(super) fn file(&mut self, path: &str, content: &[u8]) {
        self.entry(path, FILE, 1, content);
    }

    /// The whole archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, 1, &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, links: u32, content: &[u8]) {
        self.entries += 1;
        let path = path.trim_start_matches('/');
        let (size, name_size) = (content.len(), path.len() + 1);
        self.bytes.extend(b"070701");
        // inode, mode, uid, gid, links, mtime, size, device (two), special device (two), size of the name, checksum
        let fields = [self.entries, mode, 0, 0, links, 0, size as u32, 0, 0, 0, 0, name_size as u32, 0];
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(path.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

const FOLDER: u32 = 0o040_755;
const FILE: u32 = 0o100_755;

#[cfg(test)]
mod tests {
    use super::Archive;

    #[test]
    fn entries_are_aligned_and_the_trailer_is_last() {
        let mut archive = Archive::default();
        archive.folder("/bin");
        archive.file("/bin/a", b"xyz");
        let bytes = archive.finish();
        let at = |offset: usize, end: usize| std::str::from_utf8(&bytes[offset..end]).unwrap();
        assert_eq!(at(0, 14), "07070100000001");
        assert_eq!(at(14, 22), "000041ed");
        assert_eq!(at(110, 113), "bin");
        // The second header begins at the next multiple of four behind 110 + 4.
        assert_eq!(at(116, 122), "070701");
        assert_eq!(at(116 + 54, 116 + 62), "00000003");
        assert!(bytes.len().is_multiple_of(4));
        assert!(at(bytes.len() - 14, bytes.len()).starts_with("TRAILER!!!"), "{:?}", at(bytes.len() - 14, bytes.len()));
    }
}

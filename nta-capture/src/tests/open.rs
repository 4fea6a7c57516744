//! Files and what is said of those that are none.

use std::fs;
use std::path::Path;

use super::build::{Order, gzip, pcap, section};
use super::{CaptureError, frames, reader};
use crate::{self as capture, CaptureReader};

#[test]
fn a_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("misnamed.txt");
    let bytes = gzip(&pcap(1, &[&[0xab; 14]]));
    fs::write(&path, &bytes).unwrap();
    let mut capture = capture::open(&path).unwrap();
    assert_eq!(capture.name(), path.to_string_lossy());
    assert_eq!(capture.total_bytes(), Some(bytes.len() as u64));
    assert_eq!(frames(&mut capture).len(), 1);
    assert_eq!(capture.bytes_read(), bytes.len() as u64);
}

#[test]
fn files_that_cannot_be_opened() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    let error = capture::open(&missing).err().unwrap();
    assert_eq!(error.to_string(), format!("{}: no such file", missing.display()));
    assert!(matches!(error, CaptureError::NotFound { .. }));
    assert!(matches!(capture::open(directory.path()), Err(CaptureError::Io { .. })));
    let broken = capture::open(Path::new("/nowhere/two\nlines")).err().unwrap().to_string();
    assert_eq!(broken, "/nowhere/two\u{fffd}lines: no such file");
}

#[test]
fn no_captures() {
    let text = |bytes: &[u8]| reader(bytes).err().unwrap().to_string();
    assert_eq!(text(b""), "test: empty file");
    assert_eq!(text(&gzip(b"")), "test: empty file");
    assert_eq!(text(b"# nta"), "test: not a capture file: starts with 23 20 6e 74, expected pcap or pcapng magic");
    assert_eq!(text(b"#"), "test: not a capture file: starts with 23, expected pcap or pcapng magic");
    assert_eq!(text(&gzip(b"# nta")), text(b"# nta"));
    assert_eq!(text(b"\xfd7zXZ\0"), "test: not a capture file: it is xz-compressed: decompress it first (unxz)");
    assert!(text(&[0x1f, 0x8b, 0x08, 0xff, 0, 0, 0, 0]).starts_with("test: "));
    let version = text(&section(Order::Big, (1, 1)));
    assert_eq!(version, "test: not a capture file: pcapng version 1.1 is not supported");
    let mut order = section(Order::Big, (1, 0));
    order[8] = 0;
    assert_eq!(text(&order), "test: not a capture file: a section header without its byte-order magic");
}

#[test]
fn may_move_to_another_thread() {
    fn check<T: Send>() {}
    check::<CaptureReader>();
}

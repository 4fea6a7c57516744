//! The capture reader over arbitrary bytes: pcap and pcapng, plain, gzip and zstd, whatever the first bytes say. Every
//! frame is read. Memory is bounded by the limits that `cargo xtask fuzz` gives to libFuzzer.

#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;

// The module alone, by its path: with the whole daemon around it the target would build for minutes.
#[path = "."]
mod source {
    #[path = "../../../nta-daemon/src/source/capture/mod.rs"]
    #[expect(dead_code, unused_imports, reason = "the daemon uses more of it")]
    pub mod capture;
}

use source::capture::{CaptureReader, Compression, End};

/// No frame is longer than the reader's own limit (`MAX_FRAME_BYTES`), plus the link header that replaces a shorter one.
const MAX_FRAME_BYTES: usize = (16 << 20) + 14;

fuzz_target!(|input: &[u8]| {
    let file = Box::new(Cursor::new(input.to_vec()));
    let mut reader = match CaptureReader::from_read("input\nname".to_owned(), file) {
        Ok(reader) => reader,
        Err(error) => return assert_eq!(error.to_string().lines().count(), 1, "{error}"),
    };
    let (mut frames, mut captured, mut last) = (0, 0, 0);
    while let Some(frame) = reader.next_frame() {
        assert!(frame.data.len() <= MAX_FRAME_BYTES);
        frames += 1;
        captured += frame.data.len() as u64;
        last = frame.data.iter().fold(last, |sum: u64, byte| sum.wrapping_add(u64::from(*byte)));
    }
    std::hint::black_box(last);
    assert_eq!(reader.frames(), frames);
    assert!(reader.next_frame().is_none(), "the end is the end");
    assert!(reader.bytes_read() <= input.len() as u64);
    if reader.format().compression == Compression::None {
        // A header of another kind may become 14 bytes of Ethernet.
        assert!(captured <= input.len() as u64 + 14 * frames);
    }
    if let End::CutOff { detail, .. } | End::Corrupt { detail, .. } = reader.end() {
        assert!(!detail.is_empty() && !detail.contains('\n'), "{detail:?}");
    }
    assert!(reader.unsupported().is_none_or(|line| frames == 0 && line.lines().count() == 1));
});

//! The capture reader over arbitrary bytes: pcap and pcapng, plain, gzip and zstd, whatever the first bytes say. Every
//! frame is read. Memory is bounded by the limits that `cargo xtask fuzz` gives to libFuzzer.

#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;

use nta_capture::{CaptureReader, Compression, End, Ordered};

/// No frame is longer than the reader's own limit (`MAX_FRAME_BYTES`), plus the link header that replaces a shorter one.
const MAX_FRAME_BYTES: usize = (16 << 20) + 14;

fuzz_target!(|input: &[u8]| {
    let open = || CaptureReader::from_read("input\nname".to_owned(), Box::new(Cursor::new(input.to_vec())));
    let mut reader = match open() {
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
    // In order of time they are the same frames.
    let Ok(again) = open() else { panic!("it was opened before") };
    let mut ordered = Ordered::new(again);
    let mut in_order = 0;
    while let Some(frame) = ordered.next_frame() {
        assert!(frame.data.len() <= MAX_FRAME_BYTES);
        in_order += 1;
    }
    assert_eq!((in_order, ordered.frames()), (frames, frames));
    assert_eq!(ordered.reader().end(), reader.end());
    assert!(reader.unsupported().is_none_or(|line| frames == 0 && line.lines().count() == 1));
});

//! Captures built byte by byte, read back.

mod build;
mod damage;
mod merged;
mod open;
mod pcap;
mod pcapng;
mod steady;

use std::io::{self, Read};

use super::{CaptureError, CaptureReader, End, Frame};

/// A frame that outlives its reader.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owned {
    time_ns: u64,
    wire_len: u32,
    data: Vec<u8>,
}

fn reader(bytes: &[u8]) -> Result<CaptureReader, CaptureError> {
    CaptureReader::from_read("test".to_owned(), Box::new(io::Cursor::new(bytes.to_vec())))
}

fn frames(reader: &mut CaptureReader) -> Vec<Owned> {
    let mut frames = Vec::new();
    while let Some(Frame { time_ns, wire_len, data, .. }) = reader.next_frame() {
        frames.push(Owned { time_ns, wire_len, data: data.to_vec() });
    }
    assert!(reader.next_frame().is_none(), "the end is the end");
    assert_eq!(reader.frames(), frames.len() as u64);
    frames
}

fn read(bytes: &[u8]) -> (Vec<Owned>, End) {
    let mut reader = reader(bytes).unwrap();
    (frames(&mut reader), reader.end().clone())
}

/// The frames of a capture that is whole.
#[track_caller]
fn whole(bytes: &[u8]) -> Vec<Owned> {
    let (frames, end) = read(bytes);
    assert_eq!(end, End::Complete);
    frames
}

fn frame(time_ns: u64, wire_len: u32, data: &[u8]) -> Owned {
    Owned { time_ns, wire_len, data: data.to_vec() }
}

/// Returns one byte a call, as a slow pipe may.
struct OneByOne(io::Cursor<Vec<u8>>);

impl Read for OneByOne {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let end = buffer.len().min(1);
        self.0.read(&mut buffer[..end])
    }
}

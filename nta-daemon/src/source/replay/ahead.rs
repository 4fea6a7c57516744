//! Reading ahead: a thread of its own reads, decompresses and brings frames to Ethernet form, while the caller's thread
//! accounts the ones before.
//!
//! The frames travel in batches that go round in a circle, so that memory is bounded and no batch is made anew. They stay in
//! the captures' order, and what of a frame may be looked at goes along ([`MAX_HEADER_BYTES`]), so nothing depends on how the
//! two threads run.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use nta_common::limits::MAX_HEADER_BYTES;

use super::hint::{Hint, Hinter};
use nta_capture::{CaptureReader, End, Frame, LinkType};

/// Frames in a batch.
const BATCH_FRAMES: usize = 1024;
/// Batches on their way: two are worked on, and the others even out the threads' pace.
const BATCHES: usize = 6;

/// What has been read of a file.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// The file's name.
    pub name: String,
    /// Format and compression.
    pub format: String,
    /// Bytes of the file.
    pub bytes: u64,
    /// Frames.
    pub frames: u64,
    /// Frames of link types that are not analysed.
    pub skipped: BTreeMap<LinkType, u64>,
    /// How the file ended; [`End::Complete`] when it was not read to its end.
    pub end: End,
    /// The message when not one frame could be analysed.
    pub unsupported: Option<String>,
}

impl Reading {
    /// What this reader has read.
    pub fn of(reader: &CaptureReader) -> Self {
        Self {
            name: reader.name().to_owned(),
            format: reader.format().to_string(),
            bytes: reader.bytes_read(),
            frames: reader.frames(),
            skipped: reader.skipped().clone(),
            end: reader.end().clone(),
            unsupported: reader.unsupported(),
        }
    }
}

/// Frames of one file, one after the other.
#[derive(Default)]
pub struct FrameBatch {
    heads: Vec<Head>,
    hints: Vec<Option<Hint>>,
    bytes: Vec<u8>,
    reading: Reading,
    is_last: bool,
}

struct Head {
    time_ns: u64,
    wire_len: u32,
    /// Where the frame's bytes end; they begin where those of the frame before end.
    end: u32,
}

impl FrameBatch {
    /// Fills the batch with the next frames of a file.
    fn fill(&mut self, reader: &mut CaptureReader, hinter: Option<&Hinter>) {
        self.heads.clear();
        self.hints.clear();
        self.bytes.clear();
        self.is_last = false;
        while self.heads.len() < BATCH_FRAMES {
            let Some(Frame { time_ns, wire_len, data }) = reader.next_frame() else {
                self.is_last = true;
                break;
            };
            let shown = &data[..data.len().min(MAX_HEADER_BYTES)];
            self.hints.push(hinter.and_then(|hinter| hinter.hint(wire_len, shown)));
            self.bytes.extend_from_slice(shown);
            self.heads.push(Head { time_ns, wire_len, end: self.bytes.len() as u32 });
        }
        self.reading = Reading::of(reader);
    }

    /// The frames.
    pub fn frames(&self) -> impl Iterator<Item = Frame<'_>> {
        let mut rest = self.bytes.as_slice();
        let mut begin = 0;
        self.heads.iter().map(move |head| {
            let (data, after) = rest.split_at((head.end - begin) as usize);
            (rest, begin) = (after, head.end);
            Frame { time_ns: head.time_ns, wire_len: head.wire_len, data }
        })
    }

    /// A hint for each frame.
    pub fn hints(&self) -> &[Option<Hint>] {
        &self.hints
    }

    /// What had been read of the file when the batch was full.
    pub fn reading(&self) -> &Reading {
        &self.reading
    }

    /// Whether these are the file's last frames.
    pub fn is_last(&self) -> bool {
        self.is_last
    }
}

/// The consumer's end: batches in the order of the files.
pub struct Batches {
    filled: Receiver<FrameBatch>,
    empty: SyncSender<FrameBatch>,
    current: Option<FrameBatch>,
}

impl Batches {
    /// The next batch; `None` behind the last one of the last file.
    pub fn next_batch(&mut self) -> Option<&FrameBatch> {
        if let Some(used) = self.current.take() {
            // The reader is gone when it has read everything.
            let _gone = self.empty.send(used);
        }
        self.current = self.filled.recv().ok();
        self.current.as_ref()
    }
}

/// Reads the files on a thread of its own, while `consume` takes the batches; the thread ends when that returns.
pub fn read_ahead<T>(
    readers: &mut [CaptureReader],
    hinter: Option<&Hinter>,
    consume: impl FnOnce(Batches) -> T,
) -> io::Result<T> {
    thread::scope(|scope| {
        let (empty, to_fill) = sync_channel(BATCHES);
        let (filled, to_consume) = sync_channel(BATCHES);
        for _ in 0..BATCHES {
            let _fits = empty.send(FrameBatch::default());
        }
        let read = move || read(readers, hinter, &to_fill, &filled);
        thread::Builder::new().name("nta-read".to_owned()).spawn_scoped(scope, read)?;
        Ok(consume(Batches { filled: to_consume, empty, current: None }))
    })
}

/// Reads until everything is read or nobody wants more.
fn read(
    readers: &mut [CaptureReader],
    hinter: Option<&Hinter>,
    empty: &Receiver<FrameBatch>,
    filled: &SyncSender<FrameBatch>,
) {
    for reader in readers {
        loop {
            let Ok(mut batch) = empty.recv() else { return };
            batch.fill(reader, hinter);
            let is_last = batch.is_last;
            if filled.send(batch).is_err() {
                return;
            }
            if is_last {
                break;
            }
        }
    }
}

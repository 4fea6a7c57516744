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
use nta_capture::{About, End, Frame, LinkType, Merged, Ordered, Stamps};

/// Frames in a batch.
const BATCH_FRAMES: usize = 1024;
/// Batches on their way: two are worked on, and the others even out the threads' pace.
const BATCHES: usize = 6;

/// What has been read of a capture, or of a section of one.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Which of the captures, in the order in which they were given.
    pub file: usize,
    /// Which part of all parts, in the order of their first frames.
    pub part: usize,
    /// The file's name.
    pub name: String,
    /// Format and compression.
    pub format: String,
    /// Frames.
    pub frames: u64,
    /// Frames of link types that are not analysed.
    pub skipped: BTreeMap<LinkType, u64>,
    /// Frames whose length on the wire cannot be: they count as one of 1 GiB.
    pub lengths_clamped: u64,
    /// What the time stamps did.
    pub stamps: Stamps,
    /// What it says about itself.
    pub about: About,
    /// How the file ended; [`End::Complete`] when it was not read to its end.
    pub end: End,
}

impl Reading {
    fn of(file: usize, part: usize, capture: &Ordered) -> Self {
        let reader = capture.reader();
        Self {
            file,
            part,
            name: reader.name().to_owned(),
            format: reader.format().to_string(),
            frames: capture.frames(),
            skipped: reader.skipped().clone(),
            lengths_clamped: reader.lengths_clamped(),
            stamps: capture.stamps(),
            about: reader.about().clone(),
            end: reader.end().clone(),
        }
    }

    /// Brings the numbers up to date.
    fn refresh(&mut self, capture: &Ordered) {
        let reader = capture.reader();
        self.frames = capture.frames();
        self.lengths_clamped = reader.lengths_clamped();
        self.stamps = capture.stamps();
        if self.skipped != *reader.skipped() {
            self.skipped.clone_from(reader.skipped());
        }
    }

    /// What was read since the last call: of what ended since then, and of what is open.
    pub fn of_all(captures: &mut Merged) -> Vec<Self> {
        let mut all: Vec<Self> =
            captures.take_ended().map(|part| Self::of(part.file, part.number, &part.capture)).collect();
        all.extend(captures.open_parts().map(|(file, part, capture)| Self::of(file, part, capture)));
        all
    }
}

/// Frames, one after the other.
#[derive(Default)]
pub struct FrameBatch {
    heads: Vec<Head>,
    hints: Vec<Option<Hint>>,
    bytes: Vec<u8>,
    readings: Vec<Reading>,
    bytes_read: u64,
}

struct Head {
    time_ns: u64,
    wire_len: u32,
    /// Where the frame's bytes end; they begin where those of the frame before end.
    end: u32,
    is_wanted: bool,
    number: u64,
}

impl FrameBatch {
    /// Fills the batch with the next frames; answers whether these are the last ones.
    fn fill(&mut self, captures: &mut Merged, hinter: Option<&Hinter>) -> bool {
        self.clear();
        while self.heads.len() < BATCH_FRAMES {
            let Some(frame) = captures.next_frame() else { break };
            self.push(frame, hinter);
        }
        self.readings = Reading::of_all(captures);
        self.bytes_read = captures.bytes_read();
        self.heads.len() < BATCH_FRAMES
    }

    /// Empties the batch.
    pub(super) fn clear(&mut self) {
        self.heads.clear();
        self.hints.clear();
        self.bytes.clear();
    }

    /// Adds what of a frame may be looked at.
    #[inline]
    pub(super) fn push(&mut self, frame: Frame<'_>, hinter: Option<&Hinter>) {
        let Frame { time_ns, wire_len, data, is_wanted, number } = frame;
        let shown = &data[..data.len().min(MAX_HEADER_BYTES)];
        self.hints.push(hinter.and_then(|hinter| hinter.hint(wire_len, shown)));
        self.bytes.extend_from_slice(shown);
        self.heads.push(Head { time_ns, wire_len, end: self.bytes.len() as u32, is_wanted, number });
    }

    /// Says what has been read with its last frame: anew with its first one, from then on the numbers.
    pub(super) fn note(&mut self, captures: &mut Merged) {
        if self.len() <= 1 {
            self.readings = Reading::of_all(captures);
            return;
        }
        let ended = captures.take_ended().map(|part| Reading::of(part.file, part.number, &part.capture));
        self.readings.extend(ended);
        for (file, part, capture) in captures.open_parts() {
            match self.readings.iter_mut().find(|known| known.part == part) {
                Some(known) => known.refresh(capture),
                None => self.readings.push(Reading::of(file, part, capture)),
            }
        }
    }

    /// Frames in it.
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// The frames.
    pub fn frames(&self) -> impl Iterator<Item = Frame<'_>> {
        let mut rest = self.bytes.as_slice();
        let mut begin = 0;
        self.heads.iter().map(move |head| {
            let (data, after) = rest.split_at((head.end - begin) as usize);
            (rest, begin) = (after, head.end);
            let &Head { time_ns, wire_len, is_wanted, number, .. } = head;
            Frame { time_ns, wire_len, data, is_wanted, number }
        })
    }

    /// A hint for each frame.
    pub fn hints(&self) -> &[Option<Hint>] {
        &self.hints
    }

    /// What had been read of each capture when the batch was full, of those from which a frame may be in it.
    pub fn readings(&self) -> &[Reading] {
        &self.readings
    }

    /// Bytes that had been read of all captures.
    pub const fn bytes_read(&self) -> u64 {
        self.bytes_read
    }
}

/// The consumer's end: batches in the order of time.
pub struct Batches {
    filled: Receiver<FrameBatch>,
    empty: SyncSender<FrameBatch>,
    current: Option<FrameBatch>,
}

impl Batches {
    /// The next batch; `None` behind the last one.
    pub fn next_batch(&mut self) -> Option<&FrameBatch> {
        if let Some(used) = self.current.take() {
            // The reader is gone when it has read everything.
            let _gone = self.empty.send(used);
        }
        self.current = self.filled.recv().ok();
        self.current.as_ref()
    }
}

/// Reads the captures on a thread of its own, while `consume` takes the batches; the thread ends when that returns.
pub fn read_ahead<T>(
    captures: &mut Merged,
    hinter: Option<&Hinter>,
    consume: impl FnOnce(Batches) -> T,
) -> io::Result<T> {
    thread::scope(|scope| {
        let (empty, to_fill) = sync_channel(BATCHES);
        let (filled, to_consume) = sync_channel(BATCHES);
        for _ in 0..BATCHES {
            let _fits = empty.send(FrameBatch::default());
        }
        let read = move || read(captures, hinter, &to_fill, &filled);
        thread::Builder::new().name("nta-read".to_owned()).spawn_scoped(scope, read)?;
        Ok(consume(Batches { filled: to_consume, empty, current: None }))
    })
}

/// Reads until everything is read or nobody wants more.
fn read(captures: &mut Merged, hinter: Option<&Hinter>, empty: &Receiver<FrameBatch>, filled: &SyncSender<FrameBatch>) {
    while let Ok(mut batch) = empty.recv() {
        let is_last = batch.fill(captures, hinter);
        if filled.send(batch).is_err() || is_last {
            return;
        }
    }
}

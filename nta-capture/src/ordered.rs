//! The frames of one capture with time stamps that can be relied on, and those of several interfaces in order of time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::record::Record;
use super::steady::{Copied, Stamps, Steady};
use super::{CaptureReader, Frame};

/// Frames of several interfaces that wait for their order, and bytes of them: whoever wrote the file took them from one
/// buffer after the other.
const LOOK_AHEAD_FRAMES: usize = 8192;
const LOOK_AHEAD_BYTES: usize = 8 << 20;

/// Says what time it is, in nanoseconds since 1970, for a capture that is being made now.
pub type Clock = fn() -> u64;
/// A frame of a capture that is being made is so old at most when it is read.
const FRESH_NS: u64 = 10_000_000_000;

/// A capture as its clock should have been.
pub struct Ordered {
    reader: CaptureReader,
    steady: Steady,
    /// Decided and waiting for their turn.
    ready: VecDeque<Copied>,
    /// Frames of several interfaces, to be put in order.
    waiting: BinaryHeap<Reverse<Waiting>>,
    waiting_bytes: usize,
    waited: u64,
    /// The next frame, if it was looked for.
    next: Option<Next>,
    /// What the last frame that was handed out lies in, if not in the reader's buffer.
    current: Copied,
    frames: u64,
    /// Whether the next record is the next frame if its time is believed: nothing waits, and of one interface nothing will.
    is_straight: bool,
    is_read: bool,
    clock: Option<Clock>,
}

enum Next {
    /// In the reader's buffer.
    Record(Record),
    Copied(Copied),
}

/// By time, then in the order of the file.
struct Waiting {
    number: u64,
    frame: Copied,
}

impl Ordered {
    /// Reads this capture to its end.
    pub fn new(reader: CaptureReader) -> Self {
        Self {
            reader,
            steady: Steady::default(),
            ready: VecDeque::new(),
            waiting: BinaryHeap::new(),
            waiting_bytes: 0,
            waited: 0,
            next: None,
            current: Copied::default(),
            frames: 0,
            is_straight: false,
            is_read: false,
            clock: None,
        }
    }

    /// A capture that is perhaps being made now: a frame that this clock agrees with is handed out at once.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock: Some(clock), ..self }
    }

    /// It was read to its end: what is known of it stays, and nothing else.
    pub(super) fn release(&mut self) {
        self.reader.release();
        self.current = Copied::default();
    }

    /// What is read.
    pub const fn reader(&self) -> &CaptureReader {
        &self.reader
    }

    /// Frames handed out so far.
    pub const fn frames(&self) -> u64 {
        self.frames
    }

    /// What its time stamps did.
    pub const fn stamps(&self) -> Stamps {
        self.steady.stamps()
    }

    /// When the next frame came.
    #[inline]
    pub fn next_time(&mut self) -> Option<u64> {
        if self.next.is_none() {
            self.next = self.find();
            self.is_straight = false;
        }
        match self.next.as_ref()? {
            Next::Record(record) => Some(record.time_ns),
            Next::Copied(frame) => Some(frame.time_ns),
        }
    }

    /// The next frame.
    #[inline]
    pub fn next_frame(&mut self) -> Option<Frame<'_>> {
        if self.is_straight {
            let record = self.reader.next_record();
            match record {
                Some(record) if self.steady.passes(record.time_ns) => {
                    self.frames += 1;
                    return Some(self.reader.frame(record));
                }
                _ => self.decide(record),
            }
        }
        self.next_waiting()
    }

    #[inline(never)]
    fn next_waiting(&mut self) -> Option<Frame<'_>> {
        let next = match self.next.take() {
            Some(next) => next,
            None => self.find()?,
        };
        self.frames += 1;
        self.is_straight = self.ready.is_empty() && self.reader.has_one_interface() && !self.is_read;
        match next {
            Next::Record(record) => Some(self.reader.frame(record)),
            Next::Copied(frame) => {
                self.current = frame;
                Some(self.current.frame())
            }
        }
    }

    /// The next frame, which [`Ordered::next_frame`] returns once more. It is copied: meant for the first one of a capture.
    pub fn peek(&mut self) -> Option<Frame<'_>> {
        self.next_time()?;
        if let Some(Next::Record(record)) = self.next {
            self.next = Some(Next::Copied(Copied::of(self.reader.frame(record))));
        }
        match self.next.as_ref()? {
            Next::Copied(frame) => Some(frame.frame()),
            Next::Record(_) => None,
        }
    }

    /// Whether frames wait for others: not of a capture that is being made.
    #[inline]
    fn puts_in_order(&self) -> bool {
        self.clock.is_none() && (self.reader.has_several_interfaces() || !self.waiting.is_empty())
    }

    #[inline]
    fn find(&mut self) -> Option<Next> {
        if self.ready.is_empty() && !self.puts_in_order() && !self.is_read {
            let record = self.reader.next_record();
            if let Some(record) = record.filter(|record| self.steady.passes(record.time_ns)) {
                return Some(Next::Record(record));
            }
            self.decide(record);
        }
        self.find_copied()
    }

    /// The next frame where the next record is not it.
    #[cold]
    fn find_copied(&mut self) -> Option<Next> {
        loop {
            while let Some(frame) = self.ready.pop_front() {
                if !self.puts_in_order() {
                    return Some(Next::Copied(frame));
                }
                self.waiting_bytes += frame.len();
                self.waited += 1;
                self.waiting.push(Reverse(Waiting { number: self.waited, frame }));
            }
            let is_full = self.waiting.len() > LOOK_AHEAD_FRAMES || self.waiting_bytes > LOOK_AHEAD_BYTES;
            if (self.is_read || is_full)
                && let Some(Reverse(Waiting { frame, .. })) = self.waiting.pop()
            {
                self.waiting_bytes -= frame.len();
                return Some(Next::Copied(frame));
            }
            if self.is_read {
                return None;
            }
            let record = self.reader.next_record();
            self.decide(record);
        }
    }

    /// Takes a record that is not believed at once, or the end.
    #[cold]
    fn decide(&mut self, record: Option<Record>) {
        self.is_straight = false;
        let Some(record) = record else {
            self.is_read = true;
            return self.steady.finish(&mut self.ready);
        };
        let frame = Copied::of(self.reader.frame(record));
        let is_sure = self.clock.is_some_and(|now| is_fresh(now(), frame.time_ns));
        self.steady.take(frame, is_sure, &mut self.ready);
    }
}

/// Whether a frame of this time can have been captured just now.
const fn is_fresh(now: u64, time: u64) -> bool {
    now.abs_diff(time) <= FRESH_NS
}

impl Waiting {
    const fn key(&self) -> (u64, u64) {
        (self.frame.time_ns, self.number)
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

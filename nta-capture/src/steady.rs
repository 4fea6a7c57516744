//! Time stamps that one wrong clock cannot move.
//!
//! A stamp that lies within [`JUMP_NS`] of the one before is believed at once. Any other is held until the frames behind it
//! say which it is: when time returns to where it was, the held frames were stamped wrong and get the time of their
//! neighbours; when time goes on from them, it was a silence, or the clock was set. A capture in which every frame is far from
//! the next goes on and on and never returns, so all of its stamps stay.
//!
//! A stamp behind [`LATEST_NS`] is never believed. Where no frame has another one, the first of them is accounted at 1970, and the
//! others as long after it as their stamps say.

use std::collections::VecDeque;

use super::Frame;

/// Two frames further apart than this are not neighbours in time.
pub(super) const JUMP_NS: u64 = 60_000_000_000;
/// So many frames near each other behind a jump make its time the time.
const ENOUGH: usize = 8;
/// Bytes that are held until then.
const MOST_BYTES: usize = 1 << 20;
/// The latest time that a frame can have, in 2262: what does not fit in 64 bits, or hardly does, is no time.
const LATEST_NS: u64 = i64::MAX as u64;
/// Frames without a time at the begin that wait for one with a time.
const MOST_TIMELESS: usize = 8192;
/// The first and the last frame have neighbours on one side only, and nothing returns: a single one further away than this,
/// and than any silence of the capture, was stamped wrong.
const YEAR_NS: u64 = 365 * 86_400 * 1_000_000_000;

/// A frame that outlives the reader's buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Copied {
    pub(super) time_ns: u64,
    wire_len: u32,
    data: Vec<u8>,
    is_wanted: bool,
    number: u64,
}

impl Copied {
    pub(super) fn of(frame: Frame<'_>) -> Self {
        let Frame { time_ns, wire_len, data, is_wanted, number } = frame;
        Self { time_ns, wire_len, data: data.to_vec(), is_wanted, number }
    }

    pub(super) fn frame(&self) -> Frame<'_> {
        let &Self { time_ns, wire_len, ref data, is_wanted, number } = self;
        Frame { time_ns, wire_len, data, is_wanted, number }
    }

    pub(super) fn len(&self) -> usize {
        self.data.len()
    }
}

/// What the time stamps of a capture did that clocks do not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamps {
    /// Frames whose stamp was wrong; they have the time of their neighbours.
    pub wrong: u64,
    /// How often time went back by more than a minute and stayed there: the clock was set, or files were put together.
    pub set_back: u64,
}

/// Decides which stamps are believed.
#[derive(Debug, Default)]
pub(super) struct Steady {
    stamps: Stamps,
    /// The last stamp, while no frame is held: what most frames are compared with, and nothing else.
    settled: Option<u64>,
    /// The last stamp that was believed, when a frame was last looked at more closely.
    last: Option<u64>,
    /// The first frame, while it could still be the wrong one.
    first: Option<Copied>,
    /// Frames before it whose stamps are no times, and bytes of them.
    timeless: Vec<Copied>,
    timeless_bytes: usize,
    /// What is taken off such stamps, where no frame has another one.
    shift: Option<u64>,
    /// Frames behind a jump, near each other; not yet decided.
    held: Vec<Copied>,
    /// So many of them have a stamp that is no time.
    held_timeless: u64,
    /// The longest silence that was believed.
    silence: u64,
}

impl Steady {
    pub(super) const fn stamps(&self) -> Stamps {
        self.stamps
    }

    /// Whether a frame of this time is believed at once, with no one waiting before it.
    #[inline]
    pub(super) fn passes(&mut self, time: u64) -> bool {
        let passes = self.settled.is_some_and(|last| is_near(last, time));
        if passes {
            self.settled = Some(time);
        }
        passes
    }

    /// Takes a frame; those that are decided now go to `ready`. `is_sure` says that its time is known to be right.
    pub(super) fn take(&mut self, frame: Copied, is_sure: bool, ready: &mut VecDeque<Copied>) {
        self.last = self.settled.take().or(self.last);
        if frame.time_ns > LATEST_NS {
            self.place_timeless(frame, ready);
        } else {
            self.place(frame, is_sure, ready);
        }
        self.settled = self.last.filter(|_| self.held.is_empty() && self.first.is_none());
    }

    /// A frame whose stamp is no time came with the one before it.
    fn place_timeless(&mut self, frame: Copied, ready: &mut VecDeque<Copied>) {
        if self.shift.is_some() {
            self.place_shifted(frame, ready);
        } else if let Some(time_ns) = self.held.last().map(|held| held.time_ns) {
            self.held_timeless += 1;
            self.place(Copied { time_ns, ..frame }, false, ready);
        } else if let Some(time_ns) = self.last {
            self.stamps.wrong += 1;
            self.place(Copied { time_ns, ..frame }, false, ready);
        } else {
            self.timeless_bytes += frame.len();
            self.timeless.push(frame);
            if self.timeless.len() >= MOST_TIMELESS || self.timeless_bytes >= MOST_BYTES {
                self.shift_all(ready);
            }
        }
    }

    /// None of so many frames, or of all, has a stamp that is a time: from now on they are compared with the first of them.
    fn shift_all(&mut self, ready: &mut VecDeque<Copied>) {
        self.shift = self.timeless.first().map(|frame| frame.time_ns);
        self.timeless_bytes = 0;
        for frame in std::mem::take(&mut self.timeless) {
            self.place_shifted(frame, ready);
        }
    }

    /// It is wrong whatever comes of it, and counted once.
    fn place_shifted(&mut self, frame: Copied, ready: &mut VecDeque<Copied>) {
        let wrong = self.stamps.wrong + 1;
        // Such stamps have the highest bit set, and go round below it.
        let after = frame.time_ns.wrapping_sub(self.shift.unwrap_or_default()) & LATEST_NS;
        let time_ns = if after > LATEST_NS / 2 { 0 } else { after };
        self.place(Copied { time_ns, ..frame }, false, ready);
        self.stamps.wrong = wrong;
    }

    /// Hands out what waited for a first time.
    fn release(&mut self, time_ns: u64, ready: &mut VecDeque<Copied>) {
        self.stamps.wrong += self.timeless.len() as u64;
        self.timeless_bytes = 0;
        ready.extend(self.timeless.drain(..).map(|frame| Copied { time_ns, ..frame }));
    }

    /// The first frame, if it is still in doubt, was stamped right.
    fn believe_first(&mut self, ready: &mut VecDeque<Copied>) {
        if let Some(first) = self.first.take() {
            self.release(first.time_ns, ready);
            ready.push_back(first);
        }
    }

    fn place(&mut self, frame: Copied, is_sure: bool, ready: &mut VecDeque<Copied>) {
        let time = frame.time_ns;
        let Some(last) = self.last else {
            self.last = Some(time);
            if is_sure {
                self.release(time, ready);
                ready.push_back(frame);
            } else {
                self.first = Some(frame);
            }
            return;
        };
        if is_near(last, time) {
            // Time is where it was: what was held is not.
            self.reject(last, ready);
            return self.believe(frame, ready);
        }
        let Some(held) = self.held.last().map(|held| held.time_ns) else {
            if is_sure {
                return self.believe(frame, ready);
            }
            if last.abs_diff(time) <= YEAR_NS {
                self.believe_first(ready);
            }
            return self.held.push(frame);
        };
        if is_near(held, time) {
            self.held.push(frame);
            let bytes: usize = self.held.iter().map(Copied::len).sum();
            if is_sure || self.held.len() >= ENOUGH || bytes >= MOST_BYTES {
                self.accept(ready);
            }
            return;
        }
        let stands_out = held > last.max(time) || held < last.min(time);
        if stands_out && self.held.len() == 1 {
            self.reject(last, ready);
        } else {
            self.believe_first(ready);
            self.accept(ready);
        }
        self.place(frame, is_sure, ready);
    }

    /// No more frames come.
    pub(super) fn finish(&mut self, ready: &mut VecDeque<Copied>) {
        self.last = self.settled.take().or(self.last);
        if self.last.is_none() {
            self.shift_all(ready);
        }
        let wrong = self.stamps.wrong;
        self.decide_last(ready);
        if self.shift.is_some() {
            self.stamps.wrong = wrong;
        }
    }

    fn decide_last(&mut self, ready: &mut VecDeque<Copied>) {
        let (Some(last), Some(held)) = (self.last, self.held.last().map(|held| held.time_ns)) else {
            return self.believe_first(ready);
        };
        let is_alone = self.held.len() == 1 && self.first.is_none();
        if is_alone && held.abs_diff(last) > YEAR_NS.max(self.silence.saturating_mul(2)) {
            self.reject(last, ready);
        } else {
            if self.held.len() == 1 {
                self.believe_first(ready);
            }
            self.accept(ready);
        }
    }

    fn believe(&mut self, frame: Copied, ready: &mut VecDeque<Copied>) {
        self.believe_first(ready);
        self.last = Some(frame.time_ns);
        ready.push_back(frame);
    }

    /// What is held was stamped wrong.
    fn reject(&mut self, time: u64, ready: &mut VecDeque<Copied>) {
        self.believe_first(ready);
        self.stamps.wrong += self.held.len() as u64;
        self.held_timeless = 0;
        ready.extend(self.held.drain(..).map(|held| Copied { time_ns: time, ..held }));
    }

    /// Time goes on from what is held; a first frame that is still in doubt was stamped wrong.
    fn accept(&mut self, ready: &mut VecDeque<Copied>) {
        let (Some(held), Some(last)) = (self.held.first().map(|held| held.time_ns), self.last) else { return };
        if let Some(first) = self.first.take() {
            self.stamps.wrong += 1;
            self.release(held, ready);
            ready.push_back(Copied { time_ns: held, ..first });
        } else if held < last {
            self.stamps.set_back += 1;
        } else {
            self.silence = self.silence.max(held - last);
        }
        self.stamps.wrong += std::mem::take(&mut self.held_timeless);
        self.last = self.held.last().map(|held| held.time_ns);
        ready.extend(self.held.drain(..));
    }
}

const fn is_near(one: u64, other: u64) -> bool {
    one.abs_diff(other) <= JUMP_NS
}

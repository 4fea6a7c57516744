//! The life of a connection as Zeek records it: a state for each endpoint, and the letters of `history`.
//!
//! The rules are those of Zeek's TCP analyzer (`TCP.cc`: state machine, `update_history`), restated. One word a direction,
//! [`Marks`], holds the letters already recorded, the state and the one before it; a segment that brings nothing new is
//! recognized by one mask.

use super::{ACK, FIN, RST, SYN, TcpDirection, TcpFlow};
use crate::codegen::is_less;
use crate::packet::Packet;

/// States of an endpoint, by Zeek's names without their prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Endpoint {
    /// Nothing that says anything was seen.
    Inactive = 0,
    /// Sent a SYN.
    SynSent = 1,
    /// Sent a SYN-ACK as originator.
    SynAckSent = 2,
    /// Sent something, but its beginning was not seen.
    Partial = 3,
    /// Open.
    Established = 4,
    /// Sent a FIN.
    Closed = 5,
    /// Sent a RST.
    Reset = 6,
}

impl Endpoint {
    #[inline(always)]
    const fn of(bits: u32) -> Self {
        match bits & 7 {
            0 => Self::Inactive,
            1 => Self::SynSent,
            2 => Self::SynAckSent,
            3 => Self::Partial,
            4 => Self::Established,
            5 => Self::Closed,
            _ => Self::Reset,
        }
    }
}

/// What is recorded of a direction: letters in bits 0 to 7, [`ACTIVE`], the state, the state before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Marks(u32);

/// Set while the connection is open at this end: whatever else it is, each segment is looked at.
const ACTIVE: u32 = 1 << 8;
const STATE_SHIFT: u32 = 9;
const BEFORE_SHIFT: u32 = 12;
/// From here on nothing in [`Marks`] is set: SYN, FIN and RST, shifted to there, make a segment news.
const CONTROL_SHIFT: u32 = 29;

/// The letters of [`History`](TcpFlow::history), a code each; `s` and `h` share a bit in [`Marks`], as in Zeek.
pub mod letter {
    /// SYN.
    pub const SYN: u32 = 1;
    /// SYN-ACK ("handshake").
    pub const HANDSHAKE: u32 = 2;
    /// Pure ACK.
    pub const ACK: u32 = 3;
    /// Data.
    pub const DATA: u32 = 4;
    /// FIN.
    pub const FIN: u32 = 5;
    /// RST.
    pub const RESET: u32 = 6;
    /// FIN with RST: inconsistent.
    pub const INCONSISTENT: u32 = 7;
    /// SYN with FIN or RST.
    pub const MULTI_FLAG: u32 = 8;
    /// Bytes sent again.
    pub const RETRANSMISSION: u32 = 9;
    /// Window of 0.
    pub const ZERO_WINDOW: u32 = 10;
}

/// Bits of a letter in a word of the history, of which one is the direction.
const LETTER_BITS: u32 = 5;
/// A word of the history below this has room.
const ROOM: u64 = 1 << 55;

#[inline(always)]
const fn bit(code: u32) -> u32 {
    if code == letter::HANDSHAKE { 1 } else { 1 << (code - 1) }
}

impl Marks {
    /// State of the endpoint.
    #[inline(always)]
    pub const fn state(self) -> Endpoint {
        Endpoint::of(self.0 >> STATE_SHIFT)
    }

    /// The state it had before.
    #[inline(always)]
    pub const fn before(self) -> Endpoint {
        Endpoint::of(self.0 >> BEFORE_SHIFT)
    }

    /// Whether a letter is recorded; `s` and `h` are one.
    pub const fn has_letter(self, code: u32) -> bool {
        self.0 & bit(code) != 0
    }

    /// Whether a segment of this direction is news: a letter not recorded yet, a flag that may change the state, or any
    /// segment of an endpoint that is not open.
    #[inline(always)]
    pub(super) fn is_news(self, p: &Packet, control: u8) -> bool {
        // One further with payload, found without a branch.
        let bit = 1 << (letter::ACK - 1) << is_less(0, u64::from(p.payload_len));
        (bit | ACTIVE | u32::from(control) << CONTROL_SHIFT) & !self.0 != 0
    }

    /// Whether nothing with payload was recorded of a direction that is not TCP.
    #[inline(always)]
    pub(crate) const fn has_no_data(self) -> bool {
        self.0 & bit(letter::DATA) == 0
    }

    /// Records that there was payload.
    #[inline(always)]
    pub(crate) const fn set_data(&mut self) {
        self.0 |= bit(letter::DATA);
    }

    #[inline(always)]
    const fn add_letter(&mut self, code: u32) -> bool {
        let new = self.0 & bit(code) == 0;
        self.0 |= bit(code);
        new
    }

    #[inline(always)]
    const fn enter(&mut self, state: Endpoint) {
        let old = (self.0 >> STATE_SHIFT) & 7;
        if old != state as u32 {
            let kept = self.0 & 0xff;
            let active = if matches!(state, Endpoint::Partial | Endpoint::Established) { ACTIVE } else { 0 };
            self.0 = kept | active | ((state as u32) << STATE_SHIFT) | (old << BEFORE_SHIFT);
        }
    }
}

/// Takes a segment that is news.
#[inline(always)]
pub(super) fn news(
    from: &mut TcpDirection,
    to: &mut TcpDirection,
    flow: &mut TcpFlow,
    p: &Packet,
    direction: u32,
    by_originator: bool,
) {
    let (flags, has_payload) = (p.tcp_flags, p.payload_len != 0);
    record(from, flow, flags, has_payload, direction);
    match from.marks.state() {
        Endpoint::Inactive => inactive(&mut from.marks, &mut to.marks, flags, has_payload, by_originator),
        Endpoint::SynSent | Endpoint::SynAckSent => {
            if flags & FIN != 0 {
                from.marks.enter(Endpoint::Closed);
            }
            if flags & RST != 0 {
                from.marks.enter(Endpoint::Reset);
            }
        }
        Endpoint::Partial | Endpoint::Established => open(&mut from.marks, &mut to.marks, flags),
        Endpoint::Closed => {
            if flags & RST != 0 && !matches!(to.marks.state(), Endpoint::Closed) {
                from.marks.enter(Endpoint::Reset);
            }
        }
        Endpoint::Reset => {}
    }
}

/// Records the letter of a segment, if it is the first of its kind.
#[inline(always)]
pub(super) fn record(from: &mut TcpDirection, flow: &mut TcpFlow, flags: u8, has_payload: bool, direction: u32) {
    let control = flags & (SYN | FIN | RST);
    let code = match control {
        0 if has_payload => letter::DATA,
        0 if flags & ACK != 0 => letter::ACK,
        0 => 0,
        SYN if flags & ACK != 0 => letter::HANDSHAKE,
        SYN => letter::SYN,
        FIN => letter::FIN,
        RST => letter::RESET,
        _ if control & (FIN | RST) == FIN | RST => letter::INCONSISTENT,
        _ => letter::MULTI_FLAG,
    };
    if code != 0 && from.marks.add_letter(code) {
        flow.record_letter(code, direction);
    }
}

/// The first segment of an endpoint.
#[inline(always)]
pub(super) fn inactive(own: &mut Marks, peer: &mut Marks, flags: u8, has_payload: bool, by_originator: bool) {
    if flags & SYN != 0 {
        if by_originator {
            own.enter(if flags & ACK == 0 { Endpoint::SynSent } else { Endpoint::SynAckSent });
        } else {
            if matches!(peer.state(), Endpoint::SynSent)
                || (flags & ACK == 0 && matches!(peer.state(), Endpoint::SynAckSent))
            {
                peer.enter(Endpoint::Established);
            }
            own.enter(Endpoint::Established);
        }
    }
    if flags & FIN != 0 {
        own.enter(Endpoint::Closed);
    }
    if flags & RST != 0 {
        own.enter(Endpoint::Reset);
    }
    if flags & (SYN | FIN | RST) != 0 {
        return;
    }
    // Some responders acknowledge a SYN before they answer it: that makes no partial connection.
    let early_ack = !by_originator && !has_payload && matches!(peer.state(), Endpoint::SynSent);
    if !early_ack {
        let missed_syn = flags & ACK != 0 && matches!(peer.state(), Endpoint::Established);
        own.enter(if missed_syn { Endpoint::Established } else { Endpoint::Partial });
    }
}

#[inline(always)]
fn open(own: &mut Marks, peer: &mut Marks, flags: u8) {
    let unanswered = matches!(own.state(), Endpoint::Partial) && matches!(peer.state(), Endpoint::Inactive);
    if flags & (SYN | ACK) == SYN && unanswered {
        own.enter(Endpoint::SynSent);
    }
    if flags & FIN != 0 && flags & RST == 0 {
        own.enter(Endpoint::Closed);
        // A FIN and then a RST was a normal end after all.
        if matches!(peer.state(), Endpoint::Reset) && matches!(peer.before(), Endpoint::Closed) {
            peer.enter(Endpoint::Closed);
        }
    }
    if flags & RST != 0 {
        own.enter(Endpoint::Reset);
    }
}

impl TcpFlow {
    /// Adds a letter; those beyond the 22nd are not kept.
    #[inline(always)]
    pub(super) const fn record_letter(&mut self, code: u32, direction: u32) {
        let code = ((code << 1) | (direction & 1)) as u64;
        if self.history[0] < ROOM {
            self.history[0] = (self.history[0] << LETTER_BITS) | code;
        } else if self.history[1] < ROOM {
            self.history[1] = (self.history[1] << LETTER_BITS) | code;
        }
    }

    /// The letters in their order: code and direction.
    pub fn letters(&self) -> impl Iterator<Item = (u32, u32)> {
        self.history.into_iter().flat_map(|word| {
            let used = (u64::BITS - word.leading_zeros()).div_ceil(LETTER_BITS);
            (0..used)
                .rev()
                .map(move |at| (word >> (at * LETTER_BITS)) as u32 & ((1 << LETTER_BITS) - 1))
                .filter(|packed| *packed != 0)
                .map(|packed| (packed >> 1, packed & 1))
        })
    }
}

/// Whether the `n`th event gets a letter: the 1st, 10th, 100th and so on.
#[inline(always)]
pub(super) const fn gets_letter(n: u32) -> bool {
    matches!(n, 1 | 10 | 100 | 1_000 | 10_000 | 100_000 | 1_000_000)
}

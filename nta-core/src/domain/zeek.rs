//! A flow in Zeek's words: who began, `conn_state`, `history`, payload bytes. After Zeek's
//! `base/protocols/conn/main.zeek` and `TCP_Endpoint.cc`, restated.

use std::net::IpAddr;

use nta_common::FlowStats;
use nta_common::packet::proto;
use nta_common::tcp::{Endpoint, Marks, TcpDirection, letter};

use super::server_ports::is_server_port;
use super::words::{ConnState, History};
use super::{FlowKey, FlowUpdate, both};

/// A flow in Zeek's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Zeek {
    /// Index of the originator among the key's endpoints.
    pub(super) originator: usize,
    /// One of Zeek's thirteen states.
    pub(super) conn_state: ConnState,
    /// What happened in which order.
    pub(super) history: History,
    /// Payload bytes of the originator and of the responder: of TCP by sequence numbers; `None` when unknown.
    pub(super) payload_bytes: [Option<u64>; 2],
}

impl Zeek {
    /// Of a flow up to this update.
    pub(super) fn of(update: &FlowUpdate<'_>) -> Self {
        let (originator, flipped) = originator(update.key, update.reading, update.flow.beginner());
        let sides = [originator, 1 - originator];
        let history = history(update, originator, flipped);
        let payload_bytes = both(|i| payload(update, sides[i]));
        let conn_state = conn_state(update, sides, || history, || payload_bytes);
        Self { originator, conn_state, history, payload_bytes }
    }
}

impl FlowUpdate<'_> {
    /// Index of the originator among the key's endpoints, and how far the connection came: what a
    /// [`FlowRecord`](super::FlowRecord) of this update says, for less.
    pub fn outcome(&self) -> (usize, ConnState) {
        let (originator, flipped) = originator(self.key, self.reading, self.flow.beginner());
        let sides = [originator, 1 - originator];
        let history = || history(self, originator, flipped);
        let payload = || both(|i| payload(self, sides[i]));
        (originator, conn_state(self, sides, history, payload))
    }
}

/// `history` and `payload` are of the sides in this order; few states depend on them.
fn conn_state(
    update: &FlowUpdate<'_>,
    sides: [usize; 2],
    history: impl FnOnce() -> History,
    payload: impl FnOnce() -> [Option<u64>; 2],
) -> ConnState {
    let FlowUpdate { key, flow, reading, .. } = *update;
    match key.proto() {
        proto::TCP => tcp_state(both(|i| &reading.dir[sides[i]].tcp), history, payload),
        proto::UDP => match both(|i| flow.totals[sides[i]].packets != 0) {
            [true, true] => ConnState::Sf,
            [true, false] => ConnState::S0,
            [false, true] => ConnState::Shr,
            [false, false] => ConnState::Oth,
        },
        _ => ConnState::Oth,
    }
}

/// Who began, and whether that is not who sent the first packet: a SYN-ACK answers, and a connection whose beginning
/// was not seen belongs to the side whose port is no server's, unless it is known who began it.
fn originator(key: &FlowKey, reading: &FlowStats, beginner: Option<usize>) -> (usize, bool) {
    let kept = usize::from(reading.originator != 0);
    let first = reading.tcp.letters().next();
    let begins = matches!(first, Some((letter::SYN | letter::HANDSHAKE, _)));
    if let Some(beginner) = beginner.filter(|_| !begins) {
        return (beginner, beginner != kept);
    }
    let (sender, both_likely) = match (key.proto(), first) {
        // A SYN-ACK that stays alone may be a stealth scan: only its ports can turn it round. Otherwise it answers.
        (proto::TCP, Some((letter::HANDSHAKE, direction))) if reading.tcp.letters().count() == 1 => {
            (direction as usize, false)
        }
        (proto::TCP, Some((letter::HANDSHAKE, _))) => return (kept, true),
        (proto::TCP, Some((letter::SYN | letter::MULTI_FLAG, _))) => return (kept, false),
        // Not who has the first letter: a segment without flags, as a null scan sends it, has none.
        (proto::TCP, Some(_)) => (kept, true),
        (proto::UDP, _) => (kept, false),
        _ => return (kept, false),
    };
    let ports = key.ports();
    let (own, other) = (ports[sender], ports[1 - sender]);
    let likely = |port| is_server_port(key.proto(), port);
    // `NewConn` in Zeek's IPBasedAnalyzer.cc.
    let is_broadcast = || matches!(key.endpoints()[1 - sender].0, IpAddr::V4(address) if address.is_broadcast());
    let flipped = likely(own) && (!likely(other) || (both_likely && own < other)) && !is_broadcast();
    (if flipped { 1 - sender } else { sender }, flipped)
}

fn history(update: &FlowUpdate<'_>, originator: usize, flipped: bool) -> History {
    let FlowUpdate { key, flow, reading, .. } = *update;
    let mut history = History::default();
    if flipped {
        history.push(b'^');
    }
    match key.proto() {
        proto::TCP => {
            for (code, direction) in reading.tcp.letters() {
                let letter = letter_of(code);
                history.push(if direction as usize == originator { letter.to_ascii_uppercase() } else { letter });
            }
        }
        proto::UDP => {
            let mut sides = [(originator, b'D'), (1 - originator, b'd')];
            if flipped {
                sides.reverse();
            }
            for (side, letter) in sides {
                if flow.totals[side].packets != 0 {
                    history.push(letter);
                }
            }
        }
        _ => {}
    }
    history
}

const fn letter_of(code: u32) -> u8 {
    match code {
        letter::SYN => b's',
        letter::HANDSHAKE => b'h',
        letter::ACK => b'a',
        letter::DATA => b'd',
        letter::FIN => b'f',
        letter::RESET => b'r',
        letter::INCONSISTENT => b'i',
        letter::MULTI_FLAG => b'q',
        letter::RETRANSMISSION => b't',
        _ => b'w',
    }
}

fn tcp_state(
    sides: [&TcpDirection; 2],
    history: impl FnOnce() -> History,
    payload: impl FnOnce() -> [Option<u64>; 2],
) -> ConnState {
    use Endpoint::{Closed, Established, Inactive, Partial, Reset, SynAckSent, SynSent};
    let [orig, resp] = both(|i| sides[i].marks.state());
    let silent = |state| matches!(state, Inactive | Partial);
    let no_payload = || payload().iter().all(|bytes| bytes.unwrap_or(0) == 0);
    match (orig, resp) {
        (SynSent | SynAckSent, Reset) => ConnState::Rej,
        (Reset, Reset) if no_payload() => ConnState::Rej,
        (state, Reset) if silent(state) => ConnState::Rstrh,
        (_, Reset) => ConnState::Rstr,
        (Reset, state) if silent(state) => {
            if history().is_syn_then_reset() {
                ConnState::Rstos0
            } else {
                ConnState::Oth
            }
        }
        (Reset, _) => ConnState::Rsto,
        (Closed, Closed) => ConnState::Sf,
        (Closed, state) => {
            if silent(state) {
                ConnState::Sh
            } else {
                ConnState::S2
            }
        }
        (state, Closed) => {
            if silent(state) {
                ConnState::Shr
            } else {
                ConnState::S3
            }
        }
        (SynSent, Inactive) => ConnState::S0,
        (Established, Established) => ConnState::S1,
        _ => ConnState::Oth,
    }
}

fn payload(update: &FlowUpdate<'_>, side: usize) -> Option<u64> {
    let FlowUpdate { key, flow, reading, .. } = *update;
    let transport = match key.proto() {
        proto::TCP => return Some(tcp_payload(&reading.dir[side].tcp, &reading.dir[1 - side].tcp)),
        proto::UDP | proto::UDP_LITE | proto::ICMP | proto::ICMPV6 => 8,
        _ => return None,
    };
    let network = if matches!(key, FlowKey::V4(_)) { 20 } else { 40 };
    let sent = flow.totals[side];
    sent.ip_bytes.checked_sub(sent.packets * (network + transport))
}

/// Bytes of a stream by its sequence numbers, without SYN and FIN, those that the peer acknowledged unseen included.
fn tcp_payload(own: &TcpDirection, peer: &TcpDirection) -> u64 {
    let state = own.marks.state();
    let never_open = own.marks.before() == Endpoint::SynSent && peer.marks.state() == Endpoint::Inactive;
    if own.marks == Marks::default() || (state == Endpoint::Reset && never_open) {
        return 0;
    }
    let began = own.first_seq.wrapping_add(u32::from(own.marks.has_letter(letter::SYN)));
    let mut size = (i64::from(own.wraps) << 32) + i64::from(own.next_seq) - i64::from(began);
    if size < -i64::from(1_u32 << 31) {
        size += 1 << 32;
    }
    let unseen = peer.last_ack().wrapping_sub(own.next_seq);
    if !peer.marks.has_letter(letter::RESET) && peer.last_ack() != 0 && (unseen as i32) > 0 {
        size += i64::from(unseen);
    }
    let size = u64::try_from(size).unwrap_or(0);
    size - u64::from(own.marks.has_letter(letter::FIN) && size != 0)
}

//! What connection tracking says of a packet that leaves translated: under which name its connection came in, and under
//! which name the answers will come. Learned before the first packet is out, so no answer can be earlier. Believed for as long
//! as the kernel has that connection.
//!
//! Read from the kernel's own structures, at offsets that the daemon takes from its type information.

use aya_ebpf::helpers::generated::{bpf_jiffies64, bpf_probe_read_kernel};
use aya_ebpf::maps::LruHashMap;
use aya_ebpf::programs::TcContext;
use nta_common::held::{Asked, Held};
use nta_common::nat::{Key, Translated};
use nta_common::{Counter, FlowKey4, FlowKey6};

use crate::account::note;
use crate::maps::{CONNECTIONS, HELD, NAT4, NAT6};
use crate::settings;

/// The low bits of `_nfct` say how the connection relates to the packet (`NFCT_INFOMASK`).
const POINTER_MASK: u64 = !7;
/// An answered connection is looked at in one of so many ticks: enough to learn those that are older than the program, or
/// were forgotten.
const TICKS: u64 = 16;

/// Learns the names of the packet's connection, if it is a translated one.
#[inline(always)]
pub(crate) fn learn(ctx: &TcContext, slot: u32) {
    if !settings::joins_nat() {
        return;
    }
    let offsets = settings::conntrack();
    // The context of the program is the socket buffer itself: what the verifier shows of it is a view.
    let (mut connection, mut status) = (0_u64, 0_u64);
    if !read(ctx.skb.skb.expose_provenance() as u64, offsets.skb, &mut connection) {
        return;
    }
    connection &= POINTER_MASK;
    if connection == 0 || !read(connection, offsets.status, &mut status) {
        return;
    }
    if !Held::is_translated(status) || (Held::is_answered(status) && tick() % TICKS != 0) {
        return;
    }
    let Some(held) = held(connection) else { return };
    let counter = if held.names[0].is_of::<FlowKey4>() {
        keep::<FlowKey4>(&NAT4, held, connection)
    } else {
        keep::<FlowKey6>(&NAT6, held, connection)
    };
    if let Some(counter) = counter {
        note(slot, counter, 1);
    }
}

#[inline(always)]
fn keep<K: Key>(nat: &LruHashMap<K, Translated<K>>, held: &Held, connection: u64) -> Option<Counter> {
    let (mut answers, mut translated) = held.translation::<K>()?;
    let now = tick();
    if held.leads_elsewhere::<K>() {
        lead_back(nat, &mut answers, &mut translated, now);
    }
    if let Some(known) = nat.get_ptr_mut(&answers) {
        // SAFETY: as in `is_current`.
        let known = unsafe { &mut *known };
        if known.renew(&translated, connection, now) {
            return None;
        }
    }
    translated.learn(now, connection);
    let kept = nat.insert(&answers, &translated, 0).is_ok();
    Some(if kept { Counter::NatLearned } else { Counter::NatNoRoom })
}

/// Keeps how the answers' name is found by the first one. Without room for it errors about answers stay the gateway's.
#[inline(never)]
fn lead_back<K: Key>(nat: &LruHashMap<K, Translated<K>>, answers: &mut K, translated: &mut Translated<K>, now: u64) {
    translated.turn_round(answers);
    let (first, back) = (&*answers, &*translated);
    // SAFETY: as in `is_current`.
    match nat.get_ptr_mut(first).map(|known| unsafe { &mut *known }) {
        Some(known) if known.key() == back.key() => known.use_at(now),
        _ => {
            let _ = nat.insert(first, back, 0);
        }
    }
    translated.turn_back(answers);
}

/// Whether the kernel still has the connection that this was learned of: asked in the kernel's memory, once a tick.
///
/// `known` is an entry of a map that other packets may replace meanwhile. What is written to it then tells of another
/// connection that it ended, or was used: it is learned again with its next packet on the way out.
#[inline(never)]
pub(crate) fn is_current<K: Key>(answers: &K, known: &mut Translated<K>) -> bool {
    if known.is_over() {
        return false;
    }
    let now = tick();
    if known.used() == now {
        return true;
    }
    if let Some(connection) = known.connection()
        && !held(connection).is_some_and(|held| held.is(answers, known, now))
    {
        known.end();
        return false;
    }
    known.use_at(now);
    true
}

/// Answers the daemon: what is held at the places that it asks about.
#[inline(always)]
pub(crate) fn answer() {
    let Some(asked) = CONNECTIONS.get_ptr_mut(0) else { return };
    // SAFETY: an array entry is valid while the program runs, and only the daemon's single thread runs this one.
    let asked: &mut Asked = unsafe { &mut *asked };
    asked.tick = tick();
    for (connection, at) in asked.connections.iter().zip(&mut asked.held) {
        if *connection == 0 {
            break;
        }
        if !look(*connection, at) {
            at.status = 0;
        }
    }
}

/// What is held there; `None` where that cannot be read.
#[inline(always)]
fn held<'a>(connection: u64) -> Option<&'a Held> {
    let held = HELD.get_ptr_mut(0)?;
    // SAFETY: this CPU's copy of the scratch entry, of which nobody holds a reference: programs on one CPU do not interrupt each
    // other at these hooks.
    let held = unsafe { &mut *held };
    look(connection, held).then_some(&*held)
}

/// Whether what is held there could be read.
#[inline(always)]
fn look(connection: u64, held: &mut Held) -> bool {
    let offsets = settings::conntrack();
    read(connection, offsets.status, &mut held.status)
        && read(connection, offsets.timeout, &mut held.timeout)
        && read(connection, offsets.tuples, &mut held.names)
}

#[inline(always)]
fn tick() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_jiffies64() }
}

/// Reads so many bytes behind an address of the kernel's; `false` where it has none there.
#[inline(always)]
fn read<T>(base: u64, offset: u32, into: &mut T) -> bool {
    let from = (base as *const u8).wrapping_add(offset as usize);
    // SAFETY: the helper checks the address it reads from; the types it writes are integers, valid for any bytes.
    unsafe { bpf_probe_read_kernel((&raw mut *into).cast(), size_of::<T>() as u32, from.cast()) == 0 }
}

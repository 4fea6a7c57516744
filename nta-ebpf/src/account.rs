//! One packet: count it in the ledger, parse it, find or create its flow, account it there.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::maps::HashMap;
use nta_common::packet::Fragment;
use nta_common::{Clock, Counter, Family, FlowKey4, FlowKey6, FlowStats, LedgerSlot, Packet, PacketReader, parse};

use crate::maps::{FLOWS4, FLOWS6, FRESH, LEDGER};

/// Accounts a packet of the interface that owns the ledger slot.
#[inline(always)]
pub(crate) fn packet<R: PacketReader, C: Clock>(reader: &R, clock: &C, slot: u32) {
    let Some(ledger) = LEDGER.get_ptr_mut(slot) else { return };
    // SAFETY: this CPU's copy of an array entry; programs on one CPU do not interrupt each other at these hooks.
    let ledger = unsafe { &mut *ledger };
    ledger.bump(Counter::Seen);
    ledger.seen_bytes += u64::from(reader.wire_len());
    let mut packet = Packet::default();
    match parse(reader, &mut packet) {
        Ok(family) => {
            notes(ledger, &packet);
            let now_ns = clock.coarse_ns();
            let (flow, direction) = match family {
                Family::V4 => {
                    let (key, direction) = FlowKey4::of(&packet);
                    (find(&FLOWS4, &key, direction, &packet, now_ns, ledger), direction)
                }
                Family::V6 => {
                    let (key, direction) = FlowKey6::of(&packet);
                    (find(&FLOWS6, &key, direction, &packet, now_ns, ledger), direction)
                }
            };
            if let Some(flow) = flow {
                ledger.bump(Counter::Flow);
                // SAFETY: a map entry stays valid until the program returns; what several CPUs write at once is
                // written atomically.
                unsafe { (*flow).add(&packet, direction, now_ns, clock) };
            } else {
                ledger.bump(Counter::Overflow);
                ledger.overflow_bytes += u64::from(packet.wire_len);
            }
        }
        Err(reason) => ledger.bump(reason),
    }
}

/// Adds one to a counter of a ledger slot.
#[inline(always)]
pub(crate) fn note(slot: u32, counter: Counter) {
    if let Some(ledger) = LEDGER.get_ptr_mut(slot) {
        // SAFETY: as in `packet`.
        unsafe { (*ledger).bump(counter) };
    }
}

#[inline(always)]
fn notes(ledger: &mut LedgerSlot, packet: &Packet) {
    if packet.l4_truncated != 0 {
        ledger.bump(Counter::L4Truncated);
    }
    if packet.chain_cut != 0 {
        ledger.bump(Counter::Ipv6ChainCut);
    }
    match packet.fragment {
        Fragment::None => {}
        Fragment::First => ledger.bump(Counter::FragmentFirst),
        Fragment::Later => ledger.bump(Counter::FragmentLater),
    }
}

/// The packet's flow, a new one if need be; `None` when there is no room for it.
#[inline(always)]
fn find<K>(
    flows: &HashMap<K, FlowStats>,
    key: &K,
    direction: u32,
    packet: &Packet,
    now_ns: u64,
    ledger: &mut LedgerSlot,
) -> Option<*mut FlowStats> {
    match flows.get_ptr_mut(key) {
        Some(flow) => Some(flow),
        None => create(flows, key, direction, packet, now_ns, ledger),
    }
}

/// Inserts an empty entry and looks it up again. Of two CPUs that do so at once one loses (`BPF_NOEXIST`) and finds the
/// winner's entry: no packet of either is lost.
#[inline(always)]
fn create<K>(
    flows: &HashMap<K, FlowStats>,
    key: &K,
    direction: u32,
    packet: &Packet,
    now_ns: u64,
    ledger: &mut LedgerSlot,
) -> Option<*mut FlowStats> {
    let fresh = FRESH.get_ptr_mut(0)?;
    // SAFETY: this CPU's copy of the scratch entry, in which only these four fields are ever written.
    let fresh = unsafe { &mut *fresh };
    fresh.begin(packet, direction, now_ns);
    match flows.insert(key, &*fresh, u64::from(BPF_NOEXIST)) {
        Ok(()) => ledger.bump(Counter::FlowCreated),
        Err(_) => ledger.bump(Counter::FlowInsertFailed),
    }
    let flow = flows.get_ptr_mut(key);
    flow
}

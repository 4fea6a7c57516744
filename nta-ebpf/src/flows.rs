//! The flows of the kernel programs: the two hash maps.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::maps::{HashMap, LruHashMap};
use nta_common::nat::{Key, Translated};
use nta_common::tunnel::{Inner, Outer};
use nta_common::{
    Counter, Family, First, FlowKey4, FlowKey6, FlowStats, Flows, FragmentKey, FragmentPorts, LedgerSlot, OverflowKey,
    Packet, PacketReader, Volume, fall_through, unlikely,
};

use crate::conntrack::is_current;
use crate::maps::{FLOWS4, FLOWS6, FRAGMENTS, FRESH, NAT4, NAT6, NESTED, OVERFLOW};
use crate::settings;

/// Entries of the flow maps.
pub(crate) struct KernelFlows;

impl Flows for KernelFlows {
    #[inline(always)]
    fn entry4(&mut self, key: &FlowKey4, first: &First<'_>, ledger: &mut LedgerSlot) -> Option<(&mut FlowStats, u32)> {
        entry(&FLOWS4, &NAT4, key, first, ledger)
    }

    #[inline(always)]
    fn entry6(&mut self, key: &FlowKey6, first: &First<'_>, ledger: &mut LedgerSlot) -> Option<(&mut FlowStats, u32)> {
        entry(&FLOWS6, &NAT6, key, first, ledger)
    }

    #[inline(always)]
    fn outer4(&mut self, key: &FlowKey4, first: &First<'_>, ledger: &mut LedgerSlot) -> Option<&mut FlowStats> {
        outer(&FLOWS4, key, first, ledger)
    }

    #[inline(always)]
    fn outer6(&mut self, key: &FlowKey6, first: &First<'_>, ledger: &mut LedgerSlot) -> Option<&mut FlowStats> {
        outer(&FLOWS6, key, first, ledger)
    }

    #[inline(always)]
    fn nest(&mut self, inner: &Inner, outer: &Outer) -> bool {
        // SAFETY: an entry that is compared in place; one that is made anew at that moment is written once more.
        let is_known = unsafe { NESTED.get(inner) }.is_some_and(|known| known.is(outer));
        is_known || NESTED.insert(inner, outer, 0).is_ok()
    }

    #[inline(always)]
    fn overflow(&mut self, key: &OverflowKey) -> Option<&mut Volume> {
        let aggregate = match OVERFLOW.get_ptr_mut(key) {
            Some(aggregate) => aggregate,
            None => {
                // Of two CPUs one loses and finds the other's.
                let _ = OVERFLOW.insert(key, Volume::default(), u64::from(BPF_NOEXIST));
                OVERFLOW.get_ptr_mut(key)?
            }
        };
        // SAFETY: as in `entry`.
        Some(unsafe { &mut *aggregate })
    }

    #[inline(always)]
    fn untranslate(&mut self, packet: &mut Packet, family: Family) {
        match family {
            Family::V4 => untranslate(&NAT4, FlowKey4::of(packet), packet),
            Family::V6 => untranslate(&NAT6, FlowKey6::of(packet), packet),
        }
    }

    #[inline(always)]
    fn unquote<R: PacketReader>(&mut self, reader: &R, error: &mut Packet, family: Family) {
        match family {
            Family::V4 => unquote(&NAT4, reader, error),
            Family::V6 => unquote(&NAT6, reader, error),
        }
    }

    #[inline(always)]
    fn remember(&mut self, key: &FragmentKey, ports: FragmentPorts) {
        // A failure shows as a miss of the later fragments.
        let _ = FRAGMENTS.insert(key, ports, 0);
    }

    #[inline(always)]
    fn recall(&mut self, key: &FragmentKey) -> Option<FragmentPorts> {
        // SAFETY: a word that is read once.
        unsafe { FRAGMENTS.get(key) }.copied()
    }
}

#[inline(always)]
fn entry<'a, K: Key>(
    flows: &HashMap<K, FlowStats>,
    nat: &LruHashMap<K, Translated<K>>,
    key: &K,
    first: &First<'_>,
    ledger: &mut LedgerSlot,
) -> Option<(&'a mut FlowStats, u32)> {
    let mut flow = flows.get_ptr_mut(key);
    let mut direction = first.direction;
    if unlikely(flow.is_none()) {
        let (found, there) = translated_or_new(flows, nat, key, first, ledger)?;
        flow = Some(found);
        direction = there;
        fall_through();
    }
    // SAFETY: a map entry stays valid until the program returns; what several CPUs write at once is written atomically.
    flow.map(|flow| (unsafe { &mut *flow }, direction))
}

#[inline(always)]
fn outer<'a, K>(
    flows: &HashMap<K, FlowStats>,
    key: &K,
    first: &First<'_>,
    ledger: &mut LedgerSlot,
) -> Option<&'a mut FlowStats> {
    let flow = match flows.get_ptr_mut(key) {
        Some(flow) => flow,
        None => create(flows, key, first, ledger)?,
    };
    // SAFETY: as in `entry`.
    Some(unsafe { &mut *flow })
}

/// The flow of a packet that has none under its own key: that of the connection which it answers under a translated address,
/// or a new one.
#[inline(always)]
fn translated_or_new<K: Key>(
    flows: &HashMap<K, FlowStats>,
    nat: &LruHashMap<K, Translated<K>>,
    key: &K,
    first: &First<'_>,
    ledger: &mut LedgerSlot,
) -> Option<(*mut FlowStats, u32)> {
    if settings::joins_nat()
        && let Some(translated) = current(nat, &key.answer(first.packet))
    {
        let direction = translated.direction(first.direction);
        let key = *translated.key();
        let flow = flows.get_ptr_mut(&key);
        if flow.is_some() {
            return flow.map(|flow| (flow, direction));
        }
        return Some((create(flows, &key, &First { direction, ..*first }, ledger)?, direction));
    }
    Some((create(flows, key, first, ledger)?, first.direction))
}

#[inline(always)]
fn untranslate<K: Key>(nat: &LruHashMap<K, Translated<K>>, (key, direction): (K, u32), packet: &mut Packet) {
    if settings::joins_nat()
        && let Some(translated) = current(nat, &key)
    {
        translated.key().name(translated.direction(direction), packet);
    }
}

#[inline(always)]
fn unquote<K: Key, R: PacketReader>(nat: &LruHashMap<K, Translated<K>>, reader: &R, error: &mut Packet) {
    if settings::joins_nat()
        && let Some((quoted, direction)) = K::quoted(reader, error)
    {
        if let Some(translated) = current(nat, &quoted) {
            translated.key().deliver(translated.direction(direction), error);
        } else if let Some(back) = nat.get_ptr_mut(quoted.backward()) {
            // SAFETY: as in `current`.
            let back = unsafe { &*back };
            let answers = *back.key();
            if current(nat, &answers).is_some_and(|translated| *translated.key() == quoted) {
                answers.deliver(back.direction(direction), error);
            }
        }
    }
}

/// The translation of the connection whose answers have this key, if the kernel still has it.
#[inline(always)]
fn current<'a, K: Key>(nat: &LruHashMap<K, Translated<K>>, answers: &K) -> Option<&'a Translated<K>> {
    // SAFETY: an entry that is read in place, and in which only single words are written; one that is made anew at that moment
    // belongs to the same answers.
    let known = unsafe { &mut *nat.get_ptr_mut(answers)? };
    is_current(answers, known).then_some(&*known)
}

/// Inserts an empty entry and looks it up again. Of two CPUs that do so at once one loses (`BPF_NOEXIST`) and finds the
/// winner's entry: no packet of either is lost.
#[inline(always)]
fn create<K>(
    flows: &HashMap<K, FlowStats>,
    key: &K,
    first: &First<'_>,
    ledger: &mut LedgerSlot,
) -> Option<*mut FlowStats> {
    let fresh = FRESH.get_ptr_mut(0)?;
    // SAFETY: this CPU's copy of the scratch entry, in which only the fields of `begin` are ever written.
    let fresh = unsafe { &mut *fresh };
    fresh.begin(first);
    let inserted = flows.insert(key, &*fresh, u64::from(BPF_NOEXIST)).is_ok();
    let flow = flows.get_ptr_mut(key);
    ledger.bump(match (inserted, flow.is_some()) {
        (true, _) => Counter::FlowCreated,
        (false, true) => Counter::FlowRace,
        (false, false) => Counter::FlowInsertFailed,
    });
    flow
}

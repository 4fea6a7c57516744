//! The flows of the kernel programs: of each address family a hash map of whole entries and one of first packets.

use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::maps::{HashMap, LruHashMap};
use nta_common::nat::{Key, Translated};
use nta_common::tunnel::{Inner, Outer};
use nta_common::{
    Counter, Embryo, Entry, Family, First, FlowKey4, FlowKey6, FlowStats, Flows, FragmentKey, FragmentPorts,
    LedgerSlot, OverflowKey, Packet, PacketReader, Volume, fall_through, unlikely,
};

use crate::conntrack::is_current;
use crate::maps::{EMBRYOS4, EMBRYOS6, FLOWS4, FLOWS6, FRAGMENTS, FRESH, Fresh, NAT4, NAT6, NESTED, OVERFLOW};
use crate::settings;

/// Why an entry that is there already is not inserted.
const EEXIST: i32 = -17;

/// Entries of the flow maps.
pub(crate) struct KernelFlows;

impl Flows for KernelFlows {
    #[inline(always)]
    fn entry4(&mut self, key: &FlowKey4, first: &First<'_>, _ledger: &mut LedgerSlot) -> Entry<'_> {
        entry(&V4, key, first)
    }

    #[inline(always)]
    fn entry6(&mut self, key: &FlowKey6, first: &First<'_>, _ledger: &mut LedgerSlot) -> Entry<'_> {
        entry(&V6, key, first)
    }

    #[inline(always)]
    fn begin(
        &mut self,
        family: Family,
        first: &First<'_>,
        keep: impl FnOnce(&mut Embryo) -> bool,
        ledger: &mut LedgerSlot,
    ) -> Entry<'_> {
        let Some(fresh) = fresh() else { return Entry::no_room() };
        if unlikely(has_no_room(fresh, family, first.now_ns)) {
            ledger.bump(Counter::FlowInsertFailed);
            return Entry::no_room();
        }
        if !keep(&mut fresh.embryo) {
            fresh.embryo.claim(first.now_ns);
        }
        match begin(fresh, family, first, ledger) {
            (_, KEPT) => Entry::embryo(),
            // SAFETY: as in `entry`.
            (Some(flow), _) => Entry::whole(unsafe { &mut *flow }, first.direction),
            (None, _) => Entry::no_room(),
        }
    }

    #[inline(always)]
    fn outer4(&mut self, key: &FlowKey4, first: &First<'_>, ledger: &mut LedgerSlot) -> Option<&mut FlowStats> {
        outer(&V4, Family::V4, key, first, ledger)
    }

    #[inline(always)]
    fn outer6(&mut self, key: &FlowKey6, first: &First<'_>, ledger: &mut LedgerSlot) -> Option<&mut FlowStats> {
        outer(&V6, Family::V6, key, first, ledger)
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

/// The maps of one address family.
struct Maps<K: 'static> {
    flows: &'static HashMap<K, FlowStats>,
    embryos: &'static HashMap<K, Embryo>,
    nat: &'static LruHashMap<K, Translated<K>>,
    full: Full,
    /// Where a key is handed on.
    key: fn(&mut Fresh) -> &mut K,
}

const V4: Maps<FlowKey4> =
    Maps { flows: &FLOWS4, embryos: &EMBRYOS4, nat: &NAT4, full: Full { place: 0 }, key: |fresh| &mut fresh.key4 };
const V6: Maps<FlowKey6> =
    Maps { flows: &FLOWS6, embryos: &EMBRYOS6, nat: &NAT6, full: Full { place: 2 }, key: |fresh| &mut fresh.key6 };

/// Where the map of flows of one packet and that of whole ones are said to be full, of one family.
struct Full {
    place: usize,
}

/// The coarse times at which a map was last found full. A failed insertion costs several look-ups, and for the rest of that moment (a
/// tick of the kernel's timer) the next one would fail as well.
#[unsafe(no_mangle)]
static mut FULL_AT: [u64; 4] = [0; 4];

impl Full {
    const EMBRYOS: usize = 0;
    const FLOWS: usize = 1;

    /// Whether the map was found full at this very moment. In a replay time stands still between two packets, not for the daemon.
    #[inline(always)]
    fn is_now(&self, map: usize, now_ns: u64) -> bool {
        // SAFETY: a word that any CPU may write at any time: what it says is a hint.
        !settings::replay() && unsafe { read_volatile(&raw const FULL_AT[self.place + map]) } == now_ns
    }

    #[inline(always)]
    fn note(&self, map: usize, now_ns: u64) {
        // SAFETY: as above.
        unsafe { write_volatile(&raw mut FULL_AT[self.place + map], now_ns) };
    }
}

/// The flow of a packet: under its own key, or that of the connection which it answers under a translated address. Where there is
/// none, the key lies in [`FRESH`].
#[inline(always)]
fn entry<'a, K: Key>(maps: &Maps<K>, key: &K, first: &First<'_>) -> Entry<'a> {
    let mut flow = maps.flows.get_ptr_mut(key);
    let mut direction = first.direction;
    if unlikely(flow.is_none()) {
        let Some(fresh) = fresh() else { return Entry::no_room() };
        let room = (maps.key)(fresh);
        *room = *key;
        if settings::joins_nat()
            && let Some(translated) = current(maps.nat, &key.answer(first.packet))
        {
            *room = *translated.key();
            direction = translated.direction(first.direction);
            flow = maps.flows.get_ptr_mut(&*room);
        }
        fall_through();
    }
    match flow {
        // SAFETY: a map entry stays valid until the program returns; what several CPUs write at once is written atomically.
        Some(flow) => Entry::whole(unsafe { &mut *flow }, direction),
        None => Entry::absent(direction),
    }
}

#[inline(always)]
fn outer<'a, K: Key>(
    maps: &Maps<K>,
    family: Family,
    key: &K,
    first: &First<'_>,
    ledger: &mut LedgerSlot,
) -> Option<&'a mut FlowStats> {
    let flow = match maps.flows.get_ptr_mut(key) {
        Some(flow) => flow,
        None => {
            let fresh = fresh()?;
            *(maps.key)(fresh) = *key;
            fresh.embryo.claim(first.now_ns);
            begin(fresh, family, first, ledger).0?
        }
    };
    // SAFETY: as in `entry`.
    Some(unsafe { &mut *flow })
}

/// Begins the flow that is put together here, or makes a whole entry of it, if a packet of it is kept: that entry, if there is one,
/// and what was done.
#[inline(always)]
fn begin(
    fresh: &mut Fresh,
    family: Family,
    first: &First<'_>,
    ledger: &mut LedgerSlot,
) -> (Option<*mut FlowStats>, u32) {
    fresh.originator = u32::from(first.originator());
    fresh.vlan = u32::from(first.packet.vlan);
    let done = nta_begin(u32::from(family == Family::V6), u32::from(first.packet.proto));
    if done == KEPT {
        ledger.bump(Counter::FlowCreated);
        return (None, KEPT);
    }
    if done == FULL {
        ledger.bump(Counter::FlowInsertFailed);
        return (None, FULL);
    }
    let flow = match family {
        Family::V4 => FLOWS4.get_ptr_mut(&fresh.key4),
        Family::V6 => FLOWS6.get_ptr_mut(&fresh.key6),
    };
    ledger.bump(match (done, flow.is_some()) {
        (MADE, true) => Counter::FlowCreated,
        (GROWN, true) => Counter::FlowGrown,
        (_, true) => Counter::FlowRace,
        (_, false) => Counter::FlowInsertFailed,
    });
    (flow, done)
}

/// Whether the flow whose key is here is unknown, and there was no room for another one a moment ago: then nothing is put together for it.
#[inline(always)]
fn has_no_room(fresh: &Fresh, family: Family, now_ns: u64) -> bool {
    match family {
        Family::V4 => V4.full.is_now(Full::EMBRYOS, now_ns) && EMBRYOS4.get_ptr(&fresh.key4).is_none(),
        Family::V6 => V6.full.is_now(Full::EMBRYOS, now_ns) && EMBRYOS6.get_ptr(&fresh.key6).is_none(),
    }
}

/// What [`nta_begin`] did: kept the first packet, made a whole entry, or one with a packet that was kept in it, or nothing, because
/// somebody else was first or there is no room.
const KEPT: u32 = 1;
const MADE: u32 = 2;
const GROWN: u32 = 3;
const NOTHING: u32 = 0;
const FULL: u32 = 4;

/// Begins the flow of the key in [`FRESH`], or makes a whole entry of it. A function that the verifier takes for itself, once: within the
/// programs it would walk it once for every way that leads here. So its arguments are numbers, the rest lies in [`FRESH`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn nta_begin(is_v6: u32, proto: u32) -> u32 {
    let Some(fresh) = fresh() else { return NOTHING };
    if is_v6 == 0 { enter(&V4, fresh, proto as u8) } else { enter(&V6, fresh, proto as u8) }
}

/// Whoever begins a flow has to be the one who enters it among those of one packet, even if a whole entry is made at once: so a
/// CPU never enters a first packet beside a whole entry that another one has just made.
#[inline(always)]
fn enter<K: Key>(maps: &Maps<K>, fresh: &mut Fresh, proto: u8) -> u32 {
    let now_ns = fresh.embryo.first_ns();
    // In place: the stacks of a program and of what it calls have to share 512 bytes.
    let key: *const K = (maps.key)(fresh);
    // SAFETY: nobody changes it until this returns.
    let key = unsafe { &*key };
    if maps.full.is_now(Full::EMBRYOS, now_ns) {
        fall_through();
    } else {
        let entered = maps.embryos.insert(key, &fresh.embryo, u64::from(BPF_NOEXIST));
        if entered.is_ok() && !fresh.embryo.is_claim() {
            return KEPT;
        }
        if entered.is_err_and(|error| error != EEXIST) {
            maps.full.note(Full::EMBRYOS, now_ns);
            return FULL;
        }
    }
    // SAFETY: an entry that is never changed.
    let Some(kept) = maps.embryos.get_ptr(key).map(|kept| unsafe { &*kept }) else { return NOTHING };
    if maps.full.is_now(Full::FLOWS, now_ns) {
        return FULL;
    }
    fresh.flow.clear();
    let done = if kept.is_claim() {
        fresh.flow.first_ns = now_ns;
        fresh.flow.last_ns = now_ns;
        fresh.flow.originator = fresh.originator as u8;
        fresh.flow.vlan = fresh.vlan as u16;
        MADE
    } else {
        kept.grow(proto, &mut fresh.flow);
        GROWN
    };
    match maps.flows.insert(key, &fresh.flow, u64::from(BPF_NOEXIST)) {
        Ok(()) => done,
        Err(EEXIST) => NOTHING,
        Err(_) => {
            maps.full.note(Full::FLOWS, now_ns);
            FULL
        }
    }
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

/// This CPU's room for what is put together.
#[inline(always)]
fn fresh<'a>() -> Option<&'a mut Fresh> {
    // SAFETY: the CPU's copy of the only entry, in which one packet at a time is put together.
    FRESH.get_ptr_mut(0).map(|fresh| unsafe { &mut *fresh })
}

//! What connection tracking says of a packet that leaves translated: under which name its connection came in, and under
//! which name the answers will come. Learned before the first packet is out, so no answer can be earlier.
//!
//! Read from the kernel's own structures, at offsets that the daemon takes from its type information.

use aya_ebpf::helpers::bpf_probe_read_kernel;
use aya_ebpf::helpers::generated::bpf_jiffies64;
use aya_ebpf::maps::LruHashMap;
use aya_ebpf::programs::TcContext;
use nta_common::nat::{Key, Translated, Tuple, translation};
use nta_common::{Counter, FlowKey4, FlowKey6};

use crate::account::note;
use crate::maps::{NAT4, NAT6};
use crate::settings;

/// The low bits of `_nfct` say how the connection relates to the packet (`NFCT_INFOMASK`).
const POINTER_MASK: u64 = !7;
/// linux/netfilter/nf_conntrack_common.h: a packet was seen in both directions; source or destination is translated.
const IPS_SEEN_REPLY: u64 = 1 << 1;
const IPS_NAT_MASK: u64 = 1 << 4 | 1 << 5;
/// An answered connection is looked at in one of so many ticks: enough to learn those that are older than the program, or
/// were forgotten.
const TICKS: u64 = 16;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// `struct nf_conntrack_tuple_hash`, the same since Linux 2.6.25.
#[derive(Clone, Copy)]
#[repr(C)]
struct TupleHash {
    node: [u64; 2],
    source: [u8; 16],
    source_port: u16,
    family: u16,
    destination: [u8; 16],
    destination_port: u16,
    proto: u8,
    direction: u8,
}

const _: () = assert!(size_of::<TupleHash>() == 56);

/// Learns the names of the packet's connection, if it is a translated one.
#[inline(always)]
pub(crate) fn learn(ctx: &TcContext, slot: u32) {
    if !settings::joins_nat() {
        return;
    }
    let offsets = settings::conntrack();
    let skb: *const u8 = ctx.skb.skb.cast();
    // The context of the program is the socket buffer itself: what the verifier shows of it is a view.
    let Some(connection) = read::<u64>(skb.wrapping_add(offsets.skb as usize)) else { return };
    let connection = (connection & POINTER_MASK) as *const u8;
    if connection.is_null() {
        return;
    }
    let Some(status) = read::<u64>(connection.wrapping_add(offsets.status as usize)) else { return };
    if status & IPS_NAT_MASK == 0 {
        return;
    }
    // SAFETY: a helper without arguments.
    if status & IPS_SEEN_REPLY != 0 && unsafe { bpf_jiffies64() } % TICKS != 0 {
        return;
    }
    let Some([first, answer]) = read::<[TupleHash; 2]>(connection.wrapping_add(offsets.tuples as usize)) else {
        return;
    };
    let counter = match first.family {
        AF_INET => keep::<FlowKey4>(
            &NAT4,
            &first.tuple(v4(first.source), v4(first.destination)),
            &answer.tuple(v4(answer.source), v4(answer.destination)),
        ),
        AF_INET6 => keep::<FlowKey6>(
            &NAT6,
            &first.tuple(v6(first.source), v6(first.destination)),
            &answer.tuple(v6(answer.source), v6(answer.destination)),
        ),
        _ => None,
    };
    if let Some(counter) = counter {
        note(slot, counter, 1);
    }
}

#[inline(always)]
fn keep<K: Key>(
    nat: &LruHashMap<K, Translated<K>>,
    first: &Tuple<K::Address>,
    answer: &Tuple<K::Address>,
) -> Option<Counter> {
    let (answers, translated) = translation::<K>(first, answer)?;
    // SAFETY: read once, in place.
    if unsafe { nat.get(answers) }.is_some_and(|known| known.agrees(&translated)) {
        return None;
    }
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_jiffies64() };
    let kept = nat.insert(answers, translated.learned_at(now), 0).is_ok();
    Some(if kept { Counter::NatLearned } else { Counter::NatNoRoom })
}

impl TupleHash {
    #[inline(always)]
    fn tuple<A>(&self, source: A, destination: A) -> Tuple<A> {
        Tuple {
            source,
            destination,
            source_port: u16::from_be(self.source_port),
            destination_port: u16::from_be(self.destination_port),
            proto: self.proto,
        }
    }
}

#[inline(always)]
fn v4([a, b, c, d, ..]: [u8; 16]) -> u32 {
    u32::from_be_bytes([a, b, c, d])
}

#[inline(always)]
fn v6(address: [u8; 16]) -> [u64; 2] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = address;
    [u64::from_be_bytes([a, b, c, d, e, f, g, h]), u64::from_be_bytes([i, j, k, l, m, n, o, p])]
}

#[inline(always)]
fn read<T>(from: *const u8) -> Option<T> {
    // SAFETY: the helper checks the address; the types it is used for are integers, valid for any bytes.
    unsafe { bpf_probe_read_kernel(from.cast::<T>()) }.ok()
}

//! What the kernel holds of a connection, and whether that is still the one whose names are known.

use crate::nat::{Key, Translated, Tuple, translation};

/// `struct nf_conntrack_tuple_hash`, the same since Linux 2.6.25: one direction of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TupleHash {
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

impl TupleHash {
    /// Whether its addresses are of this family.
    #[inline(always)]
    pub const fn is_of<K: Key>(&self) -> bool {
        self.family == K::FAMILY
    }

    #[inline(always)]
    fn ports(&self) -> [u16; 2] {
        [u16::from_be(self.source_port), u16::from_be(self.destination_port)]
    }

    /// The key of a packet of it with these ports, and its direction.
    #[inline(always)]
    fn key<K: Key>(&self, ports: [u16; 2]) -> (K, u32) {
        let [source, destination] = [K::address(self.source), K::address(self.destination)];
        K::between((source, ports[0]), (destination, ports[1]), self.proto)
    }

    /// What it says, of addresses of this family.
    #[inline(always)]
    pub fn tuple<K: Key>(&self) -> Tuple<K::Address> {
        Tuple {
            source: K::address(self.source),
            destination: K::address(self.destination),
            source_port: u16::from_be(self.source_port),
            destination_port: u16::from_be(self.destination_port),
            proto: self.proto,
        }
    }
}

/// What the kernel's memory holds at the place of a connection (`struct nf_conn`). That memory holds connections and nothing else
/// while it is used; when one is over, the next one may take its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Held {
    /// `IPS_…` of linux/netfilter/nf_conntrack_common.h.
    pub status: u64,
    /// When it ends if no packet comes, in ticks.
    pub timeout: u32,
    /// Padding, 0.
    pub unused: u32,
    /// How its first packet came in, and how the answers come.
    pub names: [TupleHash; 2],
}

/// A packet was seen in both directions; the connection is in the kernel's table; source or destination is translated; it is
/// being removed.
const IPS_SEEN_REPLY: u64 = 1 << 1;
const IPS_CONFIRMED: u64 = 1 << 3;
const IPS_DST_NAT: u64 = 1 << 5;
const IPS_NAT_MASK: u64 = 1 << 4 | IPS_DST_NAT;
const IPS_DYING: u64 = 1 << 9;

impl Held {
    /// Whether a connection with this status is translated.
    #[inline(always)]
    pub const fn is_translated(status: u64) -> bool {
        status & IPS_NAT_MASK != 0
    }

    /// Whether its destination is translated, and messages of it have ports.
    #[inline(always)]
    pub fn leads_elsewhere<K: Key>(&self) -> bool {
        self.status & IPS_DST_NAT != 0 && self.names[0].proto != K::ICMP.0
    }

    /// Whether one with this status was answered.
    #[inline(always)]
    pub const fn is_answered(status: u64) -> bool {
        status & IPS_SEEN_REPLY != 0
    }

    /// Whether the connection is in the kernel's table at this tick: what has timed out is removed some time later, and is not
    /// found there until then.
    #[inline(always)]
    pub const fn is_in_table(&self, tick: u64) -> bool {
        self.status & (IPS_CONFIRMED | IPS_DYING) == IPS_CONFIRMED
            && (self.timeout.wrapping_sub(tick as u32) as i32) > 0
    }

    /// The translation that it has now; `None` for one of another family, and for messages that nobody answers.
    #[inline(always)]
    pub fn translation<K: Key>(&self) -> Option<(K, Translated<K>)> {
        let [first, answer] = &self.names;
        if !first.is_of::<K>() {
            return None;
        }
        translation::<K>(&first.tuple::<K>(), &answer.tuple::<K>())
    }

    /// Whether this is, at this tick, the connection of which `translated` was learned under the name of its answers.
    #[inline(always)]
    pub fn is<K: Key>(&self, answers: &K, translated: &Translated<K>, tick: u64) -> bool {
        let [first, answer] = &self.names;
        if !self.is_in_table(tick) || !Self::is_translated(self.status) || !first.is_of::<K>() {
            return false;
        }
        // One name after the other: a program has no stack for all of it.
        let (icmp, request, reply) = K::ICMP;
        let is_echo = first.proto == icmp;
        let ports = if is_echo { [u16::from(request), u16::from(reply)] } else { first.ports() };
        let (key, direction) = first.key::<K>(ports);
        if key != *translated.key() || direction as usize != translated.originator() {
            return false;
        }
        let ports = if is_echo { [u16::from_be(answer.source_port); 2] } else { answer.ports() };
        let (key, direction) = answer.key::<K>(ports);
        key == *answers && translated.direction(direction) as usize != translated.originator()
    }
}

/// A question by the daemon to the program `nta_connections`: what is held at these places.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Asked {
    /// The tick at which that was read.
    pub tick: u64,
    /// The places; 0 behind the last one.
    pub connections: [u64; Self::MOST],
    /// What is there; nothing where it cannot be read.
    pub held: [Held; Self::MOST],
}

impl Asked {
    /// Places that are asked about at once.
    pub const MOST: usize = 128;
    /// Nothing.
    pub const NONE: Self = Self { tick: 0, connections: [0; Self::MOST], held: [const { Held::NOTHING }; Self::MOST] };
}

impl Held {
    const NOTHING: Self = {
        let side = TupleHash {
            node: [0; 2],
            source: [0; 16],
            source_port: 0,
            family: 0,
            destination: [0; 16],
            destination_port: 0,
            proto: 0,
            direction: 0,
        };
        Self { status: 0, timeout: 0, unused: 0, names: [side; 2] }
    };
}

const _: () = assert!(size_of::<Held>() == 128 && size_of::<Asked>() == 8 + Asked::MOST * (8 + 128));

// SAFETY: `repr(C)`, only integers, no padding (sizes asserted above), valid for any bytes.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Asked {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::proto;
    use crate::{FlowKey4, FlowKey6};

    const INSIDE: u32 = 0xc000_0202;
    const OUTSIDE: u32 = 0xcb00_7101;
    const SERVER: u32 = 0xc633_6402;

    /// What the kernel holds of a masqueraded connection from this port, that ends at this tick.
    fn held(status: u64, timeout: u32, port: u16) -> Held {
        let side = |source: u32, source_port: u16, destination: u32, destination_port: u16| {
            let bytes = |address: u32| {
                let [a, b, c, d] = address.to_be_bytes();
                [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
            };
            TupleHash {
                source: bytes(source),
                source_port: source_port.to_be(),
                family: 2,
                destination: bytes(destination),
                destination_port: destination_port.to_be(),
                proto: proto::UDP,
                ..TupleHash::default()
            }
        };
        let names = [side(INSIDE, port, SERVER, 123), side(SERVER, 123, OUTSIDE, 123)];
        Held { status, timeout, unused: 0, names }
    }

    #[test]
    fn a_translation_is_believed_while_the_kernel_has_its_connection() {
        const LIVE: u64 = IPS_CONFIRMED | IPS_SEEN_REPLY | 1 << 4;
        // The kernel's ticks have gone round 32 bits.
        let tick = (1 << 32) + 5;
        let (answers, translated) = held(LIVE, 50, 123).translation::<FlowKey4>().expect("UDP is answered");
        let is = |held: Held| held.is(&answers, &translated, tick);
        assert!(is(held(LIVE, 50, 123)));
        assert!(!is(held(LIVE, 5, 123)), "timed out");
        assert!(!is(held(LIVE, u32::MAX, 123)), "timed out before the ticks went round");
        assert!(!is(held(LIVE | IPS_DYING, 50, 123)), "being removed");
        assert!(!is(held(LIVE & !IPS_CONFIRMED, 50, 123)), "not in the table");
        assert!(!is(held(LIVE & !IPS_NAT_MASK, 50, 123)), "not translated");
        assert!(!is(held(LIVE, 50, 124)), "another connection has its place, with the same answers");
        assert!(!is(Held::NOTHING), "nothing is there");
        assert_eq!(held(LIVE, 50, 123).translation::<FlowKey6>(), None, "of the other family");
    }

    #[test]
    fn a_packet_that_leaves_renews_what_is_known_of_its_connection_and_no_other() {
        let (_, now) = held(0, 0, 123).translation::<FlowKey4>().expect("UDP is answered");
        let (_, other) = held(0, 0, 124).translation::<FlowKey4>().expect("UDP is answered");
        let mut known = now.learned_at(3);
        assert!(known.renew(&now, 0x1000, 4), "read from the table, without the place");
        assert_eq!((known.connection(), known.used(), known.learned()), (Some(0x1000), 4, 3));
        assert!(known.renew(&now, 0x1000, 9));
        assert!(!known.renew(&now, 0x2000, 10), "another connection with the same names");
        assert!(!known.renew(&other, 0x1000, 10));
        known.end();
        assert!(known.is_over() && known.connection().is_none());
        assert!(!known.renew(&now, 0x1000, 11), "the next connection in its place is learned anew");
        assert_eq!(known.used(), 9);
    }
}

//! Address translation: where the packets of a translated connection are counted.
//!
//! A gateway that translates addresses (RFC 3022) sees a connection under two names: the one that its first packet had
//! when it came in, and the one that the answers carry. Both are counted in one flow, under the first.

use crate::packet::{proto, quote};
use crate::{FlowKey4, FlowKey6, Packet, PacketReader};

/// Value of the maps of translations, whose key is the connection as the answers name it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Translated<K> {
    key: K,
    /// The two lowest bits say which end is which, the others when this was learned.
    flags: u64,
    /// Where the kernel keeps the connection (`struct nf_conn`), [`UNKNOWN`] or [`OVER`].
    connection: u64,
    /// At which tick a packet was last counted by this. The kernel had the connection then.
    used: u64,
}

/// In place of where the kernel keeps a connection: nobody has seen that yet.
const UNKNOWN: u64 = 0;
/// In place of where the kernel keeps a connection: it has it no more.
const OVER: u64 = 1;

/// Set when endpoint `a` of one name is endpoint `b` of the other.
const TURNED: u64 = 1;
/// Set when endpoint `b` began the connection.
const B_BEGAN: u64 = 2;
const TIME_SHIFT: u32 = 2;

impl<K> Translated<K> {
    /// Of a connection whose first packet had this key and direction, and whose answers have `answers` as direction in
    /// theirs.
    #[inline(always)]
    pub fn new((key, direction): (K, u32), answers: u32) -> Self {
        let turned = u64::from((direction ^ answers ^ 1) & 1);
        let flags = (turned * TURNED) | (u64::from(direction & 1) * B_BEGAN);
        Self { key, flags, connection: UNKNOWN, used: 0 }
    }

    /// The same, learned at this tick of a clock.
    #[inline(always)]
    #[must_use]
    pub fn learned_at(self, tick: u64) -> Self {
        Self { flags: (self.flags & (TURNED | B_BEGAN)) | (tick << TIME_SHIFT), used: tick, ..self }
    }

    /// It is learned at this tick, of the connection that the kernel keeps there.
    #[inline(always)]
    pub fn learn(&mut self, tick: u64, connection: u64) {
        self.flags = (self.flags & (TURNED | B_BEGAN)) | (tick << TIME_SHIFT);
        (self.connection, self.used) = (connection, tick);
    }

    /// Where the kernel keeps the connection, if that is known and it was not found to be over.
    #[inline(always)]
    pub fn connection(&self) -> Option<u64> {
        (self.connection > OVER).then_some(self.connection)
    }

    /// Whether it is not known where the kernel keeps the connection.
    #[inline(always)]
    pub const fn is_unknown(&self) -> bool {
        self.connection == UNKNOWN
    }

    /// Whether the kernel was found to have the connection no more.
    #[inline(always)]
    pub const fn is_over(&self) -> bool {
        self.connection == OVER
    }

    /// The kernel has the connection no more: no packet is counted by this again.
    #[inline(always)]
    pub fn end(&mut self) {
        self.connection = OVER;
    }

    /// A packet is counted by this.
    #[inline(always)]
    pub fn use_at(&mut self, tick: u64) {
        self.used = tick;
    }

    /// When a packet was last counted by this.
    #[inline(always)]
    pub const fn used(&self) -> u64 {
        self.used
    }

    /// A packet of the connection that the kernel keeps there leaves under these names. Whether this was known.
    #[inline(always)]
    pub fn renew(&mut self, now: &Self, connection: u64, tick: u64) -> bool
    where
        K: PartialEq,
    {
        let is_known = self.agrees(now) && (self.connection == connection || self.is_unknown());
        if is_known {
            self.connection = connection;
            self.used = tick;
        }
        is_known
    }

    /// When it was learned.
    pub const fn learned(&self) -> u64 {
        self.flags >> TIME_SHIFT
    }

    /// Whether both say the same, whenever that was learned.
    #[inline(always)]
    pub fn agrees(&self, other: &Self) -> bool
    where
        K: PartialEq,
    {
        self.key == other.key && (self.flags ^ other.flags) & (TURNED | B_BEGAN) == 0
    }

    /// Makes key and value of the entry that leads back ([`Key::backward`]) of the answers' key and this: in place, because a
    /// program has no stack for both.
    #[inline(always)]
    pub fn turn_round(&mut self, answers: &mut K)
    where
        K: Key,
    {
        self.key = self.key.backward();
        swap(&mut self.key, answers);
    }

    /// Undoes that.
    #[inline(always)]
    pub fn turn_back(&mut self, answers: &mut K)
    where
        K: Key,
    {
        swap(&mut self.key, answers);
        self.key = self.key.backward();
    }

    /// Under which key its packets are counted.
    #[inline(always)]
    pub const fn key(&self) -> &K {
        &self.key
    }

    /// The direction there of a packet that has this one under the answers' name.
    #[inline(always)]
    pub const fn direction(&self, direction: u32) -> u32 {
        direction ^ (self.flags & TURNED) as u32
    }

    /// Whether endpoint `a` of one name is endpoint `b` of the other.
    pub const fn is_turned(&self) -> bool {
        self.flags & TURNED != 0
    }

    /// The direction of who began the connection.
    pub const fn originator(&self) -> usize {
        (self.flags & B_BEGAN != 0) as usize
    }
}

/// Word by word: the one of the library takes room for a key on the stack.
#[inline(always)]
fn swap<K: Key>(a: &mut K, b: &mut K) {
    let (a, b): (*mut u64, *mut u64) = (core::ptr::from_mut(a).cast(), core::ptr::from_mut(b).cast());
    for word in 0..size_of::<K>() / 8 {
        // SAFETY: keys consist of aligned words, of which any value is valid; both are borrowed. Volatile, or the compiler makes copies
        // of whole keys of it.
        unsafe {
            let (left, right) = (a.add(word).read_volatile(), b.add(word).read_volatile());
            a.add(word).write_volatile(right);
            b.add(word).write_volatile(left);
        }
    }
}

/// One direction of a connection, as connection tracking names it. Addresses and ports are numbers, not bytes in the
/// network's order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tuple<A> {
    /// From where.
    pub source: A,
    /// Where to.
    pub destination: A,
    /// Source port; identifier of an ICMP echo.
    pub source_port: u16,
    /// Destination port; type (upper byte) and code of ICMP.
    pub destination_port: u16,
    /// IP protocol number.
    pub proto: u8,
}

/// ICMP types of echo requests and their answers.
const ECHO: u8 = 8;
const ECHO_REPLY: u8 = 0;
const ECHO6: u8 = 128;
const ECHO_REPLY6: u8 = 129;

/// A key of the flow maps that can be translated.
pub trait Key: Copy + PartialEq {
    /// An address of its family.
    type Address: Copy + PartialEq;

    /// The key of a packet between these endpoints, and its direction.
    fn between(from: (Self::Address, u16), to: (Self::Address, u16), proto: u8) -> (Self, u32);

    /// `AF_INET` or `AF_INET6`.
    const FAMILY: u16;

    /// An address as the kernel keeps it in room for either family.
    fn address(bytes: [u8; 16]) -> Self::Address;

    /// ICMP's number in this family, types of its echo request and of the answer.
    const ICMP: (u8, u8, u8);

    /// The key under which a packet that is in no flow is looked up as an answer to a translated connection. Answers to
    /// ICMP echos carry an identifier, by which the gateway tells them apart.
    #[inline(always)]
    fn answer(self, packet: &Packet) -> Self {
        let (icmp, _, reply) = Self::ICMP;
        if packet.proto == icmp && packet.src_port == u16::from(reply) {
            self.with_ports(packet.echo_id())
        } else {
            self
        }
    }

    /// The key of the packet that an ICMP error quotes, as answers to it are looked up, and its direction.
    fn quoted<R: PacketReader>(reader: &R, error: &Packet) -> Option<(Self, u32)>;

    /// The key of the entry that leads from this one, under which the packets of a connection are counted, to that of its answers.
    /// There is one where the destination is translated: an error that a caller sends about an answer quotes this name. The key
    /// itself of the key of such an entry.
    #[must_use]
    fn backward(&self) -> Self;

    /// Whether this is the key of such an entry.
    fn is_backward(&self) -> bool;

    /// Makes this packet one to whom sends the packets of this key that go in this direction.
    fn deliver(&self, direction: u32, error: &mut Packet);

    /// Gives a packet the endpoints of this key, in this direction.
    fn name(&self, direction: u32, packet: &mut Packet);

    /// The same endpoints with this in place of both ports.
    #[must_use]
    fn with_ports(self, port: u16) -> Self;
}

/// Key and value for the map of translations, of a connection whose packets have the first tuple on the way out and whose
/// answers have the second one. `None` for messages that nobody answers.
#[inline(always)]
pub fn translation<K: Key>(first: &Tuple<K::Address>, answer: &Tuple<K::Address>) -> Option<(K, Translated<K>)> {
    let (icmp, request, reply) = K::ICMP;
    let (ports, answer_ports) = if first.proto == icmp {
        if first.destination_port >> 8 != u16::from(request) {
            return None;
        }
        // As the parser gives them: types stand in for ports.
        let id = answer.source_port;
        ([u16::from(request), u16::from(reply)], [id, id])
    } else {
        ([first.source_port, first.destination_port], [answer.source_port, answer.destination_port])
    };
    let key = K::between((first.source, ports[0]), (first.destination, ports[1]), first.proto);
    let (answers, direction) =
        K::between((answer.source, answer_ports[0]), (answer.destination, answer_ports[1]), first.proto);
    Some((answers, Translated::new(key, direction)))
}

impl Key for FlowKey4 {
    type Address = u32;
    const FAMILY: u16 = 2;
    const ICMP: (u8, u8, u8) = (proto::ICMP, ECHO, ECHO_REPLY);

    #[inline(always)]
    fn between(from: (u32, u16), to: (u32, u16), proto: u8) -> (Self, u32) {
        Self::ordered(from, to, proto)
    }

    #[inline(always)]
    fn address([a, b, c, d, ..]: [u8; 16]) -> u32 {
        u32::from_be_bytes([a, b, c, d])
    }

    #[inline(always)]
    fn quoted<R: PacketReader>(reader: &R, error: &Packet) -> Option<(Self, u32)> {
        quote::v4(reader, error)
    }

    #[inline(always)]
    fn backward(&self) -> Self {
        Self::backward(self)
    }

    #[inline(always)]
    fn is_backward(&self) -> bool {
        Self::is_backward(self)
    }

    #[inline(always)]
    fn deliver(&self, direction: u32, error: &mut Packet) {
        error.dst4 = self.ends(direction).0.0;
    }

    #[inline(always)]
    fn name(&self, direction: u32, packet: &mut Packet) {
        let (from, to) = self.ends(direction);
        (packet.src4, packet.src_port) = from;
        (packet.dst4, packet.dst_port) = to;
    }

    #[inline(always)]
    fn with_ports(self, port: u16) -> Self {
        Self::with_ports(self, port)
    }
}

impl Key for FlowKey6 {
    type Address = [u64; 2];
    const FAMILY: u16 = 10;
    const ICMP: (u8, u8, u8) = (proto::ICMPV6, ECHO6, ECHO_REPLY6);

    #[inline(always)]
    fn between(from: ([u64; 2], u16), to: ([u64; 2], u16), proto: u8) -> (Self, u32) {
        Self::ordered(from, to, proto)
    }

    #[inline(always)]
    fn address(bytes: [u8; 16]) -> [u64; 2] {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
        [u64::from_be_bytes([a, b, c, d, e, f, g, h]), u64::from_be_bytes([i, j, k, l, m, n, o, p])]
    }

    #[inline(always)]
    fn quoted<R: PacketReader>(reader: &R, error: &Packet) -> Option<(Self, u32)> {
        quote::v6(reader, error)
    }

    #[inline(always)]
    fn backward(&self) -> Self {
        Self::backward(self)
    }

    #[inline(always)]
    fn is_backward(&self) -> bool {
        Self::is_backward(self)
    }

    #[inline(always)]
    fn deliver(&self, direction: u32, error: &mut Packet) {
        error.dst6 = self.ends(direction).0.0;
    }

    #[inline(always)]
    fn name(&self, direction: u32, packet: &mut Packet) {
        let (from, to) = self.ends(direction);
        (packet.src6, packet.src_port) = from;
        (packet.dst6, packet.dst_port) = to;
    }

    #[inline(always)]
    fn with_ports(self, port: u16) -> Self {
        Self::with_ports(self, port)
    }
}

const _: () = assert!(size_of::<Translated<FlowKey4>>() == 40 && size_of::<Translated<FlowKey6>>() == 64);

// SAFETY: `repr(C)`, only integers, no padding (sizes asserted above), valid for any bytes.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Translated<FlowKey4> {}
// SAFETY: as above.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Translated<FlowKey6> {}

#[cfg(test)]
mod tests {
    use super::*;

    const INSIDE: u32 = 0xc000_0202;
    const OUTSIDE: u32 = 0xcb00_7101;
    const SERVER: u32 = 0xc633_6402;

    /// The key of a packet as the parser makes it, and its direction.
    fn packet(from: (u32, u16), to: (u32, u16), proto: u8, echo_id: u16) -> (FlowKey4, u32, Packet) {
        let mut packet =
            Packet { proto, src4: from.0, src_port: from.1, dst4: to.0, dst_port: to.1, ..Packet::default() };
        packet.set_echo_id(echo_id);
        let (key, direction) = FlowKey4::of(&packet);
        (key, direction, packet)
    }

    #[test]
    fn answers_are_counted_where_the_first_packet_is_whichever_address_is_the_lower_one() {
        for server in [SERVER, 0x0100_0001, 0xff00_0001] {
            for (outside, port) in [(OUTSIDE, 61000), (0xfe00_0001, 40000), (0x0200_0001, 1)] {
                let first = Tuple {
                    source: INSIDE,
                    destination: server,
                    source_port: 40000,
                    destination_port: 443,
                    proto: proto::TCP,
                };
                let answer = Tuple {
                    source: server,
                    destination: outside,
                    source_port: 443,
                    destination_port: port,
                    proto: proto::TCP,
                };
                let (answers, translated) = translation::<FlowKey4>(&first, &answer).expect("TCP is answered");
                let (key, direction, _) = packet((INSIDE, 40000), (server, 443), proto::TCP, 0);
                let (reply, reply_direction, reply_packet) = packet((server, 443), (outside, port), proto::TCP, 0);
                assert_eq!(reply.answer(&reply_packet), answers);
                assert_eq!(*translated.key(), key);
                assert_eq!(translated.direction(reply_direction), direction ^ 1, "it goes back");
                assert_eq!(translated.originator(), direction as usize);
                let mut named = reply_packet;
                translated.key().name(translated.direction(reply_direction), &mut named);
                assert_eq!((named.src4, named.dst4, named.src_port, named.dst_port), (server, INSIDE, 443, 40000));
            }
        }
    }

    #[test]
    fn an_error_is_delivered_behind_the_gateway_whichever_name_it_quotes() {
        let service = 0xc000_0250;
        for (inside, client) in [(INSIDE, SERVER), (SERVER, INSIDE), (service, 0x0100_0001), (0xff00_0001, service)] {
            let tuple = |(source, source_port), (destination, destination_port)| Tuple {
                source,
                destination,
                source_port,
                destination_port,
                proto: proto::UDP,
            };
            // A port forward: the caller's error about an answer quotes the answer as it came from the gateway.
            let (called, own) = ((OUTSIDE, 8053), (inside, 53));
            let (caller, mut error) = ((client, 40000), Packet { dst4: OUTSIDE, ..Packet::default() });
            let (mut answers, mut translated) =
                translation::<FlowKey4>(&tuple(caller, called), &tuple(own, caller)).expect("UDP is answered");
            let before = (answers, translated);
            translated.turn_round(&mut answers);
            assert!(answers.is_backward() && *translated.key() == before.0);
            let (quoted, direction) = FlowKey4::between(called, caller, proto::UDP);
            assert_eq!(quoted.backward(), answers);
            translated.key().deliver(translated.direction(direction), &mut error);
            assert_eq!(error.dst4, inside);
            translated.turn_back(&mut answers);
            assert_eq!((answers, translated), before);
            // The host's own error about the caller's packet, and that of one on the way to it, quote the answers' name.
            let (quoted, direction) = FlowKey4::between(caller, own, proto::UDP);
            assert_eq!(quoted, answers);
            translated.key().deliver(translated.direction(direction), &mut error);
            assert_eq!(error.dst4, client);
        }
    }

    #[test]
    fn answers_to_echos_are_told_apart_by_their_identifier() {
        let echo = |inside: u32, id: u16, outside_id: u16| {
            let first = Tuple {
                source: inside,
                destination: SERVER,
                source_port: id,
                destination_port: 8 << 8,
                proto: proto::ICMP,
            };
            let answer = Tuple {
                source: SERVER,
                destination: OUTSIDE,
                source_port: outside_id,
                destination_port: 0,
                proto: proto::ICMP,
            };
            translation::<FlowKey4>(&first, &answer).expect("echos are answered")
        };
        let hosts = [(INSIDE, echo(INSIDE, 7, 7)), (INSIDE + 1, echo(INSIDE + 1, 7, 300))];
        for ((inside, (answers, translated)), id) in hosts.into_iter().zip([7, 300]) {
            let (reply, direction, reply_packet) = packet((SERVER, 0), (OUTSIDE, 8), proto::ICMP, id);
            assert_eq!(reply.answer(&reply_packet), answers);
            let (key, first_direction, _) = packet((inside, 8), (SERVER, 0), proto::ICMP, id);
            assert_eq!((*translated.key(), translated.direction(direction)), (key, first_direction ^ 1));
        }
        let unreachable = Tuple { proto: proto::ICMP, destination_port: 3 << 8, ..Tuple::default() };
        assert_eq!(translation::<FlowKey4>(&unreachable, &unreachable), None);
    }
}

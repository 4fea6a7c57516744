//! Flow counters and their one update function, shared by the kernel program and replay.

use core::mem::offset_of;

use crate::FlowKey4;
use crate::account::First;
use crate::codegen::{self, fall_through, unlikely};
use crate::opening::Opening;
use crate::packet::{Packet, PacketReader, SliceReader, fragment, proto};
use crate::tcp::{self, Sent, TcpDirection};

/// Two clocks over one time base, in nanoseconds.
///
/// In the kernel the coarse one is the jiffies counter, which costs nothing, and the exact one `bpf_ktime_get_ns`,
/// which costs a third of the whole packet; in replay both are the capture's time stamp.
pub trait Clock {
    /// Time with the resolution of a timer tick.
    fn coarse_ns(&self) -> u64;
    /// Exact time, for round-trip samples.
    fn exact_ns(&self) -> u64;
}

/// A capture's time stamp: both clocks at once.
pub struct CaptureClock(pub u64);

impl Clock for CaptureClock {
    #[inline(always)]
    fn coarse_ns(&self) -> u64 {
        self.0
    }

    #[inline(always)]
    fn exact_ns(&self) -> u64 {
        self.0
    }
}

/// Packets and bytes of one direction in two words, so that two atomic additions count a packet.
///
/// `packed` holds the packets in its upper half and the link-layer overhead (frame bytes that are not the IP packet:
/// headers, tags, padding; negative where the IP header claims more than the frame holds) in its lower half. Both wrap;
/// only differences between two readings are taken, and those are exact while fewer than 2^32 packets and 2^31 bytes
/// of overhead lie between them: 100 million packets of one direction of one flow between two drains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Volume {
    bytes: u64,
    packed: u64,
}

/// What was counted between two readings of a [`Volume`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets.
    pub packets: u64,
    /// Frame bytes on the wire, without the frame check sequence.
    pub bytes: u64,
    /// Bytes of IP packets, by their headers.
    pub ip_bytes: u64,
}

impl Volume {
    /// Counts packets of these lengths together.
    #[inline(always)]
    pub(crate) fn add(&mut self, packets: u32, wire_len: u32, ip_len: u32) {
        let overhead = i64::from(wire_len) - i64::from(ip_len);
        add(&mut self.bytes, u64::from(wire_len));
        add(&mut self.packed, (u64::from(packets) << 32).wrapping_add(overhead as u64));
    }

    /// Whether this can be an earlier reading of `later`: counts only rise.
    pub fn precedes(&self, later: &Self) -> bool {
        let rise = later.since(self);
        rise.packets < 1 << 31 && rise.bytes < 1 << 62
    }

    /// The reading when so much more was counted.
    #[must_use]
    pub const fn plus(&self, counts: &Counts) -> Self {
        let overhead = counts.bytes.wrapping_sub(counts.ip_bytes);
        let packed = self.packed.wrapping_add(counts.packets << 32).wrapping_add(overhead);
        Self { bytes: self.bytes.wrapping_add(counts.bytes), packed }
    }

    /// What was counted since an earlier reading.
    pub fn since(&self, earlier: &Self) -> Counts {
        let bytes = self.bytes.wrapping_sub(earlier.bytes);
        let packed = self.packed.wrapping_sub(earlier.packed);
        let overhead = i64::from(packed as u32 as i32);
        let packets = packed.wrapping_sub(overhead as u64) >> 32;
        Counts { packets, bytes, ip_bytes: bytes.wrapping_sub(overhead as u64) }
    }
}

impl core::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.ip_bytes += other.ip_bytes;
    }
}

/// One direction of a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Direction {
    /// Packets and bytes, exact whatever the number of CPUs.
    pub volume: Volume,
    /// TCP state and counters.
    pub tcp: TcpDirection,
    /// What was counted before the last cut. Of a tunnel, which is never cut: what of it was opened.
    pub(crate) volume_before: Volume,
    /// What is kept of TCP before the last cut.
    tcp_before: tcp::SideCut,
}

/// Everything that is kept of a flow.
///
/// An entry of an IPv4 flow takes nine cache lines from the start of one: key, eight lines of this (IPv6 entries lie as
/// they come). Both directions' packets read the first line, and few write there; what each packet writes is in the first
/// line of its direction, which has two for itself. So two CPUs that count one direction each do not take lines from one
/// another, and a packet that finds the entry in no cache waits for four lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FlowStats {
    /// Coarse time of the first packet.
    pub first_ns: u64,
    /// Coarse time of the last packet.
    pub last_ns: u64,
    /// VLAN id of the outermost tag of the first packet, 0 without one.
    pub vlan: u16,
    /// Direction of the originator: who sent the first packet, or who must have, when that was a SYN-ACK.
    pub originator: u8,
    /// The same before the last cut.
    originator_before: u8,
    /// How often a new connection of the same ports began, see [`Cut`].
    pub cuts: u32,
    /// TCP state that belongs to both directions.
    pub tcp: tcp::TcpFlow,
    /// The connections before.
    cut: Cut,
    /// From `a` to `b` and back.
    pub dir: [Direction; 2],
    /// All round-trip samples by size and direction.
    pub rtt_histogram: tcp::RttHistogram,
    /// How the payload of each direction begins.
    pub openings: [Opening; 2],
    /// The same before the last cut.
    openings_before: [Opening; 2],
}

/// What a flow's entry held of both directions when a new connection of the same ports began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
struct Cut {
    /// Coarse time of the first packet of the connection before it.
    first_ns: u64,
    /// Coarse time of the last packet before it.
    last_ns: u64,
    history: tcp::Letters,
}

impl FlowStats {
    /// What both directions had counted when the present connection began: nothing, unless the entry had others before.
    pub fn before_present(&self) -> [Volume; 2] {
        if self.cuts == 0 { Default::default() } else { self.dir.each_ref().map(|side| side.volume_before) }
    }

    /// What of both directions was the outside of tunnels that were opened: counted once more, in the flows inside.
    pub fn opened(&self) -> [Volume; 2] {
        if self.cuts == 0 { self.dir.each_ref().map(|side| side.volume_before) } else { Default::default() }
    }

    /// Makes an entry, empty but for these fields, ready for its first packet: [`FlowStats::add`] follows.
    #[inline(always)]
    pub fn begin(&mut self, first: &First<'_>) {
        self.first_ns = first.now_ns;
        self.last_ns = first.now_ns;
        self.originator = first.originator();
        self.vlan = first.packet.vlan;
    }

    /// Makes it empty.
    #[inline(always)]
    pub fn clear(&mut self) {
        let words: *mut u64 = core::ptr::from_mut(self).cast();
        for word in 0..size_of::<Self>() / 8 {
            // SAFETY: `repr(C)`, aligned to 8, integers alone. Volatile, as in `Packet::clear`.
            unsafe { words.add(word).write_volatile(0) };
        }
    }

    /// The one place where a packet is counted, in the kernel and in replay. `packets` is how many the frame stands for,
    /// `reader` shows its payload.
    #[inline(always)]
    pub fn add_from<R: PacketReader, C: Clock>(
        &mut self,
        reader: &R,
        p: &Packet,
        packets: u32,
        direction: u32,
        now_ns: u64,
        clock: &C,
    ) {
        if unlikely(!p.has_tcp()) {
            self.count(p, packets, direction, now_ns);
            self.open_with_datagram(reader, p, direction);
            return;
        }
        let side = &mut self.dir[direction as usize & 1].tcp;
        if unlikely(side.has_passed(p, now_ns)) {
            bump(&mut side.duplicates);
            self.count(p, packets, direction, now_ns);
            return;
        }
        // Twice in the code, so that what a segment that is no news cannot be drops out of its way.
        if unlikely(self.dir[direction as usize & 1].tcp.is_news(p)) {
            self.cut_if_new(p, direction, now_ns);
            self.count(p, packets, direction, now_ns);
            self.track::<true, C>(p, direction, now_ns, clock);
            self.open_with_segment(reader, p, direction);
        } else {
            self.count(p, packets, direction, now_ns);
            self.track::<false, C>(p, direction, now_ns, clock);
        }
    }

    /// The same for a packet whose payload is not at hand.
    #[inline(always)]
    pub fn add<C: Clock>(&mut self, p: &Packet, packets: u32, direction: u32, now_ns: u64, clock: &C) {
        self.add_from(&SliceReader::new(&[], p.wire_len), p, packets, direction, now_ns, clock);
    }

    /// Counts the outside of a tunnel that was opened. What was opened comes first, so that a reading in between never takes
    /// for the tunnel's own what is counted inside.
    #[inline(always)]
    pub fn add_outer(&mut self, p: &Packet, packets: u32, direction: u32, now_ns: u64) {
        self.dir[direction as usize & 1].volume_before.add(packets, p.wire_len, p.ip_len);
        self.count(p, packets, direction, now_ns);
    }

    #[inline(always)]
    fn count(&mut self, p: &Packet, packets: u32, direction: u32, now_ns: u64) {
        // Coarse time may step back between CPUs or in a capture; the later one stands.
        if unlikely(now_ns > self.last_ns) {
            self.last_ns = now_ns;
        }
        self.dir[direction as usize & 1].volume.add(packets, p.wire_len, p.ip_len);
    }

    #[inline(always)]
    fn track<const NEWS: bool, C: Clock>(&mut self, p: &Packet, direction: u32, now_ns: u64, clock: &C) {
        let by_originator = direction == u32::from(self.originator);
        let sent = Sent { now_ns, direction, by_originator, news: NEWS };
        let (from, to) = codegen::pair(&mut self.dir, direction);
        tcp::track(&mut from.tcp, &mut to.tcp, &mut self.tcp, &mut self.rtt_histogram, p, sent, clock);
    }
}

impl FlowStats {
    /// Keeps the first bytes of a direction's first datagram with payload. Whether there was one says the letter of data, which a
    /// packet that is no TCP has no other use for: it lies where the packet is counted.
    #[inline(always)]
    fn open_with_datagram<R: PacketReader>(&mut self, reader: &R, p: &Packet, direction: u32) {
        let at = direction as usize & 1;
        let is_whole = p.proto == proto::UDP && p.fragment != fragment::LATER && p.l4_truncated == 0;
        if unlikely(self.dir[at].tcp.marks.has_no_data() && is_whole && p.payload_len != 0) {
            self.dir[at].tcp.marks.set_data();
            self.openings[at].keep(reader, p.payload_at, p.payload_len, 0, 1);
        }
        fall_through();
    }

    /// Keeps the first bytes of a TCP direction's first payload, after the segment was tracked as news.
    #[inline(always)]
    fn open_with_segment<R: PacketReader>(&mut self, reader: &R, p: &Packet, direction: u32) {
        let at = direction as usize & 1;
        let (side, opening) = (&self.dir[at].tcp, &mut self.openings[at]);
        let start = side.first_seq.wrapping_add(1);
        if opening.len == 0 {
            if p.payload_len != 0 {
                let seq = p.seq.wrapping_add(u32::from(p.tcp_flags & tcp::SYN != 0));
                let from_start = u16::from(side.flags & tcp::SYN != 0 && seq == start);
                opening.keep(reader, p.payload_at, p.payload_len, seq, from_start);
            }
        } else if p.tcp_flags & tcp::SYN != 0 && opening.seq == start {
            // The SYN was overtaken.
            opening.from_start = 1;
        }
        fall_through();
    }

    /// Cuts the flow when this segment begins a new connection.
    #[inline(always)]
    fn cut_if_new(&mut self, p: &Packet, direction: u32, now_ns: u64) {
        let [a, b] = &mut self.dir;
        let ages =
            tcp::Ages { first_ns: now_ns.saturating_sub(self.first_ns), last_ns: now_ns.saturating_sub(self.last_ns) };
        let by_originator = direction == u32::from(self.originator);
        let begins_new = if direction == 0 {
            tcp::begins_new(&a.tcp, &b.tcp, p, by_originator, ages)
        } else {
            tcp::begins_new(&b.tcp, &a.tcp, p, by_originator, ages)
        };
        if !begins_new {
            return;
        }
        let answers = p.tcp_flags & (tcp::SYN | tcp::ACK) == tcp::SYN | tcp::ACK;
        self.cut.first_ns = self.first_ns;
        self.cut.last_ns = self.last_ns;
        self.originator_before = self.originator;
        a.volume_before = a.volume;
        b.volume_before = b.volume;
        self.cut.history = self.tcp.cut();
        self.openings_before = self.openings;
        self.openings = Default::default();
        a.tcp_before.take(&mut a.tcp);
        b.tcp_before.take(&mut b.tcp);
        self.cuts = self.cuts.wrapping_add(1);
        self.first_ns = now_ns;
        self.originator = (if answers { direction ^ 1 } else { direction }) as u8;
    }

    /// The reading as it was at the last cut. `last` are the volumes of the reading before: a map entry may be copied in
    /// the middle of a cut, and what the copy says then must still lie between the two.
    pub fn before_cut(&self, last: &[Volume; 2]) -> Self {
        let mut before = *self;
        before.first_ns = self.cut.first_ns;
        before.last_ns = self.cut.last_ns;
        before.originator = self.originator_before;
        before.tcp.restore(self.cut.history);
        before.openings = self.openings_before;
        for (side, earlier) in before.dir.iter_mut().zip(last) {
            if earlier.precedes(&side.volume_before) && side.volume_before.precedes(&side.volume) {
                side.volume = side.volume_before;
            }
            side.tcp_before.restore(&mut side.tcp);
        }
        before
    }
}

/// Adds to a counter that several CPUs may write at once: atomic on BPF, plain where one thread owns the entry.
///
/// Assembly, because the BPF target of rustc has no `fetch_add`; `BPF_XADD` is in every kernel that runs us.
#[inline(always)]
pub(crate) fn add(counter: &mut u64, n: u64) {
    #[cfg(target_arch = "bpf")]
    // SAFETY: a `&mut u64` is a valid, aligned pointer to 8 bytes; other CPUs reach the same map entry only through
    // atomic additions like this one or through the map's own copying reads.
    unsafe {
        core::arch::asm!("lock *(u64 *)({counter} + 0) += {n}", counter = in(reg) counter, n = in(reg) n);
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        *counter = counter.wrapping_add(n);
    }
}

/// As [`add`] for 4 bytes.
#[inline(always)]
pub(crate) fn add32(counter: &mut u32, n: u32) {
    #[cfg(target_arch = "bpf")]
    // SAFETY: as in `add`, for 4 bytes.
    unsafe {
        core::arch::asm!("lock *(u32 *)({counter} + 0) += {n}", counter = in(reg) counter, n = in(wreg) n);
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        *counter = counter.wrapping_add(n);
    }
}

/// One more of a 32-bit event counter.
#[inline(always)]
pub(crate) fn bump(counter: &mut u32) {
    add32(counter, 1);
}

const _: () = assert!(size_of::<Cut>() == 32 && size_of::<Direction>() == 128 && size_of::<FlowStats>() == 512);
// Behind the kernel's 48 bytes of an entry and the key of an IPv4 flow, whole cache lines.
const _: () = assert!(48 + size_of::<FlowKey4>() == 64 && offset_of!(FlowStats, dir) == 128);

// SAFETY: `repr(C)`, only integers and arrays of them, padding explicit (sizes asserted above), valid for any bytes.
#[cfg(feature = "user")]
unsafe impl aya::Pod for FlowStats {}
// SAFETY: as above.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Volume {}

#[cfg(test)]
mod tests {
    use super::{Counts, Volume};

    #[test]
    fn an_ip_header_may_claim_more_than_the_frame_holds() {
        let mut volume = Volume::default();
        volume.add(1, 60, 1500);
        let first = volume;
        assert_eq!(first.since(&Volume::default()), Counts { packets: 1, bytes: 60, ip_bytes: 1500 });
        volume.add(1, 60, 65535);
        volume.add(1, 1514, 1500);
        assert_eq!(volume.since(&first), Counts { packets: 2, bytes: 1574, ip_bytes: 67035 });
    }
}

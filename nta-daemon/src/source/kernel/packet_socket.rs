//! The ring of a packet socket that the kernel writes frames into: what a recording reads. The kernel takes a VLAN tag out of a
//! frame's bytes; it is put back here.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nta_capture::LinkType;
use nta_loader::LoaderClient;
use nta_loader::device::Device;
pub use nta_loader::packet_socket::PacketSocketError;
use nta_loader::packet_socket::{self, BLOCK_BYTES, BLOCKS};

/// Offsets in `struct tpacket_block_desc`.
const BLOCK_STATUS: usize = 8;
const BLOCK_PACKETS: usize = 12;
const BLOCK_FIRST: usize = 16;
/// Offsets in `struct tpacket3_hdr`.
const NEXT: usize = 0;
const SECONDS: usize = 4;
const NANOS: usize = 8;
const CAPTURED: usize = 12;
const LENGTH: usize = 16;
const STATUS: usize = 20;
const MAC: usize = 24;
const VLAN_TCI: usize = 32;
const VLAN_TPID: usize = 36;

const TP_STATUS_USER: u32 = 1;
const TP_STATUS_VLAN_VALID: u32 = 1 << 4;
const TP_STATUS_VLAN_TPID_VALID: u32 = 1 << 6;
/// Types of interfaces (`ARPHRD_`) whose frames begin with an Ethernet header.
const WITH_ETHERNET: [u32; 2] = [1, 772];
/// And those whose frames begin with the IP header: tun, WireGuard, raw IP.
const WITH_IP: [u32; 2] = [65534, 519];

/// A frame as it came.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// When, in nanoseconds since 1970.
    pub time_ns: u64,
    /// Its length on the wire.
    pub wire_len: u32,
    /// What the filter left of it, without the VLAN tag.
    pub data: &'a [u8],
    /// The tag that the kernel took out behind the addresses.
    pub vlan: Option<[u8; 4]>,
}

/// Frames of one interface.
#[derive(Debug)]
pub struct PacketSocket {
    socket: OwnedFd,
    ring: Ring,
    /// The block that the kernel hands out next.
    next: usize,
    drops: u64,
}

/// What the frames of an interface begin with.
///
/// # Errors
/// [`PacketSocketError::LinkType`] where it is neither Ethernet nor IP.
pub fn link_type(device: &Device) -> Result<LinkType, PacketSocketError> {
    let path = format!("/sys/class/net/{}/type", device.name);
    // A process in another network namespace may see the wrong sysfs: Ethernet is what almost all have.
    let kind = std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(WITH_ETHERNET[0]);
    if WITH_ETHERNET.contains(&kind) {
        Ok(LinkType::ETHERNET)
    } else if WITH_IP.contains(&kind) {
        Ok(LinkType::RAW)
    } else {
        Err(PacketSocketError::LinkType { interface: device.name.clone(), kind })
    }
}

impl PacketSocket {
    /// Opens a socket for the frames of an interface that the filter takes, or has the loader at this path open it.
    ///
    /// # Errors
    /// Without `CAP_NET_RAW`; or what the kernel or the loader refuses.
    pub fn open(
        device: &Device,
        filter: &[libc::sock_filter],
        loader: Option<&Path>,
    ) -> Result<Self, PacketSocketError> {
        let socket = match loader {
            Some(path) => LoaderClient::packet_socket(path, device, filter)?,
            None => packet_socket::open(device, filter)?,
        };
        let ring = Ring::of(&socket);
        let ring =
            ring.map_err(|source| PacketSocketError::Refused { step: "mapping the ring for packets", source })?;
        Ok(Self { socket, ring, next: 0, drops: 0 })
    }

    /// Waits for frames, as long as this, and hands out those that are there; how many there were.
    ///
    /// # Errors
    /// Of the interface: it went down, or away.
    pub fn read(&mut self, patience: Duration, mut take: impl FnMut(Frame<'_>)) -> io::Result<u64> {
        let mut frames = 0;
        if !self.ring.is_ready(self.next) {
            self.wait(patience)?;
        }
        // Not more than a round, so that whoever reads gets to something else.
        for _ in 0..BLOCKS {
            if !self.ring.is_ready(self.next) {
                break;
            }
            frames += walk(self.ring.block(self.next), &mut take);
            self.ring.give_back(self.next);
            self.next = (self.next + 1) % BLOCKS;
        }
        Ok(frames)
    }

    fn wait(&self, patience: Duration) -> io::Result<()> {
        let mut descriptor = libc::pollfd { fd: self.socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let patience = libc::c_int::try_from(patience.as_millis()).unwrap_or(libc::c_int::MAX);
        // SAFETY: one valid descriptor.
        let ready = unsafe { libc::poll(&raw mut descriptor, 1, patience) };
        if ready < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) };
        }
        if descriptor.revents & libc::POLLERR != 0 {
            let code: libc::c_int = get(&self.socket, libc::SOL_SOCKET, libc::SO_ERROR)?;
            if code != 0 {
                return Err(io::Error::from_raw_os_error(code));
            }
        }
        Ok(())
    }

    /// Frames that found no room in the ring, since it was opened.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn drops(&mut self) -> io::Result<u64> {
        // Packets, drops, and how often the ring was full; reading sets them to 0.
        let counts: [u32; 3] = get(&self.socket, libc::SOL_PACKET, libc::PACKET_STATISTICS)?;
        self.drops += u64::from(counts[1]);
        Ok(self.drops)
    }
}

fn get<T: Default>(socket: &OwnedFd, level: libc::c_int, name: libc::c_int) -> io::Result<T> {
    let (mut value, mut length) = (T::default(), size_of::<T>() as libc::socklen_t);
    let place = (&raw mut value).cast();
    // SAFETY: room for a value of this length; only numbers and arrays of them are asked for.
    check(unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, place, &raw mut length) })?;
    Ok(value)
}

fn check(status: libc::c_int) -> io::Result<()> {
    if status < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Memory that is shared with the kernel; each block belongs to one of both at a time.
#[derive(Debug)]
struct Ring(NonNull<u8>);

// SAFETY: the mapping belongs to the process, not to a thread, and to this value alone.
unsafe impl Send for Ring {}

impl Ring {
    fn of(socket: &OwnedFd) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping of the whole ring, at a place that the kernel chooses.
        let memory = unsafe {
            let length = BLOCK_BYTES * BLOCKS;
            libc::mmap(std::ptr::null_mut(), length, protection, libc::MAP_SHARED, socket.as_raw_fd(), 0)
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(memory.cast()).map(Self).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    fn status(&self, block: usize) -> &AtomicU32 {
        // SAFETY: within the mapping, aligned, and only ever accessed atomically while the kernel may write it.
        unsafe { AtomicU32::from_ptr(self.0.as_ptr().add(block * BLOCK_BYTES + BLOCK_STATUS).cast()) }
    }

    /// Whether the kernel has handed it out.
    fn is_ready(&self, block: usize) -> bool {
        self.status(block).load(Ordering::Acquire) & TP_STATUS_USER != 0
    }

    /// A block that was handed out.
    fn block(&self, block: usize) -> &[u8] {
        // SAFETY: within the mapping; the kernel does not write it before it is given back, which takes no reference.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().add(block * BLOCK_BYTES), BLOCK_BYTES) }
    }

    fn give_back(&mut self, block: usize) {
        self.status(block).store(0, Ordering::Release);
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and nothing refers to it any more.
        unsafe { libc::munmap(self.0.as_ptr().cast(), BLOCK_BYTES * BLOCKS) };
    }
}

/// Hands out the frames of a block; how many there were. What does not lie in the block is not read.
fn walk(block: &[u8], take: &mut impl FnMut(Frame<'_>)) -> u64 {
    let word = |at: usize| block.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_ne_bytes);
    let half = |at: usize| block.get(at..at + 2).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    let mut at = word(BLOCK_FIRST).unwrap_or_default() as usize;
    let mut frames = 0;
    for _ in 0..word(BLOCK_PACKETS).unwrap_or_default() {
        let frame = || {
            let begin = at + usize::from(half(at + MAC)?);
            let data = block.get(begin..begin + word(at + CAPTURED)? as usize)?;
            let status = word(at + STATUS)?;
            let vlan = (status & TP_STATUS_VLAN_VALID != 0).then(|| {
                let tpid = half(at + VLAN_TPID).filter(|_| status & TP_STATUS_VLAN_TPID_VALID != 0).unwrap_or(0x8100);
                let tci = word(at + VLAN_TCI).unwrap_or_default() as u16;
                let ([a, b], [c, d]) = (tpid.to_be_bytes(), tci.to_be_bytes());
                [a, b, c, d]
            });
            let time_ns = u64::from(word(at + SECONDS)?) * 1_000_000_000 + u64::from(word(at + NANOS)?);
            Some(Frame { time_ns, wire_len: word(at + LENGTH)?, data, vlan })
        };
        let Some(frame) = frame() else { break };
        take(frame);
        frames += 1;
        match word(at + NEXT) {
            None | Some(0) => break,
            Some(next) => at += next as usize,
        }
    }
    frames
}

//! Opens a packet socket with a ring that the kernel writes frames into (`AF_PACKET`, `TPACKET_V3`; packet(7)). Reading the ring takes
//! no right.
//!
//! The filter is attached and locked, and the ring made, before the socket is bound: no frame comes that was not asked for.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use crate::device::Device;

/// Bytes of a block of the ring: the longest frame that segmentation leaves to the NIC fits in many times.
pub const BLOCK_BYTES: usize = 1 << 20;
/// Blocks of the ring: at 10 Gbit/s a hundredth of a second.
pub const BLOCKS: usize = 16;
/// The frames' alignment; with `TPACKET_V3` a frame takes as many as it needs.
const FRAME_BYTES: usize = 1 << 11;
/// After so many milliseconds a block that is not full is handed out.
const RETIRE_MS: u32 = 100;
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;
/// The longest filter that the kernel takes (`BPF_MAXINSNS`).
pub const MOST_INSTRUCTIONS: usize = 4096;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum PacketSocketError {
    /// The frames of the interface begin with neither an Ethernet header nor an IP header.
    #[error("{interface} has frames of another kind (ARPHRD {kind}) than Ethernet or IP")]
    LinkType {
        /// Its name.
        interface: String,
        /// Its type.
        kind: u32,
    },
    /// The right is missing.
    #[error("packets cannot be recorded: CAP_NET_RAW is missing")]
    Right,
    /// The kernel refused.
    #[error("{step}: {source}")]
    Refused {
        /// What was tried.
        step: &'static str,
        /// Why not.
        source: io::Error,
    },
}

/// Opens a socket for the frames of an interface that the filter takes.
///
/// # Errors
/// Without `CAP_NET_RAW`; or what the kernel refuses.
pub fn open(device: &Device, filter: &[libc::sock_filter]) -> Result<OwnedFd, PacketSocketError> {
    // SAFETY: plain numbers.
    let socket = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        let source = io::Error::last_os_error();
        return Err(match source.raw_os_error() {
            Some(libc::EPERM) => PacketSocketError::Right,
            _ => PacketSocketError::Refused { step: "opening a packet socket", source },
        });
    }
    // SAFETY: it was just opened and belongs to nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    let refused = |step| move |source| PacketSocketError::Refused { step, source };
    let version = libc::tpacket_versions::TPACKET_V3 as libc::c_int;
    set(&socket, libc::SOL_PACKET, libc::PACKET_VERSION, &version).map_err(refused("TPACKET_V3"))?;
    let program =
        libc::sock_fprog { len: u16::try_from(filter.len()).unwrap_or(u16::MAX), filter: filter.as_ptr().cast_mut() };
    set(&socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program).map_err(refused("attaching the filter"))?;
    set(&socket, libc::SOL_SOCKET, libc::SO_LOCK_FILTER, &1).map_err(refused("locking the filter"))?;
    if device.name == "lo" {
        // Each of its frames passes twice; a kernel before 4.20 shows both.
        let _ = set(&socket, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, &1);
    }
    let request = libc::tpacket_req3 {
        tp_block_size: BLOCK_BYTES as u32,
        tp_block_nr: BLOCKS as u32,
        tp_frame_size: FRAME_BYTES as u32,
        tp_frame_nr: (BLOCK_BYTES * BLOCKS / FRAME_BYTES) as u32,
        tp_retire_blk_tov: RETIRE_MS,
        tp_sizeof_priv: 0,
        tp_feature_req_word: 0,
    };
    set(&socket, libc::SOL_PACKET, libc::PACKET_RX_RING, &request).map_err(refused("a ring for packets"))?;
    bind(&socket, device.index).map_err(refused("binding to the interface"))?;
    Ok(socket)
}

fn bind(socket: &OwnedFd, index: u32) -> io::Result<()> {
    // SAFETY: all of it may be 0.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = libc::c_int::try_from(index).unwrap_or_default();
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: an address of this length.
    check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) })
}

fn set<T>(socket: &OwnedFd, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: a value of this length, which the kernel copies.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, std::ptr::from_ref(value).cast(), length) })
}

fn check(status: libc::c_int) -> io::Result<()> {
    if status < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

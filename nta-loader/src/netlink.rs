//! Questions to netlink: which XDP program an interface has, whether its driver could have one, and a whole table. A netlink
//! crate would be a dozen dependencies for them.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use crate::device::Device;

/// linux/if_arp.h: PPP, modems of raw IP, IP in IP (IPv4, IPv6), IPv6 in IPv4, GRE over IPv4, GRE over IPv6, and none (WireGuard, tun).
const WITHOUT_HEADER: [u16; 8] = [512, 519, 768, 769, 776, 778, 823, 0xfffe];
/// linux/rtnetlink.h, linux/if_link.h
const RTM_GETLINK: u16 = 18;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;
/// Of several programs (driver and generic), each has an attribute of its own.
const IFLA_XDP_DRV_PROG_ID: u16 = 5;
const IFLA_XDP_SKB_PROG_ID: u16 = 6;
const IFINFOMSG_BYTES: usize = 16;
/// linux/genetlink.h
const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const GENLMSGHDR_BYTES: usize = 4;
/// linux/netdev.h (kernel 6.3 and later)
const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;
const NETDEV_XDP_ACT_BASIC: u64 = 1;
/// linux/netlink.h
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
const NLMSGHDR_BYTES: usize = 16;
const TYPE_MASK: u16 = 0x3fff;
/// Longer than what the kernel sends about one link, with the statistics of 128 virtual functions.
const ANSWER_BYTES: usize = 64 << 10;

/// Hears when an interface comes, goes, is renamed, goes up or down. What has changed is read from the kernel afterwards,
/// as news may be lost when there are many at once; so nothing of a message has to be parsed.
pub struct LinkEvents {
    socket: OwnedFd,
}

impl LinkEvents {
    /// From now on.
    ///
    /// # Errors
    /// When the kernel gives no socket.
    pub fn listen() -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: no pointers.
        let fd = unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just opened, and owned by nobody else.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: all zeros are a valid value of this structure of integers.
        let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
        address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
        address.nl_groups = libc::RTMGRP_LINK as u32;
        let length = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
        // SAFETY: a valid address of this length.
        if unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { socket })
    }

    /// Whether anything happened since the last call. Does not wait.
    pub fn heard(&self) -> bool {
        let mut heard = false;
        let mut message = [0_u8; 4096];
        loop {
            // SAFETY: the buffer is valid for its length.
            let got = unsafe { libc::recv(self.socket.as_raw_fd(), message.as_mut_ptr().cast(), message.len(), 0) };
            let lost = got < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ENOBUFS);
            if got <= 0 && !lost {
                return heard;
            }
            heard = true;
        }
    }
}

/// Id of the XDP program of an interface.
pub(crate) fn xdp_program(index: u32) -> io::Result<Option<u32>> {
    let mut request = [0; IFINFOMSG_BYTES];
    request[4..8].copy_from_slice(&index.to_ne_bytes());
    let answer = ask(libc::NETLINK_ROUTE, RTM_GETLINK, &request)?;
    let Some(xdp) = attribute(answer.get(IFINFOMSG_BYTES..).unwrap_or_default(), IFLA_XDP) else { return Ok(None) };
    if attribute(xdp, IFLA_XDP_ATTACHED).and_then(|mode| mode.first()).is_none_or(|mode| *mode == 0) {
        return Ok(None);
    }
    let ids = [IFLA_XDP_PROG_ID, IFLA_XDP_DRV_PROG_ID, IFLA_XDP_SKB_PROG_ID];
    Ok(ids.into_iter().find_map(|kind| attribute(xdp, kind)).and_then(u32_of))
}

/// How an interface lies among others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// What it is (`bridge`, `vlan`, `veth`, `wireguard` …); empty for a NIC.
    pub(crate) kind: String,
    /// Index of the bridge, bond or VRF that it belongs to.
    pub(crate) master: Option<u32>,
    /// Index of the interface of this namespace that it lies on.
    pub(crate) lower: Option<u32>,
}

/// Indices of the interfaces whose packets begin with their IP header, as those of most tunnels do. What the kernel does not
/// say has one of Ethernet.
pub(crate) fn without_link_header(devices: &[Device]) -> Vec<u32> {
    let is_bare = |device: &&Device| link_type(device.index).is_ok_and(|kind| WITHOUT_HEADER.contains(&kind));
    devices.iter().filter(is_bare).map(|device| device.index).collect()
}

/// `ARPHRD_…` of linux/if_arp.h.
fn link_type(index: u32) -> io::Result<u16> {
    let mut request = [0; IFINFOMSG_BYTES];
    request[4..8].copy_from_slice(&index.to_ne_bytes());
    let answer = ask(libc::NETLINK_ROUTE, RTM_GETLINK, &request)?;
    let kind = answer.get(2..4).and_then(|bytes| Some(u16::from_ne_bytes(bytes.try_into().ok()?)));
    kind.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// Asks for one interface.
pub(crate) fn place(index: u32) -> io::Result<Place> {
    let mut request = [0; IFINFOMSG_BYTES];
    request[4..8].copy_from_slice(&index.to_ne_bytes());
    let answer = ask(libc::NETLINK_ROUTE, RTM_GETLINK, &request)?;
    let attributes = answer.get(IFINFOMSG_BYTES..).unwrap_or_default();
    let kind = attribute(attributes, IFLA_LINKINFO).and_then(|info| attribute(info, IFLA_INFO_KIND));
    let kind = kind.map(|name| String::from_utf8_lossy(name).trim_end_matches('\0').to_owned()).unwrap_or_default();
    let number = |kind| attribute(attributes, kind).and_then(u32_of).filter(|index| *index != 0);
    // Of a veth that is its other end, of others in another namespace nothing that is watched here.
    let lies_here = kind != "veth" && attribute(attributes, IFLA_LINK_NETNSID).is_none();
    let lower = number(IFLA_LINK).filter(|lower| lies_here && *lower != index);
    Ok(Place { kind, master: number(IFLA_MASTER), lower })
}

/// Whether the driver says that it has native XDP. An error where the kernel does not say (before 6.3).
pub(crate) fn has_native_xdp(index: u32) -> io::Result<bool> {
    let missing = || io::Error::from(io::ErrorKind::Unsupported);
    let family = generic(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_NAME, b"netdev\0")?;
    let family = attribute(&family, CTRL_ATTR_FAMILY_ID).and_then(|id| Some(u16::from_ne_bytes(id.try_into().ok()?)));
    let family = family.ok_or_else(missing)?;
    let device = generic(family, NETDEV_CMD_DEV_GET, NETDEV_A_DEV_IFINDEX, &index.to_ne_bytes())?;
    let features =
        attribute(&device, NETDEV_A_DEV_XDP_FEATURES).and_then(|bits| Some(u64::from_ne_bytes(bits.try_into().ok()?)));
    Ok(features.ok_or_else(missing)? & NETDEV_XDP_ACT_BASIC != 0)
}

/// A request of generic netlink with one attribute; returns the attributes of the answer.
fn generic(family: u16, command: u8, kind: u16, value: &[u8]) -> io::Result<Vec<u8>> {
    let mut request = vec![command, 1, 0, 0];
    request.extend_from_slice(&(4 + value.len() as u16).to_ne_bytes());
    request.extend_from_slice(&kind.to_ne_bytes());
    request.extend_from_slice(value);
    request.resize(request.len().next_multiple_of(4), 0);
    let answer = ask(libc::NETLINK_GENERIC, family, &request)?;
    Ok(answer.get(GENLMSGHDR_BYTES..).unwrap_or_default().to_vec())
}

/// A request with one answer: what is behind the answer's header.
fn ask(protocol: libc::c_int, kind: u16, payload: &[u8]) -> io::Result<Vec<u8>> {
    let socket = request(protocol, kind, NLM_F_REQUEST, payload)?;
    let mut buffer = vec![0_u8; ANSWER_BYTES];
    let answer = receive(&socket, &mut buffer)?;
    let header = answer.get(..NLMSGHDR_BYTES).ok_or(io::ErrorKind::UnexpectedEof)?;
    let is_error = header[4..6] == NLMSG_ERROR.to_ne_bytes();
    let message = &answer[NLMSGHDR_BYTES..];
    if is_error {
        outcome(message)?;
    }
    Ok(message.to_vec())
}

/// A socket through which this was asked.
fn request(protocol: libc::c_int, kind: u16, flags: u16, payload: &[u8]) -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    let fd = unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened, and owned by nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut request = Vec::with_capacity(NLMSGHDR_BYTES + payload.len());
    request.extend_from_slice(&((NLMSGHDR_BYTES + payload.len()) as u32).to_ne_bytes());
    request.extend_from_slice(&kind.to_ne_bytes());
    request.extend_from_slice(&flags.to_ne_bytes());
    request.extend_from_slice(&[0; 8]); // sequence and port: the kernel fills the one, the other is not needed
    request.extend_from_slice(payload);
    // SAFETY: the buffer is valid for its length.
    let sent = unsafe { libc::send(socket.as_raw_fd(), request.as_ptr().cast(), request.len(), 0) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(socket) }
}

/// What comes next.
fn receive<'a>(socket: &OwnedFd, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
    // SAFETY: the buffer is valid for its length.
    let received = unsafe { libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
    if received < 0 { Err(io::Error::last_os_error()) } else { Ok(&buffer[..received as usize]) }
}

/// Asks for a whole table. Reading it ends with an error where nothing comes for so long.
pub(crate) fn begin_dump(
    protocol: libc::c_int,
    kind: u16,
    payload: &[u8],
    patience: std::time::Duration,
) -> io::Result<OwnedFd> {
    let socket = request(protocol, kind, NLM_F_REQUEST | NLM_F_DUMP, payload)?;
    let patience = libc::timeval { tv_sec: patience.as_secs() as libc::time_t, tv_usec: 0 };
    let length = size_of::<libc::timeval>() as libc::socklen_t;
    let value = (&raw const patience).cast();
    // SAFETY: a valid structure of this length.
    let set = unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVTIMEO, value, length) };
    if set != 0 { Err(io::Error::last_os_error()) } else { Ok(socket) }
}

/// Calls `visit` with what is behind each message's header, until that says that it has enough.
pub(crate) fn read_dump(socket: &OwnedFd, mut visit: impl FnMut(&[u8]) -> bool) -> io::Result<()> {
    let mut buffer = vec![0_u8; ANSWER_BYTES];
    loop {
        let mut messages = receive(socket, &mut buffer)?;
        if messages.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        while let Some(header) = messages.get(..NLMSGHDR_BYTES) {
            let length = u32_of(&header[..4]).unwrap_or_default() as usize;
            let kind = u16::from_ne_bytes([header[4], header[5]]);
            let message = messages.get(NLMSGHDR_BYTES..length).ok_or(io::ErrorKind::UnexpectedEof)?;
            match kind {
                NLMSG_DONE | NLMSG_ERROR => return outcome(message),
                _ if !visit(message) => return Ok(()),
                _ => messages = messages.get(length.next_multiple_of(4)..).unwrap_or_default(),
            }
        }
    }
}

/// What the kernel says of a request: 0, or a number of an error less than that.
fn outcome(message: &[u8]) -> io::Result<()> {
    match message.get(..4).and_then(u32_of).unwrap_or_default() as i32 {
        error if error < 0 => Err(io::Error::from_raw_os_error(-error)),
        _ => Ok(()),
    }
}

/// The value of the first attribute of this kind.
pub(crate) fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    while let Some((header, _)) = attributes.split_at_checked(4) {
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]) & TYPE_MASK;
        let value = attributes.get(4..length)?;
        if kind == wanted {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
    None
}

fn u32_of(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_found_behind_others_and_their_padding() {
        let mut bytes = Vec::new();
        for (kind, value) in [(1_u16, &[7_u8][..]), (2, &[1, 2, 3, 4])] {
            bytes.extend_from_slice(&(4 + value.len() as u16).to_ne_bytes());
            bytes.extend_from_slice(&kind.to_ne_bytes());
            bytes.extend_from_slice(value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        assert_eq!(attribute(&bytes, 1), Some(&[7][..]));
        assert_eq!(attribute(&bytes, 2), Some(&[1, 2, 3, 4][..]));
        assert_eq!(attribute(&bytes, 3), None);
        assert_eq!(attribute(&[0; 8], 1), None, "a length of nothing ends it");
        assert_eq!(attribute(&bytes[..6], 2), None, "cut short");
    }

    #[test]
    fn the_loopback_has_no_program() {
        const LO: u32 = 1;
        assert_eq!(xdp_program(LO).ok(), Some(None));
    }
}

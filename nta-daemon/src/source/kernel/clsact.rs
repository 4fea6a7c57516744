//! Filters at clsact outlive the process that attached them, so whose they are has to be known before they are removed:
//! a running daemon holds a claim on the interfaces whose filters are its own, and a claim ends with its process.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use aya::programs::TcAttachType;
use aya::programs::tc::qdisc_detach_program;

use super::attach::program_at;

/// The right to the filters of an interface. A socket with an abstract address, of which a network namespace has one.
pub(super) struct Claim {
    _socket: Option<UnixDatagram>,
}

impl Claim {
    /// `None` when another process has it.
    pub(super) fn on(interface: &str) -> Option<Self> {
        let address = SocketAddr::from_abstract_name(format!("nta-daemon/clsact/{interface}"));
        match address.and_then(|address| UnixDatagram::bind_addr(&address)) {
            Ok(socket) => Some(Self { _socket: Some(socket) }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => None,
            Err(error) => {
                tracing::warn!(interface, %error, "cannot tell whether another nta-daemon has filters here");
                Some(Self { _socket: None })
            }
        }
    }

    /// Removes our filters, and returns how many there were.
    #[expect(clippy::unused_self, reason = "only who has the claim may")]
    pub(super) fn remove_filters(&self, interface: &str) -> usize {
        let removed = |direction| match qdisc_detach_program(interface, direction, program_at(direction)) {
            Ok(()) => true,
            Err(error) => {
                tracing::trace!(interface, %error, "no filter to remove");
                false
            }
        };
        [TcAttachType::Ingress, TcAttachType::Egress].into_iter().filter(|direction| removed(*direction)).count()
    }
}

//! One daemon an interface: a second one would count every packet again. A running daemon holds a claim on each of its
//! interfaces, whatever their hooks, and a claim ends with its process. That also distinguishes filters at clsact, which outlive
//! the process that attached them, and pinned programs of a daemon that runs from those that are left over.

use std::fmt;
use std::fs;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use aya::programs::TcAttachType;
use aya::programs::tc::qdisc_detach_program;

use crate::SourceError;
use crate::hook::program_at;

/// The right to an interface. A socket with an abstract address, of which a network namespace has one.
pub(crate) struct Claim {
    interface: String,
    _socket: Option<UnixDatagram>,
}

/// Who has a claim.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// Unknown to a process that may not look into that one.
    pid: Option<u32>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) if pid == std::process::id() => write!(f, "this nta-daemon already: name it once"),
            Some(pid) => write!(f, "another nta-daemon (pid {pid})"),
            None => write!(f, "another nta-daemon (of another user: its pid is hidden)"),
        }
    }
}

impl Claim {
    /// Refused when a process has it.
    pub(crate) fn on(interface: &str) -> Result<Self, SourceError> {
        let socket = SocketAddr::from_abstract_name(address(interface)).and_then(|a| UnixDatagram::bind_addr(&a));
        let socket = match socket {
            Ok(socket) => Some(socket),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                let by = holder(interface).unwrap_or(Holder { pid: None }).to_string();
                return Err(SourceError::Watched { interface: interface.to_owned(), by });
            }
            Err(error) => {
                tracing::warn!(interface, %error, "cannot find out whether another nta-daemon watches it");
                None
            }
        };
        Ok(Self { interface: interface.to_owned(), _socket: socket })
    }

    pub(crate) fn is_on(&self, interface: &str) -> bool {
        self.interface == interface
    }

    /// Removes our filters at clsact, and returns how many there were.
    pub(crate) fn remove_filters(&self) -> usize {
        let interface = &self.interface;
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

fn address(interface: &str) -> String {
    format!("nta-daemon/watches/{interface}")
}

/// Who watches an interface, if anyone.
pub(crate) fn holder(interface: &str) -> Option<Holder> {
    let table = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let inode = inode_of(&table, &format!("@{}", address(interface)))?;
    Some(Holder { pid: process_with(&format!("socket:[{inode}]")) })
}

/// Lines are `address: references protocol flags type state inode path`.
fn inode_of<'a>(table: &'a str, path: &str) -> Option<&'a str> {
    table.lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip(6);
        let inode = fields.next()?;
        (fields.next() == Some(path)).then_some(inode)
    })
}

/// The process that has this open.
fn process_with(target: &str) -> Option<u32> {
    let pids = fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.into_iter().find(|pid: &u32| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        files.into_iter().any(|file| fs::read_link(file.path()).is_ok_and(|link| link.as_os_str() == target))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_refused_while_it_is_held_and_names_its_holder() {
        let name = format!("test{}", std::process::id());
        assert_eq!(holder(&name), None);
        let claim = Claim::on(&name);
        assert_eq!(holder(&name), Some(Holder { pid: Some(std::process::id()) }));
        let refused = Claim::on(&name).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(refused.contains(&name), "{refused}");
        drop(claim);
        assert!(Claim::on(&name).is_ok());
    }

    #[test]
    fn an_address_is_found_by_its_whole_name() {
        let table = "Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000000000000000: 00000002 00000000 00000000 0002 01 4711 @nta-daemon/watches/eth10\n\
            0000000000000000: 00000002 00000000 00000000 0002 01 4712 @nta-daemon/watches/eth1\n";
        assert_eq!(inode_of(table, "@nta-daemon/watches/eth1"), Some("4712"));
        assert_eq!(inode_of(table, "@nta-daemon/watches/eth"), None);
    }
}

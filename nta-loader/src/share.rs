//! Programs that count in the maps of others: those of a changed set of interfaces go on where the ones before are.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use aya::Ebpf;
use aya::maps::{Map, MapData};

use crate::SourceError;

/// Maps in which something is kept between packets.
const SHARED: [&str; 11] =
    ["FLOWS4", "FLOWS6", "EMBRYOS4", "EMBRYOS6", "NAT4", "NAT6", "NESTED", "OVERFLOW", "FRAGMENTS", "LEDGER", "EVENTS"];

/// The maps of loaded programs.
pub(crate) struct SharedMaps(Vec<(&'static str, OwnedFd)>);

impl SharedMaps {
    /// The maps of an object, before they are taken out of it.
    pub(crate) fn of(ebpf: &Ebpf) -> Result<Self, SourceError> {
        let own = |name: &'static str| {
            let fd = fd_of(ebpf.map(name)).ok_or(SourceError::Missing(name))?;
            Ok((name, fd.try_clone_to_owned().map_err(|source| SourceError::Map { name, source })?))
        };
        SHARED.into_iter().map(own).collect::<Result<_, _>>().map(Self)
    }

    /// One of them.
    pub(crate) fn get(&self, name: &str) -> Option<BorrowedFd<'_>> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, fd)| fd.as_fd())
    }

    /// Puts these maps in place of those that an object was opened with, but for some. aya gives its instructions the numbers of
    /// descriptors, and hands them to the kernel only when a program is loaded: until then what is behind a number can be
    /// replaced.
    pub(crate) fn put_into(&self, ebpf: &Ebpf, but_for: &[&str]) -> Result<(), SourceError> {
        for (name, fd) in self.0.iter().filter(|(name, _)| !but_for.contains(name)) {
            let place = fd_of(ebpf.map(name)).ok_or(SourceError::Missing(name))?;
            replace(fd.as_fd(), place).map_err(|source| SourceError::Map { name, source })?;
        }
        Ok(())
    }
}

/// Makes `place` another descriptor of what `fd` is of.
fn replace(fd: BorrowedFd<'_>, place: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: both are open; whoever owns `place` goes on owning it, and finds a map of the same kind behind it.
    let done = unsafe { libc::dup3(fd.as_raw_fd(), place.as_raw_fd(), libc::O_CLOEXEC) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn fd_of(map: Option<&Map>) -> Option<BorrowedFd<'_>> {
    let data: &MapData = match map? {
        Map::HashMap(map) | Map::LruHashMap(map) | Map::PerCpuArray(map) | Map::RingBuf(map) => map,
        _ => return None,
    };
    Some(data.fd().as_fd())
}

//! Which names were asked of which host lately, and by whom: what a resolver then asks elsewhere it asks for others, and what
//! several ask for is nobody's data.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use foldhash::fast::RandomState;

/// Names in a generation, at 64 bytes at most 4 MiB each; further ones are counted and left out: then what a resolver asks is its own
/// again, and a name its first asker's.
const MAX_NAMES: usize = 65_536;

/// Two generations that take turns.
#[derive(Debug, Default)]
pub(super) struct Asked {
    now: Names,
    before: Names,
}

#[derive(Debug, Default)]
struct Names {
    /// Hashes of a host and a name that it was asked for.
    of_hosts: HashSet<u32, RandomState>,
    /// Who asked first for the name with this hash, and the number of the message.
    askers: HashMap<u32, (IpAddr, u16), RandomState>,
}

impl Asked {
    /// Notes what a host was asked for; whether there was room.
    pub(super) fn add(&mut self, of_host: u32) -> bool {
        let Names { of_hosts, .. } = &mut self.now;
        of_hosts.contains(&of_host) || of_hosts.len() < MAX_NAMES && of_hosts.insert(of_host)
    }

    /// Whether a host was asked for a name.
    pub(super) fn has(&self, of_host: u32) -> bool {
        self.now.of_hosts.contains(&of_host) || self.before.of_hosts.contains(&of_host)
    }

    /// Another client that asked for the name before. The same message with another sender has come through a translating gateway.
    pub(super) fn other(&mut self, name: u32, client: IpAddr, id: u16) -> Option<IpAddr> {
        let known = self.now.askers.get(&name).or_else(|| self.before.askers.get(&name)).copied();
        if known.is_none() && self.now.askers.len() < MAX_NAMES {
            self.now.askers.insert(name, (client, id));
        }
        known.filter(|(first, number)| *first != client && *number != id).map(|(first, _)| first)
    }

    pub(super) fn turn(&mut self) {
        self.before = std::mem::take(&mut self.now);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

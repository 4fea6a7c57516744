//! Translated connections that are older than the programs: their names go into the maps before anything is attached, so that both
//! halves of each are one flow from its next packet on.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};

use aya::Pod;
use aya::maps::MapData;
use nta_common::nat::{Key, Translated, Tuple, translation};
use nta_common::{FlowKey4, FlowKey6};

use crate::elements::{lookup, update};
use crate::load::Kernel;
use crate::older::{self, Connection};

/// What came of reading the kernel's table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Learned {
    /// Connections whose names were new.
    new: u64,
    /// Connections that found no room.
    no_room: u64,
}

impl Kernel {
    /// Learns the translated connections that there are now, where they are joined, and says in the log what is known.
    pub(crate) fn learn_translated(&self) {
        let Some(tick) = self.tick().filter(|_| self.joins_nat()) else { return };
        let (Some(v4), Some(v6)) = (self.map("NAT4"), self.map("NAT6")) else { return };
        match learn(v4, v6, tick) {
            Ok(Learned { no_room: 0, new: 0 }) => {}
            Ok(Learned { no_room: 0, new: connections }) => {
                tracing::info!(connections, "translated connections that began before are known");
            }
            Ok(Learned { no_room, new: connections }) => tracing::warn!(
                connections,
                no_room,
                consequence = "the others are two flows until their packets tell; see capture.map_memory_mib",
                "not all translated connections that began before are known"
            ),
            Err(error) => {
                let consequence = "connections that began before are two flows until their packets tell";
                tracing::warn!(%error, consequence, "the table of connections cannot be read");
            }
        }
    }
}

/// As many as there is room for: one more would push another out.
fn learn(v4: BorrowedFd<'_>, v6: BorrowedFd<'_>, tick: u64) -> io::Result<Learned> {
    let (mut v4, mut v6) = (Room::of(v4)?, Room::of(v6)?);
    let (mut learned, mut failed) = (Learned::default(), Ok(()));
    older::read(&older::open()?, |connection, is_translated| {
        failed = match &connection {
            _ if !is_translated => Ok(()),
            Connection::V4(names) => v4.learn::<FlowKey4>(names, tick, &mut learned),
            Connection::V6(names) => v6.learn::<FlowKey6>(names, tick, &mut learned),
        };
        failed.is_ok()
    })?;
    failed.map(|()| learned)
}

/// A map of translated connections, and how much of it is taken.
struct Room {
    map: MapData,
    taken: u32,
    max_entries: u32,
}

impl Room {
    fn of(map: BorrowedFd<'_>) -> io::Result<Self> {
        let map = MapData::from_fd(map.try_clone_to_owned()?).map_err(io::Error::other)?;
        let max_entries = map.info().map_err(io::Error::other)?.max_entries();
        Ok(Self { map, taken: 0, max_entries })
    }

    /// Learns the names of a connection, where they are new and there is room.
    fn learn<K: Key + Pod>(
        &mut self,
        [first, answer]: &[Tuple<K::Address>; 2],
        tick: u64,
        learned: &mut Learned,
    ) -> io::Result<()>
    where
        Translated<K>: Pod,
    {
        let Some((answers, translated)) = translation::<K>(first, answer) else { return Ok(()) };
        let called = (first.destination, first.destination_port);
        let is_forwarded = first.proto != K::ICMP.0 && called != (answer.source, answer.source_port);
        let takes = 1 + u32::from(is_forwarded);
        if self.taken + takes > self.max_entries {
            learned.no_room += 1;
            return Ok(());
        }
        self.taken += takes;
        let fd = self.map.fd().as_fd();
        if is_forwarded {
            let (mut first, mut back) = (answers, translated.learned_at(tick));
            back.turn_round(&mut first);
            update(fd, &first, &back)?;
        }
        if lookup(fd, &answers)?.is_some_and(|known: Translated<K>| known.agrees(&translated) && !known.is_over()) {
            return Ok(());
        }
        update(fd, &answers, &translated.learned_at(tick))?;
        learned.new += 1;
        Ok(())
    }
}

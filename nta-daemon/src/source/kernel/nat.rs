//! The maps of translated connections: which flow the answers of each are counted in.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use aya::Pod;
use aya::maps::MapData;
use nta_common::held::Asked;
use nta_common::nat::{Key, Translated, Tuple, translation};
use nta_common::{FlowKey4, FlowKey6};
use nta_loader::elements::{delete, lookup};
use nta_loader::older::{self, Connection};
use nta_loader::{Handles, monotonic_ns};

use super::held::Connections;
use super::read::MapReader;
use crate::source::SourceError;
use nta_core::domain::{FlowKey, MapFill, Names, Translation};

/// What an entry of an LRU map takes in the kernel beyond key and value (`struct htab_elem`, with its place in the list).
const ENTRY_OVERHEAD: u64 = 48;

/// How often the kernel's table is read for those of which nobody has seen where it keeps them.
const TABLE_EVERY_NS: u64 = 30_000_000_000;

/// Asks the kernel for its table of connections, or has it asked.
pub type ConnectionTable = Box<dyn Fn() -> io::Result<OwnedFd> + Send>;

/// Both maps.
pub(super) struct Translations {
    v4: NatMap<FlowKey4>,
    v6: NatMap<FlowKey6>,
    connections: Connections,
    /// When the last one was learned that is known.
    newest: u64,
    /// The tick of the last reading.
    read_tick: u64,
    /// Where the kernel's table comes from.
    table: ConnectionTable,
    /// When it was read last.
    table_ns: u64,
}

struct NatMap<K> {
    name: &'static str,
    map: MapData,
    max_entries: u32,
    reader: MapReader<K, Translated<K>>,
    entries: u64,
    /// Entries of which nobody has seen where the kernel keeps the connection.
    unknown: u64,
    /// Those that lead back and were not used since the last reading: their keys, and those of the answers.
    backward: Vec<(K, K)>,
    /// The first of them that is looked at next.
    backward_at: usize,
}

/// Entries that lead back of which is looked in one reading whether their connection is still there.
const BACKWARD_AT_ONCE: usize = 4096;

/// One reading: what it goes by, and what it finds.
struct Reading<'a, S> {
    connections: &'a mut Connections,
    /// The tick of the reading before.
    since: u64,
    /// When the last one was learned that was known before.
    known: u64,
    newest: u64,
    /// Under which keys the kernel's table has answers, where it was read.
    table: Option<HashSet<FlowKey>>,
    names: &'a mut HashMap<FlowKey, Names, S>,
    before: Vec<FlowKey>,
}

impl Translations {
    pub(super) fn take(handles: &mut Handles, table: ConnectionTable) -> Result<Self, SourceError> {
        let (v4, v6) = (NatMap::take(handles, "NAT4")?, NatMap::take(handles, "NAT6")?);
        let connections = Connections::take(handles)?;
        Ok(Self { v4, v6, connections, newest: 0, read_tick: 0, table, table_ns: monotonic_ns() })
    }

    /// Which end began the connections that the kernel has now, translated or not, as many as there is room for: they are older
    /// than their flows, whose first packet may be an answer.
    pub(super) fn began(&mut self) -> io::Result<HashMap<FlowKey, usize>> {
        self.table_ns = monotonic_ns();
        let most = self.v4.max_entries as usize + self.v6.max_entries as usize;
        let mut all = HashMap::new();
        older::read(&(self.table)()?, |connection, _| {
            all.extend(match &connection {
                Connection::V4([first, _]) => began(first, FlowKey::V4),
                Connection::V6([first, _]) => began(first, FlowKey::V6),
            });
            all.len() < most
        })?;
        Ok(all)
    }

    /// The names of all translated connections, by the key under which they are counted; those whose connection is over, and that
    /// counted no packet since the last reading, are removed. Returns under which keys the answers of those were counted that are
    /// new, if any came before their connection was learned.
    pub(super) fn read<S: BuildHasher>(
        &mut self,
        names: &mut HashMap<FlowKey, Names, S>,
    ) -> Result<Vec<FlowKey>, SourceError> {
        names.clear();
        let tick = self.connections.tick()?;
        let (since, known, table) = (self.read_tick, self.newest, self.table());
        let (newest, connections, before) = (known, &mut self.connections, Vec::new());
        let mut reading = Reading { connections, since, known, newest, table, names, before };
        self.v4.read(FlowKey::V4, &mut reading)?;
        self.v6.read(FlowKey::V6, &mut reading)?;
        (self.newest, self.read_tick) = (reading.newest, tick);
        Ok(reading.before)
    }

    /// Under which keys the kernel's table has answers of translated connections, if it is time to ask for those that are known from
    /// there alone. `None` where it cannot be read: they stay.
    fn table(&mut self) -> Option<HashSet<FlowKey>> {
        let now = monotonic_ns();
        if self.v4.unknown + self.v6.unknown == 0 || now.saturating_sub(self.table_ns) < TABLE_EVERY_NS {
            return None;
        }
        self.table_ns = now;
        let most = u64::from(self.v4.max_entries) + u64::from(self.v6.max_entries);
        let (mut table, mut is_whole) = (HashSet::new(), true);
        let visit = |connection: Connection, is_translated: bool| {
            let answers = match &connection {
                _ if !is_translated => None,
                Connection::V4([first, answer]) => translation(first, answer).map(|(key, _)| FlowKey::V4(key)),
                Connection::V6([first, answer]) => translation(first, answer).map(|(key, _)| FlowKey::V6(key)),
            };
            is_whole = (table.len() as u64) < most;
            table.extend(answers);
            is_whole
        };
        let read = (self.table)().and_then(|socket| older::read(&socket, visit));
        if let Err(error) = &read {
            tracing::debug!(%error, "the table of connections cannot be read again");
        }
        (read.is_ok() && is_whole).then_some(table)
    }

    pub(super) fn fill(&self) -> [MapFill; 2] {
        [self.v4.fill(), self.v6.fill()]
    }
}

impl<S: BuildHasher> Reading<'_, S> {
    /// The connection is there, or was a moment ago.
    fn is_there<K>(&mut self, answers: &K, translated: &Translated<K>, key: fn(K) -> FlowKey)
    where
        K: Copy,
    {
        let (counted, answers) = (key(*translated.key()), key(*answers));
        let requester = translated.originator() ^ usize::from(translated.is_turned());
        self.newest = self.newest.max(translated.learned());
        if translated.learned() >= self.known {
            self.before.push(of_its_own(answers, requester));
        }
        let new = Translation::of(&counted, &answers, translated);
        let place = self.names.entry(counted).or_default();
        // Of several names that a connection had in turn, the last one is its own.
        match place {
            Names::Translated(known) if known.learned >= new.learned => {}
            _ => *place = Names::Translated(new),
        }
    }

    /// The connection is over.
    fn is_over<K: Copy>(&mut self, translated: &Translated<K>, key: fn(K) -> FlowKey) {
        let place = self.names.entry(key(*translated.key())).or_default();
        if *place == Names::Unsaid {
            *place = Names::Over;
        }
    }
}

/// The key of a connection's flow, and which end began it. Nothing of ICMP: its messages say themselves what they are.
fn began<K: Key>(first: &Tuple<K::Address>, key: fn(K) -> FlowKey) -> Option<(FlowKey, usize)> {
    if first.proto == K::ICMP.0 {
        return None;
    }
    let (from, to) = ((first.source, first.source_port), (first.destination, first.destination_port));
    let (counted, direction) = K::between(from, to, first.proto);
    Some((key(counted), direction as usize))
}

/// The key of a flow that answers make where nothing is known of their connection; `requester` is the place of whom they go to.
fn of_its_own(answers: FlowKey, requester: usize) -> FlowKey {
    let ports =
        |(_, request, reply): (u8, u8, u8)| [0, 1].map(|end| u16::from(if end == requester { request } else { reply }));
    match answers {
        FlowKey::V4(key) if key.proto() == FlowKey4::ICMP.0 => {
            let ([a, b], [a_port, b_port]) = (key.addresses(), ports(FlowKey4::ICMP));
            FlowKey::V4(Key::between((a, a_port), (b, b_port), key.proto()).0)
        }
        FlowKey::V6(key) if key.proto() == FlowKey6::ICMP.0 => {
            let words = |address: u128| [(address >> 64) as u64, address as u64];
            let ([a, b], [a_port, b_port]) = (key.addresses().map(words), ports(FlowKey6::ICMP));
            FlowKey::V6(Key::between((a, a_port), (b, b_port), key.proto()).0)
        }
        key => key,
    }
}

impl<K: Pod + Send> NatMap<K>
where
    Translated<K>: Pod + Send,
{
    fn take(handles: &mut Handles, name: &'static str) -> Result<Self, SourceError> {
        let (map, max_entries) = handles.take_map(name)?;
        let (reader, backward) = (MapReader::new(), Vec::new());
        Ok(Self { name, map, max_entries, reader, entries: 0, unknown: 0, backward, backward_at: 0 })
    }

    fn read<S: BuildHasher>(&mut self, key: fn(K) -> FlowKey, reading: &mut Reading<'_, S>) -> Result<(), SourceError>
    where
        K: Key,
    {
        (self.entries, self.unknown) = (0, 0);
        self.backward.clear();
        let (name, map) = (self.name, self.map.fd().as_fd());
        let (mut unused, mut over) = (Vec::with_capacity(Asked::MOST), Vec::new());
        let mut asked = Ok(());
        let visit = |answers: &K, translated: &Translated<K>| {
            self.entries += 1;
            let is_used = translated.used() >= reading.since;
            if answers.is_backward() {
                if !is_used {
                    self.backward.push((*answers, *translated.key()));
                }
                return;
            }
            let is_unknown = translated.is_unknown();
            self.unknown += u64::from(is_unknown);
            if is_unknown && reading.table.as_ref().is_some_and(|table| !table.contains(&key(*answers))) {
                over.push((*answers, *translated));
            } else if is_used || is_unknown {
                reading.is_there(answers, translated, key);
            } else {
                unused.push((*answers, *translated));
                if unused.len() == Asked::MOST && asked.is_ok() {
                    asked = ask(&mut unused, &mut over, key, reading);
                }
            }
        };
        self.reader.for_each(map, visit).map_err(|source| SourceError::Map { name, source })?;
        asked?;
        ask(&mut unused, &mut over, key, reading)?;
        for (answers, translated) in &over {
            reading.is_over(translated, key);
            let failed = |source| SourceError::Map { name, source };
            // Another connection may have come by the same names meanwhile.
            let now: Option<Translated<K>> = lookup(map, answers).map_err(failed)?;
            if now == Some(*translated) {
                delete(map, answers).map_err(failed)?;
                self.entries = self.entries.saturating_sub(1);
            }
        }
        self.forget_backward().map_err(|source| SourceError::Map { name, source })
    }

    /// Removes what leads back to connections that are there no more, or have another name now.
    fn forget_backward(&mut self) -> io::Result<()>
    where
        K: Key,
    {
        let fd = self.map.fd().as_fd();
        let looked = self.backward.len().min(BACKWARD_AT_ONCE);
        for n in 0..looked {
            let (backward, answers) = &self.backward[(self.backward_at + n) % self.backward.len()];
            let forward: Option<Translated<K>> = lookup(fd, answers)?;
            if forward.is_none_or(|forward| forward.key().backward() != *backward) {
                delete(fd, backward)?;
                self.entries = self.entries.saturating_sub(1);
            }
        }
        self.backward_at = if looked == 0 { 0 } else { (self.backward_at + looked) % self.backward.len() };
        Ok(())
    }

    fn fill(&self) -> MapFill {
        let entry = (size_of::<K>() + size_of::<Translated<K>>()) as u64 + ENTRY_OVERHEAD;
        let max_entries = u64::from(self.max_entries);
        MapFill { name: self.name.to_owned(), entries: self.entries, max_entries, memory_bytes: max_entries * entry }
    }
}

/// Asks the kernel which of these connections it still has.
fn ask<K: Key, S: BuildHasher>(
    unused: &mut Vec<(K, Translated<K>)>,
    over: &mut Vec<(K, Translated<K>)>,
    key: fn(K) -> FlowKey,
    reading: &mut Reading<'_, S>,
) -> Result<(), SourceError> {
    // Of one that a packet has found to be over nothing has to be asked: nothing is at this place.
    const NOWHERE: u64 = 1;
    if unused.is_empty() {
        return Ok(());
    }
    let places: Vec<u64> = unused.iter().map(|(_, known)| known.connection().unwrap_or(NOWHERE)).collect();
    let (tick, held) = reading.connections.ask(&places)?;
    let is_there: Vec<bool> =
        unused.iter().zip(held).map(|((answers, known), held)| held.is(answers, known, tick)).collect();
    for ((answers, known), is_there) in unused.drain(..).zip(is_there) {
        if is_there {
            reading.is_there(&answers, &known, key);
        } else {
            over.push((answers, known));
        }
    }
    Ok(())
}

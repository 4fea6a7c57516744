//! Reading a whole hash map: in batches, one thread in the system call while the other takes what the last one brought.
//!
//! A batched read that meets a bucket with more entries than the batch has room for is refused with `ENOSPC`; the batch
//! grows and the read goes on from the same place. A kernel without batches (before 5.6) is read key by key.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use aya::Pod;

use nta_loader::elements::{lookup, lookup_batch, next_key};

/// Entries asked for at once, to begin with: three batches fit the caches of a core.
const FIRST_BATCH: usize = 512;
/// Where growing ends. A bucket this full is not seen outside of attacks on the hash, which is keyed by the kernel.
const MAX_BATCH: usize = 1 << 20;
/// Batches that go round between the two threads.
const BATCHES: usize = 3;
const THREAD: &str = "nta-map-reader";

/// Reads hash maps whole; keeps its buffers between drains.
pub(super) struct MapReader<K, V> {
    /// At most [`BATCHES`], none before the first read.
    batches: Vec<MapBatch<K, V>>,
    batched: bool,
}

/// Entries as the kernel wrote them.
struct MapBatch<K, V> {
    keys: Vec<MaybeUninit<K>>,
    values: Vec<MaybeUninit<V>>,
    count: usize,
}

impl<K: Pod + Send, V: Pod + Send> MapReader<K, V> {
    pub(super) fn new() -> Self {
        Self { batches: Vec::new(), batched: true }
    }

    /// Calls `visit` for every entry; entries that are added or removed meanwhile may or may not be among them.
    pub(super) fn for_each(&mut self, map: BorrowedFd<'_>, mut visit: impl FnMut(&K, &V)) -> io::Result<()> {
        if self.batched {
            match self.in_batches(map, &mut visit) {
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => self.batched = false,
                done => return done,
            }
        }
        one_by_one(map, &mut visit)
    }

    fn in_batches(&mut self, map: BorrowedFd<'_>, visit: &mut impl FnMut(&K, &V)) -> io::Result<()> {
        let mut batch = self.batches.pop().unwrap_or_else(MapBatch::new);
        let Some(position) = batch.fill(map, None)? else {
            batch.visit(visit);
            self.batches.push(batch);
            return Ok(());
        };
        while self.batches.len() + 1 < BATCHES {
            self.batches.push(MapBatch::new());
        }
        let (full, filled) = sync_channel(BATCHES);
        let (empty, emptied) = sync_channel(BATCHES);
        let reader = Reader { map, position, spare: std::mem::take(&mut self.batches), emptied, full };
        let read = thread::scope(|scope| {
            let thread = thread::Builder::new().name(THREAD.to_owned()).spawn_scoped(scope, move || reader.run());
            let Ok(thread) = thread else { return Err(batch) };
            batch.visit(visit);
            // Both ends of a channel hold all batches there are, so neither send waits, and one fails only when the
            // thread is gone, which `join` reports.
            let _ = empty.send(batch);
            for batch in filled {
                batch.visit(visit);
                let _ = empty.send(batch);
            }
            drop(empty);
            Ok(thread.join())
        });
        match read {
            Ok(Ok((outcome, batches))) => {
                self.batches = batches;
                outcome
            }
            Ok(Err(_)) => Err(io::Error::other("the thread that reads the map panicked")),
            Err(batch) => self.alone(map, batch, position, visit),
        }
    }

    /// Goes on without a second thread, where the system has none left.
    fn alone(
        &mut self,
        map: BorrowedFd<'_>,
        mut batch: MapBatch<K, V>,
        position: u64,
        visit: &mut impl FnMut(&K, &V),
    ) -> io::Result<()> {
        batch.visit(visit);
        let mut position = Some(position);
        while position.is_some() {
            position = batch.fill(map, position)?;
            batch.visit(visit);
        }
        self.batches.push(batch);
        Ok(())
    }
}

/// The side that is in the system call.
struct Reader<'a, K, V> {
    map: BorrowedFd<'a>,
    position: u64,
    spare: Vec<MapBatch<K, V>>,
    emptied: Receiver<MapBatch<K, V>>,
    full: SyncSender<MapBatch<K, V>>,
}

impl<K: Pod, V: Pod> Reader<'_, K, V> {
    /// Reads to the end of the map; returns the batches once they were all looked at.
    fn run(mut self) -> (io::Result<()>, Vec<MapBatch<K, V>>) {
        let outcome = self.fill_all();
        let Self { mut spare, emptied, full, .. } = self;
        drop(full);
        spare.extend(emptied);
        (outcome, spare)
    }

    fn fill_all(&mut self) -> io::Result<()> {
        let mut position = Some(self.position);
        while position.is_some() {
            let Some(mut batch) = self.spare.pop().or_else(|| self.emptied.recv().ok()) else { break };
            let filled = batch.fill(self.map, position);
            if self.full.send(batch).is_err() {
                break;
            }
            position = filled?;
        }
        Ok(())
    }
}

impl<K: Pod, V: Pod> MapBatch<K, V> {
    fn new() -> Self {
        Self { keys: Vec::new(), values: Vec::new(), count: 0 }
    }

    /// Reads what comes at `position`; returns where the next read goes on.
    fn fill(&mut self, map: BorrowedFd<'_>, position: Option<u64>) -> io::Result<Option<u64>> {
        self.grow(FIRST_BATCH);
        self.count = 0;
        loop {
            match lookup_batch(map, position, &mut self.keys, &mut self.values) {
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) && self.keys.len() < MAX_BATCH => {
                    self.grow(self.keys.len() * 2);
                }
                filled => {
                    let (count, next) = filled?;
                    self.count = count;
                    return Ok(next);
                }
            }
        }
    }

    fn visit(&self, visit: &mut impl FnMut(&K, &V)) {
        for (key, value) in self.keys.iter().zip(&self.values).take(self.count) {
            // SAFETY: the kernel filled the first `count` keys and values, and any bytes are valid for `Pod` types.
            unsafe { visit(key.assume_init_ref(), value.assume_init_ref()) };
        }
    }

    fn grow(&mut self, entries: usize) {
        if self.keys.len() < entries {
            self.keys.resize_with(entries, MaybeUninit::uninit);
            self.values.resize_with(entries, MaybeUninit::uninit);
        }
    }
}

fn one_by_one<K: Pod, V: Pod>(map: BorrowedFd<'_>, visit: &mut impl FnMut(&K, &V)) -> io::Result<()> {
    let mut key = next_key(map, None)?;
    while let Some(next) = key {
        if let Some(value) = lookup(map, &next)? {
            visit(&next, &value);
        }
        key = next_key(map, Some(&next))?;
    }
    Ok(())
}

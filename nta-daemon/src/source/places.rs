//! The index of a table of flows: 8 bytes an entry, searched without looking at one.

use hashbrown::HashTable;

/// Slots by the hash of their key.
#[derive(Default)]
pub(super) struct Places(HashTable<Place>);

/// Where the entry of a key with this hash is.
#[derive(Clone, Copy)]
struct Place {
    hash: u32,
    slot: u32,
}

impl Places {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Where an entry with this hash is of which `is_it` says that it is the one.
    #[inline]
    pub(super) fn find(&self, hash: u32, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        self.0.find(spread(hash), |place| place.hash == hash && is_it(place.slot)).map(|place| place.slot)
    }

    /// Adds an entry that is not there.
    pub(super) fn insert(&mut self, hash: u32, slot: u32) {
        self.0.insert_unique(spread(hash), Place { hash, slot }, |place| spread(place.hash));
    }

    pub(super) fn remove(&mut self, hash: u32, slot: u32) {
        if let Ok(place) = self.0.find_entry(spread(hash), |place| place.slot == slot) {
            place.remove();
        }
    }
}

/// Memory that an entry of the index takes.
pub(super) const PLACE_BYTES: usize = size_of::<Place>();

/// 64 bits as the index wants them: it takes the place from the lower ones and a tag from the upper ones.
#[inline]
const fn spread(hash: u32) -> u64 {
    (hash as u64) << 32 | hash as u64
}

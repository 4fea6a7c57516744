//! Which place in the ledger each watched interface has. It keeps that as long as it is watched, whatever comes and goes
//! beside it, so that programs of before and after a change count it in the same place.

use nta_common::limits::MAX_INTERFACES;

/// What stands for an interface in a place that nobody has: no interface has this index.
const NOBODY: u32 = u32::MAX;

/// Interface indices by place; 0 in one that is free.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slots(Vec<u32>);

impl Slots {
    /// These indices in their order; 0 is a free place.
    pub(crate) const fn new(indices: Vec<u32>) -> Self {
        Self(indices)
    }

    /// Interface indices by place; 0 in one that is free.
    pub(crate) fn indices(&self) -> &[u32] {
        &self.0
    }

    /// The place of an interface.
    pub(crate) fn place(&self, index: u32) -> Option<usize> {
        self.0.iter().position(|known| *known == index)
    }

    /// The same set of interfaces as these, wherever they are.
    pub(crate) fn holds(&self, indices: &[u32]) -> bool {
        let taken = self.0.iter().filter(|index| **index != 0).count();
        taken == indices.len() && indices.iter().all(|index| self.0.contains(index))
    }

    /// Keeps the places of these, and gives one to each that has none, a free one first. The last place of the ledger is that of
    /// strangers.
    #[must_use]
    pub(crate) fn with(&self, indices: &[u32]) -> Self {
        let mut new: Vec<u32> = self.0.iter().map(|index| if indices.contains(index) { *index } else { 0 }).collect();
        for index in indices.iter().filter(|index| self.place(**index).is_none()) {
            match new.iter().position(|known| *known == 0) {
                Some(free) => new[free] = *index,
                None if new.len() + 1 < MAX_INTERFACES => new.push(*index),
                None => {}
            }
        }
        Self(new)
    }

    /// What programs are loaded with.
    pub(crate) fn for_programs(&self) -> Vec<u32> {
        self.0.iter().map(|index| if *index == 0 { NOBODY } else { *index }).collect()
    }

    /// A bit for the place of each of these.
    pub(crate) fn bits(&self, indices: &[u32]) -> u16 {
        indices.iter().filter_map(|index| self.place(*index)).fold(0, |bits, place| bits | 1 << place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_keeps_its_place_while_others_come_and_go() {
        let first = Slots::new(vec![5, 7, 9]);
        let without = first.with(&[5, 9]);
        assert_eq!(without.for_programs(), [5, NOBODY, 9]);
        let with = without.with(&[5, 9, 12, 13]);
        assert_eq!(with.indices(), [5, 12, 9, 13]);
        assert!(with.holds(&[12, 5, 13, 9]) && !with.holds(&[12, 5, 13]) && !with.holds(&[12, 5, 13, 8]));
        assert_eq!(with.bits(&[9, 13, 99]), 0b1100);
        let most: Vec<u32> = (1..=MAX_INTERFACES as u32).collect();
        assert_eq!(Slots::default().with(&most).indices().len(), MAX_INTERFACES - 1, "the last one is of strangers");
    }
}

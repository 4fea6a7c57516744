//! Maps of another size that a run before left: after an update, or another `capture.map_memory_mib`. The programs are replaced by
//! such as count in new maps; what was counted in these until then is read out once, by whoever reads the new ones.

use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use aya::maps::MapData;
use nta_common::LedgerSlot;
use nta_core::domain::Readings;

use crate::Handles;
use crate::attached::LeftBehind;
use crate::device::name_of;
use crate::handover;
use crate::pin::HANDOVER;

/// What is read out.
const MAPS: [&str; 6] = ["FLOWS4", "FLOWS6", "EMBRYOS4", "EMBRYOS6", "OVERFLOW", "LEDGER"];
/// In front of their names among the descriptors.
pub const LEFT: &str = "left:";

/// Maps, and what was reported of them.
#[derive(Debug)]
pub(crate) struct Left {
    path: PathBuf,
    state: LeftBehind,
    maps: Vec<(&'static str, MapData)>,
}

impl Left {
    /// `None` where nobody knows what was reported of them, or they cannot be opened.
    pub(crate) fn open(path: &Path, indices: &[u32], identity: String, committed: Option<&Readings>) -> Option<Self> {
        let (base, until_ns) = match (handover::read(&path.join(HANDOVER)), committed) {
            (Ok(handover), _) => (handover.rows, Some(handover.until_ns?)),
            (Err(_killed), Some(readings)) if readings.maps == identity => (readings.ledger.clone(), None),
            _ => return None,
        };
        let open = |name: &&'static str| Some((*name, MapData::from_pin(path.join(name)).ok()?));
        let maps = MAPS.iter().map(open).collect::<Option<_>>()?;
        let name = |index: &u32| name_of(*index).unwrap_or_else(|| format!("({index})"));
        let slots = indices.iter().map(|index| if *index == 0 { String::new() } else { name(index) }).collect();
        Some(Self { path: path.to_owned(), state: LeftBehind { maps: identity, slots, base, until_ns }, maps })
    }

    pub(crate) fn state(&self) -> LeftBehind {
        self.state.clone()
    }

    /// Whether the run before was killed, and what it had stored is gone on from.
    pub(crate) const fn is_resumed(&self) -> bool {
        self.state.until_ns.is_none()
    }

    pub(crate) fn is_at(&self, path: &Path) -> bool {
        self.path == path
    }

    /// Their descriptors.
    pub(crate) fn handles(&self) -> std::io::Result<Handles> {
        let mut handles = Handles::default();
        for (name, map) in &self.maps {
            handles.push(format!("{LEFT}{name}"), map.fd().as_fd().try_clone_to_owned()?);
        }
        Ok(handles)
    }
}

impl LeftBehind {
    /// What was counted at each place since it was reported, given what the ledger holds.
    pub fn since(&self, place: usize, held: &LedgerSlot) -> LedgerSlot {
        self.base.get(place).map_or(*held, |base| nta_core::domain::difference(held, base))
    }
}

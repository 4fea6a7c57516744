//! Links and maps that outlive the process, pinned on a BPF file system, so that packets are counted while the daemon
//! restarts. Below `capture.pin_path`:
//!
//! - `netN/` for each network namespace (its inode), as interface indices are its own;
//! - `netN/ifI_DIRECTION_HOOK`: the link of an interface; the next start replaces its program atomically;
//! - `netN/maps_LAYOUT_I_J/`: the maps of the daemon that watches these interfaces, and its [`handover`].

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use aya::maps::MapData;
use aya::programs::TcAttachType;
use aya::programs::links::{FdLink, PinnedLink};
use nta_common::limits::{MAX_FRAGMENTED, MAX_OVERFLOWS};
use nta_common::nat::Translated;
use nta_common::{Counter, CpuSlot, Embryo, FlowKey4, FlowKey6, FlowStats, FragmentKey, LedgerSlot, OverflowKey};

use crate::SourceError;
use crate::attached::Pinned;
use crate::claim;
use crate::device::{Device, name_of};
use crate::elements;
use crate::handover::{self, Handover};
use crate::hook::{DIRECTIONS, Hook};
use crate::left::Left;
use crate::slots::Slots;
use nta_core::domain::Readings;

/// What the fields of the pinned maps mean. Raised with every change that the sizes do not show.
const SCHEMA: usize = 6;
/// The maps that the next daemon goes on with.
pub(crate) const PINNED_MAPS: [&str; 9] =
    ["FLOWS4", "FLOWS6", "EMBRYOS4", "EMBRYOS6", "NAT4", "NAT6", "OVERFLOW", "FRAGMENTS", "LEDGER"];
pub(crate) const HANDOVER: &str = "handover";
/// How deep and wide a BPF file system is searched.
const SEARCH_DEPTH: usize = 4;
const MAX_SEARCHED: usize = 64;
/// Magic number of a BPF file system (linux/magic.h).
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;

/// What is pinned for the interfaces of one daemon.
#[derive(Debug)]
pub(crate) struct Pins {
    /// Folder of the network namespace.
    links: PathBuf,
    /// Folder of the maps.
    maps: PathBuf,
    /// The first part of its name.
    layout: String,
    /// Which place in the ledger each interface has in them.
    slots: Slots,
    /// What the ledger held when the last daemon ended; empty when the maps are new.
    base: Handover,
    /// Whether what the run before committed is gone on from because there is no handover.
    is_resumed: bool,
    /// Maps of another size, until they are read out.
    left: Option<Left>,
}

impl Pins {
    /// Makes the folders, and decides whether the maps in them are gone on with. The interfaces are claimed.
    /// A run before may have committed what they held.
    pub(crate) fn open(
        path: &Path,
        devices: &[Device],
        max_flows: [u32; 2],
        readings: Option<&Readings>,
    ) -> Result<Self, SourceError> {
        let failed = |reason: String| SourceError::Pin { path: path.display().to_string(), reason };
        if !on_bpffs(path) {
            return Err(failed("no BPF file system is mounted there (mount -t bpf bpf /sys/fs/bpf)".to_owned()));
        }
        let links = namespace_folder(path).map_err(|error| failed(error.to_string()))?;
        let layout = layout(max_flows);
        let indices: Vec<u32> = devices.iter().map(|device| device.index).collect();
        let known = slots_of(&links, &layout).into_iter().find(|slots| slots.holds(&indices));
        let slots = known.unwrap_or_else(|| Slots::new(indices));
        let maps = links.join(folder_name(&layout, &slots));
        fs::create_dir_all(&maps).map_err(|error| failed(format!("cannot make {}: {error}", maps.display())))?;
        let base = Handover::default();
        let mut pins = Self { links, maps, layout, slots, base, is_resumed: false, left: None };
        let committed = readings;
        let readings = readings.filter(|readings| identity(&pins.maps).is_some_and(|maps| maps == readings.maps));
        match handover::read(&pins.maps.join(HANDOVER)) {
            Ok(handover) => {
                tracing::info!(path = %pins.maps.display(), "going on with the maps of the run before");
                pins.base = handover;
            }
            Err(_killed) if let Some(readings) = readings => {
                tracing::warn!("the run before was killed: going on from what it had stored");
                pins.base.rows.clone_from(&readings.ledger);
                pins.is_resumed = true;
            }
            Err(error) => {
                tracing::debug!(%error, "no handover");
                if remove_folder_content(&pins.maps) > 0 {
                    tracing::warn!(
                        path = %pins.maps.display(),
                        "the run before did not end well: its maps are left behind, and what they held since its last \
                         window is counted by nobody"
                    );
                }
                pins.left = pins.find_left(devices, committed);
                pins.is_resumed = pins.left.as_ref().is_some_and(Left::is_resumed);
            }
        }
        Ok(pins)
    }

    /// Maps of another size that a run before counted these interfaces in, and of which is known what it had reported.
    fn find_left(&self, devices: &[Device], committed: Option<&Readings>) -> Option<Left> {
        let same_format = format_name();
        let folders = entries(&self.links).into_iter().filter(|path| *path != self.maps && path.is_dir());
        let mut left = folders.filter_map(|path| {
            let indices = indices_of(&path).filter(|_| path.to_string_lossy().contains(&same_format))?;
            let is_ours = indices.iter().any(|index| devices.iter().any(|device| device.index == *index));
            Left::open(&path, &indices, identity(&path).filter(|_| is_ours)?, committed)
        });
        left.next()
    }

    /// Maps of another size, for whoever reads them out.
    pub(crate) const fn left(&self) -> Option<&Left> {
        self.left.as_ref()
    }

    /// Which place in the ledger each interface has.
    pub(crate) const fn slots(&self) -> &Slots {
        &self.slots
    }

    /// The interfaces are others from now on, and count in the same maps. `nat` are maps that take the place of pinned ones.
    pub(crate) fn go_on_with(&mut self, slots: &Slots, nat: &[(&str, BorrowedFd<'_>)]) -> Result<(), SourceError> {
        let mut maps = self.links.join(folder_name(&self.layout, slots));
        if slots.holds(&[]) {
            // Without interfaces they stay where the last ones were.
            maps.clone_from(&self.maps);
        }
        let failed = |reason: String| SourceError::Pin { path: maps.display().to_string(), reason };
        if maps != self.maps {
            fs::rename(&self.maps, &maps).map_err(|error| failed(error.to_string()))?;
        }
        for (name, map) in nat {
            let path = maps.join(name);
            remove(&path);
            elements::pin(*map, &path).map_err(|error| failed(format!("{name}: {error}")))?;
        }
        self.slots = slots.clone();
        self.maps = maps;
        Ok(())
    }

    /// Where the maps are pinned.
    pub(crate) fn maps(&self) -> &Path {
        &self.maps
    }

    /// The path that everything is pinned below, as it is configured.
    pub(crate) fn root(&self) -> &Path {
        self.links.parent().unwrap_or(&self.links)
    }

    /// Which maps these are, and what was reported of them.
    pub(crate) fn pinned(&self) -> Pinned {
        Pinned {
            maps: identity(&self.maps).unwrap_or_default(),
            path: self.maps.display().to_string(),
            base: self.base.rows.clone(),
            handed_over_ns: self.base.until_ns,
            is_resumed: self.is_resumed,
            left: self.left.as_ref().map(Left::state),
        }
    }

    /// The hook at which an earlier run left a link of this interface.
    pub(crate) fn hook_of(&self, index: u32, direction: TcAttachType) -> Option<Hook> {
        Hook::LINKS.into_iter().find(|hook| self.link(index, direction, *hook).exists())
    }

    pub(crate) fn link(&self, index: u32, direction: TcAttachType, hook: Hook) -> PathBuf {
        let direction = if direction == TcAttachType::Ingress { "ingress" } else { "egress" };
        self.links.join(format!("if{index}_{direction}_{}", hook.name()))
    }

    /// Removes the links that an earlier run left of this interface.
    pub(crate) fn unlink(&self, index: u32, direction: TcAttachType) {
        for hook in Hook::LINKS {
            remove(&self.link(index, direction, hook));
        }
    }

    /// Ids of the programs that pinned links of these interfaces have.
    pub(crate) fn programs(&self, devices: &[Device]) -> Vec<u32> {
        let indices = devices.iter().map(|device| device.index);
        let of = |index: u32| {
            let hooks = |direction| Hook::LINKS.map(|hook| self.link(index, direction, hook));
            DIRECTIONS.into_iter().flat_map(move |(direction, _)| hooks(direction)).collect::<Vec<_>>()
        };
        indices.flat_map(of).filter_map(|path| program_of(PinnedLink::from_pin(path).ok()?)).collect()
    }

    /// Removes the maps of a start that failed and the links into them, unless they hold what an earlier run left.
    pub(crate) fn abandon(&self, devices: &[Device]) {
        if self.base.rows.is_empty() {
            for (device, (direction, _)) in devices.iter().flat_map(|device| DIRECTIONS.map(|d| (device, d))) {
                self.unlink(device.index, direction);
            }
            remove_folder(&self.maps);
        }
    }

    /// The maps are read from now on: if this process dies, nobody knows what it took out of them.
    pub(crate) fn take_over(&mut self) {
        // Whoever reads the maps of another size out has them; held here, they would keep their memory.
        self.left = None;
        remove(&self.maps.join(HANDOVER));
    }

    /// Leaves to the next daemon what it has to know.
    pub(crate) fn hand_over(&self, rows: &[LedgerSlot], until_ns: u64) -> Result<(), SourceError> {
        let path = self.maps.join(HANDOVER);
        handover::write(&path, rows, until_ns)
            .map_err(|error| SourceError::Pin { path: path.display().to_string(), reason: error.to_string() })
    }

    /// Removes what is of no use any more: maps of other layouts or sets of our interfaces, everything of interfaces
    /// that are gone. What belongs to an interface that is there and not ours stays: it may be another daemon's.
    pub(crate) fn clean(&self, devices: &[Device]) {
        for path in entries(&self.links) {
            let Some(indices) = indices_of(&path) else { continue };
            let ours = path.is_dir() && indices.iter().any(|index| devices.iter().any(|d| d.index == *index));
            let gone = indices.iter().all(|index| name_of(*index).is_none());
            if path == self.maps || !(ours || gone) {
                continue;
            }
            let why = if gone { "its interface is gone" } else { "of another layout or set of interfaces" };
            if path.is_dir() {
                remove_folder(&path);
            } else {
                remove(&path);
            };
            if self.left.as_ref().is_some_and(|left| left.is_at(&path)) {
                tracing::info!(path = %path.display(), "maps of another size are read out, and not used any more");
                continue;
            }
            tracing::warn!(path = %path.display(), why, "removed what an earlier run had pinned; it is not counted");
        }
    }
}

/// Removes what is pinned for these interfaces (or, without any, for all that no daemon watches); says what.
pub fn detach(path: &Path, devices: Option<&[Device]>) -> Result<Vec<String>, SourceError> {
    let failed = |error: io::Error| SourceError::Pin { path: path.display().to_string(), reason: error.to_string() };
    let folder = namespace_folder(path).map_err(failed)?;
    let mut removed = Vec::new();
    for path in entries(&folder) {
        let Some(indices) = indices_of(&path) else { continue };
        let wanted = devices.is_none_or(|devices| devices.iter().any(|device| indices.contains(&device.index)));
        let holder = || indices.iter().find_map(|index| claim::holder(&name_of(*index)?));
        // With devices the caller has the claims itself.
        if !wanted || (devices.is_none() && holder().is_some()) {
            continue;
        }
        if path.is_dir() {
            remove_folder(&path);
        } else {
            fs::remove_file(&path).map_err(failed)?;
        }
        removed.push(path.display().to_string());
    }
    Ok(removed)
}

/// Which maps are pinned in a folder: the kernel numbers maps from its start on.
fn identity(folder: &Path) -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let map = MapData::from_pin(folder.join("OVERFLOW")).ok()?.info().ok()?;
    Some(format!("{}:{}", boot.trim(), map.id()))
}

/// The program behind a link.
fn program_of(link: PinnedLink) -> Option<u32> {
    Some(FdLink::from(link).info().ok()?.program_id())
}

/// Folder of this network namespace.
/// The path below which an ended daemon has pinned a link to this interface, if it is found on a BPF file system.
pub(crate) fn pinned_below(index: u32) -> Option<PathBuf> {
    fn search(folder: &Path, index: u32, depth: usize) -> Option<PathBuf> {
        let links = namespace_folder(folder).ok()?;
        if entries(&links).iter().any(|path| indices_of(path).is_some_and(|indices| indices.contains(&index))) {
            return Some(folder.to_owned());
        }
        let inner = entries(folder).into_iter().filter(|path| path.is_dir()).take(MAX_SEARCHED);
        if depth == 0 { None } else { inner.into_iter().find_map(|path| search(&path, index, depth - 1)) }
    }
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut places = mounts.lines().map(|line| line.split(' ')).filter_map(|mut words| words.nth(1).zip(words.next()));
    places.find_map(|(place, kind)| if kind == "bpf" { search(Path::new(place), index, SEARCH_DEPTH) } else { None })
}

pub(crate) fn namespace_folder(path: &Path) -> io::Result<PathBuf> {
    Ok(path.join(format!("net{}", fs::metadata("/proc/self/ns/net")?.ino())))
}

fn folder_name(layout: &str, slots: &Slots) -> String {
    let indices: Vec<String> = slots.indices().iter().map(ToString::to_string).collect();
    format!("{layout}_{}", indices.join("_"))
}

/// The interfaces of all folders of this layout.
fn slots_of(folder: &Path, layout: &str) -> Vec<Slots> {
    let is_alike = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(layout));
    entries(folder).iter().filter(|path| is_alike(path)).filter_map(|path| indices_of(path)).map(Slots::new).collect()
}

/// Interface indices in the name of a link or of a folder of maps; `None` for files that are not ours.
pub(crate) fn indices_of(path: &Path) -> Option<Vec<u32>> {
    let name = path.file_name()?.to_str()?;
    if let Some(rest) = name.strip_prefix("if") {
        return Some(vec![rest.split('_').next()?.parse().ok()?]);
    }
    let (_layout, indices) = name.strip_prefix("maps_")?.split_once('_')?;
    indices.split('_').map(|index| index.parse().ok()).collect()
}

/// What two daemons must agree on to go on with each other's maps: what is in them, and how much fits.
fn layout(max_flows: [u32; 2]) -> String {
    format!("{}{:08x}", format_name(), hash(&[MAX_OVERFLOWS, MAX_FRAGMENTED, max_flows[0], max_flows[1]]))
}

/// What two daemons must agree on to read each other's maps.
fn format_name() -> String {
    let parts = [
        SCHEMA,
        size_of::<FlowKey4>(),
        size_of::<FlowKey6>(),
        size_of::<FlowStats>(),
        size_of::<Embryo>(),
        size_of::<CpuSlot>(),
        size_of::<OverflowKey>(),
        size_of::<FragmentKey>(),
        size_of::<Translated<FlowKey4>>(),
        size_of::<Translated<FlowKey6>>(),
        Counter::COUNT,
    ];
    format!("maps_{:08x}", hash(&parts.map(|part| part as u32)))
}

/// FNV-1a over 32-bit words.
fn hash(parts: &[u32]) -> u32 {
    parts.iter().fold(0x811c_9dc5, |hash, part| (hash ^ *part).wrapping_mul(0x0100_0193))
}

pub(crate) fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "cannot remove what is pinned");
        }
        _ => {}
    }
}

fn remove_folder_content(folder: &Path) -> usize {
    let files = entries(folder);
    files.iter().for_each(|file| remove(file));
    files.len()
}

fn remove_folder(folder: &Path) {
    remove_folder_content(folder);
    if let Err(error) = fs::remove_dir(folder) {
        tracing::warn!(path = %folder.display(), %error, "cannot remove a folder of pinned maps");
    }
}

/// Whether the path, or the nearest folder above it that exists, is on a BPF file system.
pub fn on_bpffs(path: &Path) -> bool {
    let Some(folder) = path.ancestors().find(|folder| folder.exists()) else { return false };
    let Ok(folder) = CString::new(folder.as_os_str().as_bytes()) else { return false };
    // SAFETY: all zeros are a valid value of this structure of integers.
    let mut stat: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: a NUL-terminated string and a structure that outlive the call.
    let known = unsafe { libc::statfs(folder.as_ptr(), &raw mut stat) } == 0;
    known && i64::from(stat.f_type as u32) == BPF_FS_MAGIC
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_their_interfaces() {
        assert_eq!(indices_of(Path::new("/x/if12_ingress_xdp-generic")), Some(vec![12]));
        assert_eq!(indices_of(Path::new("/x/maps_0a1b2c3d_2_15")), Some(vec![2, 15]));
        for other in ["/x/maps_0a1b2c3d", "/x/if_ingress", "/x/cilium", "/x/maps_0a_b"] {
            assert_eq!(indices_of(Path::new(other)), None, "{other}");
        }
    }

    #[test]
    fn maps_of_another_size_are_of_another_layout() {
        assert_ne!(layout([64, 64]), layout([64, 65]));
        assert_eq!(layout([64, 64]), layout([64, 64]));
    }

    #[test]
    fn a_folder_elsewhere_is_refused_and_named() {
        let folder = std::env::temp_dir();
        let refused = Pins::open(&folder, &[], [1, 1], None).expect_err("no BPF file system").to_string();
        assert!(refused.contains("BPF file system") && refused.contains(&folder.display().to_string()), "{refused}");
    }
}

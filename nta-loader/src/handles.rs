//! What reading the maps takes: their descriptors, by name. A process that has them needs no right (kernel 5.19 and later), so
//! they can be handed to another one.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use aya::maps::{Map, MapData};

use crate::SourceError;
use crate::load::{Kernel, causes, is_permission};
use crate::share::SharedMaps;

/// The program that reads what the kernel holds of connections, and the map that it writes to.
pub const CONNECTIONS_PROGRAM: &str = "nta_connections";
/// That map.
pub const CONNECTIONS_MAP: &str = "CONNECTIONS";

/// Descriptors by name.
#[derive(Debug, Default)]
pub struct Handles(Vec<(String, OwnedFd)>);

impl Handles {
    /// Descriptors of these names, in this order.
    pub(crate) fn named(names: Vec<String>, descriptors: Vec<OwnedFd>) -> Self {
        Self(names.into_iter().zip(descriptors).collect())
    }

    /// These of the maps.
    pub(crate) fn of(maps: &SharedMaps, names: &[&'static str]) -> Result<Self, SourceError> {
        let mut handles = Self::default();
        names.iter().try_for_each(|name| handles.add(maps, name))?;
        Ok(handles)
    }

    pub(crate) fn add(&mut self, maps: &SharedMaps, name: &'static str) -> Result<(), SourceError> {
        self.own(name, maps.get(name).ok_or(SourceError::Missing(name))?)
    }

    /// Program and map of an object for it alone.
    pub(crate) fn add_connections(&mut self, mut kernel: Kernel) -> Result<(), SourceError> {
        let missing = || SourceError::Missing("map CONNECTIONS");
        let Some(Map::Array(map)) = kernel.take_map(CONNECTIONS_MAP) else { return Err(missing()) };
        let program = kernel.xdp(CONNECTIONS_PROGRAM)?;
        let program = program.fd().map_err(|source| SourceError::Program { name: CONNECTIONS_PROGRAM, source })?;
        self.own(CONNECTIONS_PROGRAM, program.as_fd())?;
        self.own(CONNECTIONS_MAP, map.fd().as_fd())
    }

    fn own(&mut self, name: &'static str, descriptor: BorrowedFd<'_>) -> Result<(), SourceError> {
        let own = descriptor.try_clone_to_owned().map_err(|source| SourceError::Map { name, source })?;
        self.0.push((name.to_owned(), own));
        Ok(())
    }

    pub(crate) fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Whether one of this name is there.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// Takes one of them out.
    ///
    /// # Errors
    /// When it is not there.
    pub fn take(&mut self, name: &'static str) -> Result<OwnedFd, SourceError> {
        let at = self.0.iter().position(|(known, _)| known == name).ok_or(SourceError::Missing(name))?;
        Ok(self.0.swap_remove(at).1)
    }

    /// Takes a map out, with how many entries it has at most.
    ///
    /// # Errors
    /// When it is not there, or the kernel does not say what it is.
    pub fn take_map(&mut self, name: &'static str) -> Result<(MapData, u32), SourceError> {
        let failed = |error: aya::maps::MapError| {
            if causes(&error).any(is_permission) {
                let action =
                    format!("read the map {name} by its descriptor, for which kernels before 5.19 demand CAP_BPF");
                return SourceError::Permission { action };
            }
            SourceError::Map { name, source: std::io::Error::other(error) }
        };
        let map = MapData::from_fd(self.take(name)?).map_err(failed)?;
        let max_entries = map.info().map_err(failed)?.max_entries();
        Ok((map, max_entries))
    }

    /// Names and descriptors, in the same order.
    pub(crate) fn parts(&self) -> (Vec<String>, Vec<BorrowedFd<'_>>) {
        self.0.iter().map(|(name, descriptor)| (name.clone(), descriptor.as_fd())).unzip()
    }
}

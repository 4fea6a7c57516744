//! Who attaches: this process, or `nta-loader`, which has the rights in the place of a daemon that has none.

use std::path::PathBuf;

use crate::source::SourceError;
use crate::source::kernel::device::Device;
use crate::source::kernel::{
    AttachOptions, Attached, AttachedKernel, Change, ConnectionTable, Handles, KernelOptions, LoaderClient,
};
use nta_common::LedgerSlot;
use nta_core::domain::Readings;
use nta_loader::older;

/// What was attached, and what reading it takes.
pub(super) type Begun = (Attached, Handles);

/// Attaches to interfaces, and to others later.
pub(super) trait Attacher: Send {
    /// Attaches to all of these, or to none. What a run before committed of maps that outlived it is gone on from.
    fn attach(&mut self, devices: &[Device], readings: Option<&Readings>) -> Result<Begun, SourceError>;

    /// Watches these interfaces from now on. Descriptors are those of translated connections, where they are joined from now on.
    fn change(&mut self, devices: &[Device]) -> Result<(Attached, Change, Handles), SourceError>;

    /// The last reading is stored: the ledger held these rows, and the last window ended at `until_ns` of the kernel's clock.
    fn hand_over(&mut self, rows: &[LedgerSlot], until_ns: u64) -> Result<(), SourceError>;

    /// Whether what is attached goes on counting after this process.
    fn stays(&self) -> bool;

    /// Where the kernel's table of connections comes from.
    fn connections(&self) -> ConnectionTable;

    /// Whether it can be asked.
    fn is_there(&self) -> bool {
        true
    }

    /// Asks it anew about these interfaces that it has attached, of whose maps this was committed last. Whether it has the same maps
    /// still: of others nothing is read here.
    ///
    /// # Errors
    /// Why it cannot be asked: what is attached goes on counting meanwhile.
    fn ask_anew(&mut self, _devices: &[Device], _readings: Option<&Readings>) -> Result<bool, SourceError> {
        Ok(true)
    }

    /// Passes on what a debug build of the programs logged; whether there is any.
    fn flush_diagnostics(&mut self) -> bool {
        false
    }
}

/// Attaches by itself.
pub(super) struct Inside {
    pub(super) attach: AttachOptions,
    pub(super) options: KernelOptions,
    pub(super) attached: Option<AttachedKernel>,
}

impl Attacher for Inside {
    fn attach(&mut self, devices: &[Device], readings: Option<&Readings>) -> Result<Begun, SourceError> {
        let mut attached = AttachedKernel::load_and_attach(devices, &self.attach, self.options.clone(), readings)?;
        let begun = (attached.attached(), attached.handles()?);
        attached.take_over();
        self.attached = Some(attached);
        Ok(begun)
    }

    fn change(&mut self, devices: &[Device]) -> Result<(Attached, Change, Handles), SourceError> {
        let attached = self.attached.as_mut().ok_or(SourceError::Missing("attached program"))?;
        let change = attached.change(devices, &self.attach, self.options.clone())?;
        let handles = if change.joins_translated { attached.nat_handles()? } else { Handles::default() };
        Ok((attached.attached(), change, handles))
    }

    fn hand_over(&mut self, rows: &[LedgerSlot], until_ns: u64) -> Result<(), SourceError> {
        self.attached.as_ref().map_or(Ok(()), |attached| attached.hand_over(rows, until_ns))
    }

    fn stays(&self) -> bool {
        self.attached.as_ref().is_some_and(AttachedKernel::stays)
    }

    fn connections(&self) -> ConnectionTable {
        Box::new(older::open)
    }

    fn flush_diagnostics(&mut self) -> bool {
        let Some(kernel) = self.attached.as_mut().map(AttachedKernel::kernel) else { return false };
        kernel.flush_diagnostics();
        kernel.has_diagnostics()
    }
}

/// Has `nta-loader` attach.
pub(super) struct ByLoader {
    path: PathBuf,
    client: LoaderClient,
    attach: AttachOptions,
    options: KernelOptions,
    is_attached: bool,
}

impl ByLoader {
    pub(super) fn new(path: PathBuf, attach: AttachOptions, options: KernelOptions) -> Self {
        Self { client: LoaderClient::new(path.clone()), path, attach, options, is_attached: false }
    }
}

impl Attacher for ByLoader {
    fn attach(&mut self, devices: &[Device], readings: Option<&Readings>) -> Result<Begun, SourceError> {
        let begun = self.client.attach(devices, &self.attach, &self.options, readings)?;
        self.is_attached = true;
        Ok(begun)
    }

    fn change(&mut self, devices: &[Device]) -> Result<(Attached, Change, Handles), SourceError> {
        self.client.change(devices, &self.attach, &self.options)
    }

    fn hand_over(&mut self, rows: &[LedgerSlot], until_ns: u64) -> Result<(), SourceError> {
        if self.is_attached { self.client.hand_over(rows, until_ns) } else { Ok(()) }
    }

    fn stays(&self) -> bool {
        self.is_attached
    }

    fn connections(&self) -> ConnectionTable {
        let path = self.path.clone();
        Box::new(move || LoaderClient::connections(&path))
    }

    fn is_there(&self) -> bool {
        !self.is_attached || self.client.is_there()
    }

    fn ask_anew(&mut self, devices: &[Device], readings: Option<&Readings>) -> Result<bool, SourceError> {
        let (attached, _same_maps) = self.client.attach(devices, &self.attach, &self.options, readings)?;
        tracing::info!("nta-loader is back; what is attached counted on meanwhile");
        Ok(attached.pinned.is_some_and(|pinned| readings.is_some_and(|readings| readings.maps == pinned.maps)))
    }
}

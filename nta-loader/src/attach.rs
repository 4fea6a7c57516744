//! Attaching: which hook an interface gets, and why not a better one.
//!
//! Every attachment is a BPF link held by this process (or, before kernel 6.6 at TC, a filter that is removed by name
//! at the next start): when the process dies, by whatever signal, the kernel detaches the programs. With pinning the
//! links stay, and the next start replaces their programs atomically.

use std::path::Path;
use std::time::{Duration, Instant};

use aya::programs::TcAttachType;

use crate::SourceError;
use crate::attached::{AttachOptions, Attached, Pinning};
use crate::claim::Claim;
use crate::device::Device;
use crate::handles::Handles;
use crate::hook::{DIRECTIONS, Hook, NO_PERMISSION, program_at};
use crate::jiffies::monotonic_ns;
use crate::link::{Held, Linker, xdp_names};
use crate::load::{Kernel, KernelOptions};
use crate::netlink;
use crate::options::Attach;
use crate::pin::{Pins, detach, pinned_below};
use crate::present::{Present, at_tcx, at_xdp};
use crate::slots::Slots;
use crate::topology::Topology;
use nta_common::LedgerSlot;
use nta_core::domain::{Attachment, NicCounts, Readings};

/// Loaded and attached programs. Dropping it detaches them, unless they are pinned.
pub struct AttachedKernel {
    pub(crate) kernel: Kernel,
    /// How each interface was attached.
    pub attachments: Vec<Attachment>,
    /// The hooks that are taken.
    pub(crate) held: Vec<Held>,
    /// Interfaces that are watched by this process and no other, all of them.
    pub(crate) claims: Vec<Claim>,
    pub(crate) pins: Option<Pins>,
    pub(crate) topology: Topology,
    /// What counted packets carry.
    pub(crate) mark: u16,
    /// Where in the ledger each interface is counted.
    pub(crate) slots: Slots,
    /// When the last program was attached, by the kernel's clock: from then on both directions of all interfaces count.
    pub(crate) since_ns: u64,
}

impl AttachedKernel {
    /// Loads with these options (the interfaces are those of the devices), then attaches to every device, or to none. Pinned
    /// maps are gone on with from where a run before was, which may have committed these readings of them.
    pub fn load_and_attach(
        devices: &[Device],
        attach: &AttachOptions,
        options: KernelOptions,
        readings: Option<&Readings>,
    ) -> Result<Self, SourceError> {
        let claims = devices.iter().map(|device| Claim::on(&device.name)).collect::<Result<Vec<_>, _>>()?;
        let pins = match &attach.pinning {
            Pinning::On(path) => Some(Pins::open(path, devices, options.max_flows(), readings)?),
            Pinning::Off(path) => {
                for path in detach(path, Some(devices))? {
                    tracing::warn!(path, "removed what an earlier run had pinned: capture.pin is off");
                }
                None
            }
            Pinning::Ignored => None,
        };
        let slots = match &pins {
            Some(pins) => pins.slots().clone(),
            None => Slots::new(devices.iter().map(|device| device.index).collect()),
        };
        let interfaces = named(&slots, devices);
        let maps_folder = pins.as_ref().map(|pins| pins.maps().to_owned());
        let topology = Topology::of(devices);
        let (mark, tunnel_ends) = (topology.mark(devices), slots.bits(&topology.tunnel_ends));
        let bare = slots.bits(&netlink::without_link_header(devices));
        let options = KernelOptions { interfaces, maps_folder, mark, tunnel_ends, bare, ..options };
        let outcome = refuse_strays(devices, pins.as_ref()).and_then(|()| Kernel::load(&options));
        let mut kernel = outcome.inspect_err(|_| abandon(pins.as_ref(), devices))?;
        if attach.mode.is_xdp() && mark != 0 {
            let overlaps = topology.overlaps.join("; ");
            tracing::warn!(
                overlaps,
                "packets that pass several of these interfaces count at each: attach by tcx or auto"
            );
        }
        let devices_to_attach: Vec<&Device> = devices.iter().collect();
        load_for(&mut kernel, &devices_to_attach, attach.mode, &topology);
        options.go_on().inspect_err(|_| abandon(pins.as_ref(), devices))?;
        kernel.learn_translated();
        let (attachments, held) = (Vec::with_capacity(devices.len()), Vec::new());
        let mut attached = Self { kernel, attachments, held, claims, pins, topology, mark, slots, since_ns: 0 };
        for outcome in attached.attach_devices(&devices_to_attach, attach) {
            let attachment = outcome.inspect_err(|_| abandon(attached.pins.as_ref(), devices))?;
            attached.attachments.push(attachment);
        }
        // Those that began and were answered meanwhile.
        attached.kernel.learn_translated();
        if let Some(pins) = &attached.pins {
            pins.clean(devices);
        }
        Ok(attached)
    }

    /// What is attached.
    pub fn attached(&self) -> Attached {
        let name = |index: &u32| self.attachments.iter().find(|a| a.index == *index).map(|a| a.interface.clone());
        Attached {
            attachments: self.attachments.clone(),
            since_ns: self.since_ns,
            slots: self.slots.indices().iter().map(|index| name(index).unwrap_or_default()).collect(),
            pinned: self.pins.as_ref().map(Pins::pinned),
        }
    }

    /// What reading the maps takes.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn handles(&self) -> Result<Handles, SourceError> {
        let mut handles = self.kernel.handles()?;
        if let Some(left) = self.pins.as_ref().and_then(Pins::left) {
            handles.extend(left.handles().map_err(|source| SourceError::Map { name: "FLOWS4", source })?);
        }
        Ok(handles)
    }

    /// The part of it that translated connections take.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn nat_handles(&self) -> Result<Handles, SourceError> {
        self.kernel.nat_handles()
    }

    /// Attaches to these devices, whose programs are loaded, all hooks right after one another: whatever takes time comes before
    /// or behind, so that no direction of no interface counts while others do not yet.
    pub(crate) fn attach_devices(
        &mut self,
        devices: &[&Device],
        options: &AttachOptions,
    ) -> Vec<Result<Attachment, SourceError>> {
        for device in devices {
            let filters: usize =
                self.claims.iter().filter(|claim| claim.is_on(&device.name)).map(Claim::remove_filters).sum();
            if filters > 0 {
                let interface = &device.name;
                tracing::info!(interface, filters, "removed filters that an earlier run left behind");
            }
        }
        let marks = takes_tc(options.mode, &self.topology);
        let (kernel, pins) = (&mut self.kernel, self.pins.as_ref());
        let mut all: Vec<Taken<'_>> = devices.iter().map(|device| Taken::nothing(device)).collect();
        for (direction, _) in DIRECTIONS {
            for taken in all.iter_mut().filter(|taken| !taken.has_failed) {
                let order = hooks(options.mode, taken.device, direction, marks);
                let mut linker = Linker { kernel: &mut *kernel, device: taken.device, options, pins };
                self.held.extend(taken.attach(&mut linker, order, direction));
            }
        }
        self.since_ns = monotonic_ns();
        let mut attachment = |taken: Taken<'_>| {
            let linker = &mut Linker { kernel: &mut *kernel, device: taken.device, options, pins };
            taken.attachment(linker, marks.then_some(&self.topology))
        };
        all.into_iter().map(&mut attachment).collect()
    }

    /// The loaded programs.
    pub const fn kernel(&mut self) -> &mut Kernel {
        &mut self.kernel
    }

    /// Whether the programs go on counting when this is dropped.
    pub const fn stays(&self) -> bool {
        self.pins.is_some()
    }

    /// Called before the maps are read for the first time: from now on only this process knows what was reported of them.
    pub fn take_over(&mut self) {
        if let Some(pins) = &mut self.pins {
            pins.take_over();
        }
    }

    /// Called after they were read for the last time, and everything that was reported was taken out of them: the ledger held these
    /// rows. The last window ended at `until_ns` of the kernel's clock.
    pub fn hand_over(&self, rows: &[LedgerSlot], until_ns: u64) -> Result<(), SourceError> {
        let Some(pins) = &self.pins else { return Ok(()) };
        pins.hand_over(rows, until_ns)?;
        let path = pins.maps().display().to_string();
        let detach = detach_command(pins.root());
        tracing::info!(path, "stays attached and goes on counting for the next start (`{detach}` ends it)");
        Ok(())
    }
}

impl Drop for AttachedKernel {
    /// Links detach by themselves; clsact filters outlive the process and are removed here.
    fn drop(&mut self) {
        for claim in &self.claims {
            claim.remove_filters();
        }
    }
}

/// What takes off what is pinned there.
fn detach_command(path: &Path) -> String {
    format!("nta-daemon doctor --detach --pin-path {}", path.display())
}

fn abandon(pins: Option<&Pins>, devices: &[Device]) {
    if let Some(pins) = pins {
        pins.abandon(devices);
    }
}

/// A link that nobody holds any more is taken away by the kernel in its own time.
const GONE_WITHIN: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Our own programs where no daemon claims the interface and nothing is known to be pinned: they count, and a second
/// set would count everything again.
pub(crate) fn refuse_strays(devices: &[Device], pins: Option<&Pins>) -> Result<(), SourceError> {
    let known = pins.map(|pins| pins.programs(devices)).unwrap_or_default();
    for device in devices {
        let began = Instant::now();
        while let Some(stray) = stray(device, &known) {
            if began.elapsed() >= GONE_WITHIN {
                let root = pinned_below(device.index);
                let root = root.as_deref().unwrap_or_else(|| Path::new("PATH, its capture.pin_path,"));
                let by =
                    format!("{stray}, which an ended nta-daemon has pinned (`{}` removes it)", detach_command(root));
                return Err(SourceError::Watched { interface: device.name.clone(), by });
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
    Ok(())
}

fn stray(device: &Device, known: &[u32]) -> Option<Present> {
    let at_tcx = DIRECTIONS.into_iter().flat_map(|(direction, _)| at_tcx(device.index, direction).unwrap_or_default());
    at_tcx.chain(at_xdp(device.index)).find(|present| present.is_ours() && !known.contains(&present.id))
}

/// At XDP a packet cannot be marked yet.
pub(crate) fn takes_tc(mode: Attach, topology: &Topology) -> bool {
    mode == Attach::Auto && !topology.overlaps.is_empty()
}

/// What programs are loaded with: an index for each place in the ledger, and the name of the interface that has it.
pub(crate) fn named(slots: &Slots, devices: &[Device]) -> Vec<(u32, String)> {
    let name = |index: &u32| devices.iter().find(|d| d.index == *index).map(|d| d.name.clone()).unwrap_or_default();
    slots.for_programs().into_iter().zip(slots.indices().iter().map(name)).collect()
}

/// The hooks to try for packets of one direction, in order.
fn hooks(mode: Attach, device: &Device, direction: TcAttachType, marks: bool) -> &'static [Hook] {
    match direction {
        TcAttachType::Ingress if marks => &[Hook::Tcx, Hook::Tc],
        TcAttachType::Ingress => mode.order(device.driver.is_some()),
        _ => mode.egress_order(),
    }
}

/// Has the verifier see the programs that attaching to these devices takes, which is half a second for each. What it refuses shows
/// when it is to be attached.
pub(crate) fn load_for(kernel: &mut Kernel, devices: &[&Device], mode: Attach, topology: &Topology) {
    let marks = takes_tc(mode, topology);
    let mut names: Vec<&'static str> = Vec::new();
    for device in devices {
        for (direction, _) in DIRECTIONS {
            let order = hooks(mode, device, direction, marks);
            // TC takes a program on every device, so that what comes behind it is not needed.
            let to_tc = order.iter().position(|hook| !hook.is_xdp()).map_or(order.len(), |at| at + 1);
            for hook in &order[..to_tc] {
                match hook.is_xdp() {
                    true => names.extend(xdp_names(device)),
                    false => names.push(program_at(direction)),
                }
            }
        }
    }
    names.sort_unstable();
    names.dedup();
    for name in names {
        let is_xdp = name.starts_with("nta_xdp");
        let loaded = if is_xdp { kernel.xdp(name).map(drop) } else { kernel.classifier(name).map(drop) };
        if let Err(error) = loaded {
            tracing::debug!(name, %error, "not loaded");
        }
    }
}

/// What one device has been attached to so far.
struct Taken<'a> {
    device: &'a Device,
    /// Ingress, egress.
    hooks: Vec<Hook>,
    refused: Vec<String>,
    has_failed: bool,
}

impl<'a> Taken<'a> {
    const fn nothing(device: &'a Device) -> Self {
        Self { device, hooks: Vec::new(), refused: Vec::new(), has_failed: false }
    }

    /// Takes the first hook that can be had.
    fn attach(&mut self, linker: &mut Linker<'_>, order: &[Hook], direction: TcAttachType) -> Option<Held> {
        let prefix = if direction == TcAttachType::Ingress { "" } else { "egress " };
        for hook in linker.in_order(order, direction) {
            match linker.attach(hook, direction) {
                Ok(link) => {
                    let (interface, hook_name) = (&self.device.name, hook.name());
                    tracing::debug!(interface, "{prefix}{hook_name} taken");
                    self.hooks.push(hook);
                    return Some(Held { index: self.device.index, direction, hook, link });
                }
                Err(reason) => self.refused.push(format!("{prefix}{}: {reason}", hook.name())),
            }
        }
        self.has_failed = true;
        None
    }

    /// How it is attached, or why not; `marks` has the topology where counted packets are marked.
    fn attachment(self, linker: &mut Linker<'_>, marks: Option<&Topology>) -> Result<Attachment, SourceError> {
        let Self { device, refused, .. } = &self;
        let mode = linker.options.mode;
        let &[ingress, egress] = &self.hooks[..] else { return Err(attach_error(device, mode, refused)) };
        let beside = linker.beside(ingress, egress);
        Ok(Attachment {
            interface: device.name.clone(),
            index: device.index,
            ingress: ingress.name().to_owned(),
            egress: egress.name().to_owned(),
            count_basis: if ingress.is_xdp() { "wire" } else { "segments" }.to_owned(),
            reason: match marks {
                Some(topology) => {
                    format!("{}: counted packets are marked, which takes TC", topology.overlaps.join("; "))
                }
                None => reason(device, mode, refused, &beside),
            },
            nic: NicCounts::default(),
        })
    }
}

/// Why these hooks: what the device is, what was refused, and who else is there.
pub(crate) fn reason(device: &Device, mode: Attach, refused: &[String], beside: &[String]) -> String {
    let mut why = match (mode, &device.driver) {
        (Attach::Auto, Some(driver)) => format!("{} is a NIC (driver {driver}): native XDP first", device.name),
        (Attach::Auto, None) => {
            format!("{} is a virtual device: TCX first, because native XDP would switch off its offloads", device.name)
        }
        _ => "as asked for".to_owned(),
    };
    for (intro, parts) in [("not taken: ", refused), ("", beside)] {
        if !parts.is_empty() {
            why = format!("{why}; {intro}{}", parts.join("; "));
        }
    }
    why
}

fn attach_error(device: &Device, mode: Attach, refused: &[String]) -> SourceError {
    if refused.iter().any(|reason| reason.contains(NO_PERMISSION)) {
        return SourceError::Permission { action: format!("attach to {}", device.name) };
    }
    let mode = clap::ValueEnum::to_possible_value(&mode).map_or_else(String::new, |v| v.get_name().to_owned());
    SourceError::Attach { interface: device.name.clone(), mode, reason: refused.join("; ") }
}

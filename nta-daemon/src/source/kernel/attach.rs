//! Attaching: which hook an interface gets, and why not a better one.
//!
//! Every attachment is a BPF link held by this process (or, before kernel 6.6 at TC, a filter that is removed by name
//! at the next start): when the process dies, by whatever signal, the kernel detaches the programs. With pinning the
//! links stay, and the next start replaces their programs atomically.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aya::programs::TcAttachType;

use super::claim::Claim;
use super::clock::monotonic_ns;
use super::device::Device;
use super::hook::{DIRECTIONS, Hook, NO_PERMISSION, program_at};
use super::link::{Held, Linker, xdp_names};
use super::load::{Kernel, KernelOptions};
use super::maps::KernelFlows;
use super::netlink;
use super::pin::{Pins, detach, pinned_below};
use super::present::{Present, at_tcx, at_xdp};
use super::slots::Slots;
use super::topology::Topology;
use crate::config::{Attach, TcxOrder};
use crate::source::SourceError;
use nta_core::domain::{Attachment, NicCounts, Readings, Resume};

/// What happens to links and maps when the process ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Pinning {
    /// They end with it, and what an earlier run pinned is left alone: for a look that changes nothing.
    #[default]
    Ignored,
    /// They end with it, and what an earlier run pinned below this path is removed.
    Off(PathBuf),
    /// They are pinned below this path, and the next start goes on with them.
    On(PathBuf),
}

/// Where to attach, and for how long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttachOptions {
    /// Which hooks.
    pub mode: Attach,
    /// Where among other programs at TCX.
    pub tcx_order: TcxOrder,
    /// Whether attachments outlive the process.
    pub pinning: Pinning,
}

/// Loaded and attached programs. Dropping it detaches them, unless they are pinned.
pub struct AttachedKernel {
    pub(super) kernel: Kernel,
    /// How each interface was attached.
    pub attachments: Vec<Attachment>,
    /// The hooks that are taken.
    pub(super) held: Vec<Held>,
    /// Interfaces that are watched by this process and no other, all of them.
    pub(super) claims: Vec<Claim>,
    pub(super) pins: Option<Pins>,
    pub(super) topology: Topology,
    /// What counted packets carry.
    pub(super) mark: u16,
    /// Where in the ledger each interface is counted.
    pub(super) slots: Slots,
    /// When the last program was attached, by the kernel's clock: from then on both directions of all interfaces count.
    pub(super) since_ns: u64,
}

impl AttachedKernel {
    /// Since when packets are counted, by the kernel's clock.
    pub const fn since_ns(&self) -> u64 {
        self.since_ns
    }

    /// Which interfaces lie on top of one another.
    pub const fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Loads with these options (the interfaces are those of the devices), then attaches to every device, or to none. Pinned
    /// maps are gone on with from where a run before was.
    pub fn load_and_attach(
        devices: &[Device],
        attach: &AttachOptions,
        options: KernelOptions,
        resume: Option<Resume>,
    ) -> Result<(Self, KernelFlows), SourceError> {
        let claims = devices.iter().map(|device| Claim::on(&device.name)).collect::<Result<Vec<_>, _>>()?;
        let mut pins = match &attach.pinning {
            Pinning::On(path) => Some(Pins::open(path, devices, options.max_flows(), resume)?),
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
        let (mut kernel, mut flows) = outcome.inspect_err(|_| abandon(pins.as_ref(), devices))?;
        if let Some(pins) = &mut pins {
            flows.go_on_from(pins.identity().unwrap_or_default(), pins.base());
            if let Some(resume) = pins.take_resume() {
                flows.resume(resume);
            }
            if let Some(until_ns) = pins.handed_over_ns() {
                flows.reported_until(until_ns);
            }
        }
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
        flows.learn_translated(kernel.tick());
        let (attachments, held) = (Vec::with_capacity(devices.len()), Vec::new());
        let mut attached = Self { kernel, attachments, held, claims, pins, topology, mark, slots, since_ns: 0 };
        for outcome in attached.attach_devices(&devices_to_attach, attach) {
            let attachment = outcome.inspect_err(|_| abandon(attached.pins.as_ref(), devices))?;
            attached.attachments.push(attachment);
        }
        // Those that began and were answered meanwhile.
        flows.learn_translated(attached.kernel.tick());
        if let Some(pins) = &attached.pins {
            pins.clean(devices);
        }
        Ok((attached, flows))
    }

    /// Attaches to these devices, whose programs are loaded, all hooks right after one another: whatever takes time comes before
    /// or behind, so that no direction of no interface counts while others do not yet.
    pub(super) fn attach_devices(
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

    /// Whether the programs write diagnostics.
    pub const fn has_diagnostics(&self) -> bool {
        self.kernel.has_diagnostics()
    }

    /// Whether the programs go on counting when this is dropped.
    pub const fn stays(&self) -> bool {
        self.pins.is_some()
    }

    /// Whether the maps are those of a run before that was killed, and what it had stored of them is known.
    pub fn is_resumed(&self) -> bool {
        self.pins.as_ref().is_some_and(Pins::is_resumed)
    }

    /// What is to be stored before the first window, so that a kill before it loses nothing; of maps that are pinned.
    pub fn begun(&self, clock_offset_ns: u64) -> Option<Readings> {
        self.pins.as_ref()?.begun(self.since_ns, clock_offset_ns)
    }

    /// Called before the maps are read for the first time: from now on only this process knows what was reported of them.
    pub fn take_over(&self) {
        if let Some(pins) = &self.pins {
            pins.take_over();
        }
    }

    /// Called after they were read for the last time, and everything that was reported was taken out of them.
    /// The last window ended at `until_ns` of the kernel's clock.
    pub fn hand_over(&self, flows: &KernelFlows, until_ns: u64) -> Result<(), SourceError> {
        let Some(pins) = &self.pins else { return Ok(()) };
        pins.hand_over(flows.last_ledger(), until_ns)?;
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
pub(super) fn refuse_strays(devices: &[Device], pins: Option<&Pins>) -> Result<(), SourceError> {
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
pub(super) fn takes_tc(mode: Attach, topology: &Topology) -> bool {
    mode == Attach::Auto && !topology.overlaps.is_empty()
}

/// What programs are loaded with: an index for each place in the ledger, and the name of the interface that has it.
pub(super) fn named(slots: &Slots, devices: &[Device]) -> Vec<(u32, String)> {
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
pub(super) fn load_for(kernel: &mut Kernel, devices: &[&Device], mode: Attach, topology: &Topology) {
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
pub(super) fn reason(device: &Device, mode: Attach, refused: &[String], beside: &[String]) -> String {
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

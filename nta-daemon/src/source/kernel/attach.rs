//! Attaching: which hook an interface gets, and why not a better one.
//!
//! Every attachment is a BPF link held by this process (or, before kernel 6.6 at TC, a filter that is removed by name
//! at the next start): when the process dies, by whatever signal, the kernel detaches the programs.

use aya::programs::tc::{NlOptions, TcAttachOptions, TcError, TcHandle, qdisc_add_clsact};
use aya::programs::xdp::XdpMode;
use aya::programs::{LinkOrder, ProgramError, TcAttachType};

use super::clsact::Claim;
use super::device::Device;
use super::load::{Kernel, KernelOptions, causes};
use super::maps::KernelFlows;
use crate::domain::{Attachment, NicCounts};
use crate::source::SourceError;

/// The hooks to attach to, as given on the command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Attach {
    /// The best that the device and the kernel have: native XDP on a physical NIC, TCX elsewhere.
    #[default]
    Auto,
    /// Native XDP (in the driver) for incoming packets.
    Xdp,
    /// Generic XDP (in the stack, any driver) for incoming packets.
    XdpGeneric,
    /// TCX for both directions (kernel 6.6 and later).
    Tcx,
    /// A clsact filter for both directions (any kernel).
    Tc,
}

/// A hook for incoming packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hook {
    XdpNative,
    XdpGeneric,
    Tcx,
    Tc,
}

impl Hook {
    const fn name(self) -> &'static str {
        match self {
            Self::XdpNative => "xdp",
            Self::XdpGeneric => "xdp-generic",
            Self::Tcx => "tcx",
            Self::Tc => "tc",
        }
    }
}

impl Attach {
    /// Hooks to try in order. Native XDP comes late on virtual devices: on veth it switches segmentation offload off,
    /// which costs three quarters of the throughput (measured: 20 Gbit/s without a program, 5 with an empty one).
    const fn order(self, physical: bool) -> &'static [Hook] {
        match self {
            Self::Auto if physical => &[Hook::XdpNative, Hook::Tcx, Hook::Tc, Hook::XdpGeneric],
            Self::Auto => &[Hook::Tcx, Hook::Tc, Hook::XdpNative, Hook::XdpGeneric],
            Self::Xdp => &[Hook::XdpNative],
            Self::XdpGeneric => &[Hook::XdpGeneric],
            Self::Tcx => &[Hook::Tcx],
            Self::Tc => &[Hook::Tc],
        }
    }
}

/// Loaded and attached programs. Dropping it detaches them.
pub struct AttachedKernel {
    kernel: Kernel,
    /// How each interface was attached.
    pub attachments: Vec<Attachment>,
    /// Interfaces with filters of ours at clsact.
    claims: Vec<(String, Claim)>,
}

impl AttachedKernel {
    /// Attaches to every interface of the options, or to none.
    pub fn attach(kernel: Kernel, devices: &[Device], mode: Attach) -> Result<Self, SourceError> {
        let mut attached = Self { kernel, attachments: Vec::with_capacity(devices.len()), claims: Vec::new() };
        for device in devices {
            attached.attach_device(device, mode)?;
        }
        Ok(attached)
    }

    fn attach_device(&mut self, device: &Device, mode: Attach) -> Result<(), SourceError> {
        let claim = Claim::on(&device.name);
        let claimed = claim.is_some();
        if let Some(claim) = claim {
            let filters = claim.remove_filters(&device.name);
            if filters > 0 {
                tracing::info!(interface = device.name, filters, "removed filters that an earlier run left behind");
            }
            // Kept from here on, so that an error takes away what was attached up to it.
            self.claims.push((device.name.clone(), claim));
        }
        let attachment = attach_device(&mut self.kernel, device, mode, claimed)?;
        let at_clsact = [&attachment.ingress, &attachment.egress].iter().any(|hook| *hook == Hook::Tc.name());
        if claimed && !at_clsact {
            self.claims.pop();
        }
        self.attachments.push(attachment);
        Ok(())
    }

    /// The loaded programs.
    pub const fn kernel(&mut self) -> &mut Kernel {
        &mut self.kernel
    }

    /// Loads with these options (the interfaces are those of the devices), then attaches.
    pub fn load_and_attach(
        devices: &[Device],
        mode: Attach,
        options: KernelOptions,
    ) -> Result<(Self, KernelFlows), SourceError> {
        let interfaces = devices.iter().map(|device| (device.index, device.name.clone())).collect();
        let options = KernelOptions { interfaces, ..options };
        let (kernel, flows) = Kernel::load(&options)?;
        Ok((Self::attach(kernel, devices, mode)?, flows))
    }
}

impl Drop for AttachedKernel {
    /// Links detach by themselves; clsact filters outlive the process and are removed here.
    fn drop(&mut self) {
        for (interface, claim) in &self.claims {
            claim.remove_filters(interface);
        }
    }
}

/// `claimed` says whether filters at clsact may be ours.
fn attach_device(kernel: &mut Kernel, device: &Device, mode: Attach, claimed: bool) -> Result<Attachment, SourceError> {
    let mut refused = Vec::new();
    let mut first = |order: &[Hook], direction: TcAttachType, prefix: &str| {
        let taken = order.iter().copied().find(|hook| {
            let attached = attach_hook(kernel, device, *hook, direction, claimed);
            attached.map_err(|reason| refused.push(format!("{prefix}{}: {reason}", hook.name()))).is_ok()
        });
        taken.ok_or_else(|| attach_error(device, mode, &refused))
    };
    let ingress = first(mode.order(device.driver.is_some()), TcAttachType::Ingress, "")?;
    // Egress has no XDP: TCX, or clsact where that is asked for or TCX is missing.
    let egress_order: &[Hook] = if mode == Attach::Tc { &[Hook::Tc] } else { &[Hook::Tcx, Hook::Tc] };
    let egress = first(egress_order, TcAttachType::Egress, "egress ")?;
    let xdp = matches!(ingress, Hook::XdpNative | Hook::XdpGeneric);
    Ok(Attachment {
        interface: device.name.clone(),
        index: device.index,
        ingress: ingress.name().to_owned(),
        egress: egress.name().to_owned(),
        count_basis: if xdp { "wire" } else { "segments" }.to_owned(),
        reason: reason(device, mode, &refused),
        nic: NicCounts::default(),
    })
}

fn reason(device: &Device, mode: Attach, refused: &[String]) -> String {
    let why = match (mode, &device.driver) {
        (Attach::Auto, Some(driver)) => format!("{} is a NIC (driver {driver}): native XDP first", device.name),
        (Attach::Auto, None) => {
            format!("{} is a virtual device: TCX first, because native XDP would switch off its offloads", device.name)
        }
        _ => "as asked for".to_owned(),
    };
    if refused.is_empty() { why } else { format!("{why}; not taken: {}", refused.join("; ")) }
}

fn attach_error(device: &Device, mode: Attach, refused: &[String]) -> SourceError {
    if refused.iter().any(|reason| reason.contains(NO_PERMISSION)) {
        return SourceError::Permission { action: format!("attach to {}", device.name) };
    }
    let mode = clap::ValueEnum::to_possible_value(&mode).map_or_else(String::new, |v| v.get_name().to_owned());
    SourceError::Attach { interface: device.name.clone(), mode, reason: refused.join("; ") }
}

fn attach_hook(
    kernel: &mut Kernel,
    device: &Device,
    hook: Hook,
    direction: TcAttachType,
    claimed: bool,
) -> Result<(), String> {
    let interface = device.name.as_str();
    let attached = match hook {
        Hook::XdpNative => xdp(kernel, device, XdpMode::Driver),
        Hook::XdpGeneric => xdp(kernel, device, XdpMode::Skb),
        Hook::Tcx => tc(kernel, interface, direction, TcAttachOptions::TcxOrder(LinkOrder::default())),
        Hook::Tc if !claimed => return Err("another nta-daemon has its filters there".to_owned()),
        Hook::Tc => {
            let _ = qdisc_add_clsact(interface); // there already, or the attach below says why not
            let options = NlOptions { handle: TcHandle::new(0, 1), ..NlOptions::default() };
            tc(kernel, interface, direction, TcAttachOptions::Netlink(options))
        }
    };
    attached.map_err(|error| explain(hook, &error))
}

fn xdp(kernel: &mut Kernel, device: &Device, mode: XdpMode) -> Result<(), SourceError> {
    let mut attach = |name: &'static str| {
        let attached = kernel.xdp(name)?.attach(&device.name, mode);
        attached.map(drop).map_err(|source| SourceError::Program { name, source })
    };
    // Frames over one buffer need the program that takes them in fragments, where the kernel and the driver know it.
    if device.mtu > SINGLE_BUFFER_MTU && attach("nta_xdp_frags").is_ok() { Ok(()) } else { attach("nta_xdp") }
}

/// Largest MTU that every driver handles in one buffer for XDP (3 KB for the tightest ones).
const SINGLE_BUFFER_MTU: u32 = 3_000;

fn tc(
    kernel: &mut Kernel,
    interface: &str,
    direction: TcAttachType,
    options: TcAttachOptions,
) -> Result<(), SourceError> {
    let name = program_at(direction);
    let attached = kernel.classifier(name)?.attach_with_options(interface, direction, options);
    attached.map(drop).map_err(|source| SourceError::Program { name, source })
}

pub(super) const fn program_at(direction: TcAttachType) -> &'static str {
    match direction {
        TcAttachType::Ingress => "nta_tc_ingress",
        _ => "nta_tc_egress",
    }
}

const NO_PERMISSION: &str = "not permitted";

/// The kernel's errno in words that say what to do about it.
fn explain(hook: Hook, error: &SourceError) -> String {
    let errno = causes(error).find_map(|cause| {
        if let Some(TcError::NetlinkError(_)) = cause.downcast_ref::<TcError>() {
            return None;
        }
        cause.downcast_ref::<std::io::Error>()?.raw_os_error()
    });
    let native = hook == Hook::XdpNative;
    match errno {
        Some(libc::EPERM) => NO_PERMISSION.to_owned(),
        Some(libc::EBUSY | libc::EEXIST) => "another program is attached there".to_owned(),
        Some(libc::EOPNOTSUPP) if native => "the driver has no native XDP".to_owned(),
        Some(libc::ERANGE | libc::EINVAL) if native => {
            "refused by the driver (MTU or queues do not suit XDP)".to_owned()
        }
        Some(libc::EINVAL) if hook == Hook::Tcx => "this kernel has no TCX (6.6 and later have)".to_owned(),
        _ => match error {
            SourceError::Program { source: ProgramError::TcError(error), .. } => error.to_string(),
            SourceError::Program { source, .. } => {
                causes(source).map(ToString::to_string).collect::<Vec<_>>().join(": ")
            }
            other => other.to_string(),
        },
    }
}

//! One hook of one interface: a new link, or the program of a pinned one replaced.

use std::path::Path;

use aya::programs::links::{FdLink, LinkError, PinnedLink};
use aya::programs::tc::{
    NlOptions, SchedClassifierLink, SchedClassifierLinkId, TcAttachOptions, TcHandle, qdisc_add_clsact,
};
use aya::programs::xdp::{XdpLink, XdpLinkId, XdpMode};
use aya::programs::{ProgramError, TcAttachType};

use crate::SourceError;
use crate::attached::AttachOptions;
use crate::device::Device;
use crate::hook::{DIRECTIONS, Hook, explain, link_order, program_at};
use crate::load::{Kernel, causes};
use crate::pin::Pins;
use crate::present::{at_tcx, at_xdp};

/// Largest MTU that every driver handles in one buffer for XDP (3 KB for the tightest ones).
const SINGLE_BUFFER_MTU: u32 = 3_000;

/// Where the link of a hook is kept.
pub(crate) enum Link {
    /// With this program.
    Xdp(&'static str, XdpLinkId),
    /// With the program of its direction.
    Tc(SchedClassifierLinkId),
    /// Where it is pinned.
    Pinned,
}

/// A link that was just made.
enum Made {
    Kept(Link),
    ToPin(FdLink),
}

/// A hook that is taken.
pub(crate) struct Held {
    pub(crate) index: u32,
    pub(crate) direction: TcAttachType,
    pub(crate) hook: Hook,
    pub(crate) link: Link,
}

impl Held {
    /// Has a program of `kernel` take the place of one of `before`: no packet passes meanwhile.
    pub(crate) fn move_to(
        self,
        kernel: &mut Kernel,
        before: &mut Kernel,
        pins: Option<&Pins>,
    ) -> Result<Self, SourceError> {
        let link = match self.link {
            Link::Xdp(name, id) => {
                let failed = |source| SourceError::Program { name, source };
                let link = before.xdp(name)?.take_link(id).map_err(failed)?;
                Link::Xdp(name, kernel.xdp(name)?.attach_to_link(link).map_err(failed)?)
            }
            Link::Tc(id) => {
                let name = program_at(self.direction);
                let failed = |source| SourceError::Program { name, source };
                let link = before.classifier(name)?.take_link(id).map_err(failed)?;
                Link::Tc(kernel.classifier(name)?.attach_to_link(link).map_err(failed)?)
            }
            Link::Pinned => {
                let path = pins.map(|pins| pins.link(self.index, self.direction, self.hook)).unwrap_or_default();
                adopt(kernel, &["nta_xdp_frags", "nta_xdp"], (self.hook, self.direction), &path)?;
                Link::Pinned
            }
        };
        Ok(Self { link, ..self })
    }

    /// Has the verifier see the program that this is to go on with.
    pub(crate) fn load(&self, kernel: &mut Kernel) -> Result<(), SourceError> {
        match self.link {
            Link::Xdp(name, _) => kernel.xdp(name).map(drop),
            Link::Tc(_) => kernel.classifier(program_at(self.direction)).map(drop),
            // Which XDP program it is shows when the link is taken.
            Link::Pinned if self.hook.is_xdp() => kernel.xdp("nta_xdp").map(drop),
            Link::Pinned => kernel.classifier(program_at(self.direction)).map(drop),
        }
    }

    /// Detaches it from a program of `kernel`.
    pub(crate) fn detach(self, kernel: &mut Kernel) -> Result<(), SourceError> {
        match self.link {
            Link::Xdp(name, id) => kernel.xdp(name)?.detach(id).map_err(|source| SourceError::Program { name, source }),
            Link::Tc(id) => {
                let name = program_at(self.direction);
                kernel.classifier(name)?.detach(id).map_err(|source| SourceError::Program { name, source })
            }
            Link::Pinned => Ok(()),
        }
    }
}

/// Frames over one buffer need the program that takes them in fragments, where the kernel and the driver know it.
pub(crate) const fn xdp_names(device: &Device) -> &'static [&'static str] {
    if device.mtu > SINGLE_BUFFER_MTU { &["nta_xdp_frags", "nta_xdp"] } else { &["nta_xdp"] }
}

/// Attaches to one interface.
pub(crate) struct Linker<'a> {
    pub(crate) kernel: &'a mut Kernel,
    pub(crate) device: &'a Device,
    pub(crate) options: &'a AttachOptions,
    pub(crate) pins: Option<&'a Pins>,
}

impl Linker<'_> {
    /// The order, begun with the hook of a pinned link: its program is replaced, so that there is never none and never
    /// two. A pinned link of a hook that is not wanted any more is removed.
    pub(crate) fn in_order(&self, order: &[Hook], direction: TcAttachType) -> Vec<Hook> {
        let mut order = order.to_vec();
        let pinned = self.pins.and_then(|pins| Some((pins, pins.hook_of(self.device.index, direction)?)));
        if let Some((pins, hook)) = pinned {
            if order.contains(&hook) {
                order.retain(|other| *other != hook);
                order.insert(0, hook);
            } else {
                let (interface, hook) = (&self.device.name, hook.name());
                tracing::warn!(
                    interface,
                    hook,
                    "removed the link that an earlier run had pinned: another hook is asked for"
                );
                pins.unlink(self.device.index, direction);
            }
        }
        order
    }

    /// Attaches, or says why not.
    pub(crate) fn attach(&mut self, hook: Hook, direction: TcAttachType) -> Result<Link, String> {
        let pinned = self.pins.filter(|_| hook != Hook::Tc).map(|pins| pins.link(self.device.index, direction, hook));
        if let Some(path) = pinned.as_deref().filter(|path| path.exists()) {
            match adopt(self.kernel, xdp_names(self.device), (hook, direction), path) {
                Ok(()) => {
                    let (interface, hook, path) = (&self.device.name, hook.name(), path.display().to_string());
                    tracing::info!(interface, hook, path, "replaced the program of the run before");
                    return Ok(Link::Pinned);
                }
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "removed a pinned link that cannot be used");
                    std::fs::remove_file(path).map_err(|error| format!("cannot remove {}: {error}", path.display()))?;
                }
            }
        }
        if hook.is_xdp()
            && let Some(present) = at_xdp(self.device.index)
        {
            return Err(format!("busy: {present}"));
        }
        let link = match self.link(hook, direction).map_err(|error| explain(hook, &error))? {
            Made::ToPin(link) => {
                let path = pinned.unwrap_or_default();
                let pinned = link.pin(&path).map(|_pin| Link::Pinned);
                return pinned.map_err(|error| format!("cannot pin {}: {}", path.display(), error_chain(&error)));
            }
            Made::Kept(link) => link,
        };
        if self.pins.is_some() {
            let interface = &self.device.name;
            tracing::warn!(
                interface,
                hook = hook.name(),
                "has no link that could be pinned: detached while restarting"
            );
        }
        Ok(link)
    }

    /// Who else is at TCX, and who comes first.
    pub(crate) fn beside(&mut self, ingress: Hook, egress: Hook) -> Vec<String> {
        let mut order = Vec::new();
        for ((direction, name), hook) in DIRECTIONS.into_iter().zip([ingress, egress]) {
            // A program that is at no hook here may not have been loaded.
            if hook != Hook::Tcx {
                continue;
            }
            let own = self.kernel.classifier(program_at(direction)).ok().and_then(|program| program.info().ok());
            let Some(own) = own else { continue };
            let present = at_tcx(self.device.index, direction).unwrap_or_default();
            let Some(at) = present.iter().position(|program| program.id == own.id()) else { continue };
            let list = |programs: &[_]| programs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let (before, after) = (list(&present[..at]), list(&present[at + 1..]));
            order.extend((!before.is_empty()).then(|| format!("{name}: after {before}")));
            order.extend((!after.is_empty()).then(|| format!("{name}: before {after}")));
        }
        order
    }

    /// A new link; with pinning it is handed out to be pinned, else the program keeps it.
    fn link(&mut self, hook: Hook, direction: TcAttachType) -> Result<Made, SourceError> {
        match hook {
            Hook::XdpNative => self.xdp(XdpMode::Driver),
            Hook::XdpGeneric => self.xdp(XdpMode::Skb),
            Hook::Tcx => self.tc(direction, TcAttachOptions::TcxOrder(link_order(self.options.tcx_order))),
            Hook::Tc => {
                let _ = qdisc_add_clsact(&self.device.name); // there already, or the attach below says why not
                let options = NlOptions { handle: TcHandle::new(0, 1), ..NlOptions::default() };
                self.tc(direction, TcAttachOptions::Netlink(options))
            }
        }
    }

    fn xdp(&mut self, mode: XdpMode) -> Result<Made, SourceError> {
        let (index, pinned) = (self.device.index, self.pins.is_some());
        let names = xdp_names(self.device);
        first_of(names, |name| {
            let program = self.kernel.xdp(name)?;
            let failed = |source| SourceError::Program { name, source };
            let id = program.attach_to_if_index(index, mode).map_err(failed)?;
            if !pinned {
                return Ok(Made::Kept(Link::Xdp(name, id)));
            }
            // Before kernel 5.9 there are no links for XDP.
            let link = FdLink::try_from(program.take_link(id).map_err(failed)?);
            link.map(Made::ToPin).map_err(|error| failed(link_error(error)))
        })
    }

    fn tc(&mut self, direction: TcAttachType, options: TcAttachOptions) -> Result<Made, SourceError> {
        let name = program_at(direction);
        let pinned = self.pins.is_some() && matches!(options, TcAttachOptions::TcxOrder(_));
        let program = self.kernel.classifier(name)?;
        let failed = |source| SourceError::Program { name, source };
        let id = program.attach_with_options(&self.device.name, direction, options).map_err(failed)?;
        if !pinned {
            return Ok(Made::Kept(Link::Tc(id)));
        }
        let link = FdLink::try_from(program.take_link(id).map_err(failed)?);
        link.map(Made::ToPin).map_err(|error| failed(link_error(error)))
    }
}

/// Replaces the program of a pinned link; the pin keeps the link.
fn adopt(
    kernel: &mut Kernel,
    xdp_names: &[&'static str],
    (hook, direction): (Hook, TcAttachType),
    path: &Path,
) -> Result<(), SourceError> {
    let open = |name| open(path).map_err(|error| SourceError::Program { name, source: link_error(error) });
    if hook.is_xdp() {
        return first_of(xdp_names, |name| {
            let failed = |source| SourceError::Program { name, source };
            let link = XdpLink::try_from(open(name)?).map_err(|error| failed(link_error(error)))?;
            kernel.xdp(name)?.attach_to_link(link).map(drop).map_err(failed)
        });
    }
    let name = program_at(direction);
    let failed = |source| SourceError::Program { name, source };
    let link = SchedClassifierLink::try_from(open(name)?).map_err(|error| failed(link_error(error)))?;
    kernel.classifier(name)?.attach_to_link(link).map(drop).map_err(failed)
}

fn open(path: &Path) -> Result<FdLink, LinkError> {
    PinnedLink::from_pin(path).map(FdLink::from)
}

fn error_chain(error: &(dyn std::error::Error + 'static)) -> String {
    causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn link_error(error: LinkError) -> ProgramError {
    match error {
        LinkError::SyscallError(error) => ProgramError::SyscallError(error),
        other => ProgramError::IOError(std::io::Error::other(other)),
    }
}

/// The first that works, else the last one's error.
fn first_of<T>(
    names: &[&'static str],
    mut attempt: impl FnMut(&'static str) -> Result<T, SourceError>,
) -> Result<T, SourceError> {
    let mut outcome = Err(SourceError::Missing("XDP program"));
    for name in names {
        outcome = attempt(name);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

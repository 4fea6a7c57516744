//! The hooks: which there are, in which order they are tried, what their programs are called, and what the kernel's
//! refusals mean.

use aya::programs::tc::TcError;
use aya::programs::{LinkOrder, ProgramError, TcAttachType};

use crate::SourceError;
use crate::load::causes;
use crate::options::{Attach, TcxOrder};

/// The place of a link among others.
pub(crate) const fn link_order(order: TcxOrder) -> LinkOrder {
    match order {
        TcxOrder::First => LinkOrder::first(),
        TcxOrder::Last => LinkOrder::last(),
    }
}

/// A hook for packets of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    XdpNative,
    XdpGeneric,
    Tcx,
    Tc,
}

impl Hook {
    /// Those with links that can be pinned.
    pub(crate) const LINKS: [Self; 3] = [Self::XdpNative, Self::XdpGeneric, Self::Tcx];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::XdpNative => "xdp",
            Self::XdpGeneric => "xdp-generic",
            Self::Tcx => "tcx",
            Self::Tc => "tc",
        }
    }

    pub(crate) const fn is_xdp(self) -> bool {
        matches!(self, Self::XdpNative | Self::XdpGeneric)
    }
}

impl Attach {
    /// Hooks to try in order. Native XDP comes late on virtual devices: on veth it switches segmentation offload off,
    /// which costs three quarters of the throughput (measured: 20 Gbit/s without a program, 5 with an empty one).
    pub(crate) const fn order(self, physical: bool) -> &'static [Hook] {
        match self {
            Self::Auto if physical => &[Hook::XdpNative, Hook::Tcx, Hook::Tc, Hook::XdpGeneric],
            Self::Auto => &[Hook::Tcx, Hook::Tc, Hook::XdpNative, Hook::XdpGeneric],
            Self::Xdp => &[Hook::XdpNative],
            Self::XdpGeneric => &[Hook::XdpGeneric],
            Self::Tcx => &[Hook::Tcx],
            Self::Tc => &[Hook::Tc],
        }
    }

    /// Whether XDP and nothing else is asked for.
    pub(crate) const fn is_xdp(self) -> bool {
        matches!(self, Self::Xdp | Self::XdpGeneric)
    }

    /// The same for outgoing packets, which have no XDP: TCX, or clsact where that is asked for or TCX is missing.
    pub(crate) const fn egress_order(self) -> &'static [Hook] {
        match self {
            Self::Tc => &[Hook::Tc],
            _ => &[Hook::Tcx, Hook::Tc],
        }
    }
}

/// Both directions with their names.
pub(crate) const DIRECTIONS: [(TcAttachType, &str); 2] =
    [(TcAttachType::Ingress, "ingress"), (TcAttachType::Egress, "egress")];

pub(crate) const fn program_at(direction: TcAttachType) -> &'static str {
    match direction {
        TcAttachType::Ingress => "nta_tc_ingress",
        _ => "nta_tc_egress",
    }
}

/// Whether a program of this name is one of ours.
pub(crate) fn is_ours(name: &str) -> bool {
    ["nta_tc_ingress", "nta_tc_egress", "nta_xdp", "nta_xdp_frags"].contains(&name)
}

pub(crate) const NO_PERMISSION: &str = "not permitted";

/// The kernel's errno in words that say what to do about it.
pub(crate) fn explain(hook: Hook, error: &SourceError) -> String {
    let errno = causes(error).find_map(|cause| {
        if let Some(TcError::NetlinkError(_)) = cause.downcast_ref::<TcError>() {
            return None;
        }
        cause.downcast_ref::<std::io::Error>()?.raw_os_error()
    });
    let native = hook == Hook::XdpNative;
    match errno {
        Some(libc::EPERM) => NO_PERMISSION.to_owned(),
        Some(libc::EBUSY | libc::EEXIST) => "busy: another program is attached there".to_owned(),
        Some(libc::EOPNOTSUPP) if native => "the driver has no native XDP".to_owned(),
        Some(libc::ERANGE | libc::EINVAL) if native => {
            "refused by the driver (MTU or queues do not suit XDP)".to_owned()
        }
        Some(libc::EINVAL) if hook == Hook::Tcx => NO_TCX.to_owned(),
        _ => match error {
            SourceError::Program { source: ProgramError::TcError(error), .. } => error.to_string(),
            SourceError::Program { source, .. } => {
                causes(source).map(ToString::to_string).collect::<Vec<_>>().join(": ")
            }
            other => other.to_string(),
        },
    }
}

pub(crate) const NO_TCX: &str = "this kernel has no TCX (6.6 and later have)";

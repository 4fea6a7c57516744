//! Which hook an interface would get, found by asking the kernel and without attaching anything: on many NICs a native
//! XDP program resets the link.

use aya::programs::TcAttachType;

use crate::attach::reason;
use crate::claim::holder;
use crate::device::Device;
use crate::hook::{Hook, NO_TCX};
use crate::netlink::has_native_xdp;
use crate::options::Attach;
use crate::present::{at_tcx, at_xdp};

/// What `auto` would take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prediction {
    /// Hook for incoming packets.
    pub ingress: String,
    /// Hook for outgoing packets.
    pub egress: String,
    /// Why.
    pub reason: String,
    /// Who watches the interface already.
    pub watched_by: Option<String>,
}

/// Asks for one interface.
pub fn predict(device: &Device) -> Prediction {
    let mut refused = Vec::new();
    let mut beside = Vec::new();
    let order = Attach::Auto.order(device.driver.is_some());
    let ingress = first(order, device, TcAttachType::Ingress, &mut refused, &mut beside);
    let egress = first(Attach::Auto.egress_order(), device, TcAttachType::Egress, &mut Vec::new(), &mut beside);
    Prediction {
        ingress: ingress.name().to_owned(),
        egress: egress.name().to_owned(),
        reason: reason(device, Attach::Auto, &refused, &beside),
        watched_by: holder(&device.name).map(|holder| holder.to_string()),
    }
}

fn first(
    order: &[Hook],
    device: &Device,
    direction: TcAttachType,
    refused: &mut Vec<String>,
    beside: &mut Vec<String>,
) -> Hook {
    let fits = |hook: &&Hook| match would_take(**hook, device, direction) {
        Ok(remark) => {
            beside.extend(remark);
            true
        }
        Err(why) => {
            refused.push(format!("{}: {why}", hook.name()));
            false
        }
    };
    // Clsact is in every order, and takes any number of filters.
    order.iter().find(fits).copied().unwrap_or(Hook::Tc)
}

/// Whether the hook is there and free, with a remark.
fn would_take(hook: Hook, device: &Device, direction: TcAttachType) -> Result<Option<String>, String> {
    match hook {
        Hook::XdpNative | Hook::XdpGeneric => {
            if let Some(present) = at_xdp(device.index) {
                return Err(format!("busy: {present}"));
            }
            match has_native_xdp(device.index) {
                Ok(false) if hook == Hook::XdpNative => Err("the driver has no native XDP".to_owned()),
                Err(_) if hook == Hook::XdpNative => Ok(Some(
                    "this kernel does not say whether the driver has native XDP (6.3 and later do): doctor --probe \
                     finds out"
                        .to_owned(),
                )),
                _ => Ok(None),
            }
        }
        Hook::Tcx => {
            let present = match at_tcx(device.index, direction) {
                Ok(present) => present,
                Err(error) if error.raw_os_error() == Some(libc::EPERM) && has_tcx() => {
                    return Ok(Some("root alone can ask who else is at TCX".to_owned()));
                }
                Err(_) => return Err(NO_TCX.to_owned()),
            };
            let others: Vec<String> = present.iter().map(ToString::to_string).collect();
            Ok((!others.is_empty()).then(|| format!("beside {}", others.join(", "))))
        }
        Hook::Tc => Ok(None),
    }
}

/// By the kernel's version: it says nothing of its hooks to whoever may not use them.
fn has_tcx() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= TCX_SINCE
}

/// The first kernel with TCX.
const TCX_SINCE: (u32, u32) = (6, 6);

//! Which interfaces are to be watched: those that the patterns select, and those that are watched already, which are
//! followed by their index when they are renamed.

use crate::config::{InterfacePattern, selects};
use crate::source::kernel::device::Device;
use nta_common::limits::MAX_INTERFACES;

/// What there is to be watched now.
#[derive(Debug, Default)]
pub struct Matches {
    /// Interfaces to attach to, by index.
    pub devices: Vec<Device>,
    /// Why something that should be watched is not, or is and counts nothing.
    pub missing: Vec<String>,
}

/// Looks at all interfaces. `watched` has the indices of those that are watched already.
pub fn look(patterns: &[InterfacePattern], watched: &[u32]) -> Matches {
    let mut devices: Vec<Device> = Device::all();
    // The loopback only where it is asked for by its name.
    let named: Vec<&str> = patterns.iter().filter(|p| p.is_name()).map(InterfacePattern::as_str).collect();
    if named.contains(&"lo") {
        devices.extend(Device::find("lo"));
    }
    devices.retain(|device| watched.contains(&device.index) || selects(patterns, &device.name));
    let gone = |name: &&&str| !devices.iter().any(|device| device.name == **name);
    let mut missing: Vec<String> = if devices.iter().any(|device| watched.contains(&device.index))
        && devices.len() >= named.len()
    {
        // A renamed one stands for its name.
        Vec::new()
    } else {
        let there_are = Device::there_are();
        named.iter().filter(gone).map(|name| format!("{name} does not exist; it is waited for ({there_are})")).collect()
    };
    if devices.is_empty() && missing.is_empty() {
        let patterns: Vec<&str> = patterns.iter().map(InterfacePattern::as_str).collect();
        missing.push(format!(
            "no interface matches {}; one is waited for ({})",
            patterns.join(","),
            Device::there_are()
        ));
    }
    // Those that are watched come first, so that a new one takes no place of theirs; the last slot is for strangers.
    devices.sort_by_key(|device| (!watched.contains(&device.index), device.index));
    for device in devices.drain((MAX_INTERFACES - 1).min(devices.len())..) {
        missing.push(format!("{} is not watched: {} interfaces are the most", device.name, MAX_INTERFACES - 1));
    }
    devices.sort_by_key(|device| device.index);
    missing.extend(devices.iter().filter(|d| !Device::is_up(&d.name)).map(|d| format!("{} is down", d.name)));
    Matches { devices, missing }
}

//! Which interfaces are to be watched: those that the patterns select, but for what was stopped by request, those that were started by
//! request, and those that are watched already, which are followed by their index when they are renamed.

use std::collections::BTreeMap;

use super::choice::Choice;
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
    /// Which of them have a name now that the patterns do not select, and what that means.
    pub renamed: Vec<String>,
    /// Interfaces that the configuration selects and that are left alone by request.
    pub set_aside: Vec<String>,
    /// The name by which the patterns selected each of them last.
    names: Names,
}

/// Names by index.
type Names = BTreeMap<u32, String>;

impl Matches {
    /// Looks at all interfaces. `watched` has the indices of those that are watched already.
    pub fn look(&self, choice: &mut Choice, watched: &[u32]) -> Self {
        let mut devices: Vec<Device> = Device::all();
        choice.follow(&devices);
        // The loopback only where it is asked for by its name.
        if choice.names().contains(&"lo") {
            devices.extend(Device::find("lo"));
            choice.follow(&devices);
        }
        matches(choice, watched, &self.names, devices, &Device::is_up)
    }

    /// Whether the configuration selects an interface, under the name of now or of before.
    pub fn is_selected(&self, choice: &Choice, device: &Device) -> bool {
        is_selected(choice.patterns(), &self.names, device)
    }
}

/// One that was selected once and has another name since is still selected.
fn is_selected(patterns: &[InterfacePattern], known: &Names, device: &Device) -> bool {
    selects(patterns, &device.name) || known.get(&device.index).is_some_and(|before| selects(patterns, before))
}

/// What of these interfaces is to be watched.
fn matches(
    choice: &Choice,
    watched: &[u32],
    known: &Names,
    mut devices: Vec<Device>,
    is_up: &dyn Fn(&str) -> bool,
) -> Matches {
    let (patterns, there_are) = (choice.patterns(), Device::list(&devices));
    let selected = |device: &Device| {
        selects(patterns, &device.name) || (watched.contains(&device.index) && is_selected(patterns, known, device))
    };
    let set_aside = devices.iter().filter(|device| selected(device) && !choice.wants(device.index, true));
    let set_aside = set_aside.map(|device| device.name.clone()).collect();
    devices.retain(|device| choice.wants(device.index, selected(device)));
    let name = |device: &Device| match known.get(&device.index) {
        Some(before) if !selects(patterns, &device.name) => before.clone(),
        _ => device.name.clone(),
    };
    let names: Names = devices.iter().map(|device| (device.index, name(device))).collect();
    // A renamed one stands for its name.
    let is_there = |name: &str| devices.iter().any(|device| device.name == name || names[&device.index] == name);
    let named = choice.names().into_iter();
    let mut missing: Vec<String> = named
        .filter(|name| !is_there(name))
        .map(|name| format!("{name} does not exist: waiting for it; {there_are}"))
        .collect();
    let wanted = patterns.iter().map(InterfacePattern::as_str).collect::<Vec<_>>().join(",");
    if devices.is_empty() && missing.is_empty() && choice.waits() {
        missing.push(format!("no interface matches {wanted}: waiting for one; {there_are}"));
    }
    // Those that are watched come first, so that a new one takes no place of theirs; the last slot is for strangers.
    devices.sort_by_key(|device| (!watched.contains(&device.index), device.index));
    for device in devices.drain((MAX_INTERFACES - 1).min(devices.len())..) {
        missing.push(format!("{} is not watched: {} interfaces are the most", device.name, MAX_INTERFACES - 1));
    }
    devices.sort_by_key(|device| device.index);
    let renamed = |device: &Device| {
        let (now, before) = (&device.name, &names[&device.index]);
        let text = format!(
            "{before} was renamed to {now}, which {wanted} does not select: it is watched until the next start; add {now} \
             to capture.interfaces (--interface), or rename it back"
        );
        (now != before).then_some(text)
    };
    for device in devices.iter().filter(|device| !is_up(&device.name)) {
        let why = renamed(device).map_or_else(String::new, |why| format!(" ({why})"));
        missing.push(format!("{} is down{why}", device.name));
    }
    let renamed = devices.iter().filter_map(renamed).collect();
    Matches { devices, missing, renamed, set_aside, names }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices(names: &[(u32, &str)]) -> Vec<Device> {
        let device = |&(index, name): &(u32, &str)| Device {
            name: name.to_owned(),
            index,
            driver: None,
            mtu: 1500,
            state: "up".to_owned(),
        };
        names.iter().map(device).collect()
    }

    /// What is missing and renamed, look after look: those that are found are watched from then on.
    fn looks(patterns: &[&str], steps: &[&[(u32, &str)]], down: &str) -> Matches {
        let choice = Choice::new(patterns.iter().map(|text| text.parse().expect("a pattern")).collect());
        let mut found = Matches::default();
        for step in steps {
            let watched: Vec<u32> = found.devices.iter().map(|device| device.index).collect();
            found = matches(&choice, &watched, &found.names, devices(step), &|name| name != down);
        }
        found
    }

    #[test]
    fn an_interface_with_a_name_that_no_pattern_selects_is_watched_and_its_old_name_is_said() {
        for patterns in [&["eth*"] as &[&str], &["eth0"], &["eth0", "ppp*"], &["!wan*"]] {
            let found = looks(patterns, &[&[(3, "eth0")], &[(3, "wan0")], &[(3, "wan0")]], "");
            assert_eq!((found.devices.len(), found.missing), (1, vec![]), "{patterns:?}");
            let [renamed] = &found.renamed[..] else { panic!("{patterns:?}: {:?}", found.renamed) };
            let wanted = patterns.join(",");
            let said = format!("eth0 was renamed to wan0, which {wanted} does not select");
            assert!(renamed.starts_with(&said) && renamed.contains("add wan0 to capture.interfaces"), "{renamed}");

            let found = looks(patterns, &[&[(3, "eth0")], &[(3, "wan0")]], "wan0");
            assert_eq!(found.missing, [format!("wan0 is down ({renamed})")], "{patterns:?}");
            let found = looks(patterns, &[&[(3, "eth0")], &[(3, "wan0")], &[(3, "eth0")]], "eth0");
            assert_eq!((found.missing, found.renamed), (vec!["eth0 is down".to_owned()], vec![]), "renamed back");
        }
    }

    #[test]
    fn a_name_that_is_selected_as_well_is_no_matter() {
        let found = looks(&["eth*"], &[&[(3, "eth0")], &[(3, "eth7")]], "eth7");
        assert_eq!((found.missing, found.renamed), (vec!["eth7 is down".to_owned()], vec![]));
    }

    #[test]
    fn a_name_is_missed_only_where_no_renamed_interface_stands_for_it() {
        let steps: [&[(u32, &str)]; 2] = [&[(3, "eth0"), (4, "eth1")], &[(3, "wan0"), (5, "dmz0")]];
        let found = looks(&["eth0", "eth1"], &steps, "");
        assert_eq!(found.missing, ["eth1 does not exist: waiting for it; there are wan0, dmz0"]);
        assert_eq!(found.renamed.len(), 1, "{:?}", found.renamed);
    }
}

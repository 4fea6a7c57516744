//! Which interfaces are to be captured: those that the configuration selects, and what somebody asked for since. What was asked for
//! ends with the process: a restart follows the configuration.

use std::time::Instant;

use super::control::{Ended, Started};
use crate::config::{InterfacePattern, selects};
use crate::source::kernel::device::Device;
use nta_core::domain::Timestamp;

/// Who asked for something, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Name of the token, or `anonymous`.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// When capture of an interface ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Until {
    /// By the clock that goes on whatever the wall clock is set to.
    pub(super) due: Instant,
    /// For people.
    pub(super) at: Timestamp,
}

/// An interface about which something was asked for, followed by its index, and by its name where it is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named<T> {
    name: String,
    index: Option<u32>,
    asked: Asked,
    more: T,
}

/// What is to be captured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    patterns: Vec<InterfacePattern>,
    /// What the patterns select is left alone.
    stopped_all: Option<Asked>,
    /// These are left alone though the patterns select them.
    stopped: Vec<Named<()>>,
    /// These are captured whatever the patterns select.
    started: Vec<Named<Option<Until>>>,
}

impl Choice {
    /// As the configuration says.
    pub fn new(patterns: Vec<InterfacePattern>) -> Self {
        Self { patterns, ..Self::default() }
    }

    /// What the configuration selects.
    pub(super) fn patterns(&self) -> &[InterfacePattern] {
        &self.patterns
    }

    /// From now on the configuration selects these; what was asked for holds beside them.
    pub(super) fn select(&mut self, patterns: Vec<InterfacePattern>) {
        self.patterns = patterns;
    }

    /// Whether it is as the configuration says.
    pub(super) const fn is_configured(&self) -> bool {
        self.stopped_all.is_none() && self.stopped.is_empty() && self.started.is_empty()
    }

    /// Who stopped all of it, where nothing was started since.
    pub(super) fn stopped_by(&self) -> Option<&Asked> {
        self.stopped_all.as_ref().filter(|_| self.started.is_empty())
    }

    /// Looks at the interfaces that there are now: one that was renamed is the same, one that came back under its name too.
    pub(super) fn follow(&mut self, devices: &[Device]) {
        let follow = |name: &mut String, index: &mut Option<u32>| {
            let same = devices.iter().find(|device| Some(device.index) == *index);
            let found = same.or_else(|| devices.iter().find(|device| device.name == *name));
            *index = found.map(|device| device.index);
            if let Some(device) = found {
                name.clone_from(&device.name);
            }
        };
        self.stopped.iter_mut().for_each(|named| follow(&mut named.name, &mut named.index));
        self.started.iter_mut().for_each(|named| follow(&mut named.name, &mut named.index));
    }

    /// Whether an interface is to be captured; `is_selected` says whether the configuration selects it.
    pub(super) fn wants(&self, index: u32, is_selected: bool) -> bool {
        self.is_started(index) || (!self.is_stopped(index) && is_selected)
    }

    fn is_started(&self, index: u32) -> bool {
        self.started.iter().any(|named| named.index == Some(index))
    }

    fn is_stopped(&self, index: u32) -> bool {
        self.stopped_all.is_some() || self.stopped.iter().any(|named| named.index == Some(index))
    }

    /// The names of interfaces that are to be captured and waited for where they are not there.
    pub(super) fn names(&self) -> Vec<&str> {
        let is_stopped = |name: &str| self.stopped_all.is_some() || self.stopped.iter().any(|named| named.name == name);
        let configured = self.patterns.iter().filter(|pattern| pattern.is_name()).map(InterfacePattern::as_str);
        let mut names: Vec<&str> = configured.filter(|name| !is_stopped(name)).collect();
        for named in &self.started {
            if !names.contains(&named.name.as_str()) {
                names.push(&named.name);
            }
        }
        names
    }

    /// Whether one interface at least is waited for where none is there.
    pub(super) const fn waits(&self) -> bool {
        self.stopped_all.is_none() && self.stopped.is_empty()
    }

    /// Captures an interface, for ever or until then. One that the configuration selects is as it was before it was stopped.
    pub(super) fn start(&mut self, device: &Device, asked: Asked, until: Option<Until>) {
        self.started.retain(|named| named.index != Some(device.index));
        let is_configured = self.stopped_all.is_none() && selects(&self.patterns, &device.name) && until.is_none();
        self.stopped.retain(|named| named.index != Some(device.index));
        if !is_configured {
            let (name, index) = (device.name.clone(), Some(device.index));
            self.started.push(Named { name, index, asked, more: until });
        }
    }

    /// Captures nothing any more.
    pub(super) fn stop_all(&mut self, asked: Asked) {
        self.started.clear();
        self.stopped.clear();
        self.stopped_all = Some(asked);
    }

    /// Leaves an interface alone, which may be gone. `is_selected` says whether it would be captured else.
    pub(super) fn stop(&mut self, name: &str, index: Option<u32>, is_selected: bool, asked: Asked) {
        let is_same = |known: &str, at: Option<u32>| if index.is_some() { at == index } else { known == name };
        self.started.retain(|named| !is_same(&named.name, named.index));
        self.stopped.retain(|named| !is_same(&named.name, named.index));
        if is_selected && self.stopped_all.is_none() {
            self.stopped.push(Named { name: name.to_owned(), index, asked, more: () });
        }
    }

    /// Ends what was asked for until now.
    pub(super) fn expire(&mut self, now: Instant, at: Timestamp) -> Vec<Ended> {
        let is_over = |named: &Named<Option<Until>>| named.more.is_some_and(|until| now >= until.due);
        let over: Vec<_> = self.started.iter().filter(|named| is_over(named)).cloned().collect();
        for named in &over {
            let is_selected = selects(&self.patterns, &named.name);
            let asked = Asked { by: named.asked.by.clone(), at };
            self.stop(&named.name, named.index, is_selected, asked);
        }
        over.into_iter().map(|named| Ended { interface: named.name, asked: named.asked }).collect()
    }

    /// Who asked for an interface to be captured, and until when; `None` of one that the configuration has captured.
    pub(super) fn started(&self, index: u32) -> Option<Started> {
        let named = self.started.iter().find(|named| named.index == Some(index))?;
        Some(Started { asked: named.asked.clone(), until: named.more.map(|until| until.at) })
    }

    /// What is not captured since somebody asked for it; `set_aside` has the interfaces that would be.
    pub(super) fn stops(&self, set_aside: &[String], is_capturing: bool) -> Vec<(Option<String>, Asked)> {
        match &self.stopped_all {
            Some(asked) if !is_capturing => vec![(None, asked.clone())],
            Some(asked) => set_aside.iter().map(|name| (Some(name.clone()), asked.clone())).collect(),
            None => self.stopped.iter().map(|named| (Some(named.name.clone()), named.asked.clone())).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn device(index: u32, name: &str) -> Device {
        Device { name: name.to_owned(), index, driver: None, mtu: 1500, state: "up".to_owned() }
    }

    fn choice(patterns: &[&str]) -> Choice {
        Choice::new(patterns.iter().map(|text| text.parse().expect("a pattern")).collect())
    }

    fn asked(by: &str) -> Asked {
        Asked { by: by.to_owned(), at: Timestamp::from_nanos(7) }
    }

    fn until(due: Instant) -> Option<Until> {
        Some(Until { due, at: Timestamp::from_nanos(9) })
    }

    #[test]
    fn a_stop_holds_over_renames_and_returns_and_a_start_brings_the_configuration_back() {
        let mut choice = choice(&["eth*"]);
        let eth1 = device(4, "eth1");
        assert!(choice.wants(3, true) && !choice.wants(5, false));
        choice.stop("eth0", Some(3), true, asked("mira"));
        assert!(!choice.wants(3, true) && choice.wants(4, true));
        assert_eq!(choice.stops(&[], true), [(Some("eth0".to_owned()), asked("mira"))]);
        choice.follow(&[device(3, "eth7"), eth1.clone()]);
        assert!(!choice.wants(3, true), "under another name");
        choice.follow(std::slice::from_ref(&eth1));
        choice.follow(&[eth1, device(9, "eth7")]);
        assert!(!choice.wants(9, true), "made anew");
        choice.start(&device(9, "eth7"), asked("noor"), None);
        assert!(choice.is_configured(), "{choice:?}");
    }

    #[test]
    fn a_stop_of_all_leaves_what_is_started_one_by_one() {
        let mut choice = choice(&["eth0", "eth1"]);
        assert_eq!(choice.names(), ["eth0", "eth1"]);
        choice.start(&device(8, "wan0"), asked("noor"), None);
        assert_eq!(choice.names(), ["eth0", "eth1", "wan0"], "it is waited for as well");
        choice.stop_all(asked("mira"));
        assert!(!choice.wants(3, true) && !choice.wants(8, false));
        assert!(choice.names().is_empty() && !choice.waits());
        assert_eq!(choice.stopped_by(), Some(&asked("mira")));
        assert_eq!(choice.stops(&["eth0".to_owned()], false), [(None, asked("mira"))]);
        choice.start(&device(3, "eth0"), asked("noor"), None);
        assert!(choice.wants(3, true) && !choice.wants(4, true));
        assert_eq!(choice.stopped_by(), None);
        assert_eq!(choice.stops(&["eth1".to_owned()], true), [(Some("eth1".to_owned()), asked("mira"))]);
        assert_eq!(choice.stops(&[], true), [], "nothing that the configuration selects is missing");
    }

    #[test]
    fn a_time_that_is_over_ends_it_and_nothing_else() {
        let now = Instant::now();
        let mut choice = choice(&["eth0"]);
        choice.start(&device(4, "eth1"), asked("noor"), until(now + Duration::from_secs(5)));
        choice.start(&device(5, "eth2"), asked("noor"), None);
        assert!(choice.expire(now + Duration::from_secs(4), Timestamp::from_nanos(8)).is_empty());
        let started = choice.started(4).expect("by request");
        assert_eq!((started.asked, started.until), (asked("noor"), Some(Timestamp::from_nanos(9))));
        let ended = |name: &str| [Ended { interface: name.to_owned(), asked: asked("noor") }];
        assert_eq!(choice.expire(now + Duration::from_secs(5), Timestamp::from_nanos(8)), ended("eth1"));
        assert!(!choice.wants(4, false) && choice.wants(5, false) && choice.wants(3, true));
        // One that the configuration selects is stopped then, by who asked for the end.
        choice.start(&device(3, "eth0"), asked("noor"), until(now));
        assert_eq!(choice.expire(now, Timestamp::from_nanos(8)), ended("eth0"));
        assert!(!choice.wants(3, true));
        let end = Asked { by: "noor".to_owned(), at: Timestamp::from_nanos(8) };
        assert_eq!(choice.stops(&[], true), [(Some("eth0".to_owned()), end)]);
    }
}

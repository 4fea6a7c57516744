//! Where detectors say how near hosts came to their thresholds in a window.

use std::net::IpAddr;
use std::sync::Mutex;

use super::{Declaration, View};
use crate::domain::{HostMeasure, HostMeasures};

/// Measures that are collected before those with the largest shares are chosen.
const MAX_COLLECTED: usize = 8_192;

/// What was said so far. Detectors of one window may be on two threads.
#[derive(Debug, Default)]
pub struct States(Mutex<Collected>);

#[derive(Debug, Default)]
struct Collected {
    near: Vec<HostMeasure>,
    /// How often something near was said.
    said: u64,
}

impl Collected {
    /// Keeps the nearest in either case, in whatever order they come: one that is left out has as many before it as are kept.
    fn add(&mut self, measure: HostMeasure) {
        self.said += 1;
        self.near.push(measure);
        if self.near.len() >= MAX_COLLECTED {
            self.near = HostMeasures::nearest(std::mem::take(&mut self.near)).kept;
        }
    }
}

impl States {
    /// What is to be kept of it. Of more than are collected at once those that are left out are counted as often as they were said.
    pub fn nearest(self) -> HostMeasures {
        let Collected { near, said } = self.0.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut nearest = HostMeasures::nearest(near);
        if said >= MAX_COLLECTED as u64 {
            nearest.left_out = said - nearest.kept.len() as u64;
        }
        nearest
    }
}

impl View<'_> {
    /// Says what a detector measured of a host, in the named unit, and from which value on that is reported. What is far from it
    /// is not kept.
    pub(super) fn state(
        &self,
        by: &Declaration,
        host: IpAddr,
        (name, unit): (&'static str, &'static str),
        [observed, threshold]: [f64; 2],
    ) {
        let Some(States(collected)) = self.states else { return };
        let measure =
            HostMeasure { detector: by.name.into(), host, name: name.into(), unit: unit.into(), observed, threshold };
        if !measure.is_near() {
            return;
        }
        collected.lock().unwrap_or_else(std::sync::PoisonError::into_inner).add(measure);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_order_the_nearest_are_kept_and_the_rest_is_counted() {
        let measure = |host: u32| HostMeasure {
            detector: "syn_flood".into(),
            host: IpAddr::V4(host.into()),
            name: "futile_syns".into(),
            unit: "SYNs".into(),
            observed: f64::from(30 + host % 5_000),
            threshold: 100.0,
        };
        let collect = |hosts: &mut dyn Iterator<Item = u32>| {
            let states = States::default();
            hosts.for_each(|host| states.0.lock().expect("no panic").add(measure(host)));
            states.nearest()
        };
        let rising = collect(&mut (0..50_000));
        assert_eq!(rising, collect(&mut (0..50_000).rev()));
        assert_eq!(rising, collect(&mut (0..50_000).map(|host| host * 7_919 % 50_000)));
        assert_eq!((rising.kept.len() as u64 + rising.left_out, rising.kept[0].share()), (50_000, 50.29));
    }
}

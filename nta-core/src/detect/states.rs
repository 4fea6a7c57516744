//! Where detectors say how near hosts came to their thresholds in a window.

use std::net::IpAddr;
use std::sync::Mutex;

use super::{Declaration, View};
use crate::domain::{HostMeasure, HostMeasures};

/// Measures that are collected in a window; further ones are counted alone.
const MAX_COLLECTED: usize = 8_192;

/// What was said so far. Detectors of one window may be on two threads.
#[derive(Debug, Default)]
pub struct States(Mutex<(Vec<HostMeasure>, u64)>);

impl States {
    /// What is to be kept of it.
    pub fn nearest(self) -> HostMeasures {
        let (all, dropped) = self.0.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        HostMeasures::nearest(all, dropped)
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
        let mut collected = collected.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if collected.0.len() < MAX_COLLECTED {
            collected.0.push(measure);
        } else {
            collected.1 += 1;
        }
    }
}

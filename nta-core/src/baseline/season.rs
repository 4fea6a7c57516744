//! The hour of the week: a quantile sketch for each of its 168 hours.

use std::fmt;

use serde::{Deserialize, Serialize};
use sketches_ddsketch::{Config, DDSketch};

use super::Expected;
use crate::domain::Timestamp;

const HOURS: usize = 168;
const HOUR_NS: u64 = 3_600_000_000_000;
/// 1970 began on a Thursday; weeks are cut on Monday, UTC.
const MONDAY_OFFSET_HOURS: u64 = 72;
/// Relative error of a quantile (DDSketch, Masson et al. 2019).
const RELATIVE_ERROR: f64 = 0.01;
const MAX_BINS: u32 = 512;
/// Smaller values count as 0.
const SMALLEST: f64 = 1e-6;
/// Half the distance of the quartiles of a normal distribution, in standard deviations.
const QUARTILE_SIGMA: f64 = 0.6745;

/// What each hour of the week was like.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Season {
    hours: std::collections::BTreeMap<usize, Hour>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Hour {
    /// Which hour since 1970 it was learned in last.
    last: u64,
    /// Windows learned in earlier weeks.
    earlier: u32,
    /// Windows learned in the last one.
    latest: u32,
    values: DDSketch,
}

impl Hour {
    fn quartiles(&self) -> [Option<f64>; 3] {
        [0.25, 0.5, 0.75].map(|q| self.values.quantile(q).ok().flatten())
    }
}

/// By what can be read of it: the sketch itself does not compare.
impl PartialEq for Hour {
    fn eq(&self, other: &Self) -> bool {
        (self.last, self.earlier, self.latest, self.quartiles())
            == (other.last, other.earlier, other.latest, other.quartiles())
    }
}

impl fmt::Debug for Hour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hour").field("last", &self.last).field("quartiles", &self.quartiles()).finish_non_exhaustive()
    }
}

const fn hour(time: Timestamp) -> u64 {
    time.as_nanos() / HOUR_NS
}

const fn slot(hour: u64) -> usize {
    ((hour + MONDAY_OFFSET_HOURS) % HOURS as u64) as usize
}

impl Season {
    pub(super) fn learn(&mut self, value: f64, time: Timestamp) {
        let now = hour(time);
        let slot = self.hours.entry(slot(now)).or_insert_with(|| Hour {
            last: now,
            earlier: 0,
            latest: 0,
            values: DDSketch::new(Config::new(RELATIVE_ERROR, MAX_BINS, SMALLEST)),
        });
        if slot.last != now {
            slot.earlier = slot.earlier.saturating_add(slot.latest);
            (slot.last, slot.latest) = (now, 0);
        }
        slot.latest = slot.latest.saturating_add(1);
        slot.values.add(value.max(0.0));
    }

    /// What earlier weeks say about this hour; `None` while they have fewer than `least` windows.
    pub(super) fn expected(&self, time: Timestamp, least: u32) -> Option<Expected> {
        let now = hour(time);
        let slot = self.hours.get(&slot(now))?;
        let samples = if slot.last == now { slot.earlier } else { slot.earlier.saturating_add(slot.latest) };
        if samples < least {
            return None;
        }
        let [Some(low), Some(median), Some(high)] = slot.quartiles() else { return None };
        Some(Expected { median, sigma: (high - low) / 2.0 / QUARTILE_SIGMA, samples })
    }

    /// Hours with at least so many windows.
    pub(super) fn known(&self, least: u32) -> usize {
        self.hours.values().filter(|hour| hour.earlier.saturating_add(hour.latest) >= least).count()
    }

    pub(super) fn check(&self) -> Result<(), String> {
        match self.hours.keys().find(|hour| **hour >= HOURS) {
            Some(hour) => Err(format!("{hour} is no hour of the week (0 to 167, from Monday 00:00 UTC)")),
            None => Ok(()),
        }
    }
}

//! The hour of the week: for each of its 168 hours a histogram of the values that it had, in which old weeks fade.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Expected;
use super::histogram::Histogram;
use crate::domain::Timestamp;

const HOURS: usize = 168;
pub(super) const HOUR_NS: u64 = 3_600_000_000_000;
/// 1970 began on a Thursday; weeks are cut on Monday, UTC.
const MONDAY_OFFSET_HOURS: u64 = 72;
/// What a week is worth beside the one after it, 2^(-1/4): half as much after four weeks. A month is as long as a habit
/// of a site usually lasts, and four values of an hour are enough for its median.
const WEEK_FADES: f64 = 0.840_896_415_253_714_6;
/// Half the distance of the quartiles of a normal distribution, in standard deviations.
const QUARTILE_SIGMA: f64 = 0.6745;

/// What each hour of the week was like.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "SeasonFields")]
pub(super) struct Season {
    hours: BTreeMap<usize, Hour>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hour {
    /// Which hour since 1970 it was learned in last.
    last: u64,
    /// Windows learned in earlier weeks.
    earlier: u32,
    /// Windows learned in the last one.
    latest: u32,
    values: Histogram,
}

/// A season as it is read, before it is believed.
#[derive(Deserialize)]
struct SeasonFields {
    hours: BTreeMap<usize, Hour>,
}

impl TryFrom<SeasonFields> for Season {
    type Error = String;

    fn try_from(SeasonFields { hours }: SeasonFields) -> Result<Self, String> {
        match hours.keys().find(|hour| **hour >= HOURS) {
            Some(hour) => Err(format!("season.hours: {hour} is no hour of the week (0 to 167, from Monday 00:00 UTC)")),
            None => Ok(Self { hours }),
        }
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
        let blank = || Hour { last: now, earlier: 0, latest: 0, values: Histogram::default() };
        let slot = self.hours.entry(slot(now)).or_insert_with(blank);
        if slot.last != now {
            let weeks = (now.saturating_sub(slot.last) / HOURS as u64).clamp(1, i32::MAX as u64) as i32;
            slot.values.fade(WEEK_FADES.powi(weeks));
            slot.earlier = slot.earlier.saturating_add(slot.latest);
            (slot.last, slot.latest) = (now, 0);
        }
        slot.latest = slot.latest.saturating_add(1);
        slot.values.add(value);
    }

    /// What earlier weeks say about this hour; `None` while they have fewer than `least` windows.
    pub(super) fn expected(&self, time: Timestamp, least: u32) -> Option<Expected> {
        let now = hour(time);
        let slot = self.hours.get(&slot(now))?;
        let samples = if slot.last == now { slot.earlier } else { slot.earlier.saturating_add(slot.latest) };
        if samples < least {
            return None;
        }
        let [low, median, high] = [0.25, 0.5, 0.75].map(|share| slot.values.quantile(share));
        let (low, median, high) = (low?, median?, high?);
        Some(Expected { median, sigma: (high - low) / 2.0 / QUARTILE_SIGMA, samples })
    }

    /// Hours with at least so many windows.
    pub(super) fn known(&self, least: u32) -> usize {
        self.hours.values().filter(|hour| hour.earlier.saturating_add(hour.latest) >= least).count()
    }
}

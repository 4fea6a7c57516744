//! A histogram of values with bins of equal relative width (DDSketch, Masson et al. 2019), whose counts may fade. Sketches of
//! crates neither fade nor look at what they read: one with a bin at the end of the integers ends the process.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::MAX_VALUE;

/// Relative error of a quantile.
const RELATIVE_ERROR: f64 = 0.01;
/// A bin is so many times as wide as the one below it.
const GAMMA: f64 = (1.0 + RELATIVE_ERROR) / (1.0 - RELATIVE_ERROR);
/// Smaller values count as 0.
const SMALLEST: f64 = 1e-6;
/// Bins that are kept; beyond it the one with the least weight goes. An hour has 120 windows.
const MAX_BINS: usize = 512;
/// A bin that has faded to less than this, of one window, is forgotten.
const FORGOTTEN: f64 = 1.0 / 64.0;
/// More weight than any histogram comes to: a window is 1, and there are 120 in an hour of each week.
const MAX_WEIGHT: f64 = 1e9;

/// Values, and how much each weighs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Fields")]
pub(super) struct Histogram {
    /// Weight of the values that count as 0.
    zeros: f64,
    /// Weight by bin: the bin of a value v is the largest whole number that is at most log v to the base [`GAMMA`].
    bins: BTreeMap<i32, f64>,
}

/// The bin of a value above [`SMALLEST`].
fn bin(value: f64) -> i32 {
    (value.ln() / GAMMA.ln()).floor() as i32
}

/// The value that stands for those of a bin.
fn value(bin: i32) -> f64 {
    (f64::from(bin) * GAMMA.ln()).exp() * 2.0 * GAMMA / (1.0 + GAMMA)
}

impl Histogram {
    /// Adds a value of weight 1.
    pub(super) fn add(&mut self, value: f64) {
        if value <= SMALLEST {
            self.zeros = (self.zeros + 1.0).min(MAX_WEIGHT);
            return;
        }
        let weight = self.bins.entry(bin(value)).or_default();
        *weight = (*weight + 1.0).min(MAX_WEIGHT);
        while self.bins.len() > MAX_BINS {
            let lightest = self.bins.iter().min_by(|a, b| a.1.total_cmp(b.1)).map(|(bin, _)| *bin);
            lightest.map(|bin| self.bins.remove(&bin));
        }
    }

    /// Makes everything in it weigh so much less.
    pub(super) fn fade(&mut self, factor: f64) {
        self.zeros *= factor;
        self.bins.retain(|_, weight| {
            *weight *= factor;
            *weight >= FORGOTTEN
        });
    }

    /// The value below which this share of the weight lies; `None` without any.
    pub(super) fn quantile(&self, share: f64) -> Option<f64> {
        let all = self.zeros + self.bins.values().sum::<f64>();
        let mut left = all * share - self.zeros;
        if all <= 0.0 {
            return None;
        }
        if left <= 0.0 && self.zeros > 0.0 {
            return Some(0.0);
        }
        for (bin, weight) in &self.bins {
            left -= weight;
            if left <= 0.0 {
                return Some(value(*bin));
            }
        }
        self.bins.keys().next_back().map(|bin| value(*bin))
    }

    fn checked(zeros: f64, bins: BTreeMap<i32, f64>) -> Result<Self, String> {
        if bins.len() > MAX_BINS {
            return Err(format!("values.bins: {} of them, at most {MAX_BINS}", bins.len()));
        }
        let bounds = bin(SMALLEST)..=bin(MAX_VALUE);
        if let Some(key) = bins.keys().find(|key| !bounds.contains(key)) {
            return Err(format!("values.bins: {key} is no bin, they go from {} to {}", bounds.start(), bounds.end()));
        }
        if let Some(weight) = bins.values().chain([&zeros]).find(|weight| !(0.0..=MAX_WEIGHT).contains(*weight)) {
            return Err(format!("values: a weight of {weight}, not 0 to {MAX_WEIGHT}"));
        }
        Ok(Self { zeros, bins })
    }
}

/// A histogram as it is read, before it is believed: its own form, or the sketch that version 0.1.0 wrote.
#[derive(Deserialize)]
struct Fields {
    zeros: Option<f64>,
    bins: Option<BTreeMap<i32, f64>>,
    store: Option<Store>,
    zero_count: Option<u64>,
}

/// The positive values of a sketch of version 0.1.0, whose bins are the same: counts from the bin `offset` on.
#[derive(Deserialize)]
struct Store {
    bins: Vec<u64>,
    offset: i32,
}

impl TryFrom<Fields> for Histogram {
    type Error = String;

    fn try_from(fields: Fields) -> Result<Self, String> {
        match fields {
            Fields { zeros: Some(zeros), bins: Some(bins), .. } => Self::checked(zeros, bins),
            Fields { store: Some(Store { bins, offset }), zero_count: Some(zeros), .. } => {
                let counted = bins.iter().zip(0..).filter(|(count, _)| **count > 0);
                let keyed = |(count, at): (&u64, i32)| {
                    let key =
                        offset.checked_add(at).ok_or_else(|| format!("values.store: {offset} + {at} is no bin"))?;
                    Ok((key, *count as f64))
                };
                Self::checked(zeros as f64, counted.map(keyed).collect::<Result<_, String>>()?)
            }
            _ => Err("values: neither `zeros` and `bins` nor the sketch of version 0.1.0".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_hundredth_of_the_sorted_values() {
        let mut histogram = Histogram::default();
        let mut values: Vec<f64> = (0..1000_u32).map(|n| f64::from(n * n % 977) * 1.7 + 0.3).collect();
        values.iter().for_each(|value| histogram.add(*value));
        values.sort_by(f64::total_cmp);
        for share in [0.01, 0.25, 0.5, 0.75, 0.99] {
            let exact = values[(share * 1000.0) as usize - 1];
            let found = histogram.quantile(share).expect("values");
            assert!((found / exact - 1.0).abs() < 0.011, "{share}: {found}, not {exact}");
        }
    }

    #[test]
    fn what_has_faded_is_forgotten_and_nothing_is_expected_of_nothing() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        histogram.add(100.0);
        histogram.fade(0.5);
        histogram.add(10_000.0);
        assert!(histogram.quantile(0.5).is_some_and(|median| median > 9_000.0));
        histogram.fade(1.0 / 50.0);
        assert_eq!(histogram.bins.len(), 1, "the older one weighs less than a 64th");
    }
}

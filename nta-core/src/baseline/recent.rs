//! The last half hour: a ring of values, its median and deviation.

use serde::{Deserialize, Serialize};

use super::{Expected, MAD_TO_SIGMA, median};

/// 30 s windows in half an hour: long enough for a robust median, short enough to follow the day.
const RING: usize = 60;

/// The last values, oldest first once full.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Recent {
    values: Vec<f64>,
    next: usize,
}

impl Recent {
    pub(super) fn learn(&mut self, value: f64) {
        if self.values.len() < RING {
            self.values.push(value);
        } else {
            self.values[self.next % RING] = value;
        }
        self.next = (self.next + 1) % RING;
    }

    pub(super) fn expected(&self) -> Option<Expected> {
        let mut values = self.values.clone();
        let middle = median(&mut values)?;
        let mut deviations: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
        let sigma = median(&mut deviations)? * MAD_TO_SIGMA;
        Some(Expected { median: middle, sigma, samples: self.values.len() as u32 })
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let sound = self.values.len() <= RING && self.next <= RING && self.values.iter().all(|v| v.is_finite());
        if sound { Ok(()) } else { Err(format!("at most {RING} recent values, each a number")) }
    }
}

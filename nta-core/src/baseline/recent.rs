//! The last half hour: a ring of values, its median and deviation.

use serde::{Deserialize, Serialize};

use super::{Expected, MAD_TO_SIGMA, MAX_VALUE, median};

/// 30 s windows in half an hour: long enough for a robust median, short enough to follow the day.
const RING: usize = 60;
/// How long they are together, in nanoseconds.
pub(super) const SPAN_NS: u64 = RING as u64 * 30_000_000_000;

/// The last values, oldest first once full.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Fields")]
pub(super) struct Recent {
    values: Vec<f64>,
    next: usize,
}

/// The same as it is read, before it is believed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    values: Vec<f64>,
    next: usize,
}

impl TryFrom<Fields> for Recent {
    type Error = String;

    fn try_from(Fields { values, next }: Fields) -> Result<Self, String> {
        if values.len() > RING || next >= RING || (values.len() < RING && next != values.len()) {
            let (count, last) = (values.len(), RING - 1);
            return Err(format!(
                "recent: {count} values with the next at {next}; at most {RING} values, the next at their number or, \
                 once there are {RING}, at 0 to {last}"
            ));
        }
        match values.iter().find(|value| !(0.0..=MAX_VALUE).contains(*value)) {
            Some(value) => Err(format!("recent.values: {value} is not within 0 to {MAX_VALUE:e}")),
            None => Ok(Self { values, next }),
        }
    }
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
}

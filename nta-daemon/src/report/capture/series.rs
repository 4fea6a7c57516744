//! Bytes over time by name, in steps that get longer as the capture does.

use std::collections::BTreeMap;

use nta_core::domain::Timestamp;

/// Steps that are kept; at more, two become one.
const MOST_STEPS: usize = 96;
/// Names that are told apart; bytes of further ones are those of [`OTHERS`].
const MOST_NAMES: usize = 300;
/// Stands for all names without a place of their own.
pub(crate) const OTHERS: &str = "others";

/// Bytes by name and step.
#[derive(Debug, Default)]
pub(crate) struct Series {
    start_ns: u64,
    step_ns: u64,
    names: BTreeMap<String, Vec<u64>>,
}

impl Series {
    /// Adds the bytes of a window that begins at `start` and is so long.
    pub(crate) fn add(&mut self, name: &str, start: Timestamp, length_ns: u64, bytes: u64) {
        if bytes == 0 {
            return;
        }
        if self.step_ns == 0 {
            (self.start_ns, self.step_ns) = (start.as_nanos(), length_ns.max(1));
        }
        while start.as_nanos().saturating_sub(self.start_ns) / self.step_ns >= MOST_STEPS as u64 {
            self.step_ns = self.step_ns.saturating_mul(2);
            self.names.values_mut().for_each(halve);
        }
        // What is older than the first window belongs to it.
        let step = (start.as_nanos().saturating_sub(self.start_ns) / self.step_ns) as usize;
        let is_known = self.names.contains_key(name) || self.names.len() < MOST_NAMES;
        let steps = self.names.entry(if is_known { name } else { OTHERS }.to_owned()).or_default();
        if steps.len() <= step {
            steps.resize(step + 1, 0);
        }
        steps[step] += bytes;
    }

    /// First instant and length of a step in nanoseconds.
    pub(crate) const fn steps(&self) -> (u64, u64) {
        (self.start_ns, self.step_ns)
    }

    /// The names with the most bytes, `most` of them, and the sum of all others; every row as long as the longest.
    pub(crate) fn top(&self, most: usize) -> Vec<(String, Vec<u64>)> {
        let length = self.names.values().map(Vec::len).max().unwrap_or_default();
        let (mut named, mut others) = (Vec::new(), vec![0; length]);
        let mut all: Vec<(u64, &String, &Vec<u64>)> =
            self.names.iter().map(|(name, steps)| (steps.iter().sum(), name, steps)).collect();
        all.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
        for (_, name, steps) in all {
            if named.len() < most && name != OTHERS {
                let mut steps = steps.clone();
                steps.resize(length, 0);
                named.push((name.clone(), steps));
            } else {
                steps.iter().zip(&mut others).for_each(|(bytes, sum)| *sum += bytes);
            }
        }
        if others.iter().any(|bytes| *bytes > 0) {
            named.push((OTHERS.to_owned(), others));
        }
        named
    }
}

/// Two steps become one.
fn halve(steps: &mut Vec<u64>) {
    *steps = steps.chunks(2).map(|pair| pair.iter().sum()).collect();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_year_of_seconds_has_no_more_steps_than_an_hour_and_loses_no_byte() {
        let mut series = Series::default();
        for second in (0..31_536_000_u64).step_by(3_599) {
            series.add(
                ["tcp", "udp"][second as usize % 2],
                Timestamp::from_nanos(second * 1_000_000_000),
                5_000_000_000,
                7,
            );
        }
        let top = series.top(1);
        assert_eq!(top.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["tcp", OTHERS]);
        assert!(top.iter().all(|(_, steps)| steps.len() == top[0].1.len() && steps.len() <= MOST_STEPS), "{top:?}");
        let sum: u64 = top.iter().flat_map(|(_, steps)| steps).sum();
        assert_eq!(sum, 31_536_000_u64.div_ceil(3_599) * 7);
    }

    #[test]
    fn names_beyond_the_bound_are_summed_up() {
        let mut series = Series::default();
        (0..1000).for_each(|n| series.add(&n.to_string(), Timestamp::from_nanos(1), 5, 1));
        let top = series.top(3);
        assert_eq!((top.len(), top[3].0.as_str(), top[3].1[0]), (4, OTHERS, 997));
    }
}

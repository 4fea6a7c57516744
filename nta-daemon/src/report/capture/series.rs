//! Bytes over time, by protocol and by service, on one grid: steps that get longer as the capture does.

use std::collections::BTreeMap;

use nta_core::domain::{Timestamp, registered};

use crate::json::protocol_name;

/// Steps that are kept; at more, two become one.
const MOST_STEPS: usize = 96;
/// Stands for all names without a place of their own.
pub(crate) const OTHERS: &str = "others";

/// What bytes are of. There are no more services than the table of ports has names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Of {
    /// An IP protocol.
    Protocol(u8),
    /// A protocol, and the server's port; 0 for one without a name.
    Service(u8, u16),
    /// Several protocols that nobody told apart.
    Protocols,
    /// Several services, likewise.
    Services,
}

/// Which of them are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Protocols,
    Services,
}

impl Of {
    const fn kind(self) -> Kind {
        match self {
            Self::Protocol(_) | Self::Protocols => Kind::Protocols,
            Self::Service(..) | Self::Services => Kind::Services,
        }
    }

    fn name(self) -> String {
        match self {
            Self::Protocol(number) => protocol_name(number),
            Self::Service(protocol, port) => {
                registered(protocol, port).map_or_else(|| format!("other {}", protocol_name(protocol)), str::to_owned)
            }
            Self::Protocols | Self::Services => OTHERS.to_owned(),
        }
    }
}

/// Bytes by what they are of and by step. Every step begins at a multiple of its length since the Unix epoch, as windows do.
#[derive(Debug)]
pub(super) struct Series {
    step_ns: u64,
    /// Number of the first step; `None` before anything came.
    first: Option<u64>,
    bytes: BTreeMap<Of, Vec<u64>>,
}

impl Series {
    /// In steps of this length at first.
    pub(super) fn new(step_ns: u64) -> Self {
        Self { step_ns: step_ns.max(1), first: None, bytes: BTreeMap::new() }
    }

    /// Adds bytes of an instant.
    pub(super) fn add(&mut self, of: Of, at: Timestamp, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let mut first = *self.first.get_or_insert(at.as_nanos() / self.step_ns);
        // What is older than the first step belongs to it.
        while (at.as_nanos() / self.step_ns).saturating_sub(first) >= MOST_STEPS as u64 {
            let is_odd = first % 2 == 1;
            self.bytes.values_mut().for_each(|steps| halve(steps, is_odd));
            self.step_ns = self.step_ns.saturating_mul(2);
            first /= 2;
            self.first = Some(first);
        }
        let step = (at.as_nanos() / self.step_ns).saturating_sub(first) as usize;
        let steps = self.bytes.entry(of).or_default();
        if steps.len() <= step {
            steps.resize(step + 1, 0);
        }
        steps[step] += bytes;
    }

    /// First instant and length of a step in nanoseconds; `None` when nothing came.
    pub(super) fn steps(&self) -> Option<(u64, u64)> {
        self.first.map(|first| (first * self.step_ns, self.step_ns))
    }

    /// The names with the most bytes, `most` of them, and the sum of all others; every row has all steps.
    pub(super) fn top(&self, kind: Kind, most: usize) -> Vec<(String, Vec<u64>)> {
        let length = self.bytes.values().map(Vec::len).max().unwrap_or_default();
        let mut names: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for (of, steps) in self.bytes.iter().filter(|(of, _)| of.kind() == kind) {
            let sums = names.entry(of.name()).or_insert_with(|| vec![0; length]);
            steps.iter().zip(sums).for_each(|(bytes, sum)| *sum += bytes);
        }
        let mut others = names.remove(OTHERS).unwrap_or_else(|| vec![0; length]);
        let mut named: Vec<(String, Vec<u64>)> = names.into_iter().collect();
        // Stable: of equal ones the first by name.
        named.sort_by_key(|(_, steps)| std::cmp::Reverse(steps.iter().sum::<u64>()));
        for (_, steps) in named.drain(most.min(named.len())..) {
            steps.iter().zip(&mut others).for_each(|(bytes, sum)| *sum += bytes);
        }
        if others.iter().any(|bytes| *bytes > 0) {
            named.push((OTHERS.to_owned(), others));
        }
        named
    }
}

/// Two steps become one; the first alone where its number is odd.
fn halve(steps: &mut Vec<u64>, is_odd: bool) {
    let alone = usize::from(is_odd).min(steps.len());
    let (first, rest) = steps.split_at(alone);
    *steps = first.iter().copied().chain(rest.chunks(2).map(|pair| pair.iter().sum())).collect();
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_year_of_seconds_has_no_more_steps_than_an_hour_and_loses_no_byte() {
        let mut series = Series::new(5 * SECOND);
        let stamps = || (1_700_000_003..1_731_536_003_u64).step_by(3_599);
        for second in stamps() {
            let of = Of::Protocol([17, 6][second as usize % 2]);
            series.add(of, Timestamp::from_nanos(second * SECOND), 7);
        }
        let (top, (start_ns, step_ns)) = (series.top(Kind::Protocols, 1), series.steps().expect("steps"));
        assert_eq!(top.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["tcp", OTHERS]);
        assert!(top.iter().all(|(_, steps)| steps.len() == top[0].1.len() && steps.len() <= MOST_STEPS), "{top:?}");
        // Each step has what is of its time, counted one by one.
        assert_eq!((start_ns % step_ns, start_ns <= 1_700_000_003 * SECOND), (0, true));
        for step in 0..top[0].1.len() {
            let [from, to] = [step, step + 1].map(|step| start_ns + step as u64 * step_ns);
            let expected = stamps().filter(|second| (from..to).contains(&(second * SECOND))).count() as u64 * 7;
            assert_eq!(top[0].1[step] + top[1].1[step], expected, "step {step}");
        }
    }

    #[test]
    fn protocols_and_services_share_their_steps_whichever_comes_first() {
        let mut series = Series::new(5 * SECOND);
        series.add(Of::Service(6, 80), Timestamp::from_nanos(12 * SECOND), 1);
        series.add(Of::Service(17, 53), Timestamp::from_nanos(12 * SECOND), 2);
        series.add(Of::Service(6, 53), Timestamp::from_nanos(21 * SECOND), 4);
        series.add(Of::Protocol(6), Timestamp::from_nanos(21 * SECOND), 8);
        assert_eq!(series.steps(), Some((10 * SECOND, 5 * SECOND)));
        let row = |name: &str, steps: [u64; 3]| (name.to_owned(), steps.to_vec());
        // One name, whatever it is spoken over.
        assert_eq!(series.top(Kind::Services, 8), [row("domain", [2, 0, 4]), row("http", [1, 0, 0])]);
        assert_eq!(series.top(Kind::Protocols, 8), [row("tcp", [0, 0, 8])]);
    }
}

//! Batches in memory while neither the database nor the spool takes any, bounded in bytes.
//!
//! What the bound forces out is counted by kind: of the oldest batches all but the alerts first, then these.

use std::collections::VecDeque;

use super::rows::BatchRows;

/// What a bound forced out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cut {
    /// Batches of which something is missing.
    pub(super) batches: u64,
    pub(super) windows: u64,
    pub(super) flows: u64,
    pub(super) alerts: u64,
}

impl Cut {
    /// Counts what is missing of a batch.
    pub(super) fn count(&mut self, rows: &BatchRows) {
        self.windows += rows.windows.len() as u64;
        self.flows += rows.flows.len() as u64;
        self.alerts += rows.alerts.len() as u64;
    }

    pub(super) const fn add(&mut self, other: Self) {
        self.batches += other.batches;
        self.windows += other.windows;
        self.flows += other.flows;
        self.alerts += other.alerts;
    }
}

/// What is kept longest of a batch: its alerts, the daemon's own troubles, and that its run ended.
pub(super) fn thin(rows: &mut BatchRows) -> BatchRows {
    BatchRows {
        run: rows.run.clone(),
        number: rows.number,
        alerts: std::mem::take(&mut rows.alerts),
        notices: std::mem::take(&mut rows.notices),
        standing: rows.standing.take(),
        end: rows.end.take(),
        ..BatchRows::default()
    }
}

/// Batches in their order.
#[derive(Debug)]
pub(super) struct Waiting {
    batches: VecDeque<Kept>,
    bytes: u64,
    max_bytes: u64,
}

#[derive(Debug)]
struct Kept {
    rows: BatchRows,
    bytes: u64,
    is_thin: bool,
}

impl Waiting {
    pub(super) const fn new(max_bytes: u64) -> Self {
        Self { batches: VecDeque::new(), bytes: 0, max_bytes }
    }

    pub(super) fn len(&self) -> usize {
        self.batches.len()
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn push(&mut self, rows: BatchRows) {
        let kept = Kept::new(rows, false);
        self.bytes += kept.bytes;
        self.batches.push_back(kept);
    }

    /// Puts a batch before all others: it was taken and could not be written.
    pub(super) fn put_back(&mut self, rows: BatchRows) {
        let kept = Kept::new(rows, false);
        self.bytes += kept.bytes;
        self.batches.push_front(kept);
    }

    pub(super) fn front(&self) -> Option<&BatchRows> {
        self.batches.front().map(|kept| &kept.rows)
    }

    /// Takes the oldest batch.
    pub(super) fn pop(&mut self) -> Option<BatchRows> {
        let kept = self.batches.pop_front()?;
        self.bytes -= kept.bytes;
        Some(kept.rows)
    }

    /// Forces out what is too much, and answers what that was. The newest batch stays whole.
    pub(super) fn cut(&mut self) -> Cut {
        let mut cut = Cut::default();
        for index in 0..self.batches.len().saturating_sub(1) {
            if self.bytes <= self.max_bytes {
                return cut;
            }
            let kept = &mut self.batches[index];
            if !kept.is_thin {
                self.bytes -= kept.bytes;
                let left = thin(&mut kept.rows);
                cut.batches += 1;
                cut.count(&kept.rows);
                *kept = Kept::new(left, true);
                self.bytes += kept.bytes;
            }
        }
        while self.bytes > self.max_bytes && self.batches.len() > 1 {
            if let Some(rows) = self.pop() {
                cut.count(&rows);
            }
        }
        cut
    }
}

impl Kept {
    fn new(rows: BatchRows, is_thin: bool) -> Self {
        Self { bytes: rows.bytes(), rows, is_thin }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::rows;
    use super::*;

    #[test]
    fn the_bound_is_in_bytes_and_takes_alerts_last() {
        let mut waiting = Waiting::new(35_000);
        for number in 1..=5 {
            waiting.push(rows(number, 10_000));
        }
        // Three whole ones fit; the two oldest keep their alerts.
        assert_eq!(waiting.cut(), Cut { batches: 2, windows: 0, flows: 0, alerts: 0 });
        assert!(waiting.bytes <= 35_000, "{}", waiting.bytes);
        assert_eq!(waiting.cut(), Cut::default(), "nothing is counted twice");
        let left: Vec<_> = std::iter::from_fn(|| waiting.pop())
            .map(|rows| (rows.number, rows.alerts.len(), rows.raw_packets.len()))
            .collect();
        assert_eq!(left, [(1, 1, 0), (2, 1, 0), (3, 1, 1), (4, 1, 1), (5, 1, 1)]);
        assert_eq!(waiting.bytes, 0);

        // The newest one stays whole, whatever it costs.
        let mut waiting = Waiting::new(10);
        for number in 1..=3 {
            waiting.push(rows(number, 10_000));
        }
        assert_eq!(waiting.cut(), Cut { batches: 2, windows: 0, flows: 0, alerts: 2 });
        assert_eq!((waiting.len(), waiting.front().map(|rows| rows.number)), (1, Some(3)));
    }
}

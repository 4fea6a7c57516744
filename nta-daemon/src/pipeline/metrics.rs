//! What the pipeline counts for Prometheus beside its status: sums since the start that no single window has.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::histogram::Histogram;

use nta_common::tcp::RTT_BUCKETS;
use nta_core::domain::{AlertKind, Status};
use nta_core::window::Rtt;

/// Upper bounds of the times of drains and judgements in seconds.
const BOUNDS: [f64; 12] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// Where a packet goes, by one's own networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// From outside to inside.
    Inbound,
    /// From inside to outside.
    Outbound,
    /// Between hosts inside.
    Internal,
    /// Between hosts outside.
    Transit,
}

impl Direction {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
            Self::Internal => "internal",
            Self::Transit => "transit",
        }
    }

    /// Of a packet from an address that is inside, or not, to one that is.
    pub const fn of(from_inside: bool, to_inside: bool) -> Self {
        match (from_inside, to_inside) {
            (false, true) => Self::Inbound,
            (true, false) => Self::Outbound,
            (true, true) => Self::Internal,
            (false, false) => Self::Transit,
        }
    }
}

/// Sums since the start.
#[derive(Clone, Debug)]
pub struct Counted {
    /// Packets and frame bytes in flows, by IP protocol and direction.
    pub traffic: BTreeMap<(u8, Direction), [u64; 2]>,
    /// Round trips by size, and their sum in microseconds.
    pub rtt: ([u64; RTT_BUCKETS], u64),
    /// Alerts raised by kind.
    pub raised: BTreeMap<&'static str, u64>,
    /// Times of reading the counters in seconds.
    pub drain: Histogram,
    /// Times of judging windows in seconds.
    pub analysis: Histogram,
}

impl Default for Counted {
    fn default() -> Self {
        let times = || Histogram::new(BOUNDS);
        Self {
            traffic: BTreeMap::new(),
            rtt: ([0; RTT_BUCKETS], 0),
            // Each is there from the beginning: a rate needs a zero to rise from.
            raised: AlertKind::ALL.iter().map(|kind| (kind.word(), 0)).collect(),
            drain: times(),
            analysis: times(),
        }
    }
}

/// Shared by the sink that counts, and the API; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct MetricsHandle(Arc<Mutex<Counted>>);

impl MetricsHandle {
    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sums so far.
    pub fn counted(&self) -> Counted {
        self.lock().clone()
    }

    /// An alert was raised.
    pub fn raised(&self, kind: AlertKind) {
        *self.lock().raised.entry(kind.word()).or_default() += 1;
    }

    /// Adds the round trips of a base window.
    pub fn round_trips(&self, rtt: &Rtt) {
        let (histogram, sum_us) = &mut self.lock().rtt;
        for (sum, count) in histogram.iter_mut().zip(rtt.histogram) {
            *sum += u64::from(count);
        }
        *sum_us = sum_us.saturating_add(rtt.sum_us);
    }

    /// Adds the traffic of a window, and how long the pipeline took for it.
    pub fn closed(&self, traffic: &BTreeMap<(u8, Direction), [u64; 2]>, status: &Status) {
        let mut counted = self.lock();
        for (of, [packets, bytes]) in traffic {
            let sums = counted.traffic.entry(*of).or_default();
            sums[0] += packets;
            sums[1] += bytes;
        }
        counted.drain.observe(status.last_drain_ns as f64 / 1e9);
        counted.analysis.observe(status.last_analysis_ns as f64 / 1e9);
    }
}

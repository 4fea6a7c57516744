//! How near a host came to what detectors look for: kept beside each window, so that it goes when its window goes.

use std::net::IpAddr;

use super::windows::{WindowFilter, WindowSort};
use super::{Position, Store, StoreError};
use nta_core::domain::{HostMeasure, Timestamp};

/// Windows of a length that are read: those that were closed late, or of several sensors, overlap.
const MOST_WINDOWS: u32 = 16;

/// What is known about a host in a window.
#[derive(Clone, Debug, PartialEq)]
pub struct Nearness {
    /// First instant of the window.
    pub start: Timestamp,
    /// First instant behind it.
    pub end: Timestamp,
    /// How long windows of its kind are, in nanoseconds.
    pub span_ns: u64,
    /// Its sensor, where that is known.
    pub sensor: Option<String>,
    /// What detectors measured of the host, the nearest to its threshold first; what did not reach a quarter of it is not there.
    pub measures: Vec<HostMeasure>,
    /// Measures of any host that found no room in the window: where there are some, one that is not there may be among them.
    pub left_out: u64,
}

impl Store {
    /// How near a host came to what detectors look for at a time, in the stored windows of these lengths in nanoseconds that
    /// hold it, shortest length first. Empty where no such window is stored: nothing is known then.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn nearness(
        &self,
        host: IpAddr,
        at: Timestamp,
        spans_ns: &[u64],
        sensor: Option<&str>,
    ) -> Result<Vec<Nearness>, StoreError> {
        let mut found = Vec::new();
        for span_ns in spans_ns {
            let filter = WindowFilter {
                from: Some(at),
                to: Some(at.plus(1)),
                span_ns: Some(*span_ns),
                sensor: sensor.map(str::to_owned),
            };
            let newest = Position { descending: true, after: None, limit: MOST_WINDOWS };
            for window in self.windows(&filter, WindowSort::Time, newest).await?.items {
                let near = window.item.near;
                found.push(Nearness {
                    start: window.item.start,
                    end: window.item.end,
                    span_ns: *span_ns,
                    sensor: window.sensor,
                    measures: near.kept.into_iter().filter(|measure| measure.host == host).collect(),
                    left_out: near.left_out,
                });
            }
        }
        Ok(found)
    }
}

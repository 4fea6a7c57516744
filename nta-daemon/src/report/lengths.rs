//! How long packets are, in ranges.

use serde::Serialize;

use crate::replay::Summary;

/// Packets of a range of lengths on the wire, in bytes.
#[derive(Debug, Serialize)]
pub(super) struct Range {
    pub(super) min_bytes: u32,
    /// Null of the last range, which has no end.
    pub(super) max_bytes: Option<u32>,
    pub(super) packets: u64,
    /// Of all packets.
    pub(super) share: f64,
}

/// The ranges with packets, shortest first.
pub(super) fn ranges(summary: &Summary) -> Vec<Range> {
    let all = summary.packets.max(1) as f64;
    let met = summary.lengths.ranges().filter(|(.., packets)| *packets > 0);
    met.map(|(min_bytes, max_bytes, packets)| Range { min_bytes, max_bytes, packets, share: packets as f64 / all })
        .collect()
}

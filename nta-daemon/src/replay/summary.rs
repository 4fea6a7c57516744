//! What a replay found beyond windows and flows.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Frames, Lengths, Selected, Timeline};
use nta_capture::{About, End};
use nta_core::domain::{DetectionCounts, Ledger, Timestamp, Visibility};

/// The result for one file.
#[derive(Clone, Debug)]
pub struct FileSummary {
    /// Which of the captures, in the order in which they were given.
    pub number: usize,
    /// Path as given.
    pub name: String,
    /// Format and compression.
    pub format: String,
    /// Frames in it, analysed or not.
    pub frames: u64,
    /// Of them those whose record states a length on the wire that no frame has; they count as one of 1 GiB.
    pub lengths_clamped: u64,
    /// How it ended.
    pub end: End,
    /// What it says about itself.
    pub about: About,
    /// Its size; `None` of a pipe.
    pub bytes: Option<u64>,
    /// Its hash, if that was wanted.
    pub sha256: Option<String>,
}

/// What a replay found beyond windows and flows.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Name of the engine.
    pub engine: &'static str,
    /// Whether it followed a pipe.
    pub is_pipe: bool,
    /// The files, in the order of their first frames.
    pub files: Vec<FileSummary>,
    /// Frames read, without those that were not selected.
    pub packets: u64,
    /// What became of the selection, if a part was to be analysed.
    pub selected: Option<Selected>,
    /// Their length on the wire.
    pub bytes: u64,
    /// Frames of link types that are not analysed.
    pub skipped_link_types: BTreeMap<String, u64>,
    /// Earliest and latest time of a frame.
    pub times: Option<(Timestamp, Timestamp)>,
    /// The ledger at the end.
    pub ledger: Ledger,
    /// Flows seen.
    pub flows: u64,
    /// Packets that came later than their window.
    pub late_packets: u64,
    /// Windows that others stand for, as the captures have too many almost empty ones.
    pub windows_folded: u64,
    /// Windows without packets that were left out for the same reason.
    pub windows_left_out: u64,
    /// Packets whose time stamp was wrong; they were accounted at the time of their neighbours.
    pub wrong_times: u64,
    /// Captures of which no packet has a time that can be used.
    pub timeless: Vec<String>,
    /// How often the time of a capture went back by more than a minute.
    pub set_back: u64,
    /// Packets of a pipe with several interfaces that came behind later ones: they are not put in order.
    pub out_of_order: u64,
    /// Which sides of conversations were seen.
    pub visibility: Visibility,
    /// TCP segments that passed twice, as mirror ports deliver them.
    pub duplicates: u64,
    /// How packets lie in time.
    pub timeline: Timeline,
    /// How long packets are.
    pub lengths: Lengths,
    /// Frames without IP, by what they are.
    pub not_ip: BTreeMap<String, Frames>,
    /// What became of the detectors' findings.
    pub detection: DetectionCounts,
    /// Whether it was stopped before all of it was read.
    pub stopped: bool,
    /// Wall time.
    pub elapsed: Duration,
}

impl Summary {
    /// Whether every capture was read to its end, and its packets have times.
    pub fn is_whole(&self) -> bool {
        self.timeless.is_empty() && self.files.iter().all(|file| file.end == End::Complete)
    }
}

//! What the running pipeline reports about itself, published after every window for the API to show.

use super::{EventCounts, Ledger, Readings, Timestamp, Visibility};

/// Where packets come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Programs on network interfaces.
    #[default]
    Live,
    /// A capture file.
    Replay,
}

impl Mode {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Replay => "replay",
        }
    }
}

/// How a program was attached to an interface, and why so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Interface name.
    pub interface: String,
    /// Interface index.
    pub index: u32,
    /// Hook that counts incoming packets: `xdp` (native), `xdp-generic`, `tcx`, `tc`.
    pub ingress: String,
    /// Hook that counts outgoing packets: `tcx`, `tc`.
    pub egress: String,
    /// How packets are counted: `wire` at XDP, as they come by; `segments` at TC, where offloads merge packets: each of
    /// these as those that it stands for on the wire.
    pub count_basis: String,
    /// Why these hooks and not better ones, one sentence.
    pub reason: String,
    /// What the interface counted itself.
    pub nic: NicCounts,
}

/// What the interface's own driver counted since the programs were attached, to hold the ledger against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NicCounts {
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets dropped before anyone saw them.
    pub rx_dropped: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
}

impl NicCounts {
    /// What was counted since an earlier reading.
    #[must_use]
    pub const fn since(&self, earlier: &Self) -> Self {
        Self {
            rx_packets: self.rx_packets.saturating_sub(earlier.rx_packets),
            rx_bytes: self.rx_bytes.saturating_sub(earlier.rx_bytes),
            rx_dropped: self.rx_dropped.saturating_sub(earlier.rx_dropped),
            tx_packets: self.tx_packets.saturating_sub(earlier.tx_packets),
            tx_bytes: self.tx_bytes.saturating_sub(earlier.tx_bytes),
        }
    }
}

/// How full a kernel map (or the table of a replay) is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapFill {
    /// Name of the map.
    pub name: String,
    /// Entries in use at the last reading.
    pub entries: u64,
    /// Entries it can hold; 0 when not limited.
    pub max_entries: u64,
    /// Memory it takes in bytes.
    pub memory_bytes: u64,
}

/// What became of the detectors' findings since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DetectionCounts {
    /// Findings.
    pub findings: u64,
    /// Of these, about something on the allow-list.
    pub allowed: u64,
    /// Of these, about something that is muted.
    pub muted: u64,
    /// Of these, not reported because the table of alerts was full.
    pub refused: u64,
    /// Of these, not reported because baselines were given time to warm up.
    pub warming_up: u64,
    /// Of these, not reported because their kind needs more windows.
    pub waiting: u64,
    /// Alerts raised, those that came back among them.
    pub raised: u64,
    /// Alerts cleared.
    pub cleared: u64,
    /// Entries that detectors had to forget because their tables were full, and cleared alerts that gave way to new ones.
    pub evicted: u64,
    /// Alerts that go on, by severity, mildest first.
    pub open: [u64; 4],
}

/// What is known of a metric of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricState {
    /// Its name.
    pub name: &'static str,
    /// Windows learned from.
    pub samples: u32,
    /// Whether anything is expected of it yet.
    pub is_ready: bool,
}

/// How far baselines have come.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LearningState {
    /// Every metric of the network.
    pub metrics: Vec<MetricState>,
    /// Hosts that a level is kept for.
    pub hosts: u64,
    /// Hosts that had to go.
    pub hosts_evicted: u64,
    /// How unlike the usual hosts of each role are; empty where no isolation forest judges.
    pub unusual: Vec<RoleState>,
    /// End of the last window learned from.
    pub updated: Option<Timestamp>,
}

/// How far it is known what is unusual for hosts of a role.
#[derive(Clone, Debug, PartialEq)]
pub struct RoleState {
    /// `server`, `client` or `gateway`.
    pub name: &'static str,
    /// Hours learned from, those of long ago counted less.
    pub hours: f64,
    /// Hours that are needed.
    pub hours_needed: f64,
    /// The score above which such a host is unusual; `None` in warm-up.
    pub threshold: Option<f64>,
}

/// What became of the model that the configuration asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ModelUse {
    /// Switched off.
    #[default]
    Off,
    /// None is named, and this build brings none along.
    Missing,
    /// This build cannot use models.
    NotBuiltIn,
    /// It cannot be used.
    Refused,
    /// It judges.
    InUse,
}

/// The model that judges, or why none does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelState {
    /// Its file, or `shipped`.
    pub name: String,
    /// What became of it.
    pub state: ModelUse,
    /// First digits of its SHA-256.
    pub id: Option<String>,
    /// When it was trained.
    pub created: Option<String>,
    /// The classes that it distinguishes.
    pub classes: Vec<String>,
    /// Why it does not judge.
    pub reason: Option<String>,
}

/// A snapshot of the pipeline.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// Live or replay.
    pub mode: Mode,
    /// Replay engine (`kernel`, `user`), or `live`.
    pub engine: String,
    /// When the pipeline started (wall clock).
    pub started: Timestamp,
    /// Attached programs; empty in replay.
    pub attachments: Vec<Attachment>,
    /// Ledger of every interface.
    pub ledger: Ledger,
    /// Map fill.
    pub maps: Vec<MapFill>,
    /// Windows closed so far.
    pub windows_closed: u64,
    /// Windows that others stand for: those of a capture with many almost empty ones, and live those that were closed late.
    pub windows_folded: u64,
    /// Windows without packets that a capture has too many of to be reported: the silence of the next one stands for them.
    pub windows_left_out: u64,
    /// Start of the open window.
    pub window_open_since: Option<Timestamp>,
    /// End of the last closed window.
    pub last_window_end: Option<Timestamp>,
    /// Length of a window in nanoseconds.
    pub window_ns: u64,
    /// What the next start goes on from, where the maps outlive the process.
    pub readings: Option<Readings>,
    /// Flows alive.
    pub flows_active: u64,
    /// Flows seen since the start.
    pub flows_total: u64,
    /// Packets that came later than their window.
    pub late_packets: u64,
    /// Events since the start, by what they say.
    pub events: EventCounts,
    /// How long the last drain of the maps took, in nanoseconds.
    pub last_drain_ns: u64,
    /// How long judging the last window took, in nanoseconds.
    pub last_analysis_ns: u64,
    /// Whether both directions of traffic are seen.
    pub visibility: Visibility,
    /// TCP segments that passed twice, as mirror ports deliver them.
    pub duplicates: u64,
    /// What became of the detectors' findings.
    pub detection: DetectionCounts,
    /// Hosts of the last base window.
    pub window_hosts: u64,
    /// Packets of the last base window by hosts that found no room in it.
    pub window_other_packets: u64,
    /// How far baselines have come.
    pub learning: LearningState,
    /// Why nothing is counted, if so: the health check fails with it.
    pub failure: Option<String>,
    /// What is not counted although it should be, a reason each, while other things are.
    pub degraded: Vec<String>,
    /// What is not captured since somebody asked for it, a sentence each.
    pub stopped: Vec<String>,
    /// The model that judges, or why none does.
    pub model: ModelState,
}

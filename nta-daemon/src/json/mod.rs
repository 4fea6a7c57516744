//! The shapes in which windows, flows and ledgers leave the daemon: the API, the store's documents and `replay
//! --format json` use exactly these. Times are RFC 3339 in UTC, units stand in the field's name.

mod alert;
mod detection;
mod dns_words;
mod event;
mod features;
mod flow;
mod ledger;
mod log_event;
mod model;
mod protocol;
mod status;
mod window;
pub(crate) mod words;

pub use alert::{AlertJson, AnomalyJson, ContributorJson, JudgeJson, TechniqueJson, WhyJson, party};
pub use detection::{DetectionJson, HostsJson, LearningJson, MetricStateJson};
pub use dns_words::{rcode, rrtype};
pub use event::{ArpJson, DnsJson, EventCountsJson, EventLossJson, EventsJson, NeighborJson, QuestionJson};
pub use features::FeaturesJson;
pub use flow::{FlowJson, HandshakeJson, TcpJson, TcpSideJson};
pub use ledger::{CountsJson, InterfaceJson, LedgerJson, skipped};
pub use log_event::LogEventJson;
pub use model::ModelJson;
pub use protocol::{protocol_name, protocol_number};
pub use status::{AttachmentJson, ConversationsJson, MapJson, StatusJson, VisibilityJson, mode_name};
pub use window::{LossJson, OverflowJson, ProtocolJson, RttJson, RttSideJson, SideLossJson, TalkerJson, WindowJson};

/// Nanoseconds as seconds.
pub(crate) fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

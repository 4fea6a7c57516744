//! The nouns of the system. Pure values: no clock, no I/O, and not serializable; the edges convert.

mod advice;
mod alert;
mod community_id;
mod counts;
mod crowd;
mod event;
mod finding;
mod flow;
mod host_measure;
mod identity;
mod ledger;
mod log;
mod nesting;
mod observation;
mod readings;
mod record;
mod server_ports;
mod service;
mod status;
mod tcp_counts;
mod time;
mod timeline;
mod tracked;
mod translation;
mod visibility;
mod words;
mod zeek;

pub use alert::{Alert, AlertChange, AlertId, AlertKey, AlertState, ClearReason, Opinion, Severity};
pub use community_id::community_id;
pub use crowd::Crowd;
pub use event::{ArpPacket, DnsMessage, EventCounts, Mac, NeighborMessage, PacketEvent, Question, RawPacket};
pub use finding::{AlertKind, Basis, Contributor, Finding, Measure, Party, around};
pub use flow::{EndReason, FlowDelta, FlowId, FlowKey, FlowUpdate, OverflowDelta, RttSamples, SideSamples};
pub use host_measure::{HostMeasure, HostMeasures, LEAST_SHARE};
pub use identity::{BadRunId, BadSensorId, IdentityScope, RunId, SensorId};
pub use ledger::{Interface, Ledger, difference};
pub use log::EVENT_TYPES;
pub use nesting::{Load, Nesting};
pub use observation::FlowObservation;
pub use readings::{Readings, Resume};
pub use record::{Endpoint, FlowRecord};
pub use service::{Beginning, Service, registered, server_port, service_name};
pub use status::{
    Attachment, DetectionCounts, LearningState, MapFill, MetricState, Mode, ModelState, ModelUse, NicCounts, RoleState,
    Status,
};
pub use tcp_counts::TcpCounts;
pub use time::Timestamp;
pub use timeline::Timeline;
pub use tracked::{Origin, Tracked};
pub use translation::{Names, Translation};
pub use visibility::{Conversations, REFLECTOR_PORTS, Visibility};
pub use words::{ConnState, History};

/// Something of each of two sides. `array::map` and `array::from_fn` stay calls (Rust 1.96), which for every flow of every window
/// were a tenth of a replay's processor time.
#[inline(always)]
pub(crate) fn both<T>(of: impl Fn(usize) -> T) -> [T; 2] {
    [of(0), of(1)]
}

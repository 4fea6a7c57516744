//! Where packets come from: programs in the kernel, live or fed by a replay, and the user engine of a replay. Each is a
//! [`FlowSource`], so everything behind it is the same.

mod dns;
mod event;
pub mod kernel;
mod nested;
mod places;
pub mod replay;

pub use event::EventSettings;

use nta_core::domain::{
    FlowRecord, FlowUpdate, IdentityScope, Ledger, MapFill, OverflowDelta, PacketEvent, Readings, Timestamp,
};

/// Takes flows as they change.
pub type Sink<'a> = dyn FnMut(FlowUpdate<'_>) + 'a;

/// The edge between the packet path and the rest: cumulative counters in, differences out.
pub trait FlowSource: Send {
    /// Names the flows that are new from now on.
    fn identify(&mut self, ids: IdentityScope);

    /// Reports every flow that changed since the last call.
    fn drain(&mut self, sink: &mut Sink<'_>) -> Result<(), SourceError>;

    /// Reports what was counted since the last call of packets that found the flow table full.
    fn overflows(&mut self, sink: &mut dyn FnMut(OverflowDelta)) -> Result<(), SourceError>;

    /// Reports the events since the last call, in the order of their packets (of each CPU).
    fn events(&mut self, sink: &mut dyn FnMut(PacketEvent)) -> Result<(), SourceError>;

    /// Forgets flows that are over at `now` and reports each one's end. Follows a [`FlowSource::drain`].
    fn expire(&mut self, now: Timestamp, sink: &mut Sink<'_>) -> Result<(), SourceError>;

    /// Reports the end of every flow that is still kept.
    fn finish(&mut self, sink: &mut Sink<'_>);

    /// What was counted so far.
    fn ledger(&mut self) -> Result<Ledger, SourceError>;

    /// Flows that a run before reported and that were over before this one read anything, once each.
    fn gone(&mut self) -> Vec<FlowRecord> {
        Vec::new()
    }

    /// What the last [`FlowSource::ledger`] read, where the counters outlive the process.
    fn readings(&self) -> Option<Readings> {
        None
    }

    /// How full the tables are.
    fn maps(&self) -> Vec<MapFill>;

    /// Flows that are kept.
    fn active(&self) -> u64;
}

/// Why packets cannot be counted.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The object cannot be loaded, or lacks something that the daemon expects of it.
    #[error("the eBPF object: {0}")]
    Object(#[from] aya::EbpfError),
    /// A program was refused by the kernel.
    #[error("program {name}: {source}")]
    Program {
        /// The program.
        name: &'static str,
        /// What the kernel said.
        source: aya::programs::ProgramError,
    },
    /// A program was refused by the kernel's verifier.
    #[error("program {name}: the kernel's verifier refused it (whole log with --log debug): {end}")]
    Verifier {
        /// The program.
        name: &'static str,
        /// The end of the verifier's log.
        end: String,
    },
    /// A program or map is missing from the object.
    #[error("the eBPF object has no {0}")]
    Missing(&'static str),
    /// A map cannot be read or written.
    #[error("map {name}: {source}")]
    Map {
        /// The map.
        name: &'static str,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The process lacks the rights to load and attach programs.
    #[error("no permission to {action}: run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON")]
    Permission {
        /// What was tried.
        action: String,
    },
    /// An interface does not exist.
    #[error("interface {0} does not exist")]
    NoInterface(String),
    /// No hook could be attached.
    #[error("interface {interface}: cannot attach {mode}: {reason}")]
    Attach {
        /// The interface.
        interface: String,
        /// The hooks that were asked for.
        mode: String,
        /// Why not, for each that was tried.
        reason: String,
    },
    /// Another daemon counts there.
    #[error("interface {interface} is watched by {by}: it would be counted twice")]
    Watched {
        /// The interface.
        interface: String,
        /// Who.
        by: String,
    },
    /// Nothing can be pinned, or what is pinned cannot be used.
    #[error("capture.pin_path {path}: {reason}")]
    Pin {
        /// The path.
        path: String,
        /// Why not.
        reason: String,
    },
    /// The start was asked to end.
    #[error("the start was asked to end")]
    Stopped,
    /// This kernel cannot do what was asked.
    #[error("{0}")]
    Unsupported(String),
}

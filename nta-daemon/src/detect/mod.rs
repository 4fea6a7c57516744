//! Detectors: each judges one closed window and tells what it finds. Pure: no clock, no I/O, no state outside `self`.

mod arp_spoof;
mod beaconing;
mod data_exfiltration;
mod dns_tunnel;
#[cfg(test)]
mod fixture;
mod high_latency;
mod hygiene;
mod long_lived;
mod networks;
mod packet_loss;
mod port_scan;
mod protocol_anomaly;
mod registry;
mod rise;
mod traffic_spike;
mod tunables;

pub use hygiene::{Hygiene, HygieneConfig};
pub use networks::Networks;
pub use registry::{DetectConfig, Entry, detectors, entries};
pub use tunables::Setting;

use crate::baseline::Baselines;
use crate::domain::{Finding, Timestamp};
use crate::window::{Snapshot, Span};

/// Judges windows of one span, in their order.
pub trait Detector: Send {
    /// Its name, as in the configuration and in docs/DETECTORS.md.
    fn name(&self) -> &'static str;

    /// Length of the windows that it judges.
    fn span(&self) -> Span {
        Span::Base
    }

    /// Judges a window.
    fn inspect(&mut self, view: &View<'_>, out: &mut Vec<Finding>);
}

/// What a detector sees.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The window: the network, each host, and in a base window each flow.
    pub snapshot: &'a Snapshot,
    /// What is usual, learned from the windows before.
    pub baselines: &'a Baselines,
}

impl View<'_> {
    /// First instant of the window.
    pub const fn start(&self) -> Timestamp {
        self.snapshot.window.start
    }

    /// First instant behind it.
    pub const fn end(&self) -> Timestamp {
        self.snapshot.window.end
    }
}

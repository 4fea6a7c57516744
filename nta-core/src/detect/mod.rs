//! Detectors: each judges one closed window and reports what it finds. Pure: no clock, no I/O, no state outside `self`.

mod active;
mod amplification;
mod arp_spoof;
mod attempt;
mod beaconing;
mod brute_force;
mod contacts;
mod counterparts;
mod data_exfiltration;
mod declaration;
#[cfg(test)]
mod declaration_tests;
mod dga;
mod distributed_flood;
mod dns_tunnel;
#[cfg(test)]
pub(crate) mod fixture;
mod flood;
mod guessing;
mod high_latency;
mod http_flood;
mod icmp_flood;
mod icmp_tunnel;
mod isolation_forest;
mod known;
mod long_lived;
mod named;
mod neighbor_sweep;
mod networks;
mod packet_loss;
mod port_scan;
mod protocol_anomaly;
mod recent;
mod registry;
mod rise;
mod rogue_server;
mod slow_scan;
mod slowloris;
mod ssh_brute_force;
mod states;
mod syn_flood;
#[cfg(test)]
mod testing;
mod traffic_spike;
mod tries;
mod udp_flood;
mod unusual;
mod xgboost;

pub use declaration::{Basis, Cost, Declaration, FlowUse, Rates, Scope};
pub use networks::{Networks, network};
pub use registry::{DetectConfig, declarations, detectors, learned, renewed};
pub use states::States;
pub use tries::{Tries, Try};

use recent::Counted;

use crate::baseline::{Baselines, Expected, Metric, Scores};
use crate::domain::{AlertKind, Finding, Measure, Party, Timestamp};
use crate::window::{Run, Snapshot, Window};

/// Judges windows of one span, in their order.
pub trait Detector: Send {
    /// What it is, and what it needs.
    fn declaration(&self) -> &'static Declaration;

    /// Takes flows of a base window: run by run, in their order, before the window as a whole is judged. While one detector
    /// after another takes a run, a processor's own cache holds it; whoever goes over all flows later waits for memory.
    /// Called only if it declares that it uses flows. `tries` says of each flow what it tried; it is empty for a detector that
    /// takes them apart from others ([`FlowUse::Apart`]).
    fn take(&mut self, run: &Run<'_>, tries: &[Try]);

    /// Judges a window that it accepts.
    fn inspect(&mut self, view: &View<'_>, out: &mut Vec<Finding>);

    /// What it had to forget because its tables were full.
    fn evicted(&self) -> u64;

    /// How unlike the usual the hosts of the window were that it judged last, for the baselines to learn; `None` where it has no
    /// such scores.
    fn scores(&mut self) -> Option<Scores> {
        None
    }
}

/// What a detector sees.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The window: the network, each host, and in a base window each flow.
    pub snapshot: &'a Snapshot,
    /// What is usual, learned from the windows before.
    pub baselines: &'a Baselines,
    /// What each flow of a base window tried, by its number; none of a longer window, which has no flows.
    pub tries: &'a [Try],
    /// Takes how near hosts came to thresholds; `None` where nobody wants to know.
    pub states: Option<&'a States>,
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

    /// What is usual for a metric of the network at the time of the window; `None` in warm-up.
    fn expect(&self, metric: Metric) -> Option<Expected> {
        let Window { start, measured, .. } = &self.snapshot.window;
        self.baselines.expect(metric, start.offset(measured.wall_ahead_ns))
    }

    /// The time for which it counted.
    const fn counted(&self) -> Counted {
        Counted { end: self.end(), length_ns: self.snapshot.window.judged_ns() }
    }

    /// A finding about this window; parties, facts and contributors follow. Its score rises with the magnitude: even
    /// at the threshold, 9 in 10 at ten times it.
    fn finding(&self, by: &Declaration, kind: AlertKind, measure: Measure, summary: String) -> Finding {
        Finding {
            detector: by.name,
            basis: by.basis,
            kind,
            source: Party::Nobody,
            destination: Party::Nobody,
            port: None,
            start: self.start(),
            end: self.end(),
            seen: None,
            score: 1.0 - 1.0 / (1.0 + measure.magnitude().max(0.0)),
            measure,
            summary,
            facts: Vec::new(),
            contributors: Vec::new(),
            crowd: None,
        }
    }
}

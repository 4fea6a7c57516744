//! What is asked for: hooks, sampling, and an end before anything is attached.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The hooks to attach to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attach {
    /// The best that the device and the kernel have: native XDP on a physical NIC, TCX elsewhere.
    #[default]
    Auto,
    /// Native XDP (in the driver) for incoming packets.
    Xdp,
    /// Generic XDP (in the stack, any driver) for incoming packets.
    XdpGeneric,
    /// TCX for both directions (kernel 6.6 and later).
    Tcx,
    /// A clsact filter for both directions (any kernel).
    Tc,
}

/// Where our programs stand among others at TCX.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TcxOrder {
    /// Before all others: every packet is seen, also those that another program drops.
    #[default]
    First,
    /// After all others: what they drop or redirect is not seen.
    Last,
}

/// How packets are sampled and reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventSettings {
    /// Every how many-th packet is accounted; 1 accounts each.
    pub sample: u32,
    /// Of how many packets the head of one is reported; 0: of none.
    pub raw_every: u32,
    /// Events of each [`nta_common::events::Kind`] in a second, of one interface on one CPU.
    pub per_second: [u32; 4],
    /// Size of the ring buffer in bytes: a power of two.
    pub ring_bytes: u32,
}

impl Default for EventSettings {
    /// As the daemon has them by default.
    fn default() -> Self {
        Self { sample: 1, raw_every: 0, per_second: [5000, 1000, 1000, 1000], ring_bytes: 4 << 20 }
    }
}

/// Asks whether a start is to end before anything is attached.
#[derive(Clone, Default)]
pub struct Stop(Option<Arc<dyn Fn() -> bool + Send + Sync>>);

impl Stop {
    /// Ends the start as soon as this says so.
    pub fn when(ends: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(ends)))
    }

    pub(crate) fn is_asked_for(&self) -> bool {
        self.0.as_ref().is_some_and(|ends| ends())
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stop")
    }
}

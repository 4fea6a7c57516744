//! Replay: the frames of a capture through one of two engines with the same result.

mod deadlines;
mod events;
mod fragments;
mod kernel;
mod user;

pub use kernel::KernelEngine;
pub use user::UserEngine;

use super::{FlowSource, SourceError};

/// An engine that frames are fed to, one by one.
pub trait Engine: FlowSource {
    /// Accounts a frame in Ethernet form.
    fn inject(&mut self, time_ns: u64, wire_len: u32, data: &[u8]) -> Result<(), SourceError>;

    /// `kernel` or `user`.
    fn name(&self) -> &'static str;
}

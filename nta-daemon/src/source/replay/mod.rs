//! Replay: the frames of a capture through one of two engines with the same result.

mod ahead;
mod deadlines;
mod events;
mod filter;
mod fragments;
mod hint;
mod kernel;
mod pipe;
mod table;
mod user;

pub use ahead::{Batches, FrameBatch, Reading, read_ahead};
pub use filter::{PacketFilter, for_kernel};
pub use hint::{Hint, Hinter};
pub use kernel::KernelEngine;
pub use pipe::{Came, Pipe};
pub use user::UserEngine;

use super::{FlowSource, SourceError};

/// Frames or flows whose memory is read before the first of them is worked on, so that the waits overlap: enough to keep a
/// core's outstanding reads busy, few enough to be still in the first-level cache when their turn comes.
pub const GROUP: usize = 16;

/// An engine that frames are fed to, one by one.
pub trait Engine: FlowSource {
    /// Accounts a frame in Ethernet form.
    fn inject(&mut self, time_ns: u64, wire_len: u32, data: &[u8]) -> Result<(), SourceError>;

    /// What makes the hints for [`Engine::look_ahead`], for an engine that gains by them.
    fn hinter(&self) -> Option<Hinter> {
        None
    }

    /// Announces which frames come next, [`GROUP`] at a time. It changes nothing but the time that they take.
    fn look_ahead(&self, _hints: &[Option<Hint>]) {}

    /// `kernel` or `user`.
    fn name(&self) -> &'static str;
}

//! Which frames are wanted, by somebody who knows.

use super::LinkType;

/// Looks at frames as they were captured, before their link header is replaced.
pub trait FrameFilter: Send + Sync {
    /// Whether frames of this link type can be looked at.
    ///
    /// # Errors
    /// Why not, in a sentence.
    fn check(&self, link_type: LinkType) -> Result<(), String>;

    /// Whether a frame of this length on the wire is wanted.
    fn takes(&self, link_type: LinkType, wire_len: u32, data: &[u8]) -> bool;
}

//! Live capture: which interfaces are watched, what is attached to them, and the loop over what they count.

pub mod clock;
pub mod inside;
pub mod source;
pub mod supervisor;
pub mod watch;

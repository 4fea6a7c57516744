//! Live capture: which interfaces are watched, what is attached to them, and the loop over what they count.

mod attacher;
mod choice;
pub mod clock;
pub mod control;
mod follow;
pub mod inside;
mod orders;
pub mod source;
pub mod supervisor;
pub mod watch;

//! Live capture: which interfaces are watched, what is attached to them, and the loop over what they count.

mod choice;
pub mod clock;
pub mod control;
pub mod inside;
mod orders;
pub mod source;
pub mod supervisor;
pub mod watch;

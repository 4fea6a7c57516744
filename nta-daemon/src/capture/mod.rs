//! Live capture: its clock.

pub mod clock;

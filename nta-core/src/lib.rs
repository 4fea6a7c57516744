//! What the analyzer *is*, apart from the world: the nouns, windows, features, baselines, detectors, alerts and models.
//!
//! Modules in the order in which data passes them. Nothing here reads a clock, a file or the network, spawns a task or keeps
//! process-wide state: time and settings are arguments. So a replay gives what a live run gives.

#![forbid(unsafe_code)]

mod tunables;

pub mod alerting;
pub mod analysis;
pub mod baseline;
pub mod detect;
pub mod domain;
pub mod evaluate;
pub mod features;
pub mod model;
pub mod train;
pub mod window;

pub use tunables::{Bounds, Section, Setting, documentation};

//! Sinks: where the pipeline's events go, a file each.

mod counters;
pub mod eve;
mod flow_groups;
pub mod ipfix;
pub mod jsonl;
mod line_file;
pub mod log;
pub mod metrics;
mod outlet;
pub mod remote_write;
pub mod ship;
mod standing;
pub mod store;
pub mod stream;
mod troubles;
pub mod webhook;

pub use counters::{Counters, Kind};
pub use standing::Standing;

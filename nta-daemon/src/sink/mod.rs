//! Sinks: where the pipeline's events go, a file each.

pub mod ipfix;
pub mod jsonl;
pub mod log;
pub mod metrics;
pub mod ship;
pub mod store;
pub mod stream;
mod troubles;
pub mod webhook;

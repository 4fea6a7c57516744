//! Sinks: where the pipeline's events go, a file each.

pub mod log;
pub mod store;
mod troubles;

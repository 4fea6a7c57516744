//! The daemon of nta: packets counted in the kernel, or replayed from a capture, become windows, and windows are
//! stored and served.
//!
//! Modules in data-path order. `domain` and `window` are the pure core; `source`, `store` and `api` are edges that know
//! the core but not each other's insides; `pipeline` joins them, `app` wires the tasks, `cli` is what a user types.

pub mod source;

pub mod batch;
pub mod capture;
pub mod model_loader;
pub mod pipeline;
pub mod recording;
pub mod replay;
pub mod train;
#[cfg(feature = "xgboost")]
pub mod xgboost;
#[cfg(not(feature = "xgboost"))]
#[path = "xgboost/absent.rs"]
pub mod xgboost;

pub mod anonymize;
pub mod api;
pub mod archive;
mod dashboard;
pub mod export;
pub mod history;
pub mod jobs;
pub mod json;
mod report;
pub mod results;
pub mod sink;
pub mod store;

pub mod app;
pub mod cli;
pub mod collector;
pub mod config;
pub mod descriptors;
pub mod private;
pub mod room;
pub mod service;
pub mod telemetry;
pub mod uploads;

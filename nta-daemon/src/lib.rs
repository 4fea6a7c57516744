//! The daemon of nta: packets counted in the kernel, or replayed from a capture, become windows, and windows are
//! stored and served.
//!
//! Modules in data-path order. `domain` and `window` are the pure core; `source`, `store` and `api` are edges that know
//! the core but not each other's insides; `pipeline` joins them, `app` wires the tasks, `cli` is what a user types.

pub mod analysis;
pub mod baseline;
pub mod detect;
pub mod domain;
pub mod features;
pub mod model;
pub mod source;
pub mod window;

pub mod batch;
pub mod evaluate;
pub mod judge;
pub mod live;
pub mod pipeline;
pub mod replay;
pub mod shelf;
pub mod train;

pub mod api;
pub mod json;
pub mod store;

pub mod app;
pub mod cli;
pub mod config;

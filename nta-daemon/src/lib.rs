//! The daemon of nta: packets counted in the kernel, or replayed from a capture, become windows, and windows are
//! stored and served.
//!
//! Modules in data-path order. `domain` and `window` are the pure core; `source`, `store` and `api` are edges that know
//! the core but not each other's insides; `pipeline` joins them and `app` wires the tasks.

pub mod api;
pub mod domain;
pub mod json;
pub mod store;
pub mod window;

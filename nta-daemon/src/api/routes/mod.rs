//! One file for each resource: request, answer, handler.

pub(super) mod flows;
pub(super) mod health;
pub(super) mod index;
pub(super) mod metrics;
pub(super) mod prometheus;
pub(super) mod status;

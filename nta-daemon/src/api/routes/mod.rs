//! One file for each resource: request, answer, handler.

pub(super) mod alert_bulk;
pub(super) mod alert_words;
pub(super) mod alerts;
pub(super) mod anomalies;
pub(super) mod audit;
pub(super) mod baselines;
pub(super) mod captures;
pub(super) mod compute;
pub(super) mod detect;
pub(super) mod evidence;
pub(super) mod explain;
pub(super) mod features;
pub(super) mod flows;
pub(super) mod generate;
pub(super) mod health;
pub(super) mod hosts;
pub(super) mod index;
pub(super) mod metrics;
pub(super) mod mutes;
pub(super) mod prometheus;
pub(super) mod session;
pub(super) mod stats;
pub(super) mod status;
pub(super) mod stream;
pub(super) mod tokens;
mod upload_headers;
pub(super) mod uploads;

//! From findings to alerts: allow-list, identity, merging, raising and clearing, severity.

mod alerter;
mod allow;
mod fusion;
#[cfg(test)]
mod fusion_tests;
mod raise_after;
#[cfg(test)]
mod tests;

pub use alerter::{Alerter, AlertingConfig};
pub use allow::Allow;
pub use raise_after::RaiseAfter;

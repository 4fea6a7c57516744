//! From findings to alerts: allow-list and mutes, identity, merging, raising and clearing, severity.

mod alerter;
mod allow;
mod carpet;
#[cfg(test)]
mod carpet_tests;
mod crowd;
mod earlier;
mod fold;
mod fusion;
#[cfg(test)]
mod fusion_tests;
mod hints;
mod joint;
mod mute;
#[cfg(test)]
mod permuted_tests;
mod raise_after;
mod room;
mod seen;
mod severity;
#[cfg(test)]
mod tests;
mod waiting;

pub use alerter::{Alerter, AlertingConfig};
pub use allow::Allow;
pub use earlier::EarlierAlert;
pub use joint::{Common, common, joint_id};
pub use mute::Mute;
pub use raise_after::RaiseAfter;
pub(crate) use seen::date;
pub(crate) use waiting::ANOMALY_WINDOWS;

impl Alerter {
    /// From now on what makes findings an alert is this. Alerts that go on do.
    pub fn set_config(&mut self, config: AlertingConfig) {
        self.config = config;
    }
}

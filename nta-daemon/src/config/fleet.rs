//! `[fleet]`: what a server makes of what many gateways ship to it.

use nta_core::Bounds;
use nta_core::detect::Networks;

use super::section::section;

section! {
    /// What a server makes of what many gateways ship to it. Give all that store into one database the same.
    FleetConfig in "fleet" {
        /// Alerts of one attacker, or of one victim of many, are one alert where those of several gateways are at most so many seconds
        /// apart; 0 keeps each by itself.
        correlate_within_s: u64 = 300 => Bounds::new(0.0, 86_400.0),
        /// Private networks in which an address is the same host behind every gateway. Others are not correlated.
        shared_networks: Networks = Networks::from(Vec::new()),
    }
}

//! What is inside, for who shows rows of several sensors: each knows its own networks.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};

use super::ApiState;
use super::state::now;
use nta_core::detect::Networks;
use nta_core::domain::Timestamp;

/// Who asks within so long of the time before gets the same, in nanoseconds.
const FRESH_NS: u64 = 10_000_000_000;

/// What was asked last.
pub(super) type Known = Mutex<Option<(Timestamp, Arc<Insides>)>>;

/// The networks of each sensor that ships here, and one's own for all others.
#[derive(Debug)]
pub(super) struct Insides {
    own: Networks,
    sensors: BTreeMap<String, Networks>,
}

impl Insides {
    /// Whether an address is inside for one of the sensors that saw it, or for any where they are not named; `None` where it is no host's.
    pub(super) fn holds<'a>(&self, address: &str, mut seen_by: impl Iterator<Item = &'a str>) -> Option<bool> {
        let address: IpAddr = address.parse().ok()?;
        let is_broadcast = address == IpAddr::V4(Ipv4Addr::BROADCAST);
        let is_host = !address.is_multicast() && !address.is_unspecified() && !is_broadcast;
        let of = |sensor: &str| self.sensors.get(sensor).unwrap_or(&self.own).contains(&address);
        let any = || self.own.contains(&address) || self.sensors.values().any(|local| local.contains(&address));
        is_host.then(|| seen_by.next().map_or_else(any, |first| of(first) || seen_by.any(of)))
    }
}

impl ApiState {
    /// What is inside for each sensor; for all what is inside here where the store does not say.
    pub(super) async fn insides(&self) -> Arc<Insides> {
        let now = now();
        let known = self.insides.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, insides)) = known.filter(|(at, _)| *at <= now && now.since(*at) < FRESH_NS) {
            return insides;
        }
        let sensors = self.store.networks_of_sensors().await.unwrap_or_default();
        let insides = Arc::new(Insides { own: self.analysis.detect.now().local_networks.clone(), sensors });
        *self.insides.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, Arc::clone(&insides)));
        insides
    }
}

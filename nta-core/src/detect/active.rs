//! Which hosts of a window a model is asked about: those that did most, as asking costs more than a rule.

use std::cmp::Reverse;

use crate::window::{HostStats, Hosts};

/// A flow weighs as much as so many packets: scanners and the victims of floods have many flows of few packets.
const FLOW_WEIGHT: u64 = 16;

/// At most so many of the hosts that are to be judged, in an order that does not depend on how they came, and how many
/// were left out.
pub(super) fn most_active(
    hosts: &Hosts,
    most: usize,
    is_judged: impl Fn(&HostStats) -> bool,
) -> (Vec<&HostStats>, u64) {
    let mut hosts: Vec<&HostStats> = hosts.iter().filter(|host| is_judged(host)).collect();
    let order = |host: &&HostStats| (Reverse(host.packets() + FLOW_WEIGHT * u64::from(host.flows())), host.address);
    let left_out = hosts.len().saturating_sub(most);
    if left_out > 0 {
        hosts.select_nth_unstable_by_key(most, order);
        hosts.truncate(most);
    }
    hosts.sort_unstable_by_key(order);
    (hosts, left_out as u64)
}

//! A window made of shorter ones of which only the sums are left: those that were stored.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::bucket::TOP_TALKERS;
use super::{Talker, Window};
use crate::domain::Timestamp;

impl Window {
    /// The window from `start` to `end`, made of base windows in their order. Sums are exact. Flows are a lower bound:
    /// one that is older than all parts and was not in the first is missed unless a later part had more flows. A host
    /// that was not among the named ones of a part has that part of it in the others.
    #[must_use]
    pub fn join(id: u64, start: Timestamp, end: Timestamp, parts: &[Self]) -> Self {
        let mut whole = Self { id, start, end, ..Self::default() };
        let mut talkers: BTreeMap<IpAddr, Talker> = BTreeMap::new();
        let mut others = Talker::default();
        for part in parts {
            whole.flows = if whole.flows == 0 { part.flows } else { (whole.flows + part.new_flows).max(part.flows) };
            whole.merge(part);
            for talker in &part.top_talkers {
                if let Some(address) = talker.address {
                    let new = || Talker { address: Some(address), ..Talker::default() };
                    talkers.entry(address).or_insert_with(new).merge(talker);
                }
            }
            if let Some(rest) = &part.others {
                others.merge(rest);
            }
        }
        whole.top_talkers = talkers.into_values().collect();
        whole.top_talkers.sort_by_key(|talker| std::cmp::Reverse(talker.bytes_sent + talker.bytes_received));
        for talker in whole.top_talkers.drain(TOP_TALKERS.min(whole.top_talkers.len())..) {
            others.merge(&talker);
        }
        whole.others = (others.packets_sent + others.packets_received > 0).then_some(others);
        whole.settle_sums();
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn talker(last: u8, bytes: u64) -> Talker {
        let address = Some(IpAddr::from([10, 0, 0, last]));
        Talker { address, packets_sent: 1, bytes_sent: bytes, flows: 1, ..Talker::default() }
    }

    #[test]
    fn sums_add_up_and_hosts_beyond_the_named_go_into_the_others() {
        let part = |from: u8, flows, new_flows| Window {
            packets: 20,
            bytes: 2000,
            flows,
            new_flows,
            top_talkers: (from..from + 10).map(|n| talker(n, 100 + u64::from(n))).collect(),
            others: Some(Talker { packets_sent: 5, bytes_sent: 50, ..Talker::default() }),
            ..Window::default()
        };
        let time = Timestamp::from_nanos;
        let whole = Window::join(7, time(0), time(10), &[part(1, 8, 8), part(6, 9, 3)]);
        assert_eq!((whole.id, whole.packets, whole.bytes, whole.flows, whole.new_flows), (7, 40, 4000, 11, 11));
        assert_eq!(whole.top_talkers.len(), 10);
        assert_eq!(whole.top_talkers[0], Talker { packets_sent: 2, flows: 2, ..talker(10, 220) });
        let named: u64 = whole.top_talkers.iter().map(|t| t.bytes_sent).sum();
        let all: u64 = (1..=10).map(|n| 100 + n).sum::<u64>() + (6..=15).map(|n| 100 + n).sum::<u64>() + 100;
        assert_eq!(named + whole.others.expect("others").bytes_sent, all, "nothing is lost");
    }
}

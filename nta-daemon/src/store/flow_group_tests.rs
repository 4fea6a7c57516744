//! Rows that stand for many flows, on both databases.

use std::net::IpAddr;

use super::tests::{FIRST_PAGE, begin, flow};
use super::*;
use nta_core::domain::{EndReason, FlowRecord};

/// A row of many is found by what its flows share, counts as many in totals, shrinks when one of them goes on, and goes with the last.
pub(super) async fn grouped(store: &Store) {
    let (writer, _task) = begin(store).await;
    let (victim, service) = (IpAddr::from([10, 88, 0, 1]), 4443);
    let row = |flows: u64| {
        let mut flow = FlowRecord { ended: Some(EndReason::Idle), ..flow(88_000, 900, flows) };
        flow.originator.address = [0, 0, 0, 0].into();
        flow.originator.port = 0;
        (flow.responder.address, flow.responder.port) = (victim, service);
        let example = [([198, 51, 100, 7].into(), 1234), (victim, service)];
        let many = Many { flows, sources: flows, destinations: 1, destination_ports: 1, examples: vec![example] };
        FlowGroup { flow, many }
    };
    let rows = store.flow_count().await.expect("a count");
    let filter = FlowFilter { hosts: victim.into(), ..FlowFilter::default() };
    for flows in [5000, 4999, 0] {
        writer.send(WindowBatch { groups: vec![row(flows)], ..WindowBatch::default() }).await.expect("send");
        writer.flush().await.expect("flush");
        let found = store.find_flows(&filter, FlowSort::LastTime, FIRST_PAGE).await.expect("flows").items;
        let expected: Vec<_> = (flows > 0).then(|| (row(flows).flow, Some(row(flows).many))).into_iter().collect();
        assert_eq!(found.iter().map(|flow| (flow.item, flow.many.clone())).collect::<Vec<_>>(), expected);
        assert_eq!(store.flow_count().await.expect("a count"), rows + u64::from(flows > 0));
        let host = store.host(victim, &Whose::default()).await.expect("host");
        assert_eq!(host.iter().map(|host| host.flows_in).collect::<Vec<_>>(), [flows.cast_signed()]);
        let between = store.hosts_between(&filter, HostSort::Bytes, FIRST_PAGE).await.expect("hosts").items;
        let between: Vec<_> = between.iter().map(|host| (host.host.as_str(), host.flows, host.flows_in)).collect();
        let sums = ("10.88.0.1", flows.cast_signed(), flows.cast_signed());
        assert_eq!(between, if flows > 0 { vec![sums] } else { Vec::new() });
        let ports = store.top_ports(victim, &Whose::default(), 5).await.expect("ports");
        assert_eq!(ports.iter().map(|port| port.flows).sum::<i64>(), flows.cast_signed());
        // Nobody in particular is the peer.
        assert!(store.top_peers(victim, &Whose::default(), 5).await.expect("peers").is_empty());
    }
    let nobody = FlowFilter { hosts: IpAddr::from([0, 0, 0, 0]).into(), ..FlowFilter::default() };
    assert!(store.find_flows(&nobody, FlowSort::Time, FIRST_PAGE).await.expect("flows").items.is_empty());
}

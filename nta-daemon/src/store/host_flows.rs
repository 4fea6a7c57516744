//! What each host did in a time: sums over the flows that went on in it, as many as a request may read.

use super::db::{Dialect, Query};
use super::flow_filter::FlowFilter;
use super::hosts::{HostPage, HostSort, HostTotals};
use super::list::Placed;
use super::sensor::sensor_of_run;
use super::sums::sum;
use super::{Key, Position, Store, StoreError};

/// Flows that one answer is made of at most.
pub(super) const MOST_SUMMED: u64 = 50_000;

impl Store {
    /// A page of the filter's hosts with the sums of their stored flows that pass its times and sensor: a row for each sensor that saw
    /// them. Each flow counts as a whole.
    pub async fn hosts_between(
        &self,
        filter: &FlowFilter,
        sort: HostSort,
        position: Position,
    ) -> Result<HostPage, StoreError> {
        let parts = filter.parts();
        let dialect = self.database.dialect();
        self.check_parts(parts.iter().map(Vec::as_slice)).await?;
        let mut query = Query::new("WITH parts AS MATERIALIZED (");
        for (index, part) in parts.iter().enumerate() {
            query
                .push(if index == 0 { "" } else { " UNION ALL " })
                .push(format_args!("SELECT {FLOW} FROM flows WHERE 1 = 1"));
            part.iter().for_each(|condition| condition.push(&mut query));
        }
        query.push(format_args!("), sides AS ({SIDES}) SELECT * FROM ({}) AS summed WHERE 1 = 1", sums(dialect)));
        let within = filter.hosts.sought().in_one_of(&["host"]);
        within.into_iter().chain(filter.whose.named("coalesce(sensor, '')")).for_each(|named| named.push(&mut query));
        position.and_one().push_by(&mut query, sort.column(), "number");
        let placed = |row: &super::Row| {
            let key = Key { value: row.int(sort.column())?, id: row.int("number")? };
            Ok(Placed { key, item: self.usable("flows", HostTotals::read(row)) })
        };
        let rows = self.read("flows", query, placed).await?;
        let (items, next) = position.cut(rows);
        Ok(HostPage { items, next })
    }
}

/// Of each flow what its hosts did, but for what a tunnel carries: that is counted in the flows inside.
const FLOW: &str = concat!(
    "number, ",
    sensor_of_run!(),
    " AS sensor, orig_addr, resp_addr, first_ns, last_ns, coalesce(grouped, 1) AS stands_for, \
     orig_packets - coalesce(orig_opened_packets, 0) AS orig_packets, orig_bytes - coalesce(orig_opened_bytes, 0) AS orig_bytes, \
     resp_packets - coalesce(resp_opened_packets, 0) AS resp_packets, resp_bytes - coalesce(resp_opened_bytes, 0) AS resp_bytes"
);

/// Each flow from either side. The least number of a host's sides is no other host's.
const SIDES: &str = "SELECT orig_addr AS host, coalesce(sensor, '') AS sensor, 2 * number AS side, stands_for, stands_for AS began, \
    orig_packets AS packets_sent, orig_bytes AS bytes_sent, resp_packets AS packets_received, resp_bytes AS bytes_received, first_ns, last_ns FROM parts WHERE length(orig_addr) = 16 \
    UNION ALL SELECT resp_addr, coalesce(sensor, ''), 2 * number + 1, stands_for, 0, resp_packets, resp_bytes, orig_packets, orig_bytes, first_ns, \
    last_ns FROM parts WHERE length(resp_addr) = 16";

fn sums(dialect: Dialect) -> String {
    let sum = |of: &str| sum(dialect, of);
    format!(
        "SELECT host, sensor, min(side) AS number, {} AS flows, {} AS flows_out, {} AS flows_in, {} AS packets_sent, \
         {} AS packets_received, {} AS bytes_sent, {} AS bytes_received, {} AS packets, {} AS bytes, \
         min(first_ns) AS first_ns, max(last_ns) AS last_ns FROM sides GROUP BY host, sensor",
        sum("stands_for"),
        sum("began"),
        sum("stands_for - began"),
        sum("packets_sent"),
        sum("packets_received"),
        sum("bytes_sent"),
        sum("bytes_received"),
        sum("packets_sent + packets_received"),
        sum("bytes_sent + bytes_received"),
    )
}

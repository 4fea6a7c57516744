//! Rows of the table `flows` that stand for many: flows of a window that have something in common, see `crate::sink::flow_groups`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Deref;

use serde::{Deserialize, Serialize};

use super::db::{Conn, Query};
use super::rows::{FlowRow, encode, from_address};
use super::{StoreError, from_sql, to_sql};
use nta_core::domain::FlowRecord;

/// Many flows that are one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowGroup {
    /// Their sums and what they have in common: an address that they do not share is unspecified, a port 0.
    pub flow: FlowRecord,
    /// How many they are, and of what.
    pub many: Many,
}

/// What a row stands for; the column `members` holds all but how many.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Many {
    /// Flows; a row of none is removed.
    #[serde(skip)]
    pub flows: u64,
    /// Different originators; estimated where there are many.
    pub sources: u64,
    /// Different responders.
    pub destinations: u64,
    /// Different ports of responders.
    pub destination_ports: u64,
    /// Originator and responder of the first ones.
    pub examples: Vec<[(IpAddr, u16); 2]>,
}

/// A stored flow, or many.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredFlow {
    /// Name of the sensor that saw it; `None` in rows of versions that did not note it.
    pub sensor: Option<String>,
    /// The flow, or the sums of many.
    pub item: FlowRecord,
    /// Of a row that stands for many.
    pub many: Option<Many>,
}

impl Deref for StoredFlow {
    type Target = FlowRecord;

    fn deref(&self) -> &FlowRecord {
        &self.item
    }
}

impl PartialEq<FlowRecord> for StoredFlow {
    fn eq(&self, flow: &FlowRecord) -> bool {
        self.many.is_none() && self.item == *flow
    }
}

/// The columns of a row that stands for many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct GroupRow {
    pub(super) flows: i64,
    pub(super) members: String,
}

impl GroupRow {
    /// The row of many.
    pub(super) fn of(group: &FlowGroup) -> Result<FlowRow, StoreError> {
        let members = encode("flows", group.flow.id.0, &group.many)?;
        let row = Self { flows: to_sql(group.many.flows), members };
        Ok(FlowRow { group: Some(Box::new(row)), ..FlowRow::from(&group.flow) })
    }

    /// Back from the columns.
    pub(super) fn read(flows: i64, members: &str) -> Result<Many, serde_json::Error> {
        Ok(Many { flows: from_sql(flows), ..serde_json::from_str(members)? })
    }
}

impl FlowRow {
    /// How many flows it stands for.
    pub(super) fn flows(&self) -> i64 {
        self.group.as_ref().map_or(1, |group| group.flows)
    }

    /// The addresses as columns have them: empty where many have none in common.
    pub(super) fn addresses(&self) -> [&[u8]; 2] {
        [&self.orig_addr, &self.resp_addr].map(|address| {
            let stands_for_many = || from_address(address).is_some_and(|address| address.is_unspecified());
            if self.group.is_some() && stands_for_many() { &[] } else { address.as_slice() }
        })
    }
}

/// The address of a column, when the other end has that one.
pub(super) fn many_or(address: &[u8], other: &[u8]) -> Option<IpAddr> {
    match (address, from_address(other)) {
        ([], Some(IpAddr::V4(_))) => Some(Ipv4Addr::UNSPECIFIED.into()),
        ([], _) => Some(Ipv6Addr::UNSPECIFIED.into()),
        (address, _) => from_address(address),
    }
}

/// Removes the rows of many of which no flow is left; answers how many.
pub(super) async fn remove_empty(conn: &mut Conn, run: i64, flows: &[FlowRow]) -> Result<u64, StoreError> {
    let mut removed = 0;
    for row in flows.iter().filter(|row| row.flows() == 0) {
        let query = Query::new("DELETE FROM flows WHERE run_id = $1 AND id = $2 AND first_ns = $3");
        let query = query.bind(run).bind(row.id).bind(row.first_ns);
        removed += conn.execute(query).await.map_err(StoreError::query("flows"))?;
    }
    Ok(removed)
}

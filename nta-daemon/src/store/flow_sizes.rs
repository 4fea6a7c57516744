//! Flows by their size: all that pass the filter are read and sorted, where they are few enough; of many, the largest come by the index of
//! those that are large.

use super::db::{Query, Row};
use super::flows::{FLOWS, FlowSort, flow};
use super::host_flows::MOST_SUMMED;
use super::list::{Condition, Placed};
use super::sums::are_natural;
use super::{FlowFilter, Key, Position, Store, StoreError, StoredFlow};

/// What is added up for a size.
const SIZES: [&str; 4] = ["orig_packets", "resp_packets", "orig_bytes", "resp_bytes"];

/// From these sizes on flows are in the index of large ones, which migrations make: a few in a hundred of a network's.
const LARGE_BYTES: u64 = 1_000_000;
const LARGE_PACKETS: u64 = 1_000;

impl Store {
    pub(super) async fn flows_by_size(
        &self,
        filter: &FlowFilter,
        sort: FlowSort,
        position: Position,
    ) -> Result<Vec<Placed<StoredFlow>>, StoreError> {
        // By the filter that leaves the fewest; else all of the time.
        let (parts, rest): (Vec<[Vec<Condition>; 2]>, _) = match filter.few_of_network().or_else(|| filter.few()) {
            Some(few) => (few.branches.into_iter().map(|branch| [branch.index, branch.edge]).collect(), few.rest),
            None => (filter.parts().into_iter().map(|part| [part, Vec::new()]).collect(), filter.conditions()),
        };
        match self.check_parts(parts.iter().map(|[index, _]| index.as_slice())).await {
            Err(too_much @ StoreError::TooMuch { .. }) if position.descending => {
                let found = self.large_flows(filter, sort, position).await?;
                // Behind the last large one may come any of the others.
                return if found.len() < position.limit as usize { Err(too_much) } else { Ok(found) };
            }
            checked => checked?,
        }
        let mut query = Query::new("SELECT * FROM (".to_owned());
        for (at, conditions) in parts.iter().enumerate() {
            query.push(if at == 0 { "" } else { " UNION ALL " });
            query.push(format_args!(
                "SELECT {FLOWS}, {} AS size FROM flows WHERE ",
                sort.value(self.database.dialect(), "")
            ));
            query.push(are_natural(self.database.dialect(), &SIZES));
            conditions.iter().flatten().chain(&rest).for_each(|condition| condition.push(&mut query));
        }
        query.push(") AS sized WHERE 1 = 1");
        position.push_by(&mut query, "size", "number");
        self.read_by_size(query).await
    }

    /// The largest of the large flows.
    pub(super) async fn large_flows(
        &self,
        filter: &FlowFilter,
        sort: FlowSort,
        position: Position,
    ) -> Result<Vec<Placed<StoredFlow>>, StoreError> {
        let size = sort.value(self.database.dialect(), "");
        let least = if sort == FlowSort::Bytes { LARGE_BYTES } else { LARGE_PACKETS };
        let conditions = filter.all();
        let mut query = Query::new(format!(
            "SELECT * FROM (SELECT {FLOWS}, {size} AS size FROM flows WHERE {size} >= {least} AND "
        ));
        query.push(are_natural(self.database.dialect(), &SIZES));
        if let Some(after) = position.after {
            query.push(format_args!(" AND ({size}, number) < ("));
            query.push_bind(after.value).push(", ").push_bind(after.id).push(")");
        }
        // So many are looked at.
        let most = if conditions.is_empty() { position.limit.into() } else { super::to_sql(MOST_SUMMED) };
        query.push(format_args!(" ORDER BY {size} DESC, number DESC LIMIT ")).push_bind(most);
        query.push(") AS large WHERE 1 = 1");
        conditions.iter().for_each(|condition| condition.push(&mut query));
        position.push_by(&mut query, "size", "number");
        self.read_by_size(query).await
    }

    async fn read_by_size(&self, query: Query) -> Result<Vec<Placed<StoredFlow>>, StoreError> {
        let placed = |row: &Row| {
            let key = Key { value: row.int("size")?, id: row.int("number")? };
            Ok(Placed { key, item: self.usable("flows", flow(row)) })
        };
        self.read("flows", query, placed).await
    }

    /// Refuses parts that are more than one answer may be made of.
    pub(super) async fn check_parts(&self, parts: impl Iterator<Item = &[Condition]>) -> Result<(), StoreError> {
        let mut left = MOST_SUMMED;
        for part in parts {
            let mut count = Query::new("SELECT count(*) FROM (SELECT 1 FROM flows WHERE 1 = 1");
            part.iter().for_each(|condition| condition.push(&mut count));
            let most = i64::try_from(left).unwrap_or(i64::MAX).saturating_add(1);
            count.push(" LIMIT ").push_bind(most).push(") AS part");
            let found = self.read("flows", count, |row| Ok(row.first()?)).await?;
            let found = found.first().copied().map_or(0, super::from_sql);
            left = left.checked_sub(found).ok_or(StoreError::TooMuch { table: "flows", most: MOST_SUMMED })?;
        }
        Ok(())
    }
}

//! Flows by their size: all that pass the filter are read and sorted, where they are few enough.

use super::db::{Query, Row};
use super::flows::{FLOWS, FlowSort, flow};
use super::host_flows::MOST_SUMMED;
use super::list::{Condition, Placed};
use super::sums::are_natural;
use super::{BySensor, FlowFilter, Key, Position, Store, StoreError};
use nta_core::domain::FlowRecord;

/// What is added up for a size.
const SIZES: [&str; 4] = ["orig_packets", "resp_packets", "orig_bytes", "resp_bytes"];

impl Store {
    pub(super) async fn flows_by_size(
        &self,
        filter: &FlowFilter,
        sort: FlowSort,
        position: Position,
    ) -> Result<Vec<Placed<BySensor<FlowRecord>>>, StoreError> {
        // By the filter that leaves the fewest; else all of the time.
        let (parts, rest): (Vec<[Vec<Condition>; 2]>, _) = match filter.few_of_network().or_else(|| filter.few()) {
            Some(few) => (few.branches.into_iter().map(|branch| [branch.index, branch.edge]).collect(), few.rest),
            None => (filter.parts().into_iter().map(|part| [part, Vec::new()]).collect(), filter.conditions()),
        };
        self.check_parts(parts.iter().map(|[index, _]| index.as_slice())).await?;
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

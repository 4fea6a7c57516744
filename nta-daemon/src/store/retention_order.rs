//! Which flows go when there are too many: those that were stored first. Of a capture all were stored when it was analysed, however old its
//! packets are; what a sensor counted was stored when it was over.

use super::db::Query;
use super::{Store, StoreError, to_sql};

/// Rows of one sensor, or of one capture, and when the first of them were stored.
#[derive(Clone, Copy, Debug)]
struct Group {
    sensor: i64,
    stored_ns: i64,
    is_capture: bool,
}

impl Store {
    /// Brings flows down to this many.
    pub(super) async fn delete_surplus_flows(&self, most: u64) -> Result<(), StoreError> {
        loop {
            let surplus = to_sql(self.total("flows").await?) - to_sql(most);
            if surplus <= 0 || self.delete_first_stored_flows(surplus).await? == 0 {
                return Ok(());
            }
        }
    }

    /// Deletes up to so many flows of those that were stored first, in one transaction; answers how many.
    pub(super) async fn delete_first_stored_flows(&self, rows: i64) -> Result<u64, StoreError> {
        let sensors = self.whose_are_no_captures("").await?;
        if sensors.names().is_empty() {
            // There are no captures.
            let sql = first_of("");
            return self.delete_once("flows", &sql, rows.min(super::retention::DELETE_ROWS)).await;
        }
        let groups = self.groups(sensors.names()).await?;
        for (place, group) in groups.iter().enumerate() {
            let next_ns = groups.get(place + 1).map_or(i64::MAX, |next| next.stored_ns.max(group.stored_ns + 1));
            let mut only = format!(" WHERE sensor_id = {}", group.sensor);
            if !group.is_capture {
                only += &format!(" AND last_ns < {next_ns}");
            }
            let gone = self.delete_once("flows", &first_of(&only), rows.min(super::retention::DELETE_ROWS)).await?;
            if gone > 0 {
                return Ok(gone);
            }
        }
        Ok(0)
    }

    /// Each sensor, and of the captures with flows the one that was analysed first; the first stored first.
    async fn groups(&self, sensors: &[String]) -> Result<Vec<Group>, StoreError> {
        let mut groups = Vec::new();
        for name in sensors {
            let query = Query::new(
                "SELECT s.id AS id, coalesce((SELECT min(f.last_ns) FROM flows f WHERE f.sensor_id = s.id), -1) AS stored \
                 FROM sensors s WHERE s.name = $1",
            );
            let read = |row: &super::db::Row| Ok((row.int("id")?, row.int("stored")?));
            let found = self.read("flows", query.bind(name.as_str()), read).await?.into_iter();
            let with_flows = found.filter(|(_, stored_ns)| *stored_ns >= 0);
            groups.extend(with_flows.map(|(sensor, stored_ns)| Group { sensor, stored_ns, is_capture: false }));
        }
        // Captures get their numbers in the order in which they are analysed.
        let captures = Query::new(format!(
            "SELECT s.id AS id, coalesce((SELECT min(r.started_ns) FROM runs r WHERE r.sensor = s.name), 0) AS stored \
             FROM sensors s WHERE s.name LIKE 'capture-{}' AND EXISTS (SELECT 1 FROM flows f WHERE f.sensor_id = s.id) \
             ORDER BY s.id LIMIT 1",
            "_".repeat(32)
        ));
        let captures = self.read("flows", captures, |row| Ok((row.int("id")?, row.int("stored")?))).await?;
        groups.extend(captures.into_iter().map(|(sensor, stored_ns)| Group { sensor, stored_ns, is_capture: true }));
        groups.sort_by_key(|group| (group.stored_ns, group.sensor));
        Ok(groups)
    }
}

/// Deletes the oldest of some flows, `$1` of them.
fn first_of(only: &str) -> String {
    format!(
        "DELETE FROM flows WHERE number IN (SELECT number FROM flows{only} ORDER BY last_ns, number LIMIT $1 + 0 * $2)"
    )
}

//! How many alerts there are, by severity.

use super::alert_filter::AlertFilter;
use super::alerts::severity_of;
use super::db::{Query, Row};
use super::list::when;
use super::{Store, StoreError, from_sql};

impl Store {
    /// How many alerts of each severity there are, from low to critical; the table is bounded, and its rows are not looked at where only a
    /// status and a time are asked for.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn alert_counts(&self, filter: &AlertFilter) -> Result<[u64; 4], StoreError> {
        let mut counts = [0; 4];
        let row = |row: &Row| Ok((severity_of(row.int("severity")?)?, row.natural("alerts")?));
        for (severity, alerts) in self.read("detected_alerts", counted(filter), row).await? {
            counts[severity as usize] = from_sql(alerts);
        }
        Ok(counts)
    }
}

/// How many alerts of each severity it finds, from low to critical.
fn counted(filter: &AlertFilter) -> Query {
    let mut query = Query::new(String::from("SELECT severity, count(*) AS alerts FROM detected_alerts WHERE 1 = 1"));
    // By its index only those with this status are read; what it holds is enough where nothing else is asked for.
    if let [status] = filter.statuses.as_slice() {
        when("status = ?", *status).push(&mut query);
    }
    filter.rest(true, true).iter().for_each(|condition| condition.push(&mut query));
    query.push(" GROUP BY severity");
    query
}

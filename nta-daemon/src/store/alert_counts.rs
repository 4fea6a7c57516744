//! How many alerts there are, by severity, and by kind.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;

use super::alert_filter::AlertFilter;
use super::alerts::severity_of;
use super::db::{Query, Row};
use super::list::when;
use super::write::Event;
use super::{Store, StoreError, from_sql};
use nta_core::domain::{AlertKind, Severity};

/// Alerts that go on of which so many are counted.
const MOST_OPEN: i64 = 100_000;

/// Alerts that go on, of a kind and severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenAlerts {
    /// The kind; `None` where this version knows none of that name.
    pub kind: Option<AlertKind>,
    /// The severity.
    pub severity: Severity,
    /// How many.
    pub count: u64,
}

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

    /// How many of the alerts that a filter finds go on; those of each run are found by its index, and of a hundred thousand no more is
    /// counted.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn open_alerts(&self, filter: &AlertFilter) -> Result<Vec<OpenAlerts>, StoreError> {
        let mut query = Query::new(String::from(
            "SELECT kind, severity, count(*) AS alerts FROM (SELECT kind, severity FROM detected_alerts \
             WHERE run_id IN (SELECT id FROM runs)",
        ));
        when("state = ?", "raised").push(&mut query);
        filter.rest(true, true).iter().for_each(|condition| condition.push(&mut query));
        query.push(" LIMIT ").push_bind(MOST_OPEN).push(") AS open GROUP BY kind, severity");
        let row = |row: &Row| {
            let (kind, severity) = (AlertKind::named(&row.text("kind")?), severity_of(row.int("severity")?)?);
            Ok(OpenAlerts { kind, severity, count: from_sql(row.natural("alerts")?) })
        };
        self.read("detected_alerts", query, row).await
    }

    /// Alerts of sensors that ship to this server, and those of several of them, which were raised since its start.
    pub fn alerts_raised_elsewhere(&self) -> BTreeMap<AlertKind, u64> {
        self.counters.raised_elsewhere.sums()
    }
}

/// Alerts raised, by kind.
#[derive(Debug, Default)]
pub(super) struct Raised(Mutex<BTreeMap<AlertKind, u64>>);

impl Raised {
    fn sums(&self) -> BTreeMap<AlertKind, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One of each of these kinds was raised.
    pub(super) fn add(&self, kinds: &[AlertKind]) {
        let mut sums = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kinds.iter().for_each(|kind| *sums.entry(*kind).or_default() += 1);
    }
}

/// The kinds of the alerts that were raised, by the events of it.
pub(super) fn raised<'a>(events: impl IntoIterator<Item = &'a Event>) -> impl Iterator<Item = AlertKind> {
    #[derive(Deserialize)]
    struct About<'b> {
        r#type: &'b str,
    }
    let raised = events.into_iter().filter(|event| event.kind == "alert_raised");
    raised.filter_map(|event| AlertKind::named(serde_json::from_str::<About<'_>>(&event.body).ok()?.r#type))
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

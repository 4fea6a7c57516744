//! Alerts that go on. Of who has nobody ship to it they are its own; of a centre those that its list has, whoever saw them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Snapshot;
use super::page::{GAUGE, Page};
use crate::api::page::Period;
use crate::api::state::now;
use crate::api::whose::WhoseQuery;
use crate::api::{ApiError, ApiState};
use crate::store::{AlertFilter, OpenAlerts, Range};
use nta_core::domain::{AlertKind, Severity, Timestamp};

/// Who asks within so long of the time before gets the same, in nanoseconds.
const FRESH_NS: u64 = 5_000_000_000;
/// A scrape waits so long for the database, and shows what was known before else.
const PATIENCE: Duration = Duration::from_millis(250);

/// What was known at the last scrape.
#[derive(Debug, Default)]
pub(in crate::api) struct Known {
    alerts: Mutex<Option<(Timestamp, Vec<OpenAlerts>)>>,
    /// Who holds it asks.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Known {
    fn get(&self) -> Option<(Timestamp, Vec<OpenAlerts>)> {
        self.alerts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Those of a centre: what `GET /api/alerts?state=raised` has. An answer that is late is there for the next scrape; `None` before the first.
pub(super) async fn open(state: &ApiState) -> Option<Vec<OpenAlerts>> {
    let now = now();
    let is_fresh = state.open_alerts.get().is_some_and(|(at, _)| at <= now && now.since(at) < FRESH_NS);
    if !is_fresh && let Ok(turn) = Arc::clone(&state.open_alerts.turn).try_lock_owned() {
        let state = state.clone();
        let asking = tokio::spawn(async move {
            match ask(&state).await {
                Ok(alerts) => {
                    let known = Some((now, alerts));
                    *state.open_alerts.alerts.lock().unwrap_or_else(PoisonError::into_inner) = known;
                }
                Err(error) => tracing::debug!(?error, "metrics: alerts that go on are not counted"),
            }
            drop(turn);
        });
        let _late = tokio::time::timeout(PATIENCE, asking).await;
    }
    state.open_alerts.get().map(|(_, alerts)| alerts)
}

async fn ask(state: &ApiState) -> Result<Vec<OpenAlerts>, ApiError> {
    let whose = state.scope(WhoseQuery::ANY).await?.whose;
    let Range { from, to } = state.range(Period::default()).await?;
    let filter = AlertFilter { whose, from, to, hides_parts: true, ..AlertFilter::default() };
    Ok(state.store.open_alerts(&filter).await?)
}

/// Alerts that go on, of whom they are shown.
#[derive(Debug)]
pub(super) enum Open {
    /// This daemon's own.
    Own,
    /// Those of a centre, once they are known.
    Centre(Option<Vec<OpenAlerts>>),
}

impl Snapshot {
    pub(super) fn open_alerts(&self, page: &mut Page<'_>) -> std::fmt::Result {
        let by_severity = match &self.open {
            Open::Own => self.status.detection.open,
            // Not known is another thing than none.
            Open::Centre(None) => return Ok(()),
            Open::Centre(Some(alerts)) => Severity::ALL
                .map(|severity| alerts.iter().filter(|of| of.severity == severity).map(|of| of.count).sum()),
        };
        let open = Severity::ALL.iter().zip(by_severity).map(|(s, n)| (vec![("severity", s.word())], n as f64));
        page.family("alerts_open", "Alerts that go on", GAUGE, open)?;
        let Open::Centre(Some(alerts)) = &self.open else { return Ok(()) };
        let mut by_kind: BTreeMap<(&str, Severity), u64> = BTreeMap::new();
        for OpenAlerts { kind, severity, count } in alerts {
            *by_kind.entry((kind.map_or("other", AlertKind::word), *severity)).or_default() += count;
        }
        let by_kind = by_kind
            .iter()
            .map(|((kind, severity), count)| (vec![("type", *kind), ("severity", severity.word())], *count as f64));
        page.family("alerts_open_by_type", "The same by kind, where sensors ship to this server", GAUGE, by_kind)
    }
}

//! What a mute would have hidden, had it been made before.

use std::collections::BTreeMap;

use serde::Serialize;

use super::alerts::AlertItem;
use crate::api::page::Period;
use crate::api::state::now;
use crate::api::whose::WhoseQuery;
use crate::api::{ApiError, ApiState};
use crate::store::{AlertFilter, AlertSort, Position};
use nta_core::alerting::Mute;
use nta_core::domain::{AlertKind, Mode, Timestamp};

/// Time that a preview looks back: a week.
const PREVIEW_NS: u64 = 7 * 86_400 * 1_000_000_000;
/// Alerts that a preview reads at most, and at a time.
const MOST_READ: usize = 20_000;
const CHUNK: u32 = 1000;
/// Alerts that a preview shows.
const MOST_SHOWN: usize = 100;

/// What a mute would have hidden.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct MutePreview {
    /// Begin of the time that was looked at.
    #[schema(format = DateTime)]
    from: String,
    /// Its end.
    #[schema(format = DateTime)]
    to: String,
    /// Alerts that would not have been raised.
    alerts: u64,
    /// Windows with a finding of these.
    windows: u64,
    /// The alerts by kind.
    by_type: BTreeMap<String, u64>,
    /// The newest hundred of them.
    #[schema(max_items = 100)]
    items: Vec<AlertItem>,
    /// Whether there are more alerts in that time than were looked at, the newest 20,000.
    cut: bool,
}

/// Looks through the alerts of the last week, of a replay through all.
pub(super) async fn preview(state: &ApiState, mute: &Mute) -> Result<MutePreview, ApiError> {
    let week = |to: Timestamp| Timestamp::from_nanos(to.as_nanos().saturating_sub(PREVIEW_NS));
    let now = now();
    let is_live = state.status().mode == Mode::Live;
    let capture = if is_live { None } else { Some(state.range(Period::default()).await?) };
    let to = capture.and_then(|range| range.to).unwrap_or(now);
    let from = capture.map_or_else(|| week(to), |range| range.from.unwrap_or_default());
    let kind = match mute.kinds.as_slice() {
        [one] => Some(one.word()),
        _ => None,
    };
    let whose = state.scope(WhoseQuery::ANY).await?.whose;
    let filter = AlertFilter { kind, from: Some(from), to: Some(to), whose, ..AlertFilter::default() };
    let mut position = Position { descending: true, after: None, limit: CHUNK };
    let mut preview = MutePreview {
        from: from.to_string(),
        to: to.to_string(),
        alerts: 0,
        windows: 0,
        by_type: BTreeMap::new(),
        items: Vec::new(),
        cut: false,
    };
    let mut read = 0;
    let insides = state.insides().await;
    loop {
        let page = state.store.alerts(&filter, AlertSort::Time, position).await?;
        read += page.items.len();
        for alert in page.items {
            let covers = AlertKind::named(&alert.kind)
                .is_some_and(|kind| mute.covers_named(kind, alert.source.as_deref(), alert.destination.as_deref()));
            if !covers {
                continue;
            }
            preview.alerts += 1;
            preview.windows += u64::from(alert.windows);
            *preview.by_type.entry(alert.kind.clone()).or_default() += 1;
            if preview.items.len() < MOST_SHOWN {
                preview.items.push(AlertItem::new(alert, &insides));
            }
        }
        match page.next {
            Some(next) if read < MOST_READ => position.after = Some(next),
            next => {
                preview.cut = next.is_some();
                return Ok(preview);
            }
        }
    }
}

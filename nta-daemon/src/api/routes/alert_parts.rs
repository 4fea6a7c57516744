//! The alerts of gateways that an alert of several is made of.

use serde::Serialize;

use crate::api::ApiState;
use crate::json::words;
use crate::store::{FindingRecord, StoreError, StoredAlert};

/// Parts of an alert of several gateways: as many as it may have.
const MOST_PARTS: u32 = 1000;

/// What one gateway says of an alert of several. The same packets may have passed two of them: what they measured is not to be added up.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct PartJson {
    /// The gateway.
    sensor: Option<String>,
    /// Its alert.
    #[schema(pattern = "^[0-9a-f]{16}$")]
    id: String,
    #[schema(value_type = words::Severity)]
    severity: &'static str,
    #[schema(value_type = words::AlertState)]
    state: String,
    source: Option<String>,
    destination: Option<String>,
    #[schema(format = DateTime)]
    first_seen: String,
    #[schema(format = DateTime)]
    last_seen: String,
    /// What was measured there, with `unit` and what was seen.
    measure: String,
    unit: String,
    observed: f64,
}

impl From<StoredAlert> for PartJson {
    fn from(part: StoredAlert) -> Self {
        let [first_seen, last_seen] = part.seen.unwrap_or([part.first, part.last]).map(|time| time.to_string());
        let FindingRecord { measure, unit, observed, .. } = part.finding;
        let (sensor, id, severity, state) = (part.sensor, part.id, part.severity.word(), part.state);
        let (source, destination) = (part.source, part.destination);
        Self { sensor, id, severity, state, source, destination, first_seen, last_seen, measure, unit, observed }
    }
}

/// What an alert is of; nothing where it is one gateway's.
pub(super) async fn parts_of(state: &ApiState, alert: &StoredAlert) -> Result<Vec<PartJson>, StoreError> {
    if alert.gateways.is_empty() {
        return Ok(Vec::new());
    }
    let parts = state.store.parts_of_alert(&alert.id, MOST_PARTS).await?;
    Ok(parts.into_iter().map(PartJson::from).collect())
}

//! An entry of the event log as JSON.

use serde::{Deserialize, Serialize};

use super::words;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LogEventJson {
    /// Its number, from 1; never given twice in a database, and without gaps.
    #[schema(minimum = 1)]
    pub id: u64,
    /// What happened.
    #[serde(rename = "type")]
    #[schema(value_type = words::EventType)]
    pub kind: String,
    /// When.
    #[schema(format = DateTime)]
    pub time: String,
    /// Name of the sensor that it happened to; null where it was not noted.
    pub sensor: Option<String>,
    /// How bad it is; null where it is nothing bad.
    #[schema(value_type = Option<words::Severity>)]
    pub severity: Option<String>,
    /// What it is about, as it was then. Of an alert: `id`, `type`, `severity`, `state`, `source`, `destination`, `port`, `score`,
    /// `detector`, `summary`, `raised_at`, `cleared_at`, `clear_reason`; where somebody did something about it `by`, `status` and `verdict` with
    /// what was before them, and `note`. Of a window: `id`, `window_start`, `window_end`, `span_s` and
    /// its sums. Of a trouble: `severity` and `reason`. Of a run: what it reads, or why it ended.
    #[schema(value_type = Object)]
    pub data: serde_json::Value,
}

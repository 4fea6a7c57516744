//! `windows`: windows of another length. They are made of the stored base windows whenever they are asked for, so that there is
//! nothing to keep up to date: the result says what there is.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{JobContext, JobError, Kind};
use crate::api::{ApiError, WindowItem};
use crate::json::seconds;
use crate::store::{Position, Whose, WindowFilter, WindowSort, stored_spans};

/// The kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Compute;

/// Which windows.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct ComputeRequest {
    /// Length of the windows in nanoseconds.
    pub(crate) span_ns: u64,
}

/// What was computed.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Computed {
    /// Length of the windows in seconds.
    window_size_s: f64,
    /// Base windows that they are made of.
    base_windows: i64,
    /// Where to read all of them.
    path: String,
    /// The newest; null without any.
    newest: Option<WindowItem>,
}

impl Kind for Compute {
    fn name(&self) -> &'static str {
        "windows"
    }

    fn resumes(&self) -> bool {
        true
    }

    fn run(&self, context: &JobContext) -> Result<Value, JobError> {
        let ComputeRequest { span_ns } = context.request()?;
        let (tools, base_ns) = (&context.tools, context.tools.base_ns());
        // Those of this daemon's own sensor: others, and captures, have lists of their own.
        let whose: Whose = tools.sensor.clone().into();
        let filter = WindowFilter { span_ns: Some(span_ns), whose: whose.clone(), ..WindowFilter::default() };
        let newest = Position { descending: true, after: None, limit: 1 };
        let newest = if stored_spans(base_ns).contains(&span_ns) {
            context.wait(tools.store.windows(&filter, WindowSort::Time, newest))?
        } else {
            context.wait(tools.store.merged_windows(&filter, base_ns, newest))?
        };
        context.progress.set(1, 2);
        let base = WindowFilter { span_ns: Some(base_ns), whose, ..WindowFilter::default() };
        let base_windows = context.wait(tools.store.windows_summary(&base))?.windows;
        let computed = Computed {
            window_size_s: seconds(span_ns),
            base_windows,
            path: format!("/api/metrics?span={}", seconds(span_ns)),
            newest: newest.items.first().map(WindowItem::from),
        };
        serde_json::to_value(computed).map_err(|_cannot_fail| ApiError::Internal.into())
    }
}

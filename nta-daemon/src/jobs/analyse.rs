//! `analyse`: the analysis of a capture, while it is sent or from its file. A job that was interrupted begins anew from the file; one whose
//! capture had not come to its end is over, as another begins with the rest.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{JobContext, JobError, Kind, Limits};
use crate::api::ApiError;

/// Name of the kind: uploads order it.
pub(crate) const ANALYSE: &str = "analyse";

/// The kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Analyse;

/// Which capture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AnalyseRequest {
    /// Its name.
    pub(crate) file_id: String,
}

/// What became of it.
#[derive(Debug, Serialize)]
struct Analysed {
    /// The capture.
    file_id: String,
    /// Its report.
    report: String,
    /// Packets, flows and alerts of the report.
    packets: u64,
    flows: u64,
    alerts: u64,
    /// What of the capture could not be read; null where nothing is wrong.
    problem: Option<String>,
}

impl Kind for Analyse {
    fn name(&self) -> &'static str {
        ANALYSE
    }

    /// `[uploads] at_once` and `analyses` bound it: most of its time it waits for bytes, or for a place.
    fn limits(&self) -> Limits {
        Limits { running: 128, waiting: 64, is_long: true, is_fed: true }
    }

    fn resumes(&self) -> bool {
        true
    }

    fn run(&self, context: &JobContext) -> Result<Value, JobError> {
        context.check()?;
        let AnalyseRequest { file_id } = context.request()?;
        let upload = context.tools.uploads.analyse_in(context, &file_id)?;
        let analysed = Analysed {
            report: format!("/report/{file_id}"),
            file_id,
            packets: upload.totals.packets,
            flows: upload.totals.flows,
            alerts: upload.totals.alerts,
            problem: upload.problem,
        };
        serde_json::to_value(analysed).map_err(|_cannot_fail| ApiError::Internal.into())
    }
}

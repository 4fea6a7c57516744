//! `score`: a capture becomes a `conn.log` as Zeek writes it, and a scored file: what speaks against each host in each window, by
//! the detectors and models that judge live.

use std::cell::Cell;
use std::sync::atomic::Ordering::Relaxed;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::files::{About, Capture, ResultLink, keep, open_capture, unreadable, unwritten, wrong};
use super::scored::ScoredTable;
use super::{JobContext, JobError, Kind, Limits};
use crate::api::ApiError;
use crate::batch::replay_capture;
use crate::export::ConnLog;
use crate::pipeline::{PipelineEvent, Sink};
use crate::replay::{ReplayError, Summary};
use crate::results::Draft;
use crate::store::ResultKind;
use nta_capture::End;
use nta_core::domain::FlowRecord;

/// The kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Score;

/// Which capture.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ScoreRequest {
    /// `file_id` of an upload, or the name of a recording's file.
    pub(crate) capture: String,
}

/// What a capture has become.
#[derive(Debug, Serialize, utoipa::ToSchema)]
// A class of its field's name is more than openapi-python-client can tell apart.
#[schema(as = ScoreResult)]
pub(crate) struct Scored {
    /// The capture.
    capture: String,
    /// Packets that were read.
    packets: u64,
    /// Whether the capture was read to its end.
    is_whole: bool,
    /// Why not; null where it was.
    #[schema(required)]
    problem: Option<String>,
    /// Alerts that were raised.
    alerts: u64,
    /// The classifier that judged beside the rules; null without one.
    #[schema(required)]
    model: Option<String>,
    /// Its connections, as Zeek's `conn.log`.
    connections: ResultLink,
    /// Hosts in windows: what `POST /api/analysis/predict` takes as `scored`.
    scored: ResultLink,
}

impl Kind for Score {
    fn name(&self) -> &'static str {
        "score"
    }

    fn limits(&self) -> Limits {
        Limits { is_long: true, ..Limits::default() }
    }

    fn resumes(&self) -> bool {
        true
    }

    fn run(&self, context: &JobContext) -> Result<Value, JobError> {
        let ScoreRequest { capture: name } = context.request()?;
        let tools = &context.tools;
        let Capture { reader, bytes, read } = open_capture(context, &name)?;
        let (config, models) = (tools.uploads.settings(), tools.uploads.models().current());
        let model = models.xgboost.as_ref().map(|model| model.id().to_owned());
        let begin = |name: String| tools.results.begin(&name).map_err(|error| unwritten(&error));
        let connections = begin(format!("connections-{}.log", context.id))?;
        let scored = begin(format!("scored-{}.csv", context.id))?;
        let min_packets = config.detect.isolation_forest.min_packets;
        let scored = ScoredTable::begin(scored, models.clone(), min_packets).map_err(|error| unwritten(&error))?;
        let has_failed = Cell::new(false);
        let mut both = Both {
            connections: ConnLog::new(connections, config.detect.local_networks.clone()),
            failed: None,
            scored,
            has_failed: &has_failed,
        };
        let frames = Cell::new(0_u64);
        let mut goes_on = || {
            context.progress.set(read.load(Relaxed), bytes);
            context.progress.packets(frames.get());
            context.check().is_ok() && !has_failed.get()
        };
        let replayed = replay_capture(
            reader,
            (config, &models),
            &mut both,
            &mut |_frame| frames.set(frames.get() + 1),
            &mut goes_on,
        );
        context.check()?;
        let Both { connections, failed, scored, .. } = both;
        if let Some(error) = failed {
            return Err(unwritten(&error));
        }
        let (scored, rows, alerts) = scored.end().map_err(|error| unwritten(&error))?;
        let summary = replayed.map_err(refused)?;
        let (connections, count) = connections.close().map_err(|error| unwritten(&error))?;
        let drafts = vec![(connections, ResultKind::Connections, count), (scored, ResultKind::Scored, rows)];
        let about = About { source: &name, model: model.clone() };
        let [connections, scored] =
            <[ResultLink; 2]>::try_from(keep(context, drafts, &about)?).map_err(|_two| ApiError::Internal)?;
        let problem = problem(&summary);
        let result = Scored {
            capture: name,
            packets: summary.packets,
            is_whole: problem.is_none(),
            problem,
            alerts,
            model,
            connections,
            scored,
        };
        serde_json::to_value(result).map_err(|_cannot_fail| ApiError::Internal.into())
    }
}

fn refused(error: ReplayError) -> JobError {
    match error {
        ReplayError::Capture(error) => unreadable(&error),
        ReplayError::LinkType(reason) => wrong("capture", reason),
        ReplayError::Thread(_) | ReplayError::Source(_) => {
            tracing::error!(%error, "job: a capture cannot be analysed");
            ApiError::Internal.into()
        }
    }
}

/// Why a capture was not read to its end, or nothing of it can be used.
fn problem(summary: &Summary) -> Option<String> {
    let ends = summary.files.iter().find_map(|file| match &file.end {
        End::Complete => None,
        End::Stopped => Some("the analysis was stopped before the end".to_owned()),
        End::CutOff { at_byte, detail } => Some(format!("it is cut off at byte {at_byte}: {detail}")),
        End::Corrupt { at_byte, detail } => Some(format!("it is corrupt at byte {at_byte}: {detail}")),
    });
    let link_types = || {
        let all: Vec<&str> = summary.skipped_link_types.keys().map(String::as_str).collect();
        (!all.is_empty()).then(|| format!("frames of these link types are not analysed: {}", all.join(", ")))
    };
    let timeless = || (!summary.timeless.is_empty()).then(|| "no packet has a time that can be used".to_owned());
    ends.or_else(timeless).or_else(link_types)
}

/// Writes both files.
struct Both<'a> {
    connections: ConnLog<Draft>,
    /// Why the connections could not be written.
    failed: Option<std::io::Error>,
    scored: ScoredTable<Draft>,
    has_failed: &'a Cell<bool>,
}

impl Both<'_> {
    fn connection(&mut self, flow: &FlowRecord) {
        if self.failed.is_none()
            && let Err(error) = self.connections.connection(flow)
        {
            self.failed = Some(error);
            self.has_failed.set(true);
        }
    }
}

impl Sink for Both<'_> {
    fn take(&mut self, number: u64, event: &PipelineEvent<'_>) {
        match *event {
            PipelineEvent::Flow { update, flow } if update.ended.is_some() => self.connection(flow),
            PipelineEvent::FlowEnded(update) => self.connection(&FlowRecord::of(update)),
            _ => {
                self.scored.take(number, event);
                if self.scored.has_failed() {
                    self.has_failed.set(true);
                }
            }
        }
    }
}

//! `/api/control/status`, `/config`, `/ping` and `/logs`: the daemon seen by who looks after it.

use std::sync::atomic::Ordering::Relaxed;

use axum::extract::State;
use serde::Serialize;
use serde_json::{Map, Value};
use tracing::Level;
use utoipa::openapi::Schema;

use super::live_capture::LiveCaptureJson;
use super::status::{self, StatusPage};
use crate::api::access::Caller;
use crate::api::extract::{Json, Parameter, Query, Word, number, parameters, text};
use crate::api::state::now;
use crate::api::{ApiError, ApiState};
use crate::telemetry::{LOG, MAX_RECORDS, Record};

/// An answer to a ping.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct Pong {
    /// Always `pong`.
    #[schema(pattern = "^pong$")]
    answer: &'static str,
    #[schema(format = DateTime)]
    timestamp: String,
}

/// Answers, without a query of the database.
#[utoipa::path(
    get,
    path = "/api/control/ping",
    operation_id = "ping",
    tag = "control",
    responses((status = 200, description = "It is there.", body = Pong))
)]
pub(in crate::api) async fn ping(_: Query<()>) -> Json<Pong> {
    Json(Pong { answer: "pong", timestamp: now().to_string() })
}

/// The settings that are in effect.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct ConfigJson {
    /// By section and key, as the configuration file has them; flags and environment variables are in it. What is secret is `***` or left
    /// out: passwords, keys, and all but scheme, host and port of a webhook's URL.
    #[schema(value_type = Object)]
    settings: Value,
}

/// The configuration in effect, from file, environment, flags and defaults together, without secrets.
#[utoipa::path(
    get,
    path = "/api/control/config",
    operation_id = "get_config",
    tag = "control",
    responses((status = 200, description = "The settings.", body = ConfigJson))
)]
pub(in crate::api) async fn config(_: Query<()>, State(state): State<ApiState>) -> Result<Json<ConfigJson>, ApiError> {
    let settings = state.config.now().shown().map_err(|error| {
        tracing::error!(%error, "api: the configuration cannot be shown");
        ApiError::Internal
    })?;
    Ok(Json(ConfigJson { settings }))
}

/// The status in detail.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct ControlStatus {
    #[serde(flatten)]
    status: StatusPage,
    capture: LiveCaptureJson,
    http: HttpJson,
    jobs: JobsJson,
    uploads: UploadsJson,
    log: LogJson,
    /// Changes that are not in the audit log, as the database did not take them.
    changes_not_audited: u64,
}

/// Who is connected.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct HttpJson {
    /// Connections that are open.
    connections: usize,
    /// Most of them.
    connections_max: usize,
    /// Connections that had to make room for others.
    connections_cut: u64,
    /// Readers of events.
    stream_readers: u64,
    /// Readers for whom there was no room.
    stream_readers_refused: u64,
    /// Requests that were one too many.
    rate_limited: u64,
}

/// Work that goes on after its request was answered.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct JobsJson {
    waiting: u64,
    running: u64,
    /// That ended since the start, however.
    ended: u64,
    /// Orders that were refused because too many wait.
    refused: u64,
}

/// Captures that clients send.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct UploadsJson {
    /// Received whole since the start.
    received: u64,
    /// Refused or broken off.
    refused: u64,
    analysed: u64,
    /// Deleted as they were too old.
    expired: u64,
    /// Bytes of those that are kept.
    used_bytes: u64,
}

/// The records of the log that `/api/control/logs` has.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct LogJson {
    /// Records since the start.
    records: u64,
    /// Of these, records that are kept: at most 2000, and 1 MiB of them.
    kept: u64,
    /// Of these, records that made room for newer ones.
    dropped: u64,
    /// Bytes of those that are kept.
    bytes: u64,
    /// Lines that nobody read on standard error.
    lines_lost: u64,
}

impl LogJson {
    fn of(state: &ApiState) -> Self {
        let counts = state.records.counts();
        Self {
            records: counts.all,
            kept: counts.kept,
            dropped: counts.all - counts.kept,
            bytes: counts.bytes,
            lines_lost: LOG.lines_lost(),
        }
    }
}

/// All that `/api/status` says, with what is captured, who is connected, jobs, uploads and the log.
#[utoipa::path(
    get,
    path = "/api/control/status",
    operation_id = "get_control_status",
    tag = "control",
    responses((status = 200, description = "The status.", body = ControlStatus))
)]
pub(in crate::api) async fn status(
    _: Query<()>,
    caller: Caller,
    State(state): State<ApiState>,
) -> Result<Json<ControlStatus>, ApiError> {
    let (streams, jobs) = (state.events.stats(), state.jobs()?.counts());
    let uploads = state.uploads.counts();
    Ok(Json(ControlStatus {
        status: status::page(&state, &caller).await,
        capture: LiveCaptureJson::now(&state, None),
        http: HttpJson {
            connections: state.connections.open(),
            connections_max: state.allowed.connections,
            connections_cut: state.connections.closed_early(),
            stream_readers: streams.readers,
            stream_readers_refused: streams.refused,
            rate_limited: state.access.refused(),
        },
        jobs: JobsJson {
            waiting: jobs.waiting,
            running: jobs.running,
            ended: jobs.ended.values().sum(),
            refused: jobs.refused,
        },
        uploads: UploadsJson {
            received: uploads.received.load(Relaxed),
            refused: uploads.refused.load(Relaxed),
            analysed: uploads.analysed.load(Relaxed),
            expired: uploads.expired.load(Relaxed),
            used_bytes: state.uploads.used_bytes(),
        },
        log: LogJson::of(&state),
        changes_not_audited: state.unaudited.load(Relaxed),
    }))
}

/// How grave a record is.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct LevelName(Level);

impl Word for LevelName {
    fn all() -> Vec<(&'static str, Self)> {
        [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE]
            .map(|level| (level_word(level), Self(level)))
            .to_vec()
    }
}

const fn level_word(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// The begin of a target.
#[derive(Clone, Debug)]
pub(in crate::api) struct Target(String);

impl Parameter for Target {
    fn parse(text: &str) -> Result<Self, String> {
        let is_one = (1..=200).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_:.-".contains(&byte));
        if is_one {
            Ok(Self(text.to_owned()))
        } else {
            Err("the begin of a target, such as nta_daemon::api".to_owned())
        }
    }

    fn schema() -> Schema {
        text().pattern(Some(r"^[A-Za-z0-9_:.\-]{1,200}$")).into()
    }
}

/// How many records.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct HowMany(usize);

impl Parameter for HowMany {
    fn parse(text: &str) -> Result<Self, String> {
        let number = text.parse().ok().filter(|number| (1..=MAX_RECORDS).contains(number));
        number.map(Self).ok_or_else(|| format!("a number from 1 to {MAX_RECORDS}"))
    }

    fn schema() -> Schema {
        number(1, MAX_RECORDS as u64).into()
    }
}

parameters! {
    /// Which records.
    pub(in crate::api) struct LogQuery {
        /// The mildest level: it, and graver ones.
        "level" => level: LevelName,
        /// The begin of the target, such as `nta_daemon::api`.
        "target" => target: Target,
        /// Most records; 100 unless given.
        "limit" => limit: HowMany,
    }
}

/// A record of the log.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct RecordJson {
    /// Its number since the start; a gap says that records between made room.
    number: u64,
    #[schema(format = DateTime)]
    time: String,
    #[schema(pattern = "^(error|warn|info|debug|trace)$")]
    level: &'static str,
    /// Where in the program.
    target: String,
    message: String,
    /// The numbers and names that belong to it.
    #[schema(value_type = Object)]
    fields: Map<String, Value>,
}

impl From<&Record> for RecordJson {
    fn from(record: &Record) -> Self {
        Self {
            number: record.number,
            time: record.at.to_string(),
            level: level_word(record.level),
            target: record.target.clone(),
            message: record.message.clone(),
            fields: record.fields.clone(),
        }
    }
}

/// The newest records.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct LogPage {
    /// The newest first.
    items: Vec<RecordJson>,
    log: LogJson,
}

/// The newest records of the log, the newest first. `--log` decides what is logged; panics are on standard error alone.
#[utoipa::path(
    get,
    path = "/api/control/logs",
    operation_id = "get_logs",
    tag = "control",
    params(LogQuery),
    responses((status = 200, description = "The records.", body = LogPage))
)]
pub(in crate::api) async fn logs(State(state): State<ApiState>, Query(query): Query<LogQuery>) -> Json<LogPage> {
    const USUALLY: usize = 100;
    let mildest = query.level.map_or(Level::TRACE, |level| level.0);
    let target = query.target.map(|target| target.0).unwrap_or_default();
    let found = state.records.newest(mildest, &target, query.limit.map_or(USUALLY, |limit| limit.0));
    Json(LogPage { items: found.iter().map(|record| RecordJson::from(&**record)).collect(), log: LogJson::of(&state) })
}

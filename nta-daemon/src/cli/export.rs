//! `export`: what a database holds, as a file that other programs read.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;

use axum::body::Bytes;
use clap::builder::PossibleValuesParser;
use futures_util::{Stream, TryStreamExt as _};
use tokio::sync::watch;

use super::settings::DatabaseFlag;
use super::{EXIT_USAGE, Tasks, fail, say};
use crate::anonymize::Anonymizer;
use crate::api::{AnalysisAccess, ApiError, ApiState};
use crate::capture::clock;
use crate::config::Config;
use crate::export::{Format, What};
use crate::history::History;
use crate::store::Store;
use nta_core::domain::{Mode, Status};

/// Flags of `export`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    nta-daemon export --database sqlite:/var/lib/nta/nta.db --what flows --format csv > flows.csv\n  \
    nta-daemon export --what alerts --format eve --from 2026-01-31T00:00:00Z --severity high\n  \
    nta-daemon export --database sqlite:/var/lib/nta/nta.db --hourly /srv/nta\n  \
    nta-daemon export --what features --format parquet --window-size 30 --output features.parquet")]
pub(super) struct Args {
    /// What is exported. Each takes the filters of its list in the API, and no others.
    #[arg(
        long,
        required_unless_present = "hourly",
        value_parser = PossibleValuesParser::new(What::ALL.map(|(word, _)| word))
    )]
    what: Option<String>,
    /// Write windows and flows below this folder instead, a Parquet file a table, sensor and hour (TABLE/date=YYYY-MM-DD/sensor=NAME/HH.parquet).
    /// Hours that are there stay as they are; the hour that goes on is not written.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = [
        "what", "format", "output", "anonymize_key", "from", "to", "sensor", "span", "window_size", "host", "port", "proto", "kind",
        "severity", "status", "state", "source", "destination",
    ])]
    hourly: Option<PathBuf>,
    /// How it is written: eve is Suricata's EVE JSON.
    #[arg(long, default_value = "json", value_parser = PossibleValuesParser::new(Format::ALL.map(|(word, _)| word)))]
    format: String,
    /// File that is written; it is there once it is whole. Standard output unless given.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace addresses by this key and leave out what would lead back to them: a file of 64 hexadecimal digits, made if it is not there.
    #[arg(long, value_name = "FILE")]
    anonymize_key: Option<PathBuf>,
    /// What goes on at this time or later: RFC 3339, or seconds since 1970. All that is stored unless given.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// What went on before this time.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Of this sensor.
    #[arg(long, value_name = "NAME")]
    sensor: Option<String>,
    /// Windows of this length in seconds.
    #[arg(long, value_name = "SECONDS")]
    span: Option<String>,
    /// Features of windows of this length in seconds.
    #[arg(long, value_name = "SECONDS")]
    window_size: Option<String>,
    /// Flows with this address at either end, or features of this host.
    #[arg(long, value_name = "ADDRESS")]
    host: Option<String>,
    /// Flows with this port at either end.
    #[arg(long, value_name = "PORT")]
    port: Option<String>,
    /// Flows of this IP protocol: its name or its number.
    #[arg(long, value_name = "PROTOCOL")]
    proto: Option<String>,
    /// Alerts of this kind.
    #[arg(long = "type", value_name = "KIND")]
    kind: Option<String>,
    /// Alerts of this severity.
    #[arg(long, value_name = "SEVERITY")]
    severity: Option<String>,
    /// Alerts with this status: open, acknowledged, resolved.
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// Alerts in this state: raised, cleared.
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// Alerts about what this party does.
    #[arg(long, value_name = "PARTY")]
    source: Option<String>,
    /// Alerts about what this party suffers.
    #[arg(long, value_name = "PARTY")]
    destination: Option<String>,
    /// Database URL, such as sqlite:/var/lib/nta/nta.db or postgres://nta@localhost/nta.
    #[arg(long, env = "NTA_DATABASE", value_name = "URL", hide_env_values = true)]
    database: Option<DatabaseFlag>,
    /// Configuration file (TOML).
    #[arg(long, env = "NTA_CONFIG")]
    config: Option<PathBuf>,
}

pub(super) fn execute(args: Args) -> ExitCode {
    let mut config = match Config::load(args.config.as_deref()) {
        Ok(config) => config,
        Err(error) => return fail(EXIT_USAGE, &error),
    };
    match args.database.clone().map(DatabaseFlag::get).transpose() {
        Ok(database) => config.store.database = database.unwrap_or(config.store.database),
        Err(error) => return fail(EXIT_USAGE, &error),
    }
    // Whoever opens a database makes it, and there is nothing in a new one.
    if let Some(file) = config.store.database.file().filter(|file| !file.exists()) {
        return fail(EXIT_USAGE, &format_args!("there is no database {}", file.display()));
    }
    if let Some(folder) = &args.hourly {
        return match Tasks::start() {
            Ok(tasks) => tasks.wait(hourly(&config, folder)),
            Err(error) => fail(1, &error),
        };
    }
    let anonymizer = match args.anonymize_key.as_deref().map(Anonymizer::from_file).transpose() {
        Ok(anonymizer) => anonymizer,
        Err(error) => return fail(EXIT_USAGE, &error),
    };
    let (output, parameters) = (args.output.clone(), args.parameters());
    match Tasks::start() {
        Ok(tasks) => tasks.wait(export(&config, (parameters, anonymizer), output.as_deref())),
        Err(error) => fail(1, &error),
    }
}

impl Args {
    /// The parameters of `GET /api/export` that they stand for.
    fn parameters(self) -> Vec<(String, String)> {
        let from = self.from.unwrap_or_else(|| "0".to_owned());
        let given = [
            ("what", self.what),
            ("format", Some(self.format)),
            ("from", Some(from)),
            ("to", self.to),
            ("sensor", self.sensor),
            ("span", self.span),
            ("window_size", self.window_size),
            ("host", self.host),
            ("port", self.port),
            ("proto", self.proto),
            ("type", self.kind),
            ("severity", self.severity),
            ("status", self.status),
            ("state", self.state),
            ("source", self.source),
            ("destination", self.destination),
        ];
        given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

/// Writes the hours that are stored and over, by no bound.
async fn hourly(config: &Config, folder: &Path) -> ExitCode {
    let store = match Store::open(config.store.database.as_str()).await {
        Ok(store) => store,
        Err(error) => return fail(1, &format_args!("{}: {error}", config.store.database.shown())),
    };
    let written = match History::new(store.clone(), folder, 0) {
        Ok(mut history) => {
            let written = history.round(clock::now()).await.map_err(|error| error.to_string());
            written.map(|()| history.counters().counts()[0])
        }
        Err(error) => Err(error.to_string()),
    };
    store.close().await;
    match written {
        Ok(files) => {
            say(&format!("{files} files written below {}", folder.display()));
            ExitCode::SUCCESS
        }
        Err(error) => fail(1, &error),
    }
}

/// The parameters of the route, and what replaces addresses.
type Asked = (Vec<(String, String)>, Option<Anonymizer>);

async fn export(config: &Config, what: Asked, output: Option<&Path>) -> ExitCode {
    let store = match Store::open(config.store.database.as_str()).await {
        Ok(store) => store,
        Err(error) => return fail(1, &format_args!("{}: {error}", config.store.database.shown())),
    };
    let status = Status { mode: Mode::Replay, window_ns: config.windows.span_ns(), ..Status::default() };
    let (_sender, status) = watch::channel(status);
    let access = AnalysisAccess { detect: config.detect.clone().into(), ..AnalysisAccess::default() };
    let state = ApiState::new(store.clone(), status).with_analysis(access);
    let written = write(state, what, output).await;
    store.close().await;
    match written {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read has had enough (`| head`).
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe && output.is_none() => {
            ExitCode::SUCCESS
        }
        Err(Failure::Output(error)) => {
            let place = output.map_or_else(|| "standard output".to_owned(), |path| path.display().to_string());
            fail(1, &format_args!("cannot write to {place}: {error}"))
        }
        Err(Failure::Export(error @ (ApiError::Invalid { .. } | ApiError::Unprocessable { .. }))) => {
            fail(EXIT_USAGE, &error)
        }
        Err(Failure::Export(error)) => fail(1, &error),
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Export(#[from] ApiError),
    #[error(transparent)]
    Output(#[from] io::Error),
}

/// Writes to a file beside the one that is wanted, which it becomes at the end: what is there is whole.
async fn write(state: ApiState, (parameters, anonymizer): Asked, output: Option<&Path>) -> Result<(), Failure> {
    let pieces = crate::api::export(state, parameters, anonymizer).await?;
    let Some(output) = output else { return copy(pieces, &mut io::stdout()).await };
    let mut part = output.as_os_str().to_owned();
    part.push(".part");
    let mut to = File::create(&part)?;
    let written = match copy(pieces, &mut to).await {
        Ok(()) => std::fs::rename(&part, output).map_err(Failure::from),
        failed => failed,
    };
    if written.is_err() {
        let _ = std::fs::remove_file(&part); // what failed is reported
    }
    written
}

async fn copy(pieces: impl Stream<Item = Result<Bytes, ApiError>>, to: &mut impl Write) -> Result<(), Failure> {
    let mut pieces = pin!(pieces);
    while let Some(piece) = pieces.try_next().await? {
        to.write_all(&piece)?;
    }
    Ok(to.flush()?)
}

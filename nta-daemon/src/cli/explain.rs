//! `explain`: why there was an alert about a host, or none.

use std::net::IpAddr;
use std::process::ExitCode;

use super::settings::Settings;
use super::{EXIT_USAGE, Tasks, fail};
use crate::api::{Explanation, Question, explain};
use crate::config::Config;
use crate::store::{Store, StoreError};
use nta_core::detect::{declarations, detectors};
use nta_core::domain::{Basis, Timestamp};

/// Flags of `explain`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  nta-daemon explain 192.0.2.7 --at 2026-01-31T12:00:00Z --database sqlite:nta.db\n  nta-daemon explain 192.0.2.7 \
                  --at 1769860800 --config /etc/nta/nta-daemon.toml --format json"
)]
pub(super) struct Args {
    /// Address of the host.
    host: IpAddr,
    /// The time: RFC 3339, or seconds since the Unix epoch.
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Timestamp,
    /// Windows of this sensor only.
    #[arg(long, value_name = "NAME")]
    sensor: Option<String>,
    /// Output format.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    /// To read.
    Text,
    /// The document of `GET /api/explain`.
    Json,
}

fn time(text: &str) -> Result<Timestamp, String> {
    crate::api::parse_time(text)
        .ok_or_else(|| "expected RFC 3339 as in 2026-01-31T12:00:00Z, or seconds since the Unix epoch".to_owned())
}

pub(super) fn execute(args: Args) -> ExitCode {
    let config = match args.settings.load() {
        Ok(config) => config,
        Err(error) => return fail(EXIT_USAGE, &error),
    };
    // Opening it would make it.
    if let Some(file) = config.store.database.file().filter(|file| !file.exists()) {
        return fail(EXIT_USAGE, &format!("{}: there is no such database", file.display()));
    }
    let running: Vec<&str> = detectors(&config.detect).iter().map(|one| one.declaration().name).collect();
    let rules = declarations().into_iter().filter(|one| one.basis == Basis::Rule).map(|one| one.name);
    let models = declarations().into_iter().filter(|one| one.basis == Basis::Model).map(|one| one.name.to_owned());
    let asked = Question {
        host: args.host.to_canonical(),
        at: args.at,
        whose: args.sensor.clone().into(),
        sensor: args.sensor,
        base_ns: config.windows.span_ns(),
        off: rules.filter(|name| !running.contains(name)).map(str::to_owned).collect(),
        unsure: models.collect(),
    };
    let answer = match Tasks::start() {
        Ok(tasks) => tasks.wait(ask(&config, &asked)),
        Err(error) => return fail(1, &error),
    };
    match answer {
        Ok(answer) => match args.format {
            Format::Text => super::print(&answer.text()),
            Format::Json => match serde_json::to_string_pretty(&answer) {
                Ok(text) => super::print(&format!("{text}\n")),
                Err(error) => fail(1, &error),
            },
        },
        Err(error) => fail(1, &format!("{}: {}", config.store.database.shown(), error.chain())),
    }
}

async fn ask(config: &Config, asked: &Question) -> Result<Explanation, StoreError> {
    let store = Store::open(config.store.database.as_str()).await?;
    let answer = explain(&store, asked).await;
    store.close().await;
    answer
}

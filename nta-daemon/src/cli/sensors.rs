//! `sensors`: the gateways that ship to this server, how far they are, and whether anything is missing.

use std::process::ExitCode;

use serde_json::json;

use super::stored::{Format, Stored, lasting, table};
use crate::api::{MOST_LOGS, SensorJson, sensors};
use crate::capture::clock;
use crate::config::Config;
use crate::store::{Store, StoreError};

/// Flags of `sensors`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    nta-daemon sensors\n  \
    nta-daemon sensors --database postgres://nta@localhost/nta --format json")]
pub(super) struct Args {
    #[command(flatten)]
    stored: Stored,
}

pub(super) fn execute(args: Args) -> ExitCode {
    args.stored.read(of)
}

async fn of(store: &Store, _: &Config, format: Format) -> Result<String, StoreError> {
    let (logs, asked) = (store.shipped(None, MOST_LOGS).await?, store.settings_by_sensor(MOST_LOGS).await?);
    let sensors = sensors(logs, &asked, clock::now());
    Ok(match format {
        Format::Json => format!("{:#}\n", json!({ "items": sensors })),
        Format::Text if sensors.is_empty() => "no gateway ships to this server\n".to_owned(),
        Format::Text => text(&sensors),
    })
}

fn text(sensors: &[SensorJson]) -> String {
    let head = ["NAME", "VERSION", "STATE", "LAG", "LOG", "PENDING", "FAILED", "HEARD OF LAST"].map(str::to_owned);
    let row = |of: &SensorJson| {
        [
            of.name.clone(),
            of.version.escape_debug().to_string(),
            of.state.to_owned(),
            of.lag_s.map_or_else(|| "-".to_owned(), lasting),
            of.completeness.clone(),
            of.spool.pending.to_string(),
            of.spool.failed.to_string(),
            of.last_seen.clone(),
        ]
    };
    let rows: Vec<_> = std::iter::once(head).chain(sensors.iter().map(row)).collect();
    let reasons = sensors
        .iter()
        .flat_map(|of| of.reasons.iter().map(move |reason| format!("{}: {}\n", of.name, reason.escape_debug())));
    table(&rows) + &reasons.collect::<String>()
}

//! `sensors`: the gateways that ship to this server, how far they are, and whether anything is missing.

use std::process::ExitCode;

use serde_json::json;

use super::EXIT_USAGE;
use super::stored::{Format, Stored, by, lasting, table};
use crate::api::{MOST_LOGS, SensorJson, sensors};
use crate::capture::clock;
use crate::config::Config;
use crate::store::{Audit, Store, StoreError};

/// Flags of `sensors`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    nta-daemon sensors\n  \
    nta-daemon sensors --forget gw-paris            # it was taken down\n  \
    nta-daemon sensors --database postgres://nta@localhost/nta --format json")]
pub(super) struct Args {
    #[command(flatten)]
    stored: Stored,
    /// Forget a gateway that ships no more: what it has shipped stays for as long as it is kept.
    #[arg(long, value_name = "NAME")]
    forget: Option<String>,
}

pub(super) fn execute(args: Args) -> ExitCode {
    let Some(name) = args.forget else { return args.stored.read(of) };
    let failed = |error: StoreError| (1, error.chain());
    args.stored.with_known(async |store, _, format| {
        let logs = store.shipped(Some(&name), MOST_LOGS).await.map_err(failed)?;
        if logs.is_empty() {
            let shown = name.escape_debug();
            return Err((
                EXIT_USAGE,
                format!("no gateway `{shown}` ships to this server; `nta-daemon sensors` lists them"),
            ));
        }
        if let Some(heard) = logs.iter().find(|log| !log.is_silent(clock::now())) {
            let at = heard.received;
            return Err((
                1,
                format!("`{name}` was heard of at {at}: stop it or revoke its token, and try again after a minute"),
            ));
        }
        store.forget_sensor(&name, &Audit { target: name.clone(), ..by("forget sensor") }).await.map_err(failed)?;
        Ok(match format {
            Format::Json => format!("{:#}\n", json!({ "forgotten": name })),
            Format::Text => format!("{name} is forgotten\n"),
        })
    })
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

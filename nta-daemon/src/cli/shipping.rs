//! `shipping`: what of a gateway waits for its server, what is never sent, and why.

use std::process::ExitCode;

use serde_json::json;

use super::stored::{Format, Stored, lasting, table};
use crate::capture::clock;
use crate::config::Config;
use crate::store::{Aside, OutboxState, Store, StoreError};

/// Batches that are kept aside and listed.
const MOST: u32 = 1000;

/// Flags of `shipping`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    nta-daemon shipping\n  \
    nta-daemon shipping --database sqlite:/var/lib/nta/nta.db --format json")]
pub(super) struct Args {
    #[command(flatten)]
    stored: Stored,
}

pub(super) fn execute(args: Args) -> ExitCode {
    args.stored.read(of)
}

async fn of(store: &Store, config: &Config, format: Format) -> Result<String, StoreError> {
    let to = config.ship.to.to_string();
    let to = Some(to).filter(|to| !to.is_empty());
    let (state, aside) = (store.outbox_state().await?, store.batches_aside(MOST).await?);
    Ok(match format {
        Format::Text => text(to.as_deref(), &state, &aside),
        Format::Json => {
            let failed: Vec<_> = aside.iter().map(shown).collect();
            let given_up = serde_json::to_value(state.given_up).unwrap_or_default();
            let all = json!({
                "to": to, "pending": state.pending, "pending_bytes": state.bytes, "pending_since": state.since.map(|at| at.to_string()),
                "processed": state.acked, "newest": state.newest, "failed": state.failed, "failed_batches": failed, "given_up": given_up,
            });
            format!("{all:#}\n")
        }
    })
}

fn shown(batch: &Aside) -> serde_json::Value {
    json!({"number": batch.number, "bytes": batch.bytes, "made": batch.made.to_string(), "reason": batch.reason})
}

fn text(to: Option<&str>, state: &OutboxState, aside: &[Aside]) -> String {
    let OutboxState { pending, bytes, since, failed, newest, acked, given_up, .. } = state;
    let since = since.map(|since| (since, lasting(clock::now().since(since) as f64 / 1e9)));
    let waits = since.map_or_else(
        || "0 batches".to_owned(),
        |(since, lasts)| format!("{pending} batches, {bytes} bytes, since {since} ({lasts})"),
    );
    let mut lines = format!(
        "ships to   {}\npending    {waits}\nprocessed  up to {acked} of {newest}\nfailed     {failed} batches\n",
        to.unwrap_or("nowhere: `ship.to` is not set"),
    );
    if given_up.batches > 0 {
        lines += &format!(
            "given up   {} batches that `ship.max_bytes` had no room for: {} windows, {} flows, {} alerts\n",
            given_up.batches, given_up.windows, given_up.flows, given_up.alerts
        );
    }
    if !aside.is_empty() {
        let head = ["NUMBER", "BYTES", "MADE", "REASON"].map(str::to_owned);
        let row = |of: &Aside| {
            [of.number.to_string(), of.bytes.to_string(), of.made.to_string(), of.reason.escape_debug().to_string()]
        };
        let rows: Vec<_> = std::iter::once(head).chain(aside.iter().map(row)).collect();
        lines += &format!("\n{}", table(&rows));
    }
    lines
}

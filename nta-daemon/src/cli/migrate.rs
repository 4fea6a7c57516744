//! `migrate`: everything of a SQLite database into PostgreSQL.

use std::process::ExitCode;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::settings::DatabaseFlag;
use super::stored::Format;
use super::{EXIT_USAGE, Tasks, fail, interrupt, print};
use crate::config::{ConfigError, DatabaseUrl};
use crate::store::{Store, StoreError, TransferError, Transferred, transfer};

/// Flags of `migrate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    nta-daemon migrate --from sqlite:/var/lib/nta/nta.db --to postgres://nta@localhost/nta\n  \
    nta-daemon migrate --from sqlite:nta.db --to postgres://nta@localhost/nta --format json\n\n\
    Stop the daemon before. All rows are there in the end, or none: what was broken off begins anew.")]
pub(super) struct Args {
    /// The database that there is: sqlite:FILE.
    #[arg(long, value_name = "URL")]
    from: DatabaseFlag,
    /// The database that it goes to, which is empty: postgres://USER@HOST/NAME.
    #[arg(long, value_name = "URL")]
    to: DatabaseFlag,
    /// Leave rows out that PostgreSQL cannot hold, such as a text in the place of a number; how many is said.
    #[arg(long)]
    leave_damaged: bool,
    /// Output format.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(super) fn execute(args: Args) -> ExitCode {
    let Args { from, to, leave_damaged, format } = args;
    let urls = from.get().and_then(|from| Ok((from, to.get()?)));
    let (from, to) = match urls.map_err(|wrong| ConfigError::Invalid(vec![wrong])) {
        Ok(urls) => urls,
        Err(error) => return fail(EXIT_USAGE, &error),
    };
    let Some(file) = from.file() else { return fail(EXIT_USAGE, &TransferError::Kinds) };
    if to.file().is_some() || !to.as_str().starts_with("postgres") {
        return fail(EXIT_USAGE, &TransferError::Kinds);
    }
    // Opening it would make it.
    if !file.exists() {
        return fail(EXIT_USAGE, &format!("{}: there is no such database", file.display()));
    }
    let began = Instant::now();
    let tasks = match Tasks::start() {
        Ok(tasks) => tasks,
        Err(error) => return fail(1, &error),
    };
    match tasks.wait(migrate(&from, &to, leave_damaged)) {
        Ok(done) => print(&said(&to, &done, began.elapsed().as_secs_f64(), format)),
        Err(error @ (TransferError::NotEmpty(_) | TransferError::Kinds)) => fail(EXIT_USAGE, &error),
        Err(error) => fail(1, &error),
    }
}

async fn migrate(from: &DatabaseUrl, to: &DatabaseUrl, leave_damaged: bool) -> Result<Transferred, TransferError> {
    let stop = interrupt::token().map_err(|_no_handler| TransferError::Stopped)?;
    let open = async |url: &DatabaseUrl| -> Result<Store, StoreError> { Store::open(url.as_str()).await };
    let (source, target) = (open(from).await?, open(to).await?);
    let style = ProgressStyle::with_template("{spinner} {msg}: {pos} rows, {per_sec}");
    let bar = ProgressBar::no_length().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    let done = transfer(&source, &target, leave_damaged, &stop, |table, rows| {
        bar.set_message(table.to_owned());
        bar.set_position(rows);
    })
    .await;
    bar.finish_and_clear();
    source.close().await;
    target.close().await;
    done
}

fn said(to: &DatabaseUrl, done: &Transferred, seconds: f64, format: Format) -> String {
    let (rows, left_out): (u64, u64) = (done.rows.values().sum(), done.left_out.values().sum());
    match format {
        Format::Json => {
            let document = json!({
                "to": to.shown(),
                "rows": rows,
                "tables": done.rows,
                "left_out": done.left_out,
                "seconds": seconds,
            });
            format!("{document:#}\n")
        }
        Format::Text => {
            let left_out = if left_out > 0 { format!(", {left_out} damaged ones left out") } else { String::new() };
            let (to, tables) = (to.shown(), done.rows.len());
            format!("{to}: {rows} rows of {tables} tables, read back and the same{left_out}, in {seconds:.1} s\n")
        }
    }
}

//! `backup`: a copy of the database while a daemon writes into it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::stored::{Format, Stored};
use super::{EXIT_USAGE, fail, interrupt, print};
use crate::store::{BackupError, Copied, backup};

/// Flags of `backup`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    nta-daemon backup /var/backups/nta.db\n  \
    nta-daemon backup --force /var/backups/nta.db --format json\n  \
    nta-daemon backup nta.db --database sqlite:/var/lib/nta/nta.db\n\n\
    The copy is a database: `--database sqlite:FILE` opens it. It is for this user alone (mode 0600).")]
pub(super) struct Args {
    /// Where the copy is to lie.
    file: PathBuf,
    /// Replace what lies there.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    stored: Stored,
}

pub(super) fn execute(args: Args) -> ExitCode {
    let Args { file, force, mut stored } = args;
    let database = match stored.config() {
        Ok(config) => config.store.database,
        Err(error) => return fail(EXIT_USAGE, &error),
    };
    let Some(from) = database.file() else {
        let (shown, url) = (database.shown(), database.without_password());
        let dump = format!("pg_dump --format=custom --file={} '{}'", quoted(&file), url.as_str());
        let why = if shown.starts_with("postgres") {
            format!("{shown} is PostgreSQL, whose own tool copies it: {dump}")
        } else {
            format!("{shown} is in memory: there is no file to copy")
        };
        return fail(EXIT_USAGE, &why);
    };
    if !from.exists() {
        return fail(EXIT_USAGE, &format!("{}: there is no such database", from.display()));
    }
    let stop = match interrupt::token() {
        Ok(stop) => stop,
        Err(error) => return fail(1, &error),
    };
    let (began, bar) = (Instant::now(), bar());
    let copied = backup(&from, &file, force, &stop, |done, all| {
        bar.set_length(all);
        bar.set_position(done);
        if done == all {
            bar.set_message("checking");
        }
    });
    bar.finish_and_clear();
    match copied {
        Ok(copied) => print(&said(&file, &copied, began.elapsed().as_secs_f64(), stored.format)),
        Err(error @ (BackupError::Exists(_) | BackupError::Same(_))) => fail(EXIT_USAGE, &error),
        Err(error) => fail(1, &error),
    }
}

/// Shown on a terminal alone.
fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {percent:>3} % of {len} pages {msg}");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn said(file: &Path, copied: &Copied, seconds: f64, format: Format) -> String {
    let rows: u64 = copied.rows.values().sum();
    let shown = file.display();
    match format {
        Format::Json => {
            let document = json!({
                "file": shown.to_string(),
                "bytes": copied.bytes,
                "rows": rows,
                "tables": copied.rows,
                "seconds": seconds,
            });
            format!("{document:#}\n")
        }
        Format::Text => format!(
            "{shown}: {} bytes, {rows} rows of {} tables, checked, in {seconds:.1} s\n",
            copied.bytes,
            copied.rows.len()
        ),
    }
}

/// For a shell.
fn quoted(file: &Path) -> String {
    let text = file.display().to_string();
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    if is_plain { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

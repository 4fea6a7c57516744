//! What `evaluate` and `train` have in common: captures of a folder, labels, and a result to print.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};

use super::{EXIT_USAGE, fail};
use crate::config::Config;
use nta_core::evaluate::{Label, parse, unknown_word};

/// Flags of both.
#[derive(Debug, clap::Args)]
pub(super) struct Common {
    /// Folder that the labels' file names are relative to.
    #[arg(value_name = "DIR")]
    pub(super) folder: PathBuf,
    /// What is printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
    /// Length of a window in seconds.
    #[arg(long, env = "NTA_WINDOW", value_name = "SECONDS")]
    window: Option<u64>,
    /// Configuration file (TOML).
    #[arg(long, env = "NTA_CONFIG")]
    config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// To read.
    Text,
    /// One JSON document.
    Json,
}

impl Common {
    /// The configuration that holds, once the folder is known to be there.
    pub(super) fn config(&self) -> Result<Config, ExitCode> {
        let refused = |error| fail(EXIT_USAGE, &error);
        let mut config = Config::load(self.config.as_deref()).map_err(refused)?;
        config.windows.seconds = self.window.unwrap_or(config.windows.seconds);
        config.check().map_err(refused)?;
        if !self.folder.is_dir() {
            return Err(fail(EXIT_USAGE, &format_args!("{}: no such folder", self.folder.display())));
        }
        Ok(config)
    }

    /// Prints the result, as JSON or by `text`.
    pub(super) fn print(
        &self,
        json: &impl serde::Serialize,
        text: impl FnOnce(&mut dyn io::Write) -> io::Result<()>,
    ) -> ExitCode {
        let mut out = io::stdout().lock();
        let written = match self.format {
            Format::Text => text(&mut out),
            Format::Json => {
                serde_json::to_string(json).map_err(io::Error::from).and_then(|json| writeln!(out, "{json}"))
            }
        };
        match written {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => fail(1, &error),
            _ => ExitCode::SUCCESS,
        }
    }
}

/// The labels in a file, and its text.
pub(super) fn labels(path: &Path) -> Result<(Vec<Label>, String), ExitCode> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| fail(EXIT_USAGE, &format_args!("{}: {error}", path.display())))?;
    let labels = parse(path, &text).map_err(|error| fail(EXIT_USAGE, &error))?;
    // Labels of others have words for what nothing here looks for; a misspelt one looks like them.
    if let Some((label, words)) = unknown_word(&labels) {
        eprintln!(
            "{}: line {}: `{}` and the like count as attacks that nothing here looks for; known are {words}",
            path.display(),
            label.line,
            label.word
        );
    }
    Ok((labels, text))
}

/// How far it is, on a terminal.
pub(super) fn bar(length: u64, of: &'static str) -> ProgressBar {
    let bar = if io::stderr().is_terminal() { ProgressBar::new(length) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg} {eta}") {
        bar.set_style(style);
    }
    bar.set_message(of);
    bar
}

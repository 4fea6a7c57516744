//! `print-config` and `check-config`.

use std::process::ExitCode;

use super::checks::{self, Absent};
use super::settings::Settings;
use super::{EXIT_USAGE, fail};

/// Flags of both.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  nta-daemon print-config > nta-daemon.toml\n  nta-daemon check-config --config nta-daemon.toml"
)]
pub(super) struct Args {
    #[command(flatten)]
    settings: Settings,
}

pub(super) fn print(args: Args) -> ExitCode {
    match args.settings.load().and_then(|config| config.to_toml()) {
        Ok(text) => super::print(&text),
        Err(error) => fail(EXIT_USAGE, &error),
    }
}

pub(super) fn check(args: Args) -> ExitCode {
    let origin = args.settings.origin();
    let usable = args.settings.clone();
    let (config, places) = match args.settings.load_with_places() {
        Ok(loaded) => loaded,
        Err(error) => return fail(EXIT_USAGE, &checks::with_the_rest(error, usable, Absent::Waited)),
    };
    // `run` would go on without models that cannot be used, by rules alone; who names one wants it.
    match checks::look(&config, &places, Absent::Waited) {
        Ok(()) => super::print(&format!("{origin}: ok\n")),
        Err(error) => fail(EXIT_USAGE, &error),
    }
}

//! `print-config` and `check-config`.

use std::process::ExitCode;

use super::checks::{self, Absent};
use super::settings::Settings;
use super::{EXIT_USAGE, fail};

/// Flags of `print-config`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  nta-daemon print-config > nta-daemon.toml\n  nta-daemon print-config store.max_flows detect.port_scan"
)]
pub(super) struct PrintArgs {
    /// Only these settings or sections, such as store.max_flows or detect.port_scan: what each means, its default, what is allowed.
    #[arg(value_name = "SETTING")]
    only: Vec<String>,
    #[command(flatten)]
    pub(super) settings: Settings,
}

/// Flags of `check-config`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  nta-daemon check-config --config nta-daemon.toml")]
pub(super) struct CheckArgs {
    #[command(flatten)]
    pub(super) settings: Settings,
}

pub(super) fn print(args: PrintArgs) -> ExitCode {
    let text = args.settings.load().and_then(|config| match args.only.as_slice() {
        [] => config.to_toml().map(Ok),
        only => config.explained(only),
    });
    match text {
        Ok(Ok(text)) => super::print(&text),
        Ok(Err(error)) => fail(EXIT_USAGE, &error),
        Err(error) => fail(EXIT_USAGE, &error),
    }
}

pub(super) fn check(args: CheckArgs) -> ExitCode {
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

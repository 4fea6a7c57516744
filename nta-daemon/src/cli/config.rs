//! `print-config` and `check-config`.

use std::process::ExitCode;

use super::settings::Settings;
use super::{EXIT_USAGE, fail, say};
use crate::config::{ConfigError, Problem};
use crate::model_loader;
use crate::source::kernel::on_bpffs;

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
    let (config, places) = match args.settings.load_with_places() {
        Ok(loaded) => loaded,
        Err(error) => return fail(EXIT_USAGE, &error),
    };
    let at =
        |key: &str, message: String| Problem { place: places.get(key).cloned(), message: format!("{key}: {message}") };
    let capture = &config.capture;
    let unpinned = (capture.pin && !on_bpffs(&capture.pin_path)).then(|| {
        let path = capture.pin_path.display();
        ("capture.pin_path", format!("{path} is on no BPF file system: `run` refuses it until one is mounted there"))
    });
    for (key, message) in config.warnings().into_iter().chain(unpinned) {
        say(&format!("warning: {}", at(key, message)));
    }
    // `run` would go on without them, by rules alone; who names one wants it.
    let models = model_loader::check(&config).into_iter().map(|(key, message)| at(key, message));
    let models: Vec<Problem> = models.collect();
    if models.is_empty() {
        return super::print(&format!("{origin}: ok\n"));
    }
    fail(EXIT_USAGE, &ConfigError::Invalid(models))
}

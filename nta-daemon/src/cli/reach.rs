//! What `doctor` asks of others: who attaches, whom the configuration ships to, and where it collects from.

use std::path::Path;

use super::Tasks;
use super::doctor::Check;
use crate::config::Config;
use crate::sink::ship::probe;
use crate::source::kernel::LoaderClient;

/// Asks all that are configured; none where none is.
///
/// # Errors
/// When no threads can be had.
pub(super) fn reach(config: &Config) -> Result<Vec<Check>, String> {
    let mut asked: Vec<Check> =
        config.capture.loader().map(|path| check("loader", loader(&path))).into_iter().collect();
    if config.ship.to.is_empty() && config.collect.from.is_empty() {
        return Ok(asked);
    }
    let tasks = Tasks::start()?;
    tasks.wait(async {
        if !config.ship.to.is_empty() {
            asked.push(check("ship", probe::ship(&config.ship, config.sensor.name.get()).await));
        }
        if !config.collect.from.is_empty() {
            asked.push(check("collect", probe::collect(&config.collect.broker()).await));
        }
    });
    Ok(asked)
}

/// The process that attaches in the place of this one.
fn loader(path: &Path) -> Result<String, String> {
    let status = LoaderClient::status(path).map_err(|error| format!("{error}: is nta-loader started?"))?;
    let allowed = if status.allowed.is_empty() { "all interfaces".to_owned() } else { status.allowed.join(", ") };
    let attached: Vec<&str> = status.attached.iter().map(|(name, _, _)| name.as_str()).collect();
    let attached = if attached.is_empty() { "none".to_owned() } else { attached.join(", ") };
    let (version, most) = (status.version, status.max_map_memory_mib);
    Ok(format!(
        "version {version} at {}; may attach to {allowed} with up to {most} MiB; attached: {attached}",
        path.display()
    ))
}

fn check(name: &'static str, found: Result<String, String>) -> Check {
    let (ok, detail) = match found {
        Ok(detail) => (true, detail),
        Err(detail) => (false, detail),
    };
    Check { name, ok, detail }
}

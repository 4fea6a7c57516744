//! What `doctor` asks of others: whom the configuration ships to, and where it collects from.

use super::Tasks;
use super::doctor::Check;
use crate::config::Config;
use crate::sink::ship::probe;

/// Asks all that are configured; none where none is.
///
/// # Errors
/// When no threads can be had.
pub(super) fn reach(config: &Config) -> Result<Vec<Check>, String> {
    let mut asked = Vec::new();
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

fn check(name: &'static str, found: Result<String, String>) -> Check {
    let (ok, detail) = match found {
        Ok(detail) => (true, detail),
        Err(detail) => (false, detail),
    };
    Check { name, ok, detail }
}

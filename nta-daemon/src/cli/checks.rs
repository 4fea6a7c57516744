//! What `check-config` and a dry run look at beyond the text of the configuration: this machine, and the files that are named.

use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use super::say;
use super::settings::Settings;
use crate::api::Tls;
use crate::config::{Config, ConfigError, InterfacePattern, Places, Problem, Usable};
use crate::model_loader;
use crate::source::SourceError;
use crate::source::kernel::device::Device;
use crate::source::kernel::on_bpffs;

/// Whether an interface that is not there is waited for, as `run` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absent {
    Waited,
    Refused,
}

/// What is wrong with settings, and what else is to be said of those that can be used.
pub(super) fn with_the_rest(error: ConfigError, settings: Settings, absent: Absent) -> ConfigError {
    let Some(Usable { config, places, mut refused }) = settings.usable() else { return error };
    if let ConfigError::Invalid(problems) = &error {
        let key = |problem: &Problem| problem.message.split([':', ' ']).next().map(str::to_owned);
        refused.extend(problems.iter().filter_map(key));
    }
    error.and(look_but(&config, &places, &refused, absent).err())
}

/// Says what an operator should know.
///
/// # Errors
/// All that cannot be used.
pub(super) fn look(config: &Config, places: &Places, absent: Absent) -> Result<(), ConfigError> {
    look_but(config, places, &[], absent)
}

/// As [`look`], but for settings that stand for others.
fn look_but(config: &Config, places: &Places, but: &[String], absent: Absent) -> Result<(), ConfigError> {
    let at =
        |key: &str, message: String| Problem { place: places.get(key).cloned(), message: format!("{key}: {message}") };
    let mut warnings = config.warnings();
    let mut refused = model_loader::check(config);
    for pattern in absent_interfaces(&config.capture.interfaces) {
        let error = SourceError::NoInterface(pattern.as_str().to_owned());
        match absent {
            Absent::Waited => warnings.push(("capture.interfaces", format!("{error}; `run` waits for it"))),
            Absent::Refused => refused.push(("capture.interfaces", error.to_string())),
        }
    }
    if let Some((cert, key)) = config.api.tls()
        && let Err(error) = Tls::load(cert, key)
    {
        let said = error.to_string();
        refused.push((error.key(), said.strip_prefix(&format!("{} ", error.key())).unwrap_or(&said).to_owned()));
    }
    let capture = &config.capture;
    if capture.pin && !on_bpffs(&capture.pin_path) {
        let path = capture.pin_path.display();
        let said = format!("{path} is on no BPF file system: `run` refuses it until one is mounted there");
        warnings.push(("capture.pin_path", said));
    }
    if let Some(has) = memory_mib().filter(|has| capture.map_memory_mib > *has) {
        let asked = capture.map_memory_mib;
        let said = format!("{asked} MiB: this machine has {has} MiB, and `run` takes them all at its start");
        warnings.push(("capture.map_memory_mib", said));
    }
    if let Some(folder) = config.store.database.file().and_then(|file| Some(file.parent()?.to_owned()))
        && !folder.as_os_str().is_empty()
        && !folder.exists()
    {
        let said = format!("the folder {} is not there: `run` makes it", folder.display());
        warnings.push(("store.database", said));
    }
    if config.eve.to.scheme() == "file"
        && let Some(folder) = Path::new(config.eve.to.place()).parent().filter(|folder| !folder.is_dir())
    {
        refused.push(("eve.to", format!("there is no folder {}", folder.display())));
    }
    if config.eve.to.scheme() == "file"
        && let Ok(about) = Path::new(config.eve.to.place()).metadata()
        && (about.is_dir() || about.file_type().is_fifo())
    {
        refused.push(("eve.to", format!("{} is no file that lines can be added to", config.eve.to.place())));
    }
    let (ship, collect) = (&config.ship, &config.collect);
    refused.extend(ship.token().err().map(|why| ("ship.token_file", why)));
    if let Some(broker) = ship.broker() {
        refused.extend(broker.key_pair().err().map(|why| ("ship.credentials_file", why)));
    }
    refused.extend(ship.authorities().err().map(|why| ("ship.ca_file", why)));
    if !collect.from.is_empty() {
        refused.extend(collect.broker().key_pair().err().map(|why| ("collect.credentials_file", why)));
    }
    let remote_write = &config.remote_write;
    refused.extend(remote_write.headers().err());
    refused.extend(remote_write.authorities().err().map(|why| ("remote_write.ca_file", why)));
    let is_said = |key: &str| !but.iter().any(|other| other == key);
    refused.retain(|(key, _)| is_said(key));
    for (key, message) in warnings.into_iter().filter(|(key, _)| is_said(key)) {
        say(&format!("warning: {}", at(key, message)));
    }
    if refused.is_empty() {
        return Ok(());
    }
    Err(ConfigError::Invalid(refused.into_iter().map(|(key, message)| at(key, message)).collect()))
}

fn absent_interfaces(patterns: &[InterfacePattern]) -> impl Iterator<Item = &InterfacePattern> {
    patterns.iter().filter(|pattern| pattern.is_name() && Device::find(pattern.as_str()).is_err())
}

/// Memory of this machine.
fn memory_mib() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kib = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?.trim().strip_suffix(" kB")?;
    kib.parse::<u64>().ok().map(|kib| kib / 1024)
}

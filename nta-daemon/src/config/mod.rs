//! The configuration: one file per section, each declared by the macro of [`section`], which gives struct, defaults,
//! documentation and the printed form. Values are parsed into types as they are read; unknown keys are
//! refused, and everything that is wrong in a file is reported at once.
//!
//! Order of precedence: command-line flag, `NTA_*` environment variable, configuration file, default.

mod section;

mod api;
mod archive;
mod broker;
mod capture;
mod collect;
mod database;
mod eve;
mod events;
mod file;
mod fleet;
mod ipfix;
mod jsonl;
mod log;
mod model;
mod nearest;
mod problem;
mod recordings;
mod reference;
mod regular;
mod reload;
mod remote_write;
mod results;
mod sensor;
mod ship;
mod store;
mod uploads;
mod url;
mod webhooks;
mod windows;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use nta_core::Bounds;
use nta_core::domain::Mode;
use serde::{Deserialize, Serialize};

pub use api::{ApiConfig, ApiNameError, HostName, MetricsAccess, Origin};
pub use archive::ArchiveConfig;
pub use broker::{Broker, BrokerUrl, Credentials};
pub use capture::CaptureConfig;
pub use collect::CollectConfig;
pub use database::{DatabaseKind, DatabaseUrl, DatabaseUrlError};
pub use eve::{EveConfig, EveType, EveUrl};
pub use events::EventsConfig;
pub use file::{Places, Usable};
pub use fleet::FleetConfig;
pub use ipfix::{IpfixConfig, IpfixUrl};
pub use jsonl::JsonlConfig;
pub use log::{LogConfig, LogFilter};
pub use model::ModelConfig;
pub use nearest::nearest;
use nta_loader::EventSettings;
pub use nta_loader::{Attach, InterfacePattern, InterfacePatternError, TcxOrder, selects};
pub use problem::{ConfigError, Place, Problem};
pub use recordings::RecordingsConfig;
pub use reference::UnknownSetting;
pub use regular::{read_regular, regular_length};
pub use reload::{
    Current, Differences, ReloadAnswer, ReloadError, ReloadHandle, Reloaded, Reloads, Reread, is_reloadable,
};
pub use remote_write::{RemoteWriteConfig, RemoteWriteUrl};
pub use results::ResultsConfig;
pub use sensor::{SensorConfig, SensorName, SensorNameError};
pub use ship::{ShipConfig, ShipUrl};
pub use store::StoreConfig;
pub use uploads::UploadsConfig;
pub use url::{Url, UrlError, UrlKind};
pub use webhooks::{Secret, WebhookConfig, WebhookKind, WebhookUrl, key as webhook_key};
pub use windows::WindowsConfig;

use problem::Refused;

pub use nta_core::baseline::BaselineConfig;
pub use nta_core::detect::DetectConfig;

/// Bytes of a header that may be a secret.
const LEAST_SECRET: usize = 8;

/// Everything that can be configured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Who observes.
    pub sensor: SensorConfig,
    /// What is logged.
    pub log: LogConfig,
    /// What is captured, and how.
    pub capture: CaptureConfig,
    /// What is reported of single packets.
    pub events: EventsConfig,
    /// Windows.
    pub windows: WindowsConfig,
    /// What is looked for, and when it is reported.
    pub detect: DetectConfig,
    /// How baselines are learned.
    pub baseline: BaselineConfig,
    /// Learned models that judge beside the rules.
    pub model: ModelConfig,
    /// The database.
    pub store: StoreConfig,
    /// Windows and flows as Parquet files of an hour each.
    pub archive: ArchiveConfig,
    /// Captures that clients send.
    pub uploads: UploadsConfig,
    /// Windows and anomalies as files of JSON lines.
    pub jsonl: JsonlConfig,
    /// Events as Suricata writes them.
    pub eve: EveConfig,
    /// Flows to an IPFIX collector.
    pub ipfix: IpfixConfig,
    /// What /metrics has, pushed.
    pub remote_write: RemoteWriteConfig,
    /// Captures that are recorded.
    pub recordings: RecordingsConfig,
    /// Files that jobs make.
    pub results: ResultsConfig,
    /// A server that gets what this sensor sees.
    pub ship: ShipConfig,
    /// Where a collector reads what sensors publish.
    pub collect: CollectConfig,
    /// What a server makes of what many gateways ship to it.
    pub fleet: FleetConfig,
    /// The HTTP interface.
    pub api: ApiConfig,
    /// Who is told of what happens.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub webhooks: Vec<WebhookConfig>,
}

impl Config {
    /// Beyond how many unanswered flows of few packets that are alike these are one row, 0 for never, and whether a kill leaves maps from which the next
    /// start goes on. Who analyses a capture sees every flow.
    pub fn group_flows(&self, mode: Mode) -> (u32, bool) {
        let most = if mode == Mode::Live { self.store.group_flows } else { 0 };
        (most, self.capture.pin || self.capture.loader().is_some())
    }

    /// How packets are sampled and reported.
    pub const fn event_settings(&self) -> EventSettings {
        let Self { capture, events, .. } = self;
        EventSettings {
            sample: capture.sample,
            raw_every: events.raw_packets,
            per_second: [events.dns_per_second, events.arp_per_second, events.raw_per_second, events.nd_per_second],
            ring_bytes: events.ring_mib << 20,
        }
    }

    /// Reads a file and checks it; without one, the defaults.
    ///
    /// # Errors
    /// Everything that is wrong in it.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        Self::load_with_places(path).map(|(config, _)| config)
    }

    /// As [`load`](Self::load), with the place of each setting that the file has.
    ///
    /// # Errors
    /// Everything that is wrong in it.
    pub fn load_with_places(path: Option<&Path>) -> Result<(Self, Places), ConfigError> {
        let Some(path) = path else { return Ok((Self::default(), Places::new())) };
        let read = |source| ConfigError::Read { path: path.to_owned(), source };
        file::read(path, &file::text(path).map_err(read)?)
    }

    /// What can be used of a file in which something is wrong. `None` for what is no TOML, or cannot be read.
    pub fn usable(path: Option<&Path>) -> Option<Usable> {
        let Some(path) = path else { return Some(Usable::default()) };
        file::usable(path, &file::text(path).ok()?)
    }

    /// Checks what types cannot.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut refused = Vec::new();
        self.capture.check(&mut refused);
        self.events.check(&mut refused);
        self.store.check(&mut refused);
        self.archive.check(&mut refused);
        self.uploads.check(&mut refused);
        self.jsonl.check(&mut refused);
        self.eve.check(&mut refused);
        self.recordings.check(&mut refused);
        self.results.check(&mut refused);
        webhooks::check(&self.webhooks, &mut refused);
        let value = toml::Value::try_from(self).map_err(ConfigError::Unwritable)?;
        numbers("", &value, &reference::bounds()?, &mut refused);
        if refused.is_empty() {
            return Ok(());
        }
        Err(ConfigError::Invalid(refused.into_iter().map(Problem::from).collect()))
    }

    /// Checks what several settings say together, once flags stand above those of the file.
    ///
    /// # Errors
    /// Everything that is wrong, each with the place of its setting.
    pub fn check_together(&self, places: &Places) -> Result<(), ConfigError> {
        let mut refused = Vec::new();
        self.api.check_together(&mut refused);
        self.ship.check_together(&mut refused);
        self.collect.check_together(&mut refused);
        self.remote_write.check_together(&mut refused);
        if refused.is_empty() {
            return Ok(());
        }
        let placed = |refused: Refused| Problem { place: places.get(refused.key()).cloned(), ..Problem::from(refused) };
        Err(ConfigError::Invalid(refused.into_iter().map(placed).collect()))
    }

    /// What is allowed and an operator should know, by section and key.
    pub fn warnings(&self) -> Vec<(&'static str, String)> {
        self.api.exposure().map(|said| ("api.listen", said)).into_iter().collect()
    }

    /// By section and key, without what is secret: as it may be shown to who looks after the daemon.
    ///
    /// # Errors
    /// If it has a value that JSON cannot hold.
    pub fn shown(&self) -> Result<serde_json::Value, serde_json::Error> {
        let database = self.store.database.without_password();
        // What else is secret does not write itself.
        serde_json::to_value(Self { store: StoreConfig { database, ..self.store.clone() }, ..self.clone() })
    }

    /// Every secret that the settings hold, to be kept out of what is said.
    pub fn secrets(&self) -> Vec<String> {
        let password = self.store.database.password();
        // The number of a tenant is no secret, and stands everywhere.
        let headers = self.remote_write.headers().unwrap_or_default().into_iter();
        let headers = headers.map(|(_, value)| value).filter(|value| value.len() >= LEAST_SECRET);
        password.into_iter().chain(headers).chain(self.webhooks.iter().flat_map(WebhookConfig::hidden)).collect()
    }
}

/// Holds every number against what it may be. TOML knows infinity, "not a number" and texts with NUL; no setting may be one.
fn numbers(key: &str, value: &toml::Value, bounds: &BTreeMap<String, Bounds>, refused: &mut Vec<Refused>) {
    if let toml::Value::String(text) = value
        && text.contains('\0')
        && !refused.iter().any(|refused| refused.is_of(key))
    {
        refused.push(Refused::new(key, text.escape_debug(), "a text without NUL"));
    }
    let number = match value {
        toml::Value::Float(number) => *number,
        toml::Value::Integer(number) => *number as f64,
        toml::Value::Table(table) => {
            for (inner, value) in table {
                let key = if key.is_empty() { inner.clone() } else { format!("{key}.{inner}") };
                numbers(&key, value, bounds, refused);
            }
            return;
        }
        _ => return,
    };
    match bounds.get(key) {
        Some(bounds) if !bounds.contains(number) => refused.push(Refused::new(key, value, bounds)),
        None if !number.is_finite() => refused.push(Refused::new(key, value, "a finite number")),
        _ => {}
    }
}

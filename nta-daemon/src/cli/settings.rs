//! The flags over the environment over the configuration file over the defaults: one set of flags for `run` and for the
//! commands that check and print what `run` would use.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::{Attach, Config, ConfigError, DatabaseUrl, InterfacePattern};

/// Flags that configure a run; each has its environment variable.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Settings {
    /// Interface to watch, or a pattern such as 'eth*' or '!docker*'; may be given several times. Default: the one of the
    /// default route.
    #[arg(long, short, env = "NTA_INTERFACE", value_delimiter = ',', value_name = "IF")]
    interface: Vec<InterfacePattern>,
    /// Where to attach.
    #[arg(long, env = "NTA_ATTACH", value_enum)]
    attach: Option<Attach>,
    /// Configuration file (TOML).
    #[arg(long, env = "NTA_CONFIG")]
    config: Option<PathBuf>,
    /// Address and port of REST.
    #[arg(long, env = "NTA_LISTEN", value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// Database URL, such as sqlite:/var/lib/nta/nta.db or postgres://nta@localhost/nta.
    #[arg(long, env = "NTA_DATABASE", value_name = "URL")]
    database: Option<DatabaseUrl>,
    /// Length of a window in seconds.
    #[arg(long, env = "NTA_WINDOW", value_name = "SECONDS")]
    window: Option<u64>,
}

impl Settings {
    /// The configuration that they give.
    pub(super) fn load(self) -> Result<Config, ConfigError> {
        let mut config = Config::load(self.config.as_deref())?;
        if !self.interface.is_empty() {
            config.capture.interfaces = self.interface;
        }
        config.capture.attach = self.attach.unwrap_or(config.capture.attach);
        config.windows.seconds = self.window.unwrap_or(config.windows.seconds);
        config.api.listen = self.listen.unwrap_or(config.api.listen);
        config.store.database = self.database.unwrap_or(config.store.database);
        config.check()?;
        Ok(config)
    }

    /// What is configured here, for messages.
    pub(super) fn origin(&self) -> String {
        self.config.as_ref().map_or_else(|| "defaults".to_owned(), |path| path.display().to_string())
    }
}

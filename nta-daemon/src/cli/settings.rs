//! The flags over the environment over the configuration file over the defaults: one set of flags for `run` and for the
//! commands that check and print what `run` would use.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use crate::config::{Attach, Config, ConfigError, DatabaseUrl, DatabaseUrlError, InterfacePattern, Places, Problem};

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
    #[arg(long, env = "NTA_DATABASE", value_name = "URL", hide_env_values = true)]
    database: Option<DatabaseFlag>,
    /// Length of a window in seconds.
    #[arg(long, env = "NTA_WINDOW", value_name = "SECONDS")]
    window: Option<u64>,
}

impl Settings {
    /// The configuration that they give.
    pub(super) fn load(self) -> Result<Config, ConfigError> {
        self.load_with_places().map(|(config, _)| config)
    }

    /// As [`load`](Self::load), with the place of each setting that a file's line gives.
    pub(super) fn load_with_places(self) -> Result<(Config, Places), ConfigError> {
        let database = self.database.map(DatabaseFlag::get).transpose();
        let (mut config, mut places) = match (Config::load_with_places(self.config.as_deref()), database.as_ref().err())
        {
            (Err(ConfigError::Invalid(mut problems)), Some(wrong)) => {
                problems.push(wrong.clone());
                return Err(ConfigError::Invalid(problems));
            }
            (loaded, _) => loaded?,
        };
        let mut given = |key: &str| drop(places.remove(key));
        if !self.interface.is_empty() {
            given("capture.interfaces");
            config.capture.interfaces = self.interface;
        }
        if let Some(attach) = self.attach {
            given("capture.attach");
            config.capture.attach = attach;
        }
        if let Some(seconds) = self.window {
            given("windows.seconds");
            config.windows.seconds = seconds;
        }
        if let Some(listen) = self.listen {
            given("api.listen");
            config.api.listen = listen;
        }
        if let Some(database) = database.map_err(|wrong| ConfigError::Invalid(vec![wrong]))? {
            given("store.database");
            config.store.database = database;
        }
        config.check()?;
        config.check_together(&places)?;
        Ok((config, places))
    }

    /// Flags for what a dry run does not do.
    pub(super) fn unused_by_a_dry_run(&self) -> Vec<&'static str> {
        let given = [("--listen", self.listen.is_some()), ("--database", self.database.is_some())];
        given.into_iter().filter_map(|(flag, is_given)| is_given.then_some(flag)).collect()
    }

    /// What is configured here, for messages.
    pub(super) fn origin(&self) -> String {
        self.config.as_ref().map_or_else(|| "defaults".to_owned(), |path| path.display().to_string())
    }
}

/// A database's URL of the command line or the environment. The command line's parser would print a wrong one with its
/// password, so that it is looked at afterwards.
#[derive(Clone, Debug)]
pub(super) struct DatabaseFlag(Result<DatabaseUrl, DatabaseUrlError>);

impl DatabaseFlag {
    /// The URL.
    pub(super) fn get(self) -> Result<DatabaseUrl, Problem> {
        self.0.map_err(|error| Problem { place: None, message: format!("--database (NTA_DATABASE): {error}") })
    }
}

impl FromStr for DatabaseFlag {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.parse()))
    }
}

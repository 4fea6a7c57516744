//! The flags over the environment over the configuration file over the defaults: one set of flags for `run` and for the
//! commands that check and print what `run` would use.

use std::convert::Infallible;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use crate::config::{
    Attach, Config, ConfigError, DatabaseUrl, DatabaseUrlError, InterfacePattern, LogFilter, Places, Problem,
    SensorName, ShipUrl, Usable,
};

/// Flags that configure a run; each has its environment variable.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Settings {
    /// Interface to watch, or a pattern such as 'eth*' or '!docker*'; may be given several times. Default: the one of the
    /// default route. One that does not exist yet is waited for, and captured once it is there.
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
    /// Name of this sensor among others. Default: made once, of the host's name and a random number, and kept in the database.
    #[arg(long, env = "NTA_SENSOR_NAME", value_name = "NAME")]
    sensor_name: Option<SensorName>,
    /// Server that gets what this sensor sees, such as https://nta.example.org:5000, or NATS servers whose stream collectors read, such as
    /// tls://a.example.org:4222,tls://b.example.org:4222; what is not confirmed waits in the database.
    #[arg(long, env = "NTA_SHIP", value_name = "URL")]
    ship: Option<ShipUrl>,
    /// File whose first line is the token that the server gave for this sensor.
    #[arg(long, env = "NTA_SHIP_TOKEN_FILE", value_name = "FILE")]
    ship_token_file: Option<PathBuf>,
    /// File that shows NATS who this sensor is: the seed of an nkey, a file of credentials, or a line USER:PASSWORD.
    #[arg(long, env = "NTA_SHIP_CREDENTIALS_FILE", value_name = "FILE")]
    ship_credentials_file: Option<PathBuf>,
    /// Ship by NATS servers before 2.10.23 too, of which a kill could lose a whole stream.
    #[arg(long)]
    allow_old_nats: bool,
    /// Length of a window in seconds.
    #[arg(long, env = "NTA_WINDOW", value_name = "SECONDS")]
    window: Option<u64>,
    /// What `--log` or its variable says, as every command has them.
    #[arg(skip)]
    pub(super) log: Option<LogFilter>,
}

impl Settings {
    /// The configuration that they give.
    pub(super) fn load(self) -> Result<Config, ConfigError> {
        self.load_with_places().map(|(config, _)| config)
    }

    /// As [`load`](Self::load), with the place of each setting that a file's line gives.
    pub(super) fn load_with_places(mut self) -> Result<(Config, Places), ConfigError> {
        let database = self.database.take().map(DatabaseFlag::get).transpose();
        let (mut config, mut places) = match (Config::load_with_places(self.config.as_deref()), database.as_ref().err())
        {
            (Err(ConfigError::Invalid(mut problems)), Some(wrong)) => {
                problems.push(wrong.clone());
                return Err(ConfigError::Invalid(problems));
            }
            (loaded, _) => loaded?,
        };
        self.apply(&mut config, &mut places);
        if let Some(database) = database.map_err(|wrong| ConfigError::Invalid(vec![wrong]))? {
            places.remove("store.database");
            config.store.database = database;
        }
        config.check()?;
        config.check_together(&places)?;
        Ok((config, places))
    }

    /// What can be used of a configuration of which not all can: for what else is to be said of it.
    pub(super) fn usable(mut self) -> Option<Usable> {
        let Usable { mut config, mut places, refused } = Config::usable(self.config.as_deref())?;
        if let Some(database) = self.database.take().and_then(|database| database.get().ok()) {
            places.remove("store.database");
            config.store.database = database;
        }
        self.apply(&mut config, &mut places);
        Some(Usable { config, places, refused })
    }

    /// Puts the flags in the place of what the file says.
    fn apply(self, config: &mut Config, places: &mut Places) {
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
        if let Some(filter) = self.log {
            given("log.filter");
            config.log.filter = filter;
        }
        if let Some(name) = self.sensor_name {
            given("sensor.name");
            config.sensor.name = name;
        }
        if let Some(server) = self.ship {
            given("ship.to");
            config.ship.to = server;
        }
        if let Some(file) = self.ship_token_file {
            given("ship.token_file");
            config.ship.token_file = file;
        }
        if let Some(file) = self.ship_credentials_file {
            given("ship.credentials_file");
            config.ship.credentials_file = file;
        }
        config.ship.allow_old_nats |= self.allow_old_nats;
        if let Some(listen) = self.listen {
            given("api.listen");
            config.api.listen = listen;
        }
    }

    /// What was given for what a dry run does not do, as it was given among these words or by its variable, with its verb.
    pub(super) fn unused_by_a_dry_run(&self, words: impl Iterator<Item = OsString>) -> Option<String> {
        let words: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
        let is_word = |flag: &str| {
            words
                .iter()
                .any(|word| word.strip_prefix(flag).is_some_and(|rest| rest.is_empty() || rest.starts_with('=')))
        };
        let all = [
            ("--listen", "NTA_LISTEN", self.listen.is_some()),
            ("--database", "NTA_DATABASE", self.database.is_some()),
        ];
        let given = all.into_iter().filter(|(.., is_given)| *is_given);
        let given: Vec<&str> = given.map(|(flag, variable, _)| if is_word(flag) { flag } else { variable }).collect();
        match given[..] {
            [] => None,
            [one] => Some(format!("{one} is")),
            _ => Some(format!("{} are", given.join(" and "))),
        }
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

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        settings: Settings,
    }

    #[test]
    fn what_a_dry_run_does_not_try_is_said_as_it_was_given() {
        let said = |words: &[&str], shown: &[&str]| {
            let line = Line::parse_from([&["nta-daemon"], words].concat());
            line.settings.unused_by_a_dry_run(shown.iter().map(OsString::from))
        };
        let (listen, database) = ("--listen=127.0.0.1:1", ["--database", "sqlite:x.db"]);
        let both = [&[listen] as &[&str], &database].concat();
        assert_eq!(said(&[], &["--dry-run"]), None);
        assert_eq!(said(&[listen], &[listen]).as_deref(), Some("--listen is"));
        assert_eq!(said(&both, &both).as_deref(), Some("--listen and --database are"));
        // By the environment it comes without a word.
        assert_eq!(said(&both, &[listen]).as_deref(), Some("--listen and NTA_DATABASE are"));
        assert_eq!(said(&database, &["--dry-run"]).as_deref(), Some("NTA_DATABASE is"));
    }
}

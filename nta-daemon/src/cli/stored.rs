//! What commands have in common that work on the database alone, whether a daemon runs or not.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;

use super::settings::DatabaseFlag;
use super::{EXIT_USAGE, Tasks, fail, print};
use crate::api::Role;
use crate::capture::clock;
use crate::config::{Config, ConfigError};
use crate::store::{Audit, Store, StoreError};

/// Flags of such a command.
#[derive(Debug, clap::Args)]
pub(super) struct Stored {
    /// Configuration file (TOML), for the database.
    #[arg(long, env = "NTA_CONFIG", global = true)]
    config: Option<PathBuf>,
    /// Database URL, such as sqlite:/var/lib/nta/nta.db or postgres://nta@localhost/nta.
    #[arg(long, env = "NTA_DATABASE", value_name = "URL", hide_env_values = true, global = true)]
    database: Option<DatabaseFlag>,
    /// Output format.
    #[arg(long, value_enum, default_value = "text", global = true)]
    pub(super) format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Text,
    Json,
}

impl Stored {
    /// The configuration, with the database that is meant.
    pub(super) fn config(&mut self) -> Result<Config, ConfigError> {
        let flag = self.database.take().map(DatabaseFlag::get).transpose();
        let flag = flag.map_err(|wrong| ConfigError::Invalid(vec![wrong]))?;
        let mut config = Config::load(self.config.as_deref())?;
        config.store.database = flag.unwrap_or(config.store.database);
        Ok(config)
    }

    /// Has the database answer, which is made where there is none.
    pub(super) fn with(
        mut self,
        work: impl AsyncFnOnce(&Store, &Config, Format) -> Result<String, (u8, String)>,
    ) -> ExitCode {
        match self.config() {
            Ok(config) => run(&config, self.format, work),
            Err(error) => fail(EXIT_USAGE, &error),
        }
    }

    /// Reads from a database that there is.
    pub(super) fn read(
        self,
        work: impl AsyncFnOnce(&Store, &Config, Format) -> Result<String, StoreError>,
    ) -> ExitCode {
        self.with_known(async |store, config, format| {
            work(store, config, format).await.map_err(|error| (1, error.chain()))
        })
    }

    /// Has a database answer that there is.
    pub(super) fn with_known(
        mut self,
        work: impl AsyncFnOnce(&Store, &Config, Format) -> Result<String, (u8, String)>,
    ) -> ExitCode {
        let config = match self.config() {
            Ok(config) => config,
            Err(error) => return fail(EXIT_USAGE, &error),
        };
        // Opening it would make it.
        if let Some(file) = config.store.database.file().filter(|file| !file.exists()) {
            return fail(EXIT_USAGE, &format!("{}: there is no such database", file.display()));
        }
        run(&config, self.format, work)
    }
}

/// Who calls this command, for the audit log.
pub(super) fn by(action: &'static str) -> Audit {
    let user = std::os::unix::fs::MetadataExt::uid;
    let user = std::fs::metadata("/proc/self").map_or_else(|_| "unknown".to_owned(), |of| user(&of).to_string());
    Audit {
        at: clock::now(),
        who: format!("user {user}"),
        role: Role::Admin.word().to_owned(),
        origin: "command".to_owned(),
        action,
        target: String::new(),
        before: None,
        after: None,
    }
}

fn run(
    config: &Config,
    format: Format,
    work: impl AsyncFnOnce(&Store, &Config, Format) -> Result<String, (u8, String)>,
) -> ExitCode {
    let tasks = match Tasks::start() {
        Ok(tasks) => tasks,
        Err(error) => return fail(1, &error),
    };
    let done = tasks.wait(async {
        let store = Store::open(config.store.database.as_str()).await.map_err(|error| (1, error.chain()))?;
        let done = work(&store, config, format).await;
        store.close().await;
        done
    });
    match done {
        Ok(text) => print(&text),
        Err((status, error)) => fail(status, &error),
    }
}

/// Rows below each other, the first as their head.
pub(super) fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let widths: [usize; COLUMNS] =
        std::array::from_fn(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or_default());
    let line = |row: &[String; COLUMNS]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// How long something lasts, as people say it.
pub(super) fn lasting(seconds: f64) -> String {
    match seconds {
        ..120.0 => format!("{seconds:.0} s"),
        ..7200.0 => format!("{:.0} min", seconds / 60.0),
        ..172_800.0 => format!("{:.0} h", seconds / 3600.0),
        _ => format!("{:.0} days", seconds / 86_400.0),
    }
}

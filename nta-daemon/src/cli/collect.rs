//! `collect`: stores what sensors publish to NATS.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use super::settings::DatabaseFlag;
use super::{EXIT_USAGE, Tasks, fail};
use crate::collector;
use crate::config::{BrokerUrl, Config, ConfigError};

/// Flags of `collect`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    nta-daemon collect --from nats://127.0.0.1:4222 --database postgres://nta@localhost/nta\n  \
    nta-daemon collect --from tls://a.example.org:4222,tls://b.example.org:4222 --credentials-file /etc/nta/nats.creds\n  \
    nta-daemon collect --from nats://127.0.0.1:4222 --listen 127.0.0.1:5000   # with API and dashboard\n  \
    nta-daemon collect --config /etc/nta/nta.toml                             # [collect] names the servers\n\n\
    Start more of them, on this machine or others, to share the work: all with the same database.")]
pub(super) struct Args {
    /// NATS servers that sensors publish to, separated by commas: nats:// or tls://. The stream is made where it is not there.
    #[arg(long, env = "NTA_COLLECT_FROM", value_name = "URL")]
    from: Option<BrokerUrl>,
    /// Configuration file (TOML).
    #[arg(long, env = "NTA_CONFIG")]
    config: Option<PathBuf>,
    /// Database URL, such as sqlite:/var/lib/nta/nta.db or postgres://nta@localhost/nta.
    #[arg(long, env = "NTA_DATABASE", value_name = "URL", hide_env_values = true)]
    database: Option<DatabaseFlag>,
    /// Address and port of REST and the dashboard; nothing is served unless given.
    #[arg(long, env = "NTA_LISTEN", value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// File that shows NATS who asks: the seed of an nkey, a file of credentials, or a line USER:PASSWORD.
    #[arg(long, env = "NTA_COLLECT_CREDENTIALS_FILE", value_name = "FILE")]
    credentials_file: Option<PathBuf>,
    /// File with certificates (PEM) of authorities that the servers' may be signed by.
    #[arg(long, env = "NTA_COLLECT_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Servers that keep each message of a stream that is made: 1, 3 or 5 of a cluster.
    #[arg(long, env = "NTA_COLLECT_REPLICAS", value_name = "N")]
    replicas: Option<u64>,
    /// Take servers before 2.10.23 too, of which a kill could lose a whole stream.
    #[arg(long)]
    allow_old_nats: bool,
}

pub(super) fn execute(args: Args) -> ExitCode {
    let listen = args.listen;
    let config = match load(args) {
        Ok(config) => config,
        Err(error) => return fail(EXIT_USAGE, &error),
    };
    if config.collect.from.is_empty() {
        return fail(
            EXIT_USAGE,
            &"say where to collect from: --from nats://HOST:PORT, or `collect.from` of the configuration",
        );
    }
    let tasks = match Tasks::start() {
        Ok(tasks) => tasks,
        Err(error) => return fail(1, &error),
    };
    match tasks.wait(collector::collect(&config, listen)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &error),
    }
}

fn load(args: Args) -> Result<Config, ConfigError> {
    let database = args.database.map(DatabaseFlag::get).transpose();
    let database = database.map_err(|wrong| ConfigError::Invalid(vec![wrong]))?;
    let (mut config, mut places) = Config::load_with_places(args.config.as_deref())?;
    let collect = &mut config.collect;
    let mut given = |key: &str| drop(places.remove(key));
    if let Some(from) = args.from {
        given("collect.from");
        collect.from = from;
    }
    if let Some(file) = args.credentials_file {
        collect.credentials_file = file;
    }
    if let Some(file) = args.ca_file {
        collect.ca_file = file;
    }
    if let Some(replicas) = args.replicas {
        given("collect.replicas");
        collect.replicas = replicas;
    }
    collect.allow_old_nats |= args.allow_old_nats;
    if let Some(database) = database {
        given("store.database");
        config.store.database = database;
    }
    if let Some(listen) = args.listen {
        given("api.listen");
        config.api.listen = listen;
    }
    config.check()?;
    config.check_together(&places)?;
    Ok(config)
}

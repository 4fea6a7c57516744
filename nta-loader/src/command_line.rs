//! The command line of `nta-loader`: here, so that its man pages and completions are made of it by who makes packages, and the program
//! with the rights does not carry what makes them.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Loads the programs of nta, attaches them, and hands their maps to nta-daemon.
///
/// The small process with the rights: it attaches the programs to the interfaces that its configuration allows, and hands descriptors of the
/// maps over a UNIX socket that the group nta may open. nta-daemon(1), which parses, judges, stores and serves, has no right at all. What
/// is attached goes on counting while either of the two restarts.
#[derive(Debug, Parser)]
#[command(name = "nta-loader", version, arg_required_else_help = true, after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}{FILES}"))]
pub struct Args {
    /// Its configuration; what is not there is all defaults.
    #[arg(long, global = true, env = "NTA_LOADER_CONFIG", default_value = "/etc/nta/nta-loader.toml")]
    pub config: PathBuf,
    /// What to log: error, warn, info, debug, trace, or filters as of tracing.
    #[arg(long, global = true, env = "NTA_LOADER_LOG", default_value = "info")]
    pub log: String,
    /// What it is to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What it may be asked for.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Answer nta-daemon until SIGTERM. What is attached stays, and goes on counting.
    Run,
    /// Say what is attached, and what may be.
    Status {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// As root: mount a BPF file system for `pin_path`, if there is none, and give it to a user.
    Prepare {
        /// The user that `nta-loader run` runs as.
        #[arg(long)]
        user: String,
    },
    /// Remove all that is pinned in this network namespace and that no running process has: nothing is counted any more.
    Detach {
        /// As root, unmount the BPF file system as well.
        #[arg(long)]
        unmount: bool,
    },
    /// Check the configuration and say what it allows.
    CheckConfig,
}

const EXAMPLES: &str = "Examples:
  nta-loader run                      answer nta-daemon, on the socket that systemd hands down or the configured one
  nta-loader status                   what is attached, and what may be
  nta-loader prepare --user nta-loader   as root: a BPF file system that this user may pin in
  nta-loader detach                   end the counting that goes on between two daemons";

const FILES: &str = "

Files:
  /etc/nta/nta-loader.toml      its configuration; what is not there has its default
  /run/nta-loader/loader.sock   the socket
  /run/nta-bpf                  the BPF file system where links and maps are pinned";

//! `nta-loader`: the small process with the rights. It loads the programs, attaches them to the interfaces that its configuration
//! allows, and hands what reading the maps takes to `nta-daemon`, which has no right at all.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use nta_loader::command_line::{Args, Command};
use nta_loader::{Loader, LoaderClient, LoaderConfig, check_rights, detach, prepare};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let args = Args::parse();
    let filter = match EnvFilter::try_new(&args.log) {
        Ok(filter) => filter,
        Err(error) => return fail(2, &format!("--log {}: {error}", args.log)),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
    let config = match LoaderConfig::load(&args.config) {
        Ok(config) => config,
        Err(error) => return fail(2, &error),
    };
    let done = match args.command {
        Command::Run => run(config),
        Command::Status { json } => status(&config.socket, json),
        Command::Prepare { user } => prepare(&config.pin_path, &user),
        Command::Detach { unmount } => end(&config.pin_path, unmount),
        Command::CheckConfig => check(&config, &args.config),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &error),
    }
}

fn run(config: LoaderConfig) -> Result<(), String> {
    check_rights().map_err(|error| error.to_string())?;
    config.check_pin_path()?;
    let listener = match listenfd::ListenFd::from_env().take_unix_listener(0) {
        Ok(Some(listener)) => listener,
        Ok(None) => listen(&config.socket)?,
        Err(error) => return Err(format!("the socket that was handed down: {error}")),
    };
    tracing::info!(version = env!("CARGO_PKG_VERSION"), pin_path = %config.pin_path.display(), "answering");
    Arc::new(Loader::new(config)).serve(&listener).map_err(|error| format!("accepting: {error}"))
}

/// A socket of its own, for its user and group.
fn listen(path: &Path) -> Result<UnixListener, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    // One that another process listens at is not taken away.
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_other) => return Err(format!("{}: another nta-loader listens there", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(failed)?;
        }
        Err(_) => {}
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(failed)?;
    Ok(listener)
}

fn status(socket: &Path, json: bool) -> Result<(), String> {
    let status = LoaderClient::status(socket).map_err(|error| error.to_string())?;
    let text = if json {
        serde_json::to_string_pretty(&status).map_err(|error| error.to_string())?
    } else {
        let allowed = if status.allowed.is_empty() { "all interfaces".to_owned() } else { status.allowed.join(", ") };
        let mut lines = vec![
            format!("nta-loader {}", status.version),
            format!(
                "allowed   {allowed}; up to {} MiB of maps; pinned below {}",
                status.max_map_memory_mib, status.pin_path
            ),
            format!("requests  {} answered, {} refused", status.answered, status.refused),
            format!("session   {}", if status.has_session { "of a daemon" } else { "none" }),
        ];
        lines.extend(
            status.attached.iter().map(|(name, ingress, egress)| format!("attached  {name}: {ingress}, {egress}")),
        );
        lines.join("\n")
    };
    say(&text)
}

fn end(pin_path: &Path, unmount: bool) -> Result<(), String> {
    let removed = detach(pin_path, None).map_err(|error| error.to_string())?;
    let text = if removed.is_empty() {
        "nothing is pinned but what a running process has".to_owned()
    } else {
        format!("removed {}", removed.join("\nremoved "))
    };
    say(&text)?;
    if unmount { nta_loader::unmount(pin_path) } else { Ok(()) }
}

fn check(config: &LoaderConfig, path: &Path) -> Result<(), String> {
    let allowed: Vec<String> = config.interfaces.iter().map(ToString::to_string).collect();
    let allowed = if allowed.is_empty() { "all interfaces".to_owned() } else { allowed.join(", ") };
    say(&format!("{}: {allowed}; up to {} MiB of maps", path.display(), config.max_map_memory_mib))
}

fn say(text: &str) -> Result<(), String> {
    use std::io::Write as _;
    writeln!(std::io::stdout(), "{text}").map_err(|error| error.to_string())
}

fn fail(status: u8, error: &str) -> ExitCode {
    tracing::error!("{error}");
    ExitCode::from(status)
}

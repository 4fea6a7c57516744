//! A PostgreSQL server of a test's own, from Debian's package.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::netns::wait_for;

const BINARIES: &str = "/usr/lib/postgresql/15/bin";
/// The user `nobody`: the server refuses root.
const NOBODY: u32 = 65534;

/// One of its programs, as who it runs as.
fn command(name: &str, folder: &Path) -> Command {
    let mut command = Command::new(Path::new(BINARIES).join(name));
    command.current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null());
    let owner = std::fs::metadata(folder).map_or(0, |metadata| std::os::unix::fs::MetadataExt::uid(&metadata));
    if owner == NOBODY {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

fn serve(folder: &Path, settings: &[String]) -> Child {
    let mut server = command("postgres", folder);
    server.arg("-D").arg(folder.join("data")).arg("-k").arg(folder).args(["-c", "fsync=off"]);
    server.args(settings.iter().flat_map(|setting| ["-c", setting]));
    server.spawn().expect("postgres")
}

/// A server on a socket in a temporary folder; stopped when dropped.
pub struct Postgres {
    child: Child,
    settings: Vec<String>,
    folder: tempfile::TempDir,
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _waited = self.child.wait();
    }
}

impl Postgres {
    /// Whether the package is there.
    pub fn is_installed() -> bool {
        Path::new(BINARIES).join("initdb").exists()
    }

    /// The same; says that this test is not run where it is not.
    pub fn can_run(test: &str) -> bool {
        let is_installed = Self::is_installed();
        if !is_installed {
            eprintln!("not run: {test}: {BINARIES} is missing (Debian's package postgresql)");
        }
        is_installed
    }

    /// Starts one that listens on its socket only, and waits until it answers.
    ///
    /// # Panics
    /// When it does not within a minute.
    pub fn start() -> Self {
        let server = Self::start_with(|_| vec!["listen_addresses=".to_owned()]);
        wait_for("PostgreSQL", Duration::from_secs(60), || server.ask("SELECT 1").ok());
        server
    }

    /// Starts one with the settings that `settings` makes in its folder, and does not wait.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_with(settings: impl FnOnce(&Path) -> Vec<String>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let metadata = std::fs::metadata(folder.path()).expect("the folder");
        let is_root = std::os::unix::fs::MetadataExt::uid(&metadata) == 0;
        if is_root {
            std::os::unix::fs::chown(folder.path(), Some(NOBODY), Some(NOBODY)).expect("chown");
        }
        let mut made = command("initdb", folder.path());
        made.arg("-D").arg(folder.path().join("data")).args(["-A", "trust", "-U", "nta", "-E", "UTF8", "--no-sync"]);
        assert!(made.status().expect("initdb").success(), "initdb");
        let settings = settings(folder.path());
        if is_root {
            for file in std::fs::read_dir(folder.path()).expect("the folder") {
                std::os::unix::fs::chown(file.expect("a file").path(), Some(NOBODY), Some(NOBODY)).expect("chown");
            }
        }
        Self { child: serve(folder.path(), &settings), settings, folder }
    }

    /// Kills it with all that it is doing.
    ///
    /// # Panics
    /// When it has ended by itself.
    pub fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }

    /// Starts it again on the same data if it has ended, as it does too while the memory of one that was killed is not free yet; does not
    /// wait until it answers.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn keep_up(&mut self) {
        if self.child.try_wait().expect("a child's status").is_some() {
            self.child = serve(self.folder.path(), &self.settings);
        }
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its address, as `--database` takes it.
    pub fn url(&self) -> String {
        format!("postgres:///postgres?host={}&user=nta", self.folder.path().display())
    }

    /// The lines that a statement answers, or what psql says against it.
    ///
    /// # Errors
    /// When the server does not answer or refuses it.
    pub fn ask(&self, sql: &str) -> Result<Vec<String>, String> {
        let mut psql = Command::new(Path::new(BINARIES).join("psql"));
        psql.args(["-U", "nta", "-d", "postgres", "-At", "-c", sql, "-h"]).arg(self.folder.path());
        let output = psql.output().expect("psql");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if !output.status.success() {
            return Err(text(&output.stderr));
        }
        Ok(text(&output.stdout).lines().map(str::to_owned).collect())
    }
}

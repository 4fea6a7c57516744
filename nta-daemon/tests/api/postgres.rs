//! A PostgreSQL server for the tests of routes that touch the store.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nta_daemon::store::{Store, StoreError};

const BINARIES: &str = "/usr/lib/postgresql/15/bin";
/// The user `nobody`: the server refuses root.
const NOBODY: u32 = 65534;

/// A server on a socket in a temporary folder; stopped when dropped.
pub(crate) struct Server {
    child: Child,
    folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _waited = self.child.wait();
    }
}

impl Server {
    /// Starts one; `None` says that this cannot be run here, which the test then reports.
    pub(crate) fn start(test: &str) -> Option<Self> {
        let binary = |name: &str| Path::new(BINARIES).join(name);
        if !binary("initdb").exists() {
            eprintln!("not run: {test}: {BINARIES} is missing (Debian's package postgresql)");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let metadata = std::fs::metadata(folder.path()).expect("the folder");
        let is_root = std::os::unix::fs::MetadataExt::uid(&metadata) == 0;
        if is_root {
            std::os::unix::fs::chown(folder.path(), Some(NOBODY), Some(NOBODY)).expect("chown");
        }
        let command = |name: &str| {
            let mut command = Command::new(binary(name));
            command.current_dir(folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
            if is_root {
                command.uid(NOBODY).gid(NOBODY);
            }
            command
        };
        let data = folder.path().join("data");
        let mut made = command("initdb");
        made.arg("-D").arg(&data).args(["-A", "trust", "-U", "nta", "-E", "UTF8", "--no-sync"]);
        assert!(made.status().expect("initdb").success(), "initdb");
        let mut server = command("postgres");
        server.arg("-D").arg(&data).arg("-k").arg(folder.path());
        server.args(["-c", "fsync=off", "-c", "listen_addresses="]);
        Some(Self { child: server.spawn().expect("postgres"), folder })
    }

    /// A handle on its empty database, once it answers.
    pub(crate) async fn open(&self) -> Store {
        let url = format!("postgres:///postgres?host={}&user=nta", self.folder.path().display());
        for _ in 0..600 {
            match Store::open(&url).await {
                Ok(store) => return store,
                Err(StoreError::Open { .. }) => tokio::time::sleep(Duration::from_millis(50)).await,
                Err(error) => panic!("{}", error.chain()),
            }
        }
        panic!("the server does not answer");
    }
}

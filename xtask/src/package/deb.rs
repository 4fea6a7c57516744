//! The Debian package, by cargo-deb: `[package.metadata.deb]` of nta-daemon/Cargo.toml says what it is and which of the
//! staged files go into it, `packaging/debian/` has what dpkg runs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::Place;
use crate::host;
use crate::step::step;

/// Makes it in this folder; returns the file.
pub(super) fn make(place: &Place, folder: &Path, version: Option<&str>) -> Result<PathBuf> {
    let manifest = fs::read_to_string(host::root().join("nta-daemon/Cargo.toml"))?;
    check(&manifest, &configuration(&place.release().join("package"), "/etc")?)?;
    let mut command = place.cargo(&["deb", "--package", "nta-daemon", "--no-build", "--no-strip", "--locked"]);
    command.arg("--output").arg(folder);
    if let Some(version) = version {
        command.args(["--deb-version", version]);
    }
    step("Debian package", &mut command)?;
    let files = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
    let deb = files.into_iter().find(|path| path.extension().is_some_and(|kind| kind == "deb"));
    deb.context("cargo-deb has made no package")
}

/// The files below a folder of the tree, as they are named on an installed machine.
fn configuration(root: &Path, below: &str) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(root.join(&below[1..]))?.flatten() {
        let path = format!("{below}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            files.append(&mut configuration(root, &path)?);
        } else {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// An upgrade keeps an edited file only where the package says that it is configuration.
fn check(manifest: &str, files: &[String]) -> Result<()> {
    let list = manifest.split("conf-files = [").nth(1).and_then(|rest| rest.split(']').next()).unwrap_or_default();
    let mut named: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
    named.sort_unstable();
    ensure!(named == files, "`conf-files` of nta-daemon/Cargo.toml are {named:?}, those of the package {files:?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn a_configuration_that_the_package_does_not_name_is_found() {
        let manifest = "[package.metadata.deb]\nconf-files = [\"/etc/nta/b.toml\", \"/etc/default/a\"]\nassets = []\n";
        let files = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        check(manifest, &files(&["/etc/default/a", "/etc/nta/b.toml"])).unwrap();
        assert!(check(manifest, &files(&["/etc/default/a", "/etc/nta/b.toml", "/etc/nta/c.toml"])).is_err());
        assert!(check(manifest, &files(&["/etc/default/a"])).is_err());
    }
}

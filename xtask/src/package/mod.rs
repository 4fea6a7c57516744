//! `cargo xtask package`: what is handed out: a Debian package, a tarball, a bill of materials, their sums.

mod archive;
mod binaries;
mod deb;
mod elf;
mod sbom;
mod stage;
pub(crate) mod trial;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

use anyhow::{Context as _, Result, bail};

use crate::setup::{self, Need};
use crate::{host, process};

pub(crate) const HELP: &str = "\
Builds the release binaries and makes of them, in target/package/:

  nta_VERSION-1_ARCH.deb          programs, units, man pages, completions, configuration
  nta-VERSION-ARCH-linux.tar.gz   the same files for other systems
  nta-VERSION.cdx.json            what nta-daemon is built of, as CycloneDX
  nta-loader-VERSION.cdx.json     the same of nta-loader
  SHA256SUMS                      of all these

The programs carry the list of their dependencies (`cargo audit bin usr/bin/nta-daemon` reads it). Every time in the files is that of the last
commit, or SOURCE_DATE_EPOCH: the same programs give the same bytes.

  --twice                build a second time, in target-again/, and compare: fails unless every byte is the same; takes twice as long
  --fast                 no optimization across crates, for tests of the packages: minutes rather than a quarter of an hour
  --no-build             of the programs that an earlier call has built
  --deb-version VERSION  of the Debian package, for tests of upgrades

Examples:
  cargo xtask package
  cargo xtask package --twice";

/// What to make, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) fast: bool,
    pub(crate) no_build: bool,
    pub(crate) twice: bool,
    pub(crate) deb_version: Option<String>,
    /// Nothing else, for tests.
    pub(crate) only_deb: bool,
}

/// What was made.
pub(crate) struct Made {
    pub(crate) folder: PathBuf,
    pub(crate) deb: PathBuf,
}

/// Makes the packages and says what they are.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let options = parse(args)?;
    let made = make(&options)?;
    if options.twice {
        compare(&made.folder, &again(&options)?.folder)?;
    }
    eprint!("{}", archive::list(&made.folder)?);
    Ok(ExitCode::SUCCESS)
}

fn parse(args: &[String]) -> Result<Options> {
    let mut options = Options::default();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--fast" => options.fast = true,
            "--no-build" => options.no_build = true,
            "--twice" => options.twice = true,
            "--deb-version" => {
                options.deb_version = Some(args.next().context("--deb-version takes a version")?.clone());
            }
            other => bail!("package takes no `{other}`; see `cargo xtask package --help`"),
        }
    }
    if options.twice && options.no_build {
        bail!("--twice is about two builds; --no-build makes none");
    }
    Ok(options)
}

/// Builds and packs into the target folder.
pub(crate) fn make(options: &Options) -> Result<Made> {
    make_in(&Place::of(host::target_dir(), options), options)
}

/// The same from nothing, in a folder beside the target folder: as deep, for the programs look for libraries relative to it.
fn again(options: &Options) -> Result<Made> {
    let mut target = host::target_dir().into_os_string();
    target.push("-again");
    let target = PathBuf::from(target);
    if target.exists() {
        fs::remove_dir_all(&target).with_context(|| format!("cannot remove {}", target.display()))?;
    }
    make_in(&Place::of(target, options), options)
}

fn make_in(place: &Place, options: &Options) -> Result<Made> {
    if let Some(missing) = setup::ensure(&[Need::Build, Need::Model, Need::Packages])?.first() {
        bail!("{missing}");
    }
    let programs = if options.no_build { binaries::built(place)? } else { binaries::build(place)? };
    let root = stage::stage(place, &programs)?;
    let folder = place.target.join("package");
    let _none = fs::remove_dir_all(&folder); // of an earlier run
    fs::create_dir_all(&folder)?;
    let deb = deb::make(place, &folder, options.deb_version.as_deref())?;
    if !options.only_deb {
        archive::tarball(&root, &folder, place.epoch)?;
        sbom::write(place, &folder)?;
        archive::sums(&folder)?;
    }
    Ok(Made { folder, deb })
}

/// Fails unless both folders hold the same.
fn compare(one: &Path, other: &Path) -> Result<()> {
    let [a, b] = [archive::list(one)?, archive::list(other)?];
    if a != b {
        bail!("two builds differ:\n{a}and\n{b}");
    }
    Ok(())
}

/// Where and how one build goes on.
pub(crate) struct Place {
    /// Cargo's target folder.
    target: PathBuf,
    fast: bool,
    /// Whether programs may name folders of this machine: with other flags everything would be compiled anew.
    paths: bool,
    /// The time that everything bears.
    epoch: u64,
}

impl Place {
    fn of(target: PathBuf, options: &Options) -> Self {
        let target = if options.fast { target.join("fast") } else { target };
        Self { target, fast: options.fast, paths: options.fast && !options.twice, epoch: epoch() }
    }

    /// Cargo, or a subcommand that setup has compiled, for this build.
    fn cargo(&self, args: &[&str]) -> Command {
        let mut cargo = process::cargo(args);
        cargo.env("CARGO_TARGET_DIR", &self.target).env("SOURCE_DATE_EPOCH", self.epoch.to_string());
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = setup::cargo_tools().into_iter().chain(env::split_paths(&path));
        if let Ok(path) = env::join_paths(folders) {
            cargo.env("PATH", path);
        }
        if self.fast {
            cargo.env("CARGO_PROFILE_RELEASE_LTO", "off").env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
            cargo.env("CARGO_PROFILE_RELEASE_DEBUG", "0");
        }
        cargo
    }

    /// Where cargo puts programs, and where the tree of files is made.
    fn release(&self) -> PathBuf {
        self.target.join("release")
    }
}

/// The time of the last commit, unless the caller says another one.
fn epoch() -> u64 {
    let said = env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse().ok());
    said.unwrap_or_else(|| {
        let commit = process::output(Command::new("git").args(["log", "-1", "--format=%ct"]).current_dir(host::root()));
        commit.ok().and_then(|text| text.parse().ok()).unwrap_or(0)
    })
}

/// The version of the workspace.
fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

#[cfg(test)]
mod tests {
    use super::{Options, compare, parse};

    #[test]
    fn options_are_read_and_others_refused() {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let both = Options { fast: true, deb_version: Some("9-1".to_owned()), ..Options::default() };
        assert_eq!(parse(&words("--fast --deb-version 9-1")).unwrap(), both);
        assert!(parse(&words("--deb-version")).is_err());
        assert!(parse(&words("--slow")).is_err());
    }

    #[test]
    fn two_builds_that_differ_by_a_byte_are_told_apart() {
        let folder = std::env::temp_dir().join(format!("nta-twice-{}", std::process::id()));
        let [one, other] = ["one", "other"].map(|name| folder.join(name));
        for (place, text) in [(&one, "abc"), (&other, "abc")] {
            std::fs::create_dir_all(place).unwrap();
            std::fs::write(place.join("nta.deb"), text).unwrap();
        }
        compare(&one, &other).unwrap();
        std::fs::write(other.join("nta.deb"), "abd").unwrap();
        assert!(compare(&one, &other).is_err());
        std::fs::remove_dir_all(folder).unwrap();
    }
}

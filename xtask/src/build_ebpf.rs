//! `cargo xtask build-ebpf`: builds the eBPF object from source, or proves that the committed one is what it gives.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::ebpf::compile;
use crate::ebpf::record::{self, Record};
use crate::ebpf::toolchain::{self, Toolchain, Versions};
use crate::host;
use crate::report::Group;
use crate::setup::{self, Need};

pub(crate) const HELP: &str = "\
Builds nta-ebpf/ for the BPF target and writes nta-ebpf/object/nta-ebpf.o with BUILD.toml beside it, which says what it
was built from and by. Takes the compiler that built the committed object if it is here, else the first of: a rustup
toolchain with rust-src, Debian's rustc-web with rust-web-src.

Options:
  --check           build, and compare byte for byte with the committed object; changes nothing in the checkout.
                    With another compiler than BUILD.toml's, only the sources are compared, and it says so.
  --features LIST   build with these features of nta-ebpf (bench, debug-log) into target/bpf-LIST/nta-ebpf.o
  --out FILE        write the object to FILE

Examples:
  cargo xtask build-ebpf
  cargo xtask build-ebpf --check
  cargo xtask build-ebpf --features bench";

/// Reads the options and builds or checks.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let options = Options::parse(args)?;
    if options.check {
        let group = check()?;
        group.print();
        return Ok(group.status());
    }
    build(&options)?;
    Ok(ExitCode::SUCCESS)
}

/// Builds from source and compares with what is committed.
pub(crate) fn check() -> Result<Group> {
    let group = Group::new("object");
    let place = committed();
    let Some(recorded) = Record::read(&place.with_file_name("BUILD.toml"))? else {
        return Ok(group.not_run("no object is committed yet; `cargo xtask build-ebpf` makes it"));
    };
    let object = fs::read(&place).with_context(|| format!("cannot read {}", place.display()))?;
    if record::sha256(&object) != recorded.object {
        return Ok(group.fail("nta-ebpf.o is not the object that BUILD.toml describes"));
    }
    if record::hash_sources(&host::root())? != recorded.sources {
        return Ok(group.fail("the sources have changed since; run `cargo xtask build-ebpf`"));
    }
    let group = group.pass();
    setup::ensure(&[Need::Bpf])?;
    let Some(toolchain) = usable(Some(&recorded.versions.rustc)) else {
        return Ok(group.not_run("byte comparison: no toolchain for the BPF target here"));
    };
    let here = toolchain.versions()?;
    if let Some(difference) = difference(&recorded.versions, &here) {
        return Ok(group.not_run(&format!("byte comparison: {difference}")));
    }
    let rebuilt = compile::compile(&toolchain, &[])?;
    if rebuilt == object {
        return Ok(group.pass());
    }
    let copy = host::target_dir().join("bpf/nta-ebpf.o");
    fs::write(&copy, &rebuilt)?;
    Ok(group.fail(&format!("the same compiler gives other bytes; compare with {}", copy.display())))
}

/// Builds an object with extra features and says where it is.
pub(crate) fn with_features(features: &str) -> Result<PathBuf> {
    let options = Options::parse(&["--features".to_owned(), features.to_owned()])?;
    build(&options)?;
    Ok(options.place())
}

fn build(options: &Options) -> Result<()> {
    setup::ensure(&[Need::Bpf])?;
    let record_file = committed().with_file_name("BUILD.toml");
    let pinned = Record::read(&record_file)?.map(|record| record.versions.rustc);
    let toolchain = usable(pinned.as_deref()).context("no toolchain for the BPF target; see `cargo xtask setup`")?;
    let sources = record::hash_sources(&host::root())?;
    let object = compile::compile(&toolchain, &options.features)?;
    let place = options.place();
    write(&place, &object)?;
    if place == committed() {
        let versions = toolchain.versions()?;
        let record = Record { versions, object: record::sha256(&object), sources };
        write(&record_file, record.to_toml().as_bytes())?;
    }
    eprintln!("{} ({} bytes, sha256 {})", place.display(), object.len(), record::sha256(&object));
    Ok(())
}

/// A toolchain that can build, with its linker.
fn usable(pinned_rustc: Option<&str>) -> Option<Toolchain> {
    toolchain::linker()?;
    toolchain::choose(pinned_rustc)
}

/// What sets the compiler here apart from the one that built the object, if anything does.
fn difference(recorded: &Versions, here: &Versions) -> Option<String> {
    let pairs = [
        ("", &recorded.rustc, &here.rustc),
        ("", &recorded.bpf_linker, &here.bpf_linker),
        ("LLVM ", &recorded.rustc_llvm, &here.rustc_llvm),
        ("a linker with LLVM ", &recorded.linker_llvm, &here.linker_llvm),
    ];
    let (what, then, now) = pairs.into_iter().find(|(_, then, now)| then != now)?;
    Some(format!("built by {what}{then}, here is {what}{now}"))
}

fn write(place: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(folder) = place.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(place, bytes).with_context(|| format!("cannot write {}", place.display()))
}

fn committed() -> PathBuf {
    host::root().join("nta-ebpf/object/nta-ebpf.o")
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    check: bool,
    features: Vec<String>,
    out: Option<PathBuf>,
}

impl Options {
    fn parse(args: &[String]) -> Result<Self> {
        let mut options = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--check" => options.check = true,
                "--features" => options.features.extend(value()?.split(',').map(str::to_owned)),
                "--out" => options.out = Some(PathBuf::from(value()?)),
                other => bail!("build-ebpf does not know `{other}`; see `cargo xtask build-ebpf --help`"),
            }
        }
        if options.check && (!options.features.is_empty() || options.out.is_some()) {
            bail!("--check is about the committed object and takes no other option");
        }
        Ok(options)
    }

    /// Where the object goes: an object with extra features never to the committed place.
    fn place(&self) -> PathBuf {
        match &self.out {
            Some(out) => out.clone(),
            None if self.features.is_empty() => committed(),
            None => host::target_dir().join(format!("bpf-{}/nta-ebpf.o", self.features.join("-"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Options, Versions, committed, difference};

    fn options(line: &str) -> anyhow::Result<Options> {
        Options::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn features_never_reach_the_committed_place() {
        assert_eq!(options("").unwrap().place(), committed());
        assert!(options("--features bench").unwrap().place().ends_with("bpf-bench/nta-ebpf.o"));
        assert!(options("--features bench --out /x.o").unwrap().place().ends_with("/x.o"));
    }

    #[test]
    fn wrong_options_are_refused() {
        assert!(options("--check --features bench").is_err());
        assert!(options("--features").is_err());
        assert!(options("--chek").is_err());
    }

    #[test]
    fn another_compiler_is_named() {
        let versions = |rustc: &str| Versions {
            rustc: rustc.into(),
            rustc_llvm: "22.1.8".into(),
            bpf_linker: "bpf-linker 0.13.0".into(),
            linker_llvm: "22.1.8".into(),
        };
        assert_eq!(difference(&versions("rustc 1.96.0"), &versions("rustc 1.96.0")), None);
        let said = difference(&versions("rustc 1.96.0"), &versions("rustc 1.97.0"));
        assert_eq!(said.as_deref(), Some("built by rustc 1.96.0, here is rustc 1.97.0"));
    }
}

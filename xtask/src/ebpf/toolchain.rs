//! The toolchains on this machine that can build for the BPF target: each has the sources of `core` and a bpf-linker.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{host, process};

/// A compiler with the sources of its `core`.
#[derive(Debug)]
pub(crate) struct Toolchain {
    pub(crate) cargo: PathBuf,
    pub(crate) rustc: PathBuf,
    /// Where its `library/core` lies; the path that gets into line information.
    pub(crate) rust_src: PathBuf,
}

/// What decides on the bytes of the object besides its sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Versions {
    pub(crate) rustc: String,
    pub(crate) rustc_llvm: String,
    pub(crate) bpf_linker: String,
    pub(crate) linker_llvm: String,
}

impl Toolchain {
    /// A toolchain whose programs are in `bin`, if it is complete.
    fn in_prefix(prefix: &Path) -> Option<Self> {
        let toolchain = Self {
            cargo: prefix.join("bin/cargo"),
            rustc: prefix.join("bin/rustc"),
            rust_src: prefix.join("lib/rustlib/src/rust"),
        };
        let core = toolchain.rust_src.join("library/core/src/lib.rs");
        (toolchain.cargo.is_file() && toolchain.rustc.is_file() && core.is_file()).then_some(toolchain)
    }

    /// Asks the programs for their versions.
    pub(crate) fn versions(&self) -> Result<Versions> {
        let verbose = process::output(Command::new(&self.rustc).arg("-vV"))?;
        let field = |name: &str| verbose.lines().find_map(|line| line.strip_prefix(name)).map(|v| v.trim().to_owned());
        let linker = linker().context("bpf-linker is not installed")?;
        Ok(Versions {
            rustc: verbose.lines().next().unwrap_or_default().to_owned(),
            rustc_llvm: field("LLVM version:").unwrap_or_default(),
            bpf_linker: process::output(Command::new(&linker).arg("--version"))?,
            linker_llvm: linker_llvm(&linker),
        })
    }
}

/// Every usable toolchain: those of rustup (nightly first), then the distribution's.
pub(crate) fn all() -> Vec<Toolchain> {
    let installed = fs::read_dir(host::rustup_home().join("toolchains")).into_iter().flatten().flatten();
    let mut rustup: Vec<PathBuf> = installed.map(|entry| entry.path()).collect();
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    rustup.sort_by_key(|path| (!name(path).starts_with("nightly"), name(path)));
    rustup.push(PathBuf::from("/usr"));
    rustup.iter().filter_map(|prefix| Toolchain::in_prefix(prefix)).collect()
}

/// The toolchain to build with: the one that the committed object was built by, else the first.
pub(crate) fn choose(pinned_rustc: Option<&str>) -> Option<Toolchain> {
    let mut found = all();
    let is_pinned = |toolchain: &Toolchain| {
        let line = process::output(Command::new(&toolchain.rustc).arg("-V"));
        pinned_rustc.is_some_and(|pinned| line.is_ok_and(|line| line == pinned))
    };
    let index = found.iter().position(is_pinned).unwrap_or(0);
    (index < found.len()).then(|| found.swap_remove(index))
}

/// The linker, wherever `cargo install` or the user put it.
pub(crate) fn linker() -> Option<PathBuf> {
    host::find_program("bpf-linker")
}

/// The LLVM that the linker generates code with, as precisely as this machine knows.
fn linker_llvm(linker: &Path) -> String {
    let libraries = process::output(Command::new("ldd").arg(linker)).unwrap_or_default();
    let library = libraries.lines().find(|line| line.contains("libLLVM"));
    let Some(path) = library.and_then(|line| line.split_whitespace().find(|word| word.starts_with('/'))) else {
        return "static".to_owned();
    };
    let config = Path::new(path).parent().map(|lib| lib.join("../bin/llvm-config"));
    let version = config.and_then(|config| process::output(Command::new(config).arg("--version")).ok());
    version.unwrap_or_else(|| Path::new(path).file_name().unwrap_or_default().to_string_lossy().into_owned())
}

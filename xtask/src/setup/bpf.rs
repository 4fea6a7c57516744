//! What `build-ebpf` needs: a compiler with the sources of its `core`, and bpf-linker.

use std::path::Path;

use anyhow::{Result, anyhow, bail};

use super::apt;
use crate::ebpf::toolchain;
use crate::step::step;
use crate::{host, process};

/// The linker that is known to build with LLVM 22 and the aya of `nta-ebpf/Cargo.lock`.
const LINKER_VERSION: &str = "0.13.0";

/// Debian's compiler with matching sources.
const COMPILER: &[&str] = &["rustc-web", "cargo-web", "rust-web-src"];

/// What bpf-linker is compiled against.
const LLVM: &[&str] = &[
    "llvm-22-dev",
    "libpolly-22-dev",
    "zlib1g-dev",
    "libzstd-dev",
    "libxml2-dev",
    "libffi-dev",
    "gcc",
    "g++",
    "libc6-dev",
];
const LLVM_PREFIX: &str = "/usr/lib/llvm-22";

/// Where there are no such packages; said, not done, as it changes the user's own toolchains.
const BY_RUSTUP: &str = "rustup toolchain install nightly --profile minimal --component rust-src && \
                         cargo binstall bpf-linker@0.13.0";

/// Sees to a complete toolchain; the error says how to get one by hand.
pub(super) fn ensure() -> Result<()> {
    let has_compiler = !toolchain::all().is_empty();
    if has_compiler && toolchain::linker().is_some() {
        return Ok(());
    }
    let wanted: Vec<&str> = if has_compiler { LLVM.to_vec() } else { [COMPILER, LLVM].concat() };
    if !apt::offers(&wanted) {
        bail!("bpf toolchain: {}", by_hand(&wanted));
    }
    if !has_compiler || !Path::new(LLVM_PREFIX).exists() {
        apt::install("bpf toolchain", &wanted)?;
    }
    if toolchain::linker().is_none() {
        install_linker().map_err(|error| anyhow!("bpf toolchain: {error:#}"))?;
    }
    Ok(())
}

fn install_linker() -> Result<()> {
    let mut command = process::cargo(["install", "bpf-linker", "--version", LINKER_VERSION, "--locked"]);
    command.args(["--no-default-features", "--features", "llvm-22"]);
    // The crate's own build script takes the first llvm-config on the path, of whatever version, unless one is given.
    command.env("LLVM_SYS_221_PREFIX", LLVM_PREFIX).env("LLVM_PREFIX", LLVM_PREFIX);
    // Else it would land in the middle of this workspace's own build, or under its flags.
    command.env_remove("CARGO_TARGET_DIR").env_remove("RUSTFLAGS").current_dir("/");
    step("bpf toolchain: compiling bpf-linker (about a minute)", &mut command)
}

fn by_hand(packages: &[&str]) -> String {
    let has_apt = host::find_program("apt-get").is_some();
    let linker = format!(
        "LLVM_PREFIX={LLVM_PREFIX} LLVM_SYS_221_PREFIX={LLVM_PREFIX} cargo install bpf-linker --version {LINKER_VERSION} \
         --no-default-features --features llvm-22"
    );
    let debian = format!("apt-get install {} && {linker}", packages.join(" "));
    if has_apt && host::is_root() {
        // Apt works but lacks the packages (Ubuntu 22.04, Debian 13): only rustup's way remains.
        format!("{BY_RUSTUP}   (this release has no rustc-web or llvm-22-dev)")
    } else if has_apt {
        format!("{debian}   (as root, Debian 12), or {BY_RUSTUP}")
    } else {
        BY_RUSTUP.to_owned()
    }
}

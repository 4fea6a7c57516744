//! One run of cargo for the BPF target, shielded from the machine that it runs on.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result};

use super::{strip, toolchain, wrapper};
use crate::ebpf::toolchain::Toolchain;
use crate::{host, process};

/// Builds nta-ebpf with these features and returns the stripped object.
pub(crate) fn compile(toolchain: &Toolchain, features: &[String]) -> Result<Vec<u8>> {
    let source = host::root().join("nta-ebpf");
    let target = host::target_dir().join("bpf");
    // Fetched first, so that the folders of the registry are there to be remapped.
    process::run(cargo(toolchain, &source, &target)?.args(["fetch", "--locked", "--quiet"]))?;

    let mut command = cargo(toolchain, &source, &target)?;
    command.args(["build", "--release", "--locked", "--target", TARGET, "-Z", "build-std=core", "--bin", "nta-ebpf"]);
    if !features.is_empty() {
        command.args(["--features", &features.join(",")]);
    }
    command.env("CARGO_ENCODED_RUSTFLAGS", rustflags(toolchain).join(SEPARATOR.as_ref()));
    process::run(&mut command)?;

    let linked = target.join(TARGET).join("release/nta-ebpf");
    let object = fs::read(&linked).with_context(|| format!("cannot read {}", linked.display()))?;
    strip::strip(&object)
}

/// A cargo of this toolchain that knows nothing of the user's flags, profiles and wrappers.
fn cargo(toolchain: &Toolchain, source: &Path, target: &Path) -> Result<Command> {
    let mut command = Command::new(&toolchain.cargo);
    for (name, _) in env::vars_os() {
        if decides_on_code(&name.to_string_lossy()) {
            command.env_remove(&name);
        }
    }
    let linker = toolchain::linker().context("bpf-linker is not installed; `cargo xtask setup` installs it")?;
    command.current_dir(source);
    command.env("RUSTC", &toolchain.rustc).env("RUSTC_BOOTSTRAP", "1");
    command.env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", linker).env("CARGO_TARGET_DIR", target);
    wrapper::install(&mut command).context("cannot find where xtask itself lies")?;
    Ok(command)
}

/// Whether this environment variable could change the object.
fn decides_on_code(name: &str) -> bool {
    let harmless = ["CARGO_HOME", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTR", "CARGO_TERM_", "CARGO_SOURCE_"];
    let suspect = ["CARGO", "RUSTC", "RUSTDOC", "RUSTFLAGS", "RUSTUP_TOOLCHAIN"];
    suspect.iter().any(|prefix| name.starts_with(prefix)) && !harmless.iter().any(|prefix| name.starts_with(prefix))
}

fn rustflags(toolchain: &Toolchain) -> Vec<OsString> {
    let mut flags: Vec<OsString> = CODEGEN.iter().map(Into::into).collect();
    // Rustc takes the last rule that fits, so the more special ones follow.
    let mut rules: Vec<(PathBuf, String)> = vec![(host::root(), "/nta".into())];
    rules.push((toolchain.rust_src.clone(), "/rust".into()));
    rules.extend(toolchain.rust_src.join("library").canonicalize().map(|real| (real, "/rust/library".into())));
    let registries = fs::read_dir(host::cargo_home().join("registry/src")).into_iter().flatten().flatten();
    rules.extend(registries.map(|registry| (registry.path(), "/registry".into())));
    for (from, to) in rules {
        let mut flag = OsString::from("--remap-path-prefix=");
        flag.push(from);
        flag.push("=");
        flag.push(to);
        flags.push(flag);
    }
    flags
}

/// What decides on the code besides the profile in nta-ebpf/Cargo.toml.
const CODEGEN: [&str; 4] = [
    // BTF, and in it the lines of the source that the verifier quotes; the DWARF beside it is dropped afterwards.
    "-Cdebuginfo=2",
    "-Clink-arg=--btf",
    // 32-bit registers and jumps: every kernel since 5.1 takes them.
    "-Ctarget-cpu=v3",
    // Headers behind a 14-byte Ethernet header are never aligned; the verifier allows such loads on x86-64 and arm64.
    "-Ctarget-feature=+allows-misaligned-mem-access",
];

const TARGET: &str = "bpfel-unknown-none";
/// What `CARGO_ENCODED_RUSTFLAGS` separates flags by.
const SEPARATOR: &str = "\u{1f}";

#[cfg(test)]
mod tests {
    use super::decides_on_code;

    #[test]
    fn flags_and_profiles_are_kept_out_and_network_settings_let_through() {
        for name in ["RUSTFLAGS", "CARGO_PROFILE_RELEASE_LTO", "RUSTC_WRAPPER", "RUSTUP_TOOLCHAIN", "CARGO"] {
            assert!(decides_on_code(name), "{name}");
        }
        for name in ["CARGO_HOME", "CARGO_HTTP_CAINFO", "CARGO_NET_OFFLINE", "PATH", "RUSTUP_HOME"] {
            assert!(!decides_on_code(name), "{name}");
        }
    }
}

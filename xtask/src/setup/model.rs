//! What learned models need: libxgboost out of its PyPI wheel, kept in the checkout, and what binds it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, anyhow, bail};

use super::{Package, apt, is_installed};
use crate::step::step;
use crate::{host, process};

/// The library that the crate `xgb` of Cargo.toml is made for.
const VERSION: &str = "3.4.1";

/// The wheels' SHA-256 for x86_64 and aarch64, as PyPI has them; pip refuses any other file.
const HASHES: [&str; 2] = [
    "1f16331f5c6beb2b40fbd4bf2834333062d93c9eb38b76186a5c206841dc1809",
    "47b81860b18056f9425b34fe2905343bc7ee0118122ae09cf2e31c305ed49877",
];

/// Where it is kept, seen from the root of the checkout; `.cargo/config.toml` tells the build.
const FOLDER: &str = ".xgboost";

const PACKAGES: &[Package] = &[
    Package { name: "g++", shown_by: "c++" }, // links the library, which is C++
    Package { name: "python3-pip", shown_by: "pip3" },
];

/// Sees to the library; the error says how to get it by hand.
pub(super) fn ensure() -> Result<()> {
    let absent = PACKAGES.iter().filter(|package| !is_installed(package)).map(|package| package.name);
    // bindgen reads the library's header with it.
    let absent: Vec<&str> = absent.chain((!has_libclang()).then_some("libclang-dev")).collect();
    if !absent.is_empty() {
        apt::install("models", &absent)?;
    }
    if is_there() {
        return Ok(());
    }
    fetch().map_err(|error| anyhow!("models: libxgboost {VERSION} cannot be fetched from PyPI: {error:#}"))
}

/// Cargo's arguments for every feature that can be built here: models need their library.
pub(crate) fn all_features() -> &'static [&'static str] {
    if can_build() { &["--all-features"] } else { &["--features", "nta-tests/kernel"] }
}

/// Cargo's arguments for the daemon with models, where they can be built here.
pub(crate) fn daemon_features() -> &'static [&'static str] {
    if can_build() { &["--features", "nta-daemon/xgboost"] } else { &[] }
}

fn can_build() -> bool {
    is_there() && has_libclang()
}

fn is_there() -> bool {
    let folder = host::root().join(FOLDER);
    let version = fs::read_to_string(folder.join("VERSION")).unwrap_or_default();
    version.trim() == VERSION && folder.join("xgboost/lib/libxgboost.so.3").exists()
}

/// Where bindgen looks for it, as far as that matters here.
fn has_libclang() -> bool {
    let is_library = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).any(|name| {
            let rest = name.strip_prefix("libclang").unwrap_or_default();
            rest.starts_with(".so") || rest.strip_prefix('-').is_some_and(|rest| rest.starts_with(char::is_numeric))
        })
    };
    let llvm = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    let llvm = llvm.filter(|path| path.to_string_lossy().contains("llvm")).map(|path| path.join("lib"));
    let named = env::var_os("LIBCLANG_PATH").map(PathBuf::from);
    let usual = ["/usr/lib64", "/usr/lib", "/usr/local/lib"].map(PathBuf::from);
    named.into_iter().chain(llvm).chain(usual).any(|folder| is_library(&folder))
}

/// Downloads the wheel and unpacks it whole: the library, the OpenMP that it looks for two folders above itself, the
/// licence, and the Python package, with which a test compares.
fn fetch() -> Result<()> {
    let (root, folder) = (host::root(), host::root().join(FOLDER));
    let work = root.join(format!("{FOLDER}.tmp"));
    let _ = fs::remove_dir_all(&work); // of an attempt that was broken off
    fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
    let hashes: String = HASHES.iter().map(|hash| format!(" --hash=sha256:{hash}")).collect();
    fs::write(work.join("requirements.txt"), format!("xgboost-cpu=={VERSION}{hashes}\n"))?;
    let platform = format!("manylinux_2_28_{}", env::consts::ARCH);
    let mut download = python(&work);
    download.args(["pip", "download", "-q", "--no-deps", "--only-binary=:all:", "--python-version", "3.13"]);
    download.args(["--platform", &platform, "--require-hashes", "-r", "requirements.txt", "-d", "."]);
    step("models: fetching libxgboost (6 MB)", &mut download)?;
    let entries = fs::read_dir(&work)?.flatten().map(|entry| entry.path());
    let Some(wheel) = entries.into_iter().find(|path| path.extension().is_some_and(|kind| kind == "whl")) else {
        bail!("pip has put no wheel there");
    };
    let kept = work.join("kept");
    process::run(python(&work).args(["zipfile", "-e"]).arg(&wheel).arg(&kept))?;
    // The name by which it is loaded, which the wheel lacks.
    std::os::unix::fs::symlink("libxgboost.so", kept.join("xgboost/lib/libxgboost.so.3"))?;
    fs::write(kept.join("VERSION"), format!("{VERSION}\n"))?;
    let _ = fs::remove_dir_all(&folder); // of another version
    fs::rename(&kept, &folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))
}

/// A module of Python's, in this folder.
fn python(folder: &Path) -> Command {
    let mut command = Command::new("python3");
    command.arg("-m").current_dir(folder);
    command
}

//! Whether a model is shipped, and with the feature `xgboost` where the binaries look for libxgboost when they start.

use std::path::{Component, Path, PathBuf};

/// Where an installed daemon has it, see systemd/README.md.
const INSTALLED: &str = "/usr/lib/nta/xgboost/lib";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=XGBOOST_LIB_DIR");
    println!("cargo:rerun-if-changed=models");
    println!("cargo:rustc-check-cfg=cfg(shipped_model, fuzzing)");
    if Path::new("models/xgboost.json").exists() {
        println!("cargo:rustc-cfg=shipped_model");
    }
    if std::env::var_os("CARGO_FEATURE_XGBOOST").is_none() {
        return;
    }
    // First, so that an installed daemon looks nowhere else.
    println!("cargo:rustc-link-arg=-Wl,-rpath,{INSTALLED}");
    let (Some(library), Some(out)) = (std::env::var_os("XGBOOST_LIB_DIR"), std::env::var_os("OUT_DIR")) else { return };
    // OUT_DIR is target/PROFILE/build/PACKAGE/out; programs lie in target/PROFILE, tests in target/PROFILE/deps.
    let Some(programs) = Path::new(&out).ancestors().nth(3) else { return };
    for folder in [programs.to_owned(), programs.join("deps")] {
        match from_below(&folder, Path::new(&library)) {
            Some(path) => println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN/{}", path.display()),
            // A target folder outside the checkout. No release binary names a folder of this machine; `cargo xtask run`
            // names it by LD_LIBRARY_PATH.
            None if std::env::var("PROFILE").is_ok_and(|profile| profile == "debug") => {
                println!("cargo:rustc-link-arg=-Wl,-rpath,{}", Path::new(&library).display());
            }
            None => {}
        }
    }
}

/// The way from a folder to a library of a folder above it, such as `../../.xgboost/xgboost/lib`: it goes up, and names
/// nothing but the library's own folders.
fn from_below(folder: &Path, library: &Path) -> Option<PathBuf> {
    let own = Path::new(".xgboost/xgboost/lib");
    // Cargo joins the checkout and the relative value, `..` and all.
    let plain: PathBuf = library.components().filter(|part| *part != Component::CurDir).collect();
    let checkout = plain.to_str()?.strip_suffix(own.to_str()?)?;
    let below = folder.strip_prefix(checkout).ok()?;
    let up: PathBuf = below.components().map(|_| Component::ParentDir).collect();
    Some(up.join(own))
}

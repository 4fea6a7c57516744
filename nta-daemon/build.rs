//! Whether a model is shipped, and with the feature `xgboost` where the binaries look for libxgboost when they start.

/// Where an installed daemon has it, see systemd/README.md.
const INSTALLED: &str = "/usr/lib/nta/xgboost/lib";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=XGBOOST_LIB_DIR");
    println!("cargo:rerun-if-changed=models");
    println!("cargo:rustc-check-cfg=cfg(shipped_model)");
    if std::path::Path::new("models/xgboost.json").exists() {
        println!("cargo:rustc-cfg=shipped_model");
    }
    if std::env::var_os("CARGO_FEATURE_XGBOOST").is_none() {
        return;
    }
    if let Some(folder) = std::env::var_os("XGBOOST_LIB_DIR") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", folder.display());
    }
    println!("cargo:rustc-link-arg=-Wl,-rpath,{INSTALLED}");
}

//! Release binaries name no path of the machine that built them: neither in panic messages and debug information nor as a
//! place to load libraries from.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail};

use crate::{host, process};

/// Has rustc write other names for the folders of this machine, cargo's target folder among them. A `RUSTFLAGS` of the user's is kept.
pub(crate) fn remap(cargo: &mut Command, target: &Path) {
    let flags: Vec<String> =
        folders(target).iter().map(|(path, name)| format!("--remap-path-prefix={}={name}", path.display())).collect();
    if let Ok(own) = env::var("RUSTFLAGS") {
        cargo.env("RUSTFLAGS", format!("{own} {}", flags.join(" ")));
        return;
    }
    // Unlike the variable, this adds to what cargo's own settings say.
    let quoted: Vec<String> = flags.iter().map(|flag| format!("{flag:?}")).collect();
    cargo.arg("--config").arg(format!("build.rustflags=[{}]", quoted.join(",")));
}

/// Fails if the binary names one of these folders after all.
pub(crate) fn check(binary: &Path, target: &Path) -> Result<()> {
    let bytes = fs::read(binary).with_context(|| format!("cannot read {}", binary.display()))?;
    for (folder, _) in folders(target) {
        let path = folder.display().to_string();
        let found = bytes.windows(path.len()).position(|window| window == path.as_bytes());
        if let Some(at) = found {
            let rest = bytes.get(at..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_graphic());
            let text: String = rest.take(200).map(|byte| char::from(*byte)).collect();
            bail!("{} names a path of this machine: {text}", binary.display());
        }
    }
    Ok(())
}

/// The folders that a build reads, and what they are called instead; of two prefixes rustc takes the later one.
fn folders(target: &Path) -> Vec<(PathBuf, &'static str)> {
    let mut folders = vec![
        (host::cargo_home(), "cargo"),
        (host::rustup_home(), "rustup"),
        (target.to_owned(), "target"),
        (host::root(), "nta"),
    ];
    if let Ok(sysroot) = process::output(Command::new("rustc").args(["--print", "sysroot"])) {
        folders.push((PathBuf::from(sysroot), "rust"));
    }
    // A sysroot such as /usr is no path of this machine alone.
    folders.retain(|(path, _)| path.components().count() > 2);
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_that_names_the_checkout_is_found() {
        let path = env::temp_dir().join(format!("nta-trim-{}", std::process::id()));
        fs::write(&path, "ELF nta/src/main.rs $ORIGIN/../../.xgboost").expect("a file");
        check(&path, &host::target_dir()).expect("no path of this machine");
        fs::write(&path, format!("ELF\0{}/.xgboost/lib\0", host::root().display())).expect("a file");
        let error = check(&path, &host::target_dir()).expect_err("a path of this machine").to_string();
        assert!(error.contains(".xgboost/lib"), "{error}");
        fs::remove_file(&path).expect("it is there");
    }
}

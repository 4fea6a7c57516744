//! Kernel modules: what they depend on, which Debian's packages leave to `depmod` to find out.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The module that a file holds, compressed or not, as the kernel writes its name.
pub(super) fn name(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let stem = file.strip_suffix(".xz").unwrap_or(file).strip_suffix(".ko")?;
    Some(stem.replace('-', "_"))
}

/// These modules and all that they need, uncompressed, each behind its dependencies; what is not there is built in.
pub(super) fn in_order(wanted: &[&str], files: &BTreeMap<String, PathBuf>) -> Result<Vec<(String, Vec<u8>)>> {
    let mut done = Vec::new();
    for name in wanted {
        add(name, files, &mut done)?;
    }
    Ok(done)
}

fn add(name: &str, files: &BTreeMap<String, PathBuf>, done: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    if done.iter().any(|(there, _)| there == name) {
        return Ok(());
    }
    let Some(path) = files.get(name) else {
        return Ok(());
    };
    let content = read(path)?;
    for dependency in depends(&content) {
        add(&dependency, files, done)?;
    }
    done.push((name.to_owned(), content));
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    if path.extension().is_none_or(|extension| extension != "xz") {
        return fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    }
    let output = Command::new("xz").arg("-dc").arg(path).output().context("cannot start xz")?;
    if !output.status.success() {
        bail!("xz does not unpack {}", path.display());
    }
    Ok(output.stdout)
}

/// The entry `depends=` of the section `.modinfo`, whose entries end with a zero byte.
fn depends(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let value = module[at + KEY.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let value = String::from_utf8_lossy(value);
    value.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{depends, name};

    #[test]
    fn names_and_dependencies() {
        assert_eq!(name(Path::new("a/nf-x.ko.xz")).as_deref(), Some("nf_x"));
        assert_eq!(name(Path::new("a/veth.ko")).as_deref(), Some("veth"));
        assert_eq!(name(Path::new("a/modules.order")), None);
        assert_eq!(depends(b"license=GPL\0depends=page-pool,ipv6\0name=x\0"), ["page_pool", "ipv6"]);
        assert!(depends(b"x\0depends=\0").is_empty());
    }
}

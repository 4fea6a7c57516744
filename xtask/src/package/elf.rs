//! Programs as they are installed: without debug information, and looking for libraries nowhere but where they are installed.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{host, process};

/// Where `nta-daemon/build.rs` has an installed daemon look first.
const INSTALLED: &[u8] = b"/usr/lib/nta/xgboost/lib:$ORIGIN";

/// Copies a program to its place among the files of the package.
pub(super) fn install(program: &Path, to: &Path) -> Result<()> {
    process::run(Command::new("strip").arg("-o").arg(to).arg(program))?;
    let mut bytes = fs::read(to)?;
    let (needed, oldest) = (libc(&bytes), oldest_libc()?);
    if needed > oldest {
        bail!(
            "{} needs libc {}.{}; the package promises {}.{}: build on an older system, or promise less in nta-daemon/Cargo.toml",
            to.display(),
            needed.0,
            needed.1,
            oldest.0,
            oldest.1
        );
    }
    if cut(&mut bytes) {
        fs::write(to, bytes).with_context(|| format!("cannot write {}", to.display()))?;
    }
    Ok(())
}

/// The newest version of the C library of which a program takes something.
fn libc(bytes: &[u8]) -> (u32, u32) {
    const NAME: &[u8] = b"\0GLIBC_";
    let names = bytes.windows(NAME.len()).enumerate().filter(|(_, window)| *window == NAME);
    let versions = names.filter_map(|(at, _)| {
        let rest = bytes.get(at + NAME.len()..)?.split(|byte| *byte == 0).next()?;
        version(std::str::from_utf8(rest).ok()?)
    });
    versions.max().unwrap_or_default()
}

/// What the Debian package depends on.
fn oldest_libc() -> Result<(u32, u32)> {
    let manifest = fs::read_to_string(host::root().join("nta-daemon/Cargo.toml"))?;
    let promised = manifest.split("libc6 (>= ").nth(1).and_then(|rest| rest.split(')').next());
    promised.and_then(version).context("nta-daemon/Cargo.toml names no version of libc6")
}

fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split('.').map_while(|part| part.parse().ok());
    Some((parts.next()?, parts.next()?))
}

/// Ends the list of places behind the first one: by the others a build inside a checkout finds the library.
fn cut(bytes: &mut [u8]) -> bool {
    let Some(at) = bytes.windows(INSTALLED.len()).position(|window| window == INSTALLED) else { return false };
    let rest = &mut bytes[at + INSTALLED.len() - b":$ORIGIN".len()..];
    rest.iter_mut().take_while(|byte| **byte != 0).for_each(|byte| *byte = 0);
    true
}

#[cfg(test)]
mod tests {
    use super::{cut, libc};

    #[test]
    fn the_newest_libc_is_found() {
        assert_eq!(libc(b"\0GLIBC_2.9\0GLIBC_2.34\0GLIBC_2.2.5\0GLIBCXX_3.4\0GLIBC_PRIVATE\0"), (2, 34));
    }

    #[test]
    fn only_the_installed_place_is_left() {
        let mut bytes = b"\0x\0/usr/lib/nta/xgboost/lib:$ORIGIN/../.xgboost\0libc.so.6\0".to_vec();
        let length = bytes.len();
        assert!(cut(&mut bytes));
        assert!(bytes.starts_with(b"\0x\0/usr/lib/nta/xgboost/lib\0\0"), "{bytes:?}");
        assert!(bytes.ends_with(b"\0\0libc.so.6\0") && bytes.len() == length, "{bytes:?}");
        assert!(!cut(&mut bytes));
    }
}

//! `BUILD.toml` beside the committed object: what it was built from and by.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::toolchain::Versions;

/// What is written beside the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) versions: Versions,
    /// SHA-256 of the object.
    pub(crate) object: String,
    /// SHA-256 over everything that the object is compiled from; see [`hash_sources`].
    pub(crate) sources: String,
}

impl Record {
    pub(crate) fn to_toml(&self) -> String {
        let Versions { rustc, rustc_llvm, bpf_linker, linker_llvm } = &self.versions;
        format!(
            "# Written by `cargo xtask build-ebpf`, compared by `cargo xtask build-ebpf --check`.\n\
             rustc = \"{rustc}\"\nrustc-llvm = \"{rustc_llvm}\"\n\
             bpf-linker = \"{bpf_linker}\"\nlinker-llvm = \"{linker_llvm}\"\n\
             object-sha256 = \"{}\"\nsources-sha256 = \"{}\"\n",
            self.object, self.sources
        )
    }

    pub(crate) fn parse(toml: &str) -> Result<Self> {
        let value = |key: &str| {
            let line = toml.lines().find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix('='));
            line.map(|value| value.trim().trim_matches('"').to_owned()).with_context(|| format!("no `{key}`"))
        };
        Ok(Self {
            versions: Versions {
                rustc: value("rustc")?,
                rustc_llvm: value("rustc-llvm")?,
                bpf_linker: value("bpf-linker")?,
                linker_llvm: value("linker-llvm")?,
            },
            object: value("object-sha256")?,
            sources: value("sources-sha256")?,
        })
    }

    /// Reads the record, if there is one.
    pub(crate) fn read(file: &Path) -> Result<Option<Self>> {
        if !file.exists() {
            return Ok(None);
        }
        let toml = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        Self::parse(&toml).map(Some).with_context(|| file.display().to_string())
    }
}

/// SHA-256 over the path, length and bytes of every source file of the object, in the order of their paths.
pub(crate) fn hash_sources(root: &Path) -> Result<String> {
    let mut files: Vec<PathBuf> =
        SINGLE_SOURCES.iter().map(|file| root.join(file)).filter(|file| file.exists()).collect();
    for folder in SOURCE_FOLDERS {
        collect(&root.join(folder), &mut files)?;
    }
    hash_files(root, files)
}

/// SHA-256 over path, length and bytes of these files, in the order of their paths below `root`.
pub(crate) fn hash_files(root: &Path, files: Vec<PathBuf>) -> Result<String> {
    let mut named = Vec::new();
    for file in files {
        let name = file.strip_prefix(root).unwrap_or(&file).to_string_lossy().into_owned();
        named.push((name, file));
    }
    named.sort();
    let mut hasher = Sha256::new();
    for (name, file) in named {
        let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        hasher.update(format!("{name}\0{}\0", bytes.len()));
        hasher.update(&bytes);
    }
    Ok(hex(&hasher.finalize()))
}

/// SHA-256 in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Adds all files below a folder.
pub(crate) fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if !folder.is_dir() {
        bail!("{} is missing", folder.display());
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

const SOURCE_FOLDERS: [&str; 2] = ["nta-common/src", "nta-ebpf/src"];
const SINGLE_SOURCES: [&str; 4] =
    ["nta-common/Cargo.toml", "nta-ebpf/Cargo.lock", "nta-ebpf/Cargo.toml", "nta-ebpf/build.rs"];

#[cfg(test)]
mod tests {
    use super::{Record, Versions, sha256};

    #[test]
    fn a_record_survives_writing_and_reading() {
        let record = Record {
            versions: Versions {
                rustc: "rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)".into(),
                rustc_llvm: "22.1.8".into(),
                bpf_linker: "bpf-linker 0.13.0".into(),
                linker_llvm: "22.1.8".into(),
            },
            object: sha256(b"object"),
            sources: sha256(b""),
        };
        assert_eq!(Record::parse(&record.to_toml()).unwrap(), record);
        assert_eq!(record.sources, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }

    #[test]
    fn a_record_without_a_key_names_it() {
        let error = Record::parse("rustc = \"x\"\n").unwrap_err();
        assert!(error.to_string().contains("rustc-llvm"), "{error}");
    }
}

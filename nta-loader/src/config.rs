//! What the loader may do: its configuration is its own, so that whoever takes the daemon over cannot widen it.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::{InterfacePattern, on_bpffs};

/// Bytes of the longest configuration.
const MOST_BYTES: u64 = 64 << 10;

/// `/etc/nta/nta-loader.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoaderConfig {
    /// Interfaces that may be attached to and recorded from: names and patterns. Empty: all.
    pub interfaces: Vec<InterfacePattern>,
    /// The most memory for flow maps in MiB.
    pub max_map_memory_mib: u64,
    /// Folder on a BPF file system where links and maps are pinned.
    pub pin_path: PathBuf,
    /// Where it listens, unless the service manager hands the socket down.
    pub socket: PathBuf,
}

impl Default for LoaderConfig {
    fn default() -> Self {
        Self {
            interfaces: Vec::new(),
            max_map_memory_mib: 1024,
            pin_path: PathBuf::from("/run/nta-bpf/nta"),
            socket: PathBuf::from("/run/nta-loader/loader.sock"),
        }
    }
}

impl LoaderConfig {
    /// From a file; what is not there is all defaults.
    ///
    /// # Errors
    /// A sentence that names the file and what is wrong in it.
    pub fn load(path: &Path) -> Result<Self, String> {
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let text = match std::fs::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(failed(&error)),
            Ok(metadata) if !metadata.is_file() => return Err(failed(&"is no regular file")),
            Ok(metadata) if metadata.len() > MOST_BYTES => return Err(failed(&"is too large")),
            Ok(_) => std::fs::read_to_string(path).map_err(|error| failed(&error))?,
        };
        let config: Self = toml::from_str(&text).map_err(|error| failed(&error))?;
        if !(1..=65_536).contains(&config.max_map_memory_mib) {
            return Err(failed(&format!("max_map_memory_mib is {}: 1 to 65536", config.max_map_memory_mib)));
        }
        if !config.pin_path.is_absolute() || !config.socket.is_absolute() {
            return Err(failed(&"pin_path and socket are absolute paths"));
        }
        Ok(config)
    }

    /// Whether it can pin.
    ///
    /// # Errors
    /// A sentence that says what to do.
    pub fn check_pin_path(&self) -> Result<(), String> {
        if on_bpffs(&self.pin_path) {
            return Ok(());
        }
        let path = self.pin_path.display();
        Err(format!("pin_path {path}: no BPF file system is mounted there (`nta-loader prepare` as root mounts one)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_checked_and_its_absence_is_all_defaults() {
        let folder = std::env::temp_dir().join(format!("nta-loader-config-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("nta-loader.toml");
        assert_eq!(LoaderConfig::load(&path), Ok(LoaderConfig::default()));
        std::fs::write(&path, "interfaces = [\"eth*\", \"!eth9\"]\nmax_map_memory_mib = 64\n").expect("written");
        let config = LoaderConfig::load(&path).expect("a configuration");
        assert_eq!((config.interfaces.len(), config.max_map_memory_mib), (2, 64));
        for (text, named) in [
            ("interfaces = [\"a/b\"]", "a/b"),
            ("max_map_memory_mib = 0", "max_map_memory_mib"),
            ("pin_path = \"x\"", "pin_path"),
            ("iterfaces = []", "iterfaces"),
        ] {
            std::fs::write(&path, text).expect("written");
            let refused = LoaderConfig::load(&path).expect_err(text);
            assert!(refused.contains(named) && refused.contains("nta-loader.toml"), "{refused}");
        }
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}

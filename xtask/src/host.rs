//! What this machine is: where the checkout lies, which programs are there, what this process may do.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// The root of the checkout that `cargo xtask` was called in.
pub(crate) fn root() -> PathBuf {
    // At run time first: with a shared CARGO_TARGET_DIR the binary may have been compiled in another checkout.
    let manifest = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let manifest = manifest.filter(|dir| dir.ends_with("xtask"));
    let manifest = manifest.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));
    manifest.parent().map(Path::to_path_buf).unwrap_or(manifest)
}

/// Cargo's target directory, wherever the user's settings have put it.
pub(crate) fn target_dir() -> PathBuf {
    if let Some(dir) = env::var_os("CARGO_TARGET_DIR").or_else(|| env::var_os("CARGO_BUILD_TARGET_DIR")) {
        return root().join(dir);
    }
    // This program lies in it, which also covers a `build.target-dir` of the user's own cargo settings.
    let executable = env::current_exe().unwrap_or_default();
    let target = executable.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    target.map_or_else(|| root().join("target"), Path::to_path_buf)
}

/// Cargo's home, with the registry and the programs that `cargo install` put there.
pub(crate) fn cargo_home() -> PathBuf {
    env::var_os("CARGO_HOME").map_or_else(|| home().join(".cargo"), PathBuf::from)
}

/// Rustup's home; it need not exist.
pub(crate) fn rustup_home() -> PathBuf {
    env::var_os("RUSTUP_HOME").map_or_else(|| home().join(".rustup"), PathBuf::from)
}

fn home() -> PathBuf {
    env::var_os("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from)
}

/// The full path of a program, looked up as a shell does, and where Debian and cargo keep more of them.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let more = [cargo_home().join("bin"), "/usr/sbin".into(), "/sbin".into()];
    env::split_paths(&path).chain(more).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// Whether this process has the user id of root.
pub(crate) fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    ids.and_then(|ids| ids.split_whitespace().nth(1)) == Some("0")
}

/// What the effective capabilities of this process allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Privileges {
    /// May create network namespaces, mounts and the like, as root does.
    pub(crate) administer: bool,
    /// May load programs of the network kind and attach them (CAP_BPF and CAP_NET_ADMIN, or CAP_SYS_ADMIN).
    pub(crate) load_bpf: bool,
}

impl Privileges {
    /// Of this process; those of nobody if the kernel does not say.
    pub(crate) fn current() -> Self {
        Self::from_status(&fs::read_to_string("/proc/self/status").unwrap_or_default())
    }

    fn from_status(status: &str) -> Self {
        let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let effective = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
        let has = |bit: u32| effective >> bit & 1 == 1;
        let administer = has(CAP_SYS_ADMIN) && has(CAP_NET_ADMIN);
        Self { administer, load_bpf: administer || (has(CAP_BPF) && has(CAP_NET_ADMIN)) }
    }
}

const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_BPF: u32 = 39;

#[cfg(test)]
mod tests {
    use super::Privileges;

    #[test]
    fn privileges_are_read_from_the_effective_set() {
        let of = |hex: &str| Privileges::from_status(&format!("CapPrm:\t000001ffffffffff\nCapEff:\t{hex}\n"));
        assert_eq!(of("000001ffffffffff"), Privileges { administer: true, load_bpf: true });
        assert_eq!(of("0000000000000000"), Privileges { administer: false, load_bpf: false });
        assert_eq!(of("0000008000001000"), Privileges { administer: false, load_bpf: true });
        assert_eq!(of("0000008000000000"), Privileges { administer: false, load_bpf: false });
    }
}

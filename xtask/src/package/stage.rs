//! The tree of files that packages hold, as it lies on an installed machine.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context as _, Result, bail};

use super::binaries::Program;
use super::{Place, elf, version};
use crate::{host, process};

/// Committed files and where they go; those of programs that are not there yet are left out.
const FILES: &[(&str, &str)] = &[
    ("systemd/nta-daemon.service", "usr/lib/systemd/system/nta-daemon.service"),
    ("systemd/nta.sysusers", "usr/lib/sysusers.d/nta.conf"),
    ("systemd/nta.tmpfiles", "usr/lib/tmpfiles.d/nta.conf"),
    ("systemd/nta-daemon.default", "etc/default/nta-daemon"),
    ("systemd/kernel-before-5.19.conf", "usr/share/nta/kernel-before-5.19.conf"),
    ("systemd/one-process.conf", "usr/share/nta/one-process.conf"),
    ("README.md", "usr/share/doc/nta/README.md"),
    ("LICENSE", "usr/share/doc/nta/LICENSE"),
    ("docs/INSTALL.md", "usr/share/doc/nta/INSTALL.md"),
    ("docs/CONFIGURATION.md", "usr/share/doc/nta/CONFIGURATION.md"),
    ("docs/DETECTORS.md", "usr/share/doc/nta/DETECTORS.md"),
    ("docs/API.md", "usr/share/doc/nta/API.md"),
    ("docs/SECURITY.md", "usr/share/doc/nta/SECURITY.md"),
    ("packaging/debian/copyright", "usr/share/doc/nta/copyright"),
    // Other systems than Debian have it nowhere else.
    ("packaging/lgpl-2.1.txt", "usr/share/doc/nta/lgpl-2.1.txt"),
    ("packaging/debian/lintian-overrides", "usr/share/lintian/overrides/nta"),
    ("docs/prometheus/nta.rules.yml", "usr/share/doc/nta/prometheus.rules.yml"),
    ("systemd/nta-loader.service", "usr/lib/systemd/system/nta-loader.service"),
    ("systemd/nta-loader.socket", "usr/lib/systemd/system/nta-loader.socket"),
    ("systemd/nta-bpf.mount", "usr/lib/systemd/system/run-nta\\x2dbpf.mount"),
    ("systemd/nta-loader.toml", "etc/nta/nta-loader.toml"),
];
/// What Debian compresses.
const GZIP: &[(&str, &str)] = &[("CHANGELOG.md", "usr/share/doc/nta/NEWS.md")];

/// Makes the tree anew and returns its root.
pub(super) fn stage(place: &Place, programs: &[(Program, PathBuf)]) -> Result<PathBuf> {
    // cargo-deb finds what lies in cargo's folder of release programs, wherever that is.
    let tree = Tree { root: place.release().join("package") };
    let _none = fs::remove_dir_all(&tree.root); // of an earlier run
    for (from, to) in FILES {
        tree.copy(&host::root().join(from), to)?;
    }
    for (from, to) in GZIP {
        tree.copy(&host::root().join(from), to)?;
        tree.gzip(to)?;
    }
    for (program, file) in programs {
        elf::install(file, &tree.place(&format!("usr/bin/{}", program.name))?)?;
        if program.generates {
            tree.generated(file)?;
        }
    }
    tree.xgboost()?;
    tree.write("usr/share/doc/nta/changelog.Debian", &changelog(place.epoch)?)?;
    tree.gzip("usr/share/doc/nta/changelog.Debian")?;
    Ok(tree.root)
}

const CONFIG: &str = "etc/nta/nta-daemon.toml";

/// The configuration of a daemon that asks the loader to attach.
fn with_loader(text: &str) -> Result<String> {
    const BY_ITSELF: &str = "\n#loader = \"\"\n";
    if !text.contains(BY_ITSELF) {
        bail!("{CONFIG} has no setting for the loader's socket");
    }
    Ok(text.replacen(BY_ITSELF, "\nloader = \"/run/nta-loader/loader.sock\"\n", 1))
}

struct Tree {
    root: PathBuf,
}

impl Tree {
    /// The path of a file, whose folder is made.
    fn place(&self, to: &str) -> Result<PathBuf> {
        let path = self.root.join(to);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        Ok(path)
    }

    fn copy(&self, from: &Path, to: &str) -> Result<()> {
        let text = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        self.write(to, &text)
    }

    fn write(&self, to: &str, bytes: impl AsRef<[u8]>) -> Result<()> {
        fs::write(self.place(to)?, bytes).with_context(|| format!("cannot write {to}"))
    }

    fn gzip(&self, to: &str) -> Result<()> {
        process::run(Command::new("gzip").args(["-9", "-n", "-f"]).arg(self.root.join(to)))
    }

    /// What the daemon writes about itself and the loader.
    fn generated(&self, daemon: &Path) -> Result<()> {
        let folder = self.root.with_file_name("generated");
        let _none = fs::remove_dir_all(&folder); // of an earlier run
        let mut command = Command::new(daemon);
        command.arg("generate").arg(&folder).env("LD_LIBRARY_PATH", host::root().join(".xgboost/xgboost/lib"));
        // What help shows of variables must not depend on who packs.
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("NTA_")) {
            command.env_remove(name);
        }
        process::run(&mut command)?;
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let to = match name.rsplit_once('.') {
                Some((_, section @ ("1" | "8"))) => format!("usr/share/man/man{section}/{name}"),
                Some((_, "toml")) => format!("etc/nta/{name}"),
                Some((program, "bash")) => format!("usr/share/bash-completion/completions/{program}"),
                Some((_, "fish")) => format!("usr/share/fish/vendor_completions.d/{name}"),
                _ => format!("usr/share/zsh/vendor-completions/{name}"),
            };
            self.copy(&path, &to)?;
            if to == CONFIG {
                self.write(&to, with_loader(&fs::read_to_string(&path)?)?)?;
            }
            if to.starts_with("usr/share/man/") {
                self.gzip(&to)?;
            }
        }
        Ok(())
    }

    /// The library of the learned models under the name by which it is loaded, and its OpenMP two folders above, where it looks.
    fn xgboost(&self) -> Result<()> {
        let from = host::root().join(".xgboost");
        let library = self.place("usr/lib/nta/xgboost/lib/libxgboost.so.3")?;
        elf::install(&from.join("xgboost/lib/libxgboost.so"), &library)?;
        for entry in fs::read_dir(from.join("xgboost_cpu.libs")).context("libxgboost's OpenMP is not there")? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            elf::install(&path, &self.place(&format!("usr/lib/nta/xgboost_cpu.libs/{name}"))?)?;
        }
        Ok(())
    }
}

/// The form that Debian's tools read; what changed is in our own.
fn changelog(epoch: u64) -> Result<String> {
    let date =
        process::output(Command::new("date").args(["-u", "-R", "-d"]).arg(format!("@{epoch}")).env("LC_ALL", "C"))?;
    let version = version();
    Ok(format!(
        "nta ({version}-1) unstable; urgency=medium\n\n  * What is new is in /usr/share/doc/nta/NEWS.md.gz.\n\n -- {MAINTAINER}  {date}\n"
    ))
}

/// As in `[package.metadata.deb]`.
const MAINTAINER: &str = "nta developers <nta-project@users.noreply.github.com>";

#[cfg(test)]
mod tests {
    use std::fs;

    use super::FILES;
    use crate::host;

    /// What may be linked in only under conditions is named to whoever gets the package, with the licence's text.
    #[test]
    fn crates_under_licences_of_their_own_are_named_with_the_text() {
        let read = |file: &str| fs::read_to_string(host::root().join(file)).expect("a committed file");
        let (deny, copyright) = (read("deny.toml"), read("packaging/debian/copyright"));
        // Bans look alike, but allow nothing.
        let lines = deny.lines().filter(|line| line.contains(", allow = ["));
        let exceptions: Vec<_> = lines.filter_map(|line| line.trim().strip_prefix("{ crate = \"")).collect();
        assert!(!exceptions.is_empty());
        for exception in exceptions {
            let (name, rest) = exception.split_once('"').expect("a name in quotes");
            assert!(copyright.split([' ', '\n']).any(|word| word == name), "{name} is not in the copyright file");
            assert!(rest.contains("LGPL-2.1"), "the text of the licence of {name} is in no package");
        }
        let (text, place) = FILES.iter().find(|(_, to)| to.ends_with("/lgpl-2.1.txt")).expect("the text is packaged");
        assert!(read(text).contains("GNU LESSER GENERAL PUBLIC LICENSE\n                       Version 2.1"));
        assert!(copyright.contains(place), "the copyright file does not say where the text is");
    }
}

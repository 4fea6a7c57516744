//! Debian's kernels, fetched by apt with settings of its own, so that the host's sources stay as they are.
//!
//! What a virtual machine needs of a package (the image and a few modules) is kept in `target/vm/<version>`; a second
//! run downloads nothing. Removing that folder gets the suite's kernel of the day.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, anyhow, bail};

use super::modules;
use crate::step::step;
use crate::{host, process};

/// A kernel of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kernel {
    pub(crate) name: &'static str,
    pub(super) suite: &'static str,
}

/// From the oldest that is supported to the newest that there is.
pub(crate) const KERNELS: &[Kernel] = &[
    Kernel { name: "5.10", suite: "bullseye" },
    Kernel { name: "6.1", suite: "bookworm" },
    Kernel { name: "6.12", suite: "trixie" },
    Kernel { name: "newest", suite: "sid" },
];

/// The one that belongs to `cargo xtask test`.
pub(crate) const EVERYDAY: Kernel = KERNELS[1];

/// What a machine boots.
pub(super) struct Image {
    pub(super) vmlinuz: PathBuf,
    /// Those of which the checks make use, in the order in which they have to be inserted.
    pub(super) modules: Vec<PathBuf>,
    /// The same of the forwarding paths.
    pub(super) path_modules: Vec<PathBuf>,
}

const MODULES: &[&str] = &["veth", "sch_ingress", "cls_bpf"];
/// Kinds of interfaces that a packet passes on its way through a gateway.
const PATH_MODULES: &[&str] =
    &["veth", "sch_ingress", "cls_bpf", "8021q", "bonding", "bridge", "ipvlan", "vrf", "ip_gre", "ipip", "wireguard"];
/// Which lists of modules are kept, and where each one's order is.
const LISTS: [(&[&str], &str); 2] = [(MODULES, "order"), (PATH_MODULES, "order-paths")];
const META: &str = "linux-image-cloud-amd64";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Where everything of these tests is kept.
pub(super) fn folder() -> PathBuf {
    host::target_dir().join("vm")
}

/// The kernel, from the cache or from Debian.
pub(super) fn fetch(kernel: Kernel) -> Result<Image> {
    let kept = folder().join(kernel.name);
    // What was kept by another version may lack a module.
    if fs::read_to_string(kept.join("wanted")).unwrap_or_default() != wanted() {
        download(kernel, &kept).with_context(|| format!("Debian's kernel {} cannot be had", kernel.name))?;
    }
    let [modules, path_modules] = LISTS.map(|(_, order)| -> Result<Vec<PathBuf>> {
        Ok(fs::read_to_string(kept.join(order))?.lines().map(|name| kept.join(name)).collect())
    });
    Ok(Image { vmlinuz: kept.join("vmlinuz"), modules: modules?, path_modules: path_modules? })
}

fn wanted() -> String {
    LISTS.map(|(modules, _)| modules.join(" ")).join("\n")
}

/// A busybox that needs no libraries, of which the machine's tools are made.
pub(super) fn busybox() -> Result<PathBuf> {
    let kept = folder().join("busybox");
    if !kept.is_file() {
        let root = unpack(EVERYDAY.suite, |_apt| Ok(vec!["busybox-static".to_owned()]), "busybox-static")?;
        let found = find(&root, &|name| name == "busybox").context("the package has no busybox")?;
        fs::copy(found, &kept)?;
        fs::remove_dir_all(root)?;
    }
    Ok(kept)
}

fn download(kernel: Kernel, kept: &Path) -> Result<()> {
    let root = unpack(kernel.suite, image_packages, &format!("kernel {}", kernel.name))?;
    fs::create_dir_all(kept)?;
    let vmlinuz = find(&root, &|name| name.starts_with("vmlinuz")).context("the packages have no vmlinuz")?;
    fs::copy(vmlinuz, kept.join("vmlinuz"))?;
    let mut files = BTreeMap::new();
    each_file(&root, &mut |path| {
        if let Some(name) = modules::name(path) {
            files.insert(name, path.to_owned());
        }
    });
    for (wanted, file) in LISTS {
        let mut order = String::new();
        for (name, content) in modules::in_order(wanted, &files)? {
            fs::write(kept.join(format!("{name}.ko")), content)?;
            order += &format!("{name}.ko\n");
        }
        fs::write(kept.join(file), order)?;
    }
    // Last, as its presence says that all is there.
    fs::write(kept.join("wanted"), wanted())?;
    fs::remove_dir_all(root)?;
    Ok(())
}

/// The packages behind Debian's "the kernel of this suite": image and modules are one package or, since 2026, two.
fn image_packages(apt: &Apt) -> Result<Vec<String>> {
    let depends = depends(&apt.cache(META)?);
    let image = depends.into_iter().find(|name| name.starts_with("linux-image-"));
    let image = image.ok_or_else(|| anyhow!("{META} names no image"))?;
    let parts = self::depends(&apt.cache(&image)?);
    let parts =
        parts.into_iter().filter(|name| name.starts_with("linux-binary-") || name.starts_with("linux-modules-"));
    let parts: Vec<String> = parts.collect();
    Ok(if parts.is_empty() { vec![image] } else { parts })
}

/// Names behind `Depends:` in what `apt-cache depends` prints.
fn depends(text: &str) -> Vec<String> {
    text.lines().filter_map(|line| line.trim().strip_prefix("Depends: ").map(str::to_owned)).collect()
}

/// Downloads packages of a suite and unpacks them into a folder, which is returned.
fn unpack(suite: &str, packages: impl Fn(&Apt) -> Result<Vec<String>>, what: &str) -> Result<PathBuf> {
    let apt = Apt::new(suite)?;
    step(&format!("{what}: reading the list of Debian {suite}"), apt.command("apt-get").arg("update"))?;
    let packages = packages(&apt)?;
    let debs = apt.folder.join("debs");
    let root = apt.folder.join("root");
    for folder in [&debs, &root] {
        let _none = fs::remove_dir_all(folder);
        fs::create_dir_all(folder)?;
    }
    let mut download = apt.command("apt-get");
    download.arg("download").args(packages).current_dir(&debs);
    step(&format!("{what}: downloading"), &mut download)?;
    for deb in fs::read_dir(&debs)? {
        process::run(Command::new("dpkg-deb").arg("-x").arg(deb?.path()).arg(&root))?;
    }
    fs::remove_dir_all(debs)?;
    Ok(root)
}

/// An apt that knows one suite and keeps its state in a folder of ours.
struct Apt {
    folder: PathBuf,
}

impl Apt {
    fn new(suite: &str) -> Result<Self> {
        if !Path::new(KEYRING).is_file() || host::find_program("apt-get").is_none() {
            bail!("needs apt and {KEYRING}");
        }
        let folder = folder().join("apt").join(suite);
        for part in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(part))?;
        }
        fs::write(folder.join("status"), "")?;
        let line = format!("deb [arch=amd64 signed-by={KEYRING}] {} {suite} main\n", archive());
        fs::write(folder.join("sources.list"), line)?;
        Ok(Self { folder })
    }

    /// Everything else, such as proxies, is as the host has it.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let folder = self.folder.display();
        for option in [
            format!("Dir::Etc::SourceList={folder}/sources.list"),
            "Dir::Etc::SourceParts=-".to_owned(),
            format!("Dir::State={folder}/state"),
            format!("Dir::State::status={folder}/status"),
            format!("Dir::Cache={folder}/cache"),
            "APT::Sandbox::User=root".to_owned(), // its own user may not write here
            "APT::Architecture=amd64".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
            "Acquire::Languages=none".to_owned(),
        ] {
            command.args(["-o", &option]);
        }
        command.env("LC_ALL", "C");
        command
    }

    fn cache(&self, package: &str) -> Result<String> {
        process::output(self.command("apt-cache").args(["depends", package]))
    }
}

/// The mirror that this machine uses for Debian, else Debian's own.
pub(crate) fn archive() -> String {
    let mut texts = vec![fs::read_to_string("/etc/apt/sources.list").unwrap_or_default()];
    let more = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten();
    texts.extend(more.map(|entry| fs::read_to_string(entry.path()).unwrap_or_default()));
    let mirror = texts.iter().find_map(|text| mirror(text));
    env::var("NTA_DEBIAN_MIRROR").ok().or(mirror).unwrap_or_else(|| "http://deb.debian.org/debian".to_owned())
}

/// The address in apt's sources that ends in `/debian`, in either of their formats.
fn mirror(sources: &str) -> Option<String> {
    let lines = sources.lines().filter(|line| line.starts_with("deb ") || line.starts_with("URIs:"));
    let mut words = lines.flat_map(str::split_whitespace);
    words.find(|word| word.contains("://") && word.trim_end_matches('/').ends_with("/debian")).map(str::to_owned)
}

fn find(root: &Path, wanted: &dyn Fn(&str) -> bool) -> Option<PathBuf> {
    let mut found = None;
    each_file(root, &mut |path| {
        if path.file_name().and_then(|name| name.to_str()).is_some_and(wanted) {
            found = Some(path.to_owned());
        }
    });
    found
}

fn each_file(folder: &Path, visit: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => each_file(&entry.path(), visit),
            Ok(kind) if kind.is_file() => visit(&entry.path()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{depends, mirror};

    #[test]
    fn the_mirror_is_found_in_both_formats() {
        let new = "Types: deb\n# http://old/debian\nURIs: http://near/debian\nSuites: trixie\n";
        assert_eq!(mirror(new).as_deref(), Some("http://near/debian"));
        let old = "deb http://near/debian-security x main\ndeb [arch=amd64] https://near/debian/ x main\n";
        assert_eq!(mirror(old).as_deref(), Some("https://near/debian/"));
        assert_eq!(mirror("deb http://archive.ubuntu.com/ubuntu noble main\n"), None);
    }

    #[test]
    fn dependencies_are_those_that_must_be_there() {
        let text =
            "linux-image-x\n  PreDepends: linux-base\n |Depends: dracut\n  Depends: linux-binary-x\n  Suggests: y\n";
        assert_eq!(depends(text), ["linux-binary-x"]);
    }
}

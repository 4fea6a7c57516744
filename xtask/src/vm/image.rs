//! The machine's first and only file system: busybox, the daemon with its libraries, modules, captures, our `init`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result};

use super::capture;
use super::cpio::Archive;
use super::kernels::{self, Image};
use crate::{host, process, setup};

const INIT: &str = include_str!("init.sh");
/// Captures of the test cases that are taken along, small ones first.
const MOST_CAPTURES: usize = 12;
const MOST_CAPTURE_BYTES: u64 = 64 * 1024;

/// What every machine has: busybox, `init`, the daemon, these modules.
fn machine(init: &str, modules: &[PathBuf], daemon: &Path) -> Result<Contents> {
    let mut contents = Contents::default();
    for folder in ["bin", "proc", "sys", "dev", "tmp", "modules"] {
        contents.archive.folder(folder);
    }
    contents.archive.file("init", init.as_bytes());
    contents.archive.file("bin/busybox", &read(&kernels::busybox()?)?);
    let mut order = String::new();
    for module in modules {
        let name = module.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        contents.archive.file(&format!("modules/{name}"), &read(module)?);
        order += &format!("{name}\n");
    }
    contents.archive.file("modules/order", order.as_bytes());
    contents.program("nta-daemon", &stripped(daemon, "nta-daemon")?)?;
    Ok(contents)
}

/// The archive of the matrix for a kernel; returns where it lies.
pub(super) fn build(kernel: &str, image: &Image, daemon: &Path) -> Result<PathBuf> {
    let mut contents = machine(INIT, &image.modules, daemon)?;
    contents.archive.folder("captures");
    contents.archive.file("captures/built-in.pcap", &capture::pcap());
    for (name, path) in captures() {
        contents.archive.file(&format!("captures/{name}"), &read(&path)?);
    }
    contents.write(kernel, "initramfs.cpio")
}

/// The archive in which a test's binary runs, with the programs that it calls.
pub(super) fn build_test(
    kernel: &str,
    image: &Image,
    init: &str,
    [daemon, test]: [&Path; 2],
    programs: &[PathBuf],
) -> Result<PathBuf> {
    let mut contents = machine(init, &image.path_modules, daemon)?;
    for folder in ["var", "var/run", "run", "root", "etc"] {
        contents.archive.folder(folder);
    }
    contents.archive.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n"); // tcpdump asks who it is
    contents.program("kernel_live", &stripped(test, "kernel_live")?)?;
    for program in programs {
        let name = program.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        contents.program(name, program)?;
    }
    contents.write(kernel, "paths.cpio")
}

/// An archive in the making, and which libraries and folders of libraries it has.
#[derive(Default)]
struct Contents {
    archive: Archive,
    there: BTreeSet<String>,
}

impl Contents {
    /// A program in /usr/bin, with its libraries.
    fn program(&mut self, name: &str, file: &Path) -> Result<()> {
        self.folders_above("/usr/bin/program");
        self.archive.file(&format!("usr/bin/{name}"), &read(file)?);
        for library in libraries(&process::output(Command::new("ldd").arg(file))?) {
            let there = place(&library);
            self.folders_above(&there);
            if self.there.insert(there.clone()) {
                self.archive.file(&there, &read(Path::new(&library))?);
            }
        }
        Ok(())
    }

    fn folders_above(&mut self, path: &str) {
        for folder in above(path) {
            if self.there.insert(folder.clone()) {
                self.archive.folder(&folder);
            }
        }
    }

    fn write(self, kernel: &str, name: &str) -> Result<PathBuf> {
        let file = kernels::folder().join(kernel).join(name);
        fs::write(&file, self.archive.finish()).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    }
}

/// Without its debug information, a tenth remains; as it is where there is no `strip`.
fn stripped(program: &Path, name: &str) -> Result<PathBuf> {
    if host::find_program("strip").is_none() {
        return Ok(program.to_owned());
    }
    let small = kernels::folder().join(name);
    process::run(Command::new("strip").arg("-o").arg(&small).arg(program))?;
    Ok(small)
}

/// Paths of libraries and of the loader in what `ldd` prints.
fn libraries(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')).map(str::to_owned))
        .collect()
}

/// Where a library is found in the machine: the system's where they are, others in a folder in which every program looks.
fn place(library: &str) -> String {
    let is_systems = ["/lib/", "/lib64/", "/usr/lib/"].iter().any(|folder| library.starts_with(folder));
    let name = library.rsplit('/').next().unwrap_or(library);
    if is_systems { library.to_owned() } else { format!("/lib/{name}") }
}

/// The folders above a file, outermost first.
fn above(path: &str) -> Vec<String> {
    let ends = path.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0);
    ends.map(|at| path[1..at].to_owned()).collect()
}

/// Inputs of test cases, each under its case's name.
fn captures() -> Vec<(String, PathBuf)> {
    let cases = fs::read_dir(host::root().join("tests/cases")).into_iter().flatten().flatten();
    let mut found: Vec<_> = cases
        .flat_map(|case| {
            let name = case.file_name().to_string_lossy().into_owned();
            let files = fs::read_dir(case.path()).into_iter().flatten().flatten();
            files.map(move |file| (format!("{name}-{}", file.file_name().to_string_lossy()), file))
        })
        .filter(|(name, _)| name.ends_with(".pcap") || name.ends_with(".pcapng"))
        .filter_map(|(name, file)| Some((file.metadata().ok()?.len(), name, file.path())))
        .filter(|(size, ..)| *size <= MOST_CAPTURE_BYTES)
        .collect();
    found.sort();
    found.into_iter().take(MOST_CAPTURES).map(|(_, name, path)| (name, path)).collect()
}

/// The daemon to test: the caller's, or a debug build of this checkout.
pub(super) fn daemon() -> Result<PathBuf> {
    if let Some(daemon) = env::var_os("NTA_DAEMON") {
        return Ok(PathBuf::from(daemon));
    }
    // As every other test builds it, and with the library of its models: without them it would be compiled once more.
    let mut build = process::cargo(["build", "--workspace", "--bin", "nta-daemon"]);
    process::run(build.args(setup::daemon_features())).context("the daemon does not build")?;
    Ok(host::target_dir().join("debug/nta-daemon"))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::{above, libraries, place};

    #[test]
    fn libraries_and_their_folders() {
        let text = "\tlinux-vdso.so.1 (0x7f)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x7f)\n\t/lib64/ld.so.2 (0x7f)\n";
        assert_eq!(libraries(text), ["/lib/x/libc.so.6", "/lib64/ld.so.2"]);
        assert_eq!(above("/lib/x/libc.so.6"), ["lib", "lib/x"]);
        assert_eq!(place("/lib/x/libc.so.6"), "/lib/x/libc.so.6");
        assert_eq!(place("/a/target/debug/../../b/libm.so.3"), "/lib/libm.so.3");
    }
}

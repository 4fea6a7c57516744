//! The table of forwarding paths (`tests/kernel_live/paths.rs`) in a virtual machine, whose kernel has the modules that the
//! host's may lack: VLANs, bonds, ipvlan, VRF, tunnels.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::kernels::{self, KERNELS, Kernel};
use super::outcome::Outcome;
use super::{cannot, image, machine};
use crate::report::Group;
use crate::{host, process, setup};

const INIT: &str = include_str!("paths.sh");
/// One attaches by clsact, the other by TCX.
const ON: [Kernel; 2] = [KERNELS[1], KERNELS[2]];
/// What the test calls, beside what busybox has.
const PROGRAMS: &[&str] = &["ip", "ethtool", "curl", "tcpdump", "ping", "wg"];
/// Of a run, which takes 6 minutes of a CPU.
const LIMIT: Duration = Duration::from_secs(2700);

/// Boots the kernels one after the other and counts each path, with these interfaces watched, as a test.
pub(crate) fn group() -> Result<Group> {
    let mut group = Group::new("paths");
    if let Some(reason) = cannot()? {
        return Ok(group.not_run(&reason));
    }
    let programs: Vec<Option<PathBuf>> = PROGRAMS.iter().map(|name| host::find_program(name)).collect();
    if let Some(missing) = PROGRAMS.iter().zip(&programs).find(|(_, file)| file.is_none()) {
        return Ok(group.not_run(&format!("{} is not installed", missing.0)));
    }
    let programs: Vec<PathBuf> = programs.into_iter().flatten().collect();
    let (test, daemon) = (test()?, image::daemon()?);
    for kernel in ON {
        let image = match kernels::fetch(kernel).and_then(|image| kernels::busybox().map(|_| image)) {
            Ok(image) => image,
            Err(error) => {
                group = group.not_run(&format!("{}: {error:#}", kernel.name));
                continue;
            }
        };
        let initramfs = image::build_test(kernel.name, &image, INIT, [&daemon, &test], &programs)?;
        let ran = machine::run(&image.vmlinuz, &initramfs, LIMIT)?;
        fs::write(initramfs.with_file_name("paths.log"), ran.lines.join("\n"))?;
        group = Outcome::of(&ran).count_all(kernel.name, group);
    }
    Ok(group)
}

/// The binary of the tests, built.
fn test() -> Result<PathBuf> {
    let mut cargo = process::cargo(["test", "--no-run", "--workspace", "--test", "kernel_live"]);
    cargo.args(setup::all_features()).arg("--message-format=json");
    let messages = process::output(&mut cargo).context("the tests do not build")?;
    executable(&messages).map(PathBuf::from).filter(|file| Path::is_file(file)).context("cargo names no binary")
}

/// The last `"executable":"…"` of cargo's messages.
fn executable(messages: &str) -> Option<&str> {
    let (_, rest) = messages.rsplit_once("\"executable\":\"")?;
    rest.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::executable;

    #[test]
    fn the_binary_is_what_cargo_names_last() {
        let messages = "{\"executable\":null}\n{\"executable\":\"/t/a-1\",\"x\":1}\n{\"reason\":\"build-finished\"}\n";
        assert_eq!(executable(messages), Some("/t/a-1"));
        assert_eq!(executable("{}"), None);
    }
}

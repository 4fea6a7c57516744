//! Debian's and Ubuntu's packages, without questions.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Result, anyhow, bail};

use crate::host;
use crate::step::step;

/// Installs these packages; if that may not be, the error is the command for a user to run.
pub(crate) fn install(group: &str, packages: &[&str]) -> Result<()> {
    let by_hand = format!("{group}: apt-get install {}", packages.join(" "));
    let Some(apt) = Apt::usable() else {
        bail!("{by_hand}   (as root; apt cannot be used from here)");
    };
    apt.update()?;
    let mut command = apt.command();
    command.args(["install", "-y", "--no-install-recommends"]).args(packages);
    step(&format!("{group}: installing {}", packages.join(" ")), &mut command)
        .map_err(|error| anyhow!("{by_hand}   (it failed here: {error:#})"))
}

/// Whether apt may be used and knows all these packages.
pub(crate) fn offers(packages: &[&str]) -> bool {
    let Some(apt) = Apt::usable() else {
        return false;
    };
    if apt.update().is_err() {
        return false;
    }
    let mut show = Command::new("apt-cache");
    show.args(["show", "--no-all-versions"]).args(packages).stdout(Stdio::null()).stderr(Stdio::null());
    show.status().is_ok_and(|status| status.success())
}

/// While held, installing a package starts none of its services; only root can hold it.
pub(crate) struct NoServices {
    /// The file to take away again, if it is ours.
    policy: Option<PathBuf>,
}

/// What Debian's `invoke-rc.d` asks before it starts a service; 101 forbids it.
const POLICY: &str = "/usr/sbin/policy-rc.d";
const FORBID: &str = "#!/bin/sh\n# of `cargo xtask`, while it installs\nexit 101\n";

impl NoServices {
    pub(crate) fn hold() -> Self {
        Self::hold_at(Path::new(POLICY))
    }

    /// A policy of somebody else is left alone; one that a killed run of ours left is taken over.
    fn hold_at(path: &Path) -> Self {
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o755).open(path);
        // Not root: nothing to take back.
        let is_new = file.is_ok_and(|mut file| file.write_all(FORBID.as_bytes()).is_ok());
        let is_ours = is_new || fs::read_to_string(path).is_ok_and(|text| text == FORBID);
        Self { policy: is_ours.then(|| path.to_owned()) }
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if let Some(policy) = &self.policy {
            // It can only be gone already.
            let _gone = fs::remove_file(policy);
        }
    }
}

/// An apt that this process may call.
#[derive(Clone, Copy)]
struct Apt {
    through_sudo: bool,
}

impl Apt {
    fn usable() -> Option<Self> {
        host::find_program("apt-get")?;
        if host::is_root() {
            return Some(Self { through_sudo: false });
        }
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "true"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        sudo.status().is_ok_and(|status| status.success()).then_some(Self { through_sudo: true })
    }

    fn command(self) -> Command {
        let mut command = Command::new(if self.through_sudo { "sudo" } else { "env" });
        if self.through_sudo {
            command.args(["-n", "env"]);
        }
        command.args(["DEBIAN_FRONTEND=noninteractive", "LC_ALL=C", "apt-get", "-q", "-o", "DPkg::Lock::Timeout=300"]);
        command
    }

    /// Once per process.
    fn update(self) -> Result<()> {
        static DONE: OnceLock<Result<(), String>> = OnceLock::new();
        let update = || step("updating the lists of packages", self.command().arg("update"));
        DONE.get_or_init(|| update().map_err(|error| format!("{error:#}"))).clone().map_err(|error| anyhow!(error))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn services_are_forbidden_while_held_and_a_policy_of_others_is_left_alone() {
        let path = std::env::temp_dir().join(format!("nta-policy-{}", std::process::id()));
        let held = NoServices::hold_at(&path);
        let mode = fs::metadata(&path).expect("a policy").permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{mode:o}");
        assert_eq!(Command::new(&path).status().expect("it runs").code(), Some(101));
        // As a killed run leaves it.
        std::mem::forget(held);
        drop(NoServices::hold_at(&path));
        assert!(!path.exists());
        fs::write(&path, "#!/bin/sh\nexit 0\n").expect("a file");
        drop(NoServices::hold_at(&path));
        assert!(path.exists());
        fs::remove_file(&path).expect("it is there");
    }
}

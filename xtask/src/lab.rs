//! `cargo xtask lab`: builds and starts `nta-lab`, which makes labelled captures.

use std::process::{Command, ExitCode};

use anyhow::{Result, bail};

use crate::setup::{self, Need};
use crate::{host, process, run};

pub(crate) const HELP: &str = "\
Makes labelled captures: each scenario is a small network of its own in namespaces (LAN with clients, victim and
attacker, a gateway, a WAN with servers), with a benign load of real clients, and attacks of real tools, varied by the
seed. Needs root; installs the tools by apt. docs/LAB.md has the network and the list of attacks. Builds the program
`nta-lab` first.

  --scenario NAME  only this one; again for more; a name's beginning stands for all that begin so
  --seed N         another variation of the same list; 1 when not given
  --out DIR        where captures, labels.tsv and manifest.json go; target/lab when not given
  --jobs N         scenarios side by side; 16 when not given
  --longest N      seconds that a busy scenario takes at most; 1400 when not given
  --list           print the plan, make nothing

Status 1 if a scenario failed; the others are there all the same. What a killed run leaves behind goes with the next.

Examples:
  cargo xtask lab --list
  cargo xtask lab --scenario portscan-nmap-1 --out /tmp/lab
  cargo xtask lab --seed 2";

/// Builds the lab, installs its tools, and runs it in the caller's folder.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let mut needs = vec![Need::Build];
    if !args.iter().any(|arg| arg == "--list") {
        if !host::is_root() {
            bail!("the lab makes network namespaces, which needs root");
        }
        needs.push(Need::Lab);
    }
    let missing = setup::ensure(&needs)?;
    if !missing.is_empty() {
        bail!("{}", missing.join("\n"));
    }
    process::run(&mut process::cargo(["build", "--quiet", "-p", "nta-lab", "--profile", PROFILE]))?;
    let target = host::target_dir();
    let mut lab = Command::new(target.join(PROFILE).join("nta-lab"));
    // The user's own --out, if there is one, comes later and wins.
    lab.arg("--out").arg(target.join("lab")).args(args);
    Ok(run::exit_code(process::status(&mut lab)?))
}

/// Mostly it sleeps: quick to compile, and what it depends on is compiled for xtask already.
const PROFILE: &str = "xtask";

//! What the dashboard is built and tested with, from npm, kept in `dashboard/node_modules`.

use std::fs;
use std::process::Command;

use anyhow::{Result, anyhow, bail};

use super::{Package, packages};
use crate::step::step;
use crate::{host, process};

const NODE: &[Package] = &[Package { name: "nodejs", shown_by: "node" }, Package { name: "npm", shown_by: "npm" }];

const BROWSER: &[Package] = &[Package { name: "chromium", shown_by: "chromium" }];
/// What the bundler needs; Debian 12 has an older one.
const LEAST_NODE: u32 = 20;

/// Sees to Node, the packages and a browser; the error says what is missing.
pub(super) fn ensure() -> Result<()> {
    packages("dashboard", NODE)?;
    let version = process::output(Command::new("node").arg("--version"))?;
    let major = version.trim().trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < LEAST_NODE) {
        bail!("dashboard: Node {LEAST_NODE} or later is needed, here is {}", version.trim());
    }
    modules()?;
    packages("dashboard", BROWSER)
}

fn modules() -> Result<()> {
    let folder = host::root().join("dashboard");
    let modified = |name: &str| fs::metadata(folder.join(name)).and_then(|file| file.modified()).ok();
    // npm writes it last.
    if modified("node_modules/.package-lock.json").is_some_and(|made| modified("package-lock.json") <= Some(made)) {
        return Ok(());
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]).current_dir(&folder);
    step("dashboard: fetching what builds and tests it (30 MB)", &mut npm)
        .map_err(|error| anyhow!("dashboard: what dashboard/package-lock.json lists cannot be fetched: {error:#}"))
}

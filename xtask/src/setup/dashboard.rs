//! What the dashboard is built and tested with, from npm, kept in `dashboard/node_modules`.

use std::fs;
use std::process::Command;

use anyhow::{Result, anyhow};

use super::{Package, packages};
use crate::host;
use crate::step::step;

const NODE: &[Package] = &[Package { name: "nodejs", shown_by: "node" }, Package { name: "npm", shown_by: "npm" }];

/// Sees to Node and the packages; the error says what is missing.
pub(super) fn ensure() -> Result<()> {
    packages("dashboard", NODE)?;
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

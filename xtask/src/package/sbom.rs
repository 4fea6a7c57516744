//! The bill of materials: every crate that the programs are built of, by CycloneDX.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::{Place, version};
use crate::step::step;
use crate::{host, setup};

/// The programs' crates, and the first word of the names of their bills.
const BILLS: [(&str, &str); 2] = [("nta-daemon", "nta"), ("nta-loader", "nta-loader")];

/// Writes one for each program beside the packages. The tool puts a file into the folder of every crate: those of the programs are
/// moved away, the others removed.
pub(super) fn write(place: &Place, folder: &Path) -> Result<()> {
    const NAME: &str = "nta-sbom.tmp";
    let mut tool =
        place.cargo(&["cyclonedx", "--format", "json", "--spec-version", "1.5", "--override-filename", NAME]);
    // It takes features by their names in the crate alone.
    if !setup::daemon_features().is_empty() {
        tool.arg("--all-features");
    }
    tool.args(["--manifest-path", "nta-daemon/Cargo.toml"]);
    step("bill of materials", &mut tool)?;
    for (program, name) in BILLS {
        let written = host::root().join(program).join(format!("{NAME}.json"));
        let text = fs::read_to_string(&written).with_context(|| format!("{} is not there", written.display()))?;
        // Local crates are named by where they lie on this machine.
        let text = text.replace(&format!("path+file://{}", host::root().display()), "path+file:///nta");
        fs::write(folder.join(format!("{name}-{}.cdx.json", version())), text)?;
    }
    for entry in fs::read_dir(host::root())?.flatten() {
        let _none = fs::remove_file(entry.path().join(format!("{NAME}.json")));
    }
    Ok(())
}

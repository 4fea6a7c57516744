//! `train --algorithm isolation_forest`: what is normal here, out of captures of normal traffic.

use std::path::Path;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};
use tokio_util::sync::CancellationToken;

use super::interrupt::Saving;
use crate::batch::replay_into;
use crate::config::Config;
use crate::model_loader::save_forest;
use crate::pipeline::{PipelineEvent, Sink};
use nta_core::evaluate::{Label, parse};
use nta_core::features::{Extent, FeatureVector, extract};
use nta_core::model::Models;
use nta_core::model::forest::{self, Manifest, Params, is_judged};
use nta_core::window::Window;

/// Rows that are kept, 40 MiB; of more, each has the same chance to be one of them.
const MAX_ROWS: usize = 100_000;
/// Files of a folder that are looked at.
const MAX_FILES: usize = 100_000;
/// Words that a capture's name ends with.
const ENDINGS: [&str; 8] = ["pcap", "pcapng", "cap", "ntar", "pcap.gz", "pcapng.gz", "pcap.zst", "pcapng.zst"];

/// Replays the captures, trains a forest from the hosts of their normal windows, and writes it.
pub(super) fn train_forest(
    folder: &Path,
    labels: Option<&Path>,
    out: &Path,
    seed: u64,
    config: &Config,
    saving: &Saving,
) -> Result<Manifest, String> {
    if !folder.is_dir() {
        return Err(format!("{}: no such folder", folder.display()));
    }
    let labels = labels.map(read_labels).transpose()?;
    let mut files = match &labels {
        Some(labels) => labels.iter().filter(|label| label.is_benign()).map(|label| label.file.clone()).collect(),
        None => captures(folder)?,
    };
    files.sort_unstable();
    files.dedup();
    let mut config = config.clone();
    config.detect.without_rules();
    let mut rows = Rows::new(seed, config.detect.isolation_forest.min_packets);
    let mut replayed = 0;
    for file in &files {
        let own = labels.iter().flatten().filter(|label| label.file == *file).cloned().collect();
        rows.labels = labels.as_ref().map(|_| own);
        match replay_into(file, &folder.join(file), &config, &Models::default(), &mut rows, &CancellationToken::new()) {
            Ok(_) => replayed += 1,
            Err(error) => tracing::warn!(file, error, "left out"),
        }
    }
    let params = Params { seed, ..Params::default() };
    let forest = forest::train(&rows.kept, &params)
        .map_err(|error| format!("{replayed} captures have {} hosts in normal windows: {error}", rows.seen))?;
    let from = format!("{} of {} hosts in {} windows of {replayed} captures", rows.kept.len(), rows.seen, rows.windows);
    let manifest = forest.manifest(forest::schema(config.windows.seconds), &from);
    saving.begin();
    save_forest(&forest, out, manifest.clone()).map_err(|error| error.to_string())?;
    Ok(manifest)
}

fn read_labels(path: &Path) -> Result<Vec<Label>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    parse(path, &text).map_err(|error| error.to_string())
}

/// Names of the captures in a folder and those below it, relative to it.
fn captures(folder: &Path) -> Result<Vec<String>, String> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(below) = folders.pop() {
        let failed = |error| format!("{}: {error}", below.display());
        for entry in std::fs::read_dir(&below).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            // Links are not followed: no folder is its own child.
            let kind = entry.file_type().map_err(failed)?;
            let path = entry.path();
            let name = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
            if kind.is_dir() {
                folders.push(path);
            } else if ENDINGS.iter().any(|ending| name.ends_with(&format!(".{ending}"))) {
                files.push(name);
            }
            if files.len() + folders.len() > MAX_FILES {
                return Err(format!("{}: more than {MAX_FILES} captures", folder.display()));
            }
        }
    }
    Ok(files)
}

/// The hosts of normal windows, a sample of them when there are many.
struct Rows {
    kept: Vec<FeatureVector>,
    seen: usize,
    windows: u64,
    min_packets: u64,
    /// Of the capture that is replayed; `None` without a label file.
    labels: Option<Vec<Label>>,
    random: Xoshiro256PlusPlus,
}

impl Rows {
    fn new(seed: u64, min_packets: u64) -> Self {
        let random = Xoshiro256PlusPlus::seed_from_u64(seed);
        Self { kept: Vec::new(), seen: 0, windows: 0, min_packets, labels: None, random }
    }

    /// Vitter's algorithm R.
    fn keep(&mut self, row: FeatureVector) {
        self.seen += 1;
        if self.kept.len() < MAX_ROWS {
            self.kept.push(row);
            return;
        }
        let place = self.random.random_range(0..self.seen);
        if let Some(kept) = self.kept.get_mut(place) {
            *kept = row;
        }
    }
}

/// Whether a window is normal: in a stretch labelled benign, or all of it is, and in none of an attack.
fn is_normal(labels: &[Label], window: &Window) -> bool {
    let overlaps = |label: &Label| {
        label.start.is_none_or(|start| start < window.end) && label.end.is_none_or(|end| end >= window.start)
    };
    labels.iter().any(|label| label.is_benign() && overlaps(label))
        && !labels.iter().any(|label| !label.is_benign() && overlaps(label))
}

impl Sink for Rows {
    fn take(&mut self, _number: u64, event: &PipelineEvent<'_>) {
        let PipelineEvent::Window(snapshot) = *event else { return };
        if snapshot.span != forest::SPAN
            || self.labels.as_ref().is_some_and(|labels| !is_normal(labels, &snapshot.window))
        {
            return;
        }
        self.windows += 1;
        let extent = Extent { seconds: snapshot.seconds(), base_windows: snapshot.span.factor() as f64 };
        // Hosts come in no order, and which are kept must not depend on it.
        let mut hosts: Vec<_> = snapshot.hosts.iter().filter(|host| is_judged(host, self.min_packets)).collect();
        hosts.sort_unstable_by_key(|host| host.address);
        hosts.into_iter().for_each(|host| self.keep(forest::row(&extract(host, extent))));
    }
}

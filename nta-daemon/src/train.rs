//! The rows that models learn from: every labelled capture through the same pipeline as any replay.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio_util::sync::CancellationToken;

use nta_core::evaluate::Label;
use nta_core::model::Models;
use nta_core::train::{Collector, Table};

use crate::batch::{on_every_processor, replay_into};
use crate::config::Config;
use crate::pipeline::{PipelineEvent, Sink};

/// Replays every labelled capture, as many at a time as there are processors; `progress` receives each that is done. What `stop`
/// prevents is among those that failed.
pub fn table(
    labels: &[Label],
    folder: &Path,
    config: &Config,
    stop: &CancellationToken,
    progress: &(dyn Fn() + Sync),
) -> Table {
    let mut by_file: BTreeMap<&str, Vec<&Label>> = BTreeMap::new();
    for label in labels {
        by_file.entry(&label.file).or_default().push(label);
    }
    let files: Vec<(&str, Vec<&Label>)> = by_file.into_iter().collect();
    let done: Mutex<BTreeMap<usize, Result<Collector<'_>, String>>> = Mutex::default();
    let next = AtomicUsize::new(0);
    let work = || loop {
        let at = next.fetch_add(1, Relaxed);
        let Some((file, labels)) = files.get(at) else { break };
        let collected = collect(file, &folder.join(file), labels, config, stop);
        done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(at, collected);
        progress();
    };
    on_every_processor(work);
    let mut table = Table::default();
    for (at, collected) in done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        let (file, labels) = &files[at];
        match collected {
            Ok(collected) => table.take(file, labels, collected),
            Err(reason) => drop(table.failed.insert((*file).to_owned(), reason)),
        }
    }
    table
}

fn collect<'a>(
    file: &str,
    path: &Path,
    labels: &[&'a Label],
    config: &Config,
    stop: &CancellationToken,
) -> Result<Collector<'a>, String> {
    let mut rows = Rows(Collector::new(labels.to_vec()));
    replay_into(file, path, config, &Models::default(), &mut rows, stop)?;
    Ok(rows.0)
}

/// Makes rows of the windows of a capture.
struct Rows<'a>(Collector<'a>);

impl Sink for Rows<'_> {
    fn take(&mut self, _number: u64, event: &PipelineEvent<'_>) {
        if let PipelineEvent::Window(snapshot) = event {
            self.0.window(snapshot);
        }
    }
}

//! What was read of each capture: put together of its parts, in the order of their first frames.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::{FileSummary, ReplayError, Summary};
use crate::source::replay::{Engine, Reading};
use nta_capture::{About, End, unsupported};

/// How far each part was read.
#[derive(Default)]
pub(super) struct Files(BTreeMap<usize, Reading>);

impl Files {
    /// A part was read so far; the last word counts.
    pub(super) fn note(&mut self, reading: Reading) {
        self.0.insert(reading.part, reading);
    }

    /// Puts the files into the summary. Of a stream it is no error that no frame can be analysed.
    pub(super) fn conclude(self, paths: &[PathBuf], is_stream: bool, summary: &mut Summary) -> Result<(), ReplayError> {
        let mut files: Vec<Reading> = Vec::new();
        for part in self.0.into_values() {
            match files.iter_mut().find(|file| file.file == part.file) {
                Some(file) => merge(file, part),
                None => files.push(part),
            }
        }
        for Reading { file, name, format, mut frames, skipped, lengths_clamped, stamps, end, about, .. } in files {
            if !is_stream && let Some(message) = unsupported(&name, frames, &skipped) {
                return Err(ReplayError::LinkType(message));
            }
            if frames > 0 && stamps.wrong == frames {
                tracing::warn!(
                    capture = name,
                    "no packet has a time that can be used: the first one is put at 1970, the others as long after it as they came"
                );
                summary.timeless.push(name.clone());
            }
            for (link_type, count) in skipped {
                frames += count;
                *summary.skipped_link_types.entry(link_type.to_string()).or_default() += count;
            }
            summary.packets += frames;
            summary.wrong_times += stamps.wrong;
            summary.set_back += stamps.set_back;
            let metadata = paths.get(file).and_then(|path| path.metadata().ok());
            let bytes = metadata.filter(std::fs::Metadata::is_file).map(|metadata| metadata.len());
            let number = file;
            let end = if summary.stopped && end == End::Complete { End::Stopped } else { end };
            let sha256 = None;
            summary.files.push(FileSummary {
                number,
                name,
                format,
                frames,
                lengths_clamped,
                end,
                about,
                bytes,
                sha256,
            });
        }
        // Of one interface the order is its own, in a file as in a pipe.
        if summary.files.iter().all(|file| file.about.interfaces.len() < 2) {
            summary.out_of_order = 0;
        }
        Ok(())
    }
}

impl Summary {
    /// Of a pipe that was given up before its first packet.
    pub(super) fn of_nothing(path: &Path, engine: &dyn Engine, began: Instant) -> Self {
        let nothing = FileSummary {
            number: 0,
            name: path.display().to_string(),
            format: "nothing came".to_owned(),
            frames: 0,
            lengths_clamped: 0,
            end: End::Stopped,
            about: About::default(),
            bytes: None,
            sha256: None,
        };
        let files = vec![nothing];
        Self { engine: engine.name(), files, stopped: true, elapsed: began.elapsed(), ..Self::default() }
    }
}

fn merge(file: &mut Reading, part: Reading) {
    file.frames += part.frames;
    file.about.merge(&part.about);
    file.lengths_clamped += part.lengths_clamped;
    file.stamps.wrong += part.stamps.wrong;
    file.stamps.set_back += part.stamps.set_back;
    for (link_type, count) in part.skipped {
        *file.skipped.entry(link_type).or_default() += count;
    }
    if part.end != End::Complete {
        file.end = part.end;
    }
}

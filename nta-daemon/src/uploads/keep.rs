//! What stays of uploads over a restart, and what goes with time.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::recorded::remove_recording;
use super::{Inner, Refusal, is_id};
use crate::capture::clock;
use crate::store::{Position, Upload, UploadState, sensor_of_capture};
use nta_core::domain::Timestamp;

/// So long an analysis waits for the next part of an upload, in units of `idle_s`; then it begins anew when all is there.
const PARKED_FOR: u64 = 2;
const HOUR_NS: u64 = 3_600_000_000_000;
const PAGE: u32 = 1000;

impl Inner {
    /// Goes on with what an earlier run left: captures that were whole are analysed, parts wait on, files of nobody go.
    pub(super) async fn recover(self: &Arc<Self>) -> Result<(), Refusal> {
        self.adopt_left().await;
        if !self.folder.is_dir() {
            return Ok(());
        }
        let logs = self.logs_left().await?;
        for left in self.store.uploads_in(&[UploadState::Receiving, UploadState::Received]).await? {
            // Requests are served meanwhile: what one of them sends is not left by anybody, and what one has sent is another by now.
            if self.live().contains_key(&left.file_id) {
                continue;
            }
            let Some(upload) = self.store.upload(&left.file_id).await? else { continue };
            if upload.state != left.state {
                continue;
            }
            let path = self.path_of(&upload);
            match path.metadata() {
                Ok(metadata) if upload.state == UploadState::Receiving => {
                    // What was sent in one piece nobody goes on with.
                    if logs.contains(&upload.file_id) {
                        continue;
                    }
                    if upload.length.is_none() {
                        self.remove(&upload).await?;
                    } else {
                        self.store.note_upload_bytes(&upload.file_id, metadata.len(), clock::now()).await?;
                    }
                }
                // A job of before goes on with it.
                Ok(_) if self.has_job(&upload.file_id) => {}
                Ok(_) => self.analyse_again(&upload, None).await?,
                Err(_) => {
                    tracing::warn!(file_id = upload.file_id, "the file of an upload is gone");
                    self.remove(&upload).await?;
                }
            }
        }
        self.remove_strays().await
    }

    /// Deletes files with names of ours that the database does not know.
    async fn remove_strays(self: &Arc<Self>) -> Result<(), Refusal> {
        let files = std::fs::read_dir(&self.folder)?.flatten().map(|file| file.file_name());
        for name in files.filter(|name| is_id(name.as_ref())) {
            let name = name.to_string_lossy().into_owned();
            if !self.live().contains_key(&name) && self.store.upload(&name).await?.is_none() {
                self.remove_file(&name);
            }
        }
        Ok(())
    }

    /// Deletes file, report and what was found.
    pub(super) async fn remove(self: &Arc<Self>, upload: &Upload) -> Result<(), Refusal> {
        let file_id = &upload.file_id;
        let live = self.live().remove(file_id);
        self.store.delete_upload(file_id).await?;
        match &upload.recorded {
            Some(_) => remove_recording(&self.path_of(upload)),
            None => self.remove_file(file_id),
        }
        match live.filter(|live| live.is_begun.load(Relaxed)) {
            // Whoever analyses it deletes what it has stored.
            Some(live) if live.report.get().is_none() => live.growth.stop(),
            _ => {
                let (inner, run, sensor) = (Arc::clone(self), upload.run, sensor_of_capture(file_id));
                tokio::spawn(async move {
                    let Some(run) = run else { return };
                    if let Err(error) = inner.store.delete_rows_of_run(&run, &sensor).await {
                        tracing::warn!(error = error.chain(), sensor, "what was found in a deleted capture stays");
                    }
                });
            }
        }
        Ok(())
    }

    pub(super) fn remove_file(&self, file_id: &str) {
        let path = self.path(file_id);
        let bytes = path.metadata().map_or(0, |metadata| metadata.len());
        match std::fs::remove_file(&path) {
            Ok(()) => self.room.give_back(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%error, path = %path.display(), "a capture cannot be deleted"),
        }
    }

    /// Deletes what is too old, and ends analyses that wait for bytes in vain.
    pub(super) async fn tidy(self: &Arc<Self>) {
        self.end_parked();
        self.end_idle_logs().await;
        self.begin_late().await;
        if let Err(error) = self.expire(clock::now()).await {
            tracing::warn!(%error, "old captures are not deleted");
        }
    }

    fn end_parked(&self) {
        let patience = Duration::from_secs(self.config.idle_s * PARKED_FOR);
        let mut live = self.live();
        live.retain(|_, live| {
            let is_old = live.parked().as_ref().is_some_and(|(_, since)| since.elapsed() > patience);
            let goes = is_old && !live.is_taken.load(Relaxed);
            if goes {
                live.growth.stop();
            }
            !goes
        });
    }

    /// Deletes captures that are too old at this time, and parts of uploads that nobody went on with.
    pub(super) async fn expire(self: &Arc<Self>, now: Timestamp) -> Result<(), Refusal> {
        let mut after = None;
        loop {
            let position = Position { descending: false, after, limit: PAGE };
            let (page, next) = self.store.uploads(position).await?;
            for upload in page.iter().filter(|upload| self.is_too_old(upload, now) || self.is_gone(upload)) {
                if self.live().get(&upload.file_id).is_some_and(|live| live.is_taken.load(Relaxed)) {
                    continue;
                }
                tracing::info!(file_id = upload.file_id, state = upload.state.word(), "an old capture is deleted");
                self.remove(upload).await?;
                self.counts.expired.fetch_add(1, Relaxed);
            }
            let Some(next) = next else { return Ok(()) };
            after = Some(next);
        }
    }

    fn is_too_old(&self, upload: &Upload, now: Timestamp) -> bool {
        let config = &self.config;
        match upload.state {
            UploadState::Receiving => now.since(upload.changed) > config.resume_hours.saturating_mul(HOUR_NS),
            _ => self.expires(upload).is_some_and(|expires| now > expires),
        }
    }

    /// When a capture is deleted.
    pub(super) fn expires(&self, upload: &Upload) -> Option<Timestamp> {
        let days = if upload.recorded.is_some() { self.settings.recordings.keep_days } else { self.config.keep_days };
        (days > 0).then(|| upload.added.plus(days.saturating_mul(24 * HOUR_NS)))
    }
}

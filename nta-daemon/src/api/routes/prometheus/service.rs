//! What the daemon does beside counting: captures that clients send, readers of events, webhooks, the log, capture by request.

use std::sync::atomic::Ordering::Relaxed;

use super::Snapshot;
use super::page::{COUNTER, GAUGE, Page};

impl Snapshot {
    pub(super) fn service(&self, page: &mut Page<'_>) -> std::fmt::Result {
        let stops = self.status.stopped.len() as f64;
        page.one("capture_stops", "Stops of capture by request that hold, 1 for all interfaces at once", GAUGE, stops)?;

        let (uploads, used_bytes) = &self.uploads;
        let counts = uploads.counts();
        let outcome = |name| vec![("outcome", name)];
        let ended = [
            (outcome("received"), counts.received.load(Relaxed) as f64),
            (outcome("refused"), counts.refused.load(Relaxed) as f64),
        ];
        page.family("uploads", "Uploads that ended: received whole, or refused or broken off", COUNTER, ended)?;
        let duplicates = counts.duplicates.load(Relaxed) as f64;
        page.one("uploads_duplicate", "Of those received, uploads that were there already", COUNTER, duplicates)?;
        let analysed = counts.analysed.load(Relaxed) as f64;
        page.one("uploads_analysed", "Uploads that were analysed", COUNTER, analysed)?;
        let expired = counts.expired.load(Relaxed) as f64;
        page.one("uploads_expired", "Uploads deleted as they were too old", COUNTER, expired)?;
        page.one("uploads_kept_bytes", "Bytes of the uploads that are kept", GAUGE, *used_bytes as f64)?;

        let stream = &self.stream;
        page.one("stream_readers", "Readers of events", GAUGE, stream.readers as f64)?;
        page.one("stream_readers_refused", "Readers for whom there was no room", COUNTER, stream.refused as f64)?;
        page.one("stream_resyncs", "Cursors that could not be gone on from", COUNTER, stream.resyncs as f64)?;
        let about = "Events that were deleted before a reader came to them";
        page.one("stream_events_missed", about, COUNTER, stream.missed as f64)?;

        let attempts = self.webhooks.iter().flat_map(|webhook| {
            let labels = |outcome| vec![("webhook", webhook.name.as_str()), ("outcome", outcome)];
            [(labels("taken"), webhook.taken as f64), (labels("failed"), webhook.failed as f64)]
        });
        page.family("webhook_attempts", "Attempts to send an event by what became of them", COUNTER, attempts)?;
        let dead = self.webhooks.iter().map(|webhook| (vec![("webhook", webhook.name.as_str())], webhook.dead as f64));
        page.family("webhook_dead_letters", "Events that were given up", COUNTER, dead)?;
        let failing = self
            .webhooks
            .iter()
            .map(|webhook| (vec![("webhook", webhook.name.as_str())], f64::from(u8::from(webhook.is_failing))));
        page.family("webhook_failing", "1 while the last attempt failed, or nothing can be sent", GAUGE, failing)?;

        let dropped = (self.records.all - self.records.kept) as f64;
        page.one("log_records_dropped", "Records that made room for newer ones in /api/control/logs", COUNTER, dropped)
    }
}

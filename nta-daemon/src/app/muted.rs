//! What mutes hid is kept over restarts: read at the start, written once a minute where it grew, and at the end.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::pipeline::mutes::{Hidden, MuteHandle};
use crate::store::{Store, StoredMute};

/// How often it is written. A kill loses so much of it.
const EVERY: Duration = Duration::from_secs(60);

/// Which mutes hold, and what each has hidden so far.
pub(super) async fn restore(store: &Store, sensor: &str, mutes: &MuteHandle) {
    match store.mutes().await {
        Ok(stored) => mutes.set(stored.into_iter().map(StoredMute::held).collect()),
        Err(error) => tracing::warn!(error = error.chain(), "mutes cannot be read: none holds"),
    }
    match store.hidden(sensor).await {
        Ok(hidden) => {
            let hidden = hidden.into_iter().map(|(id, (findings, last))| (id, Hidden { findings, last }));
            mutes.restore(hidden.collect());
        }
        Err(error) => tracing::warn!(error = error.chain(), "what mutes hid before is not known"),
    }
}

/// Writes what they hid until it is stopped.
pub(super) async fn keep(store: Store, sensor: String, mutes: MuteHandle, stop: CancellationToken) {
    let mut kept = mutes.all_hidden();
    while !stop.is_cancelled() {
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
        let hidden = mutes.all_hidden();
        if hidden == kept {
            continue;
        }
        let all = hidden.iter().map(|(id, hid)| (*id, (hid.findings, hid.last))).collect();
        match store.keep_hidden(&sensor, &all).await {
            Ok(()) => kept = hidden,
            Err(error) => tracing::debug!(error = error.chain(), "what mutes hid is written later"),
        }
    }
}

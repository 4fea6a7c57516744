//! Webhooks of collectors: one of those that share a database sends, the others wait until it is gone.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::config::WebhookConfig;
use crate::sink::webhook::Webhooks;
use crate::store::{Store, StoreError};

/// Whose they are, to the store: no sensor is called so.
const OF: &str = "collect:webhooks";
/// How often one that waits looks whether it is its turn.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Those of the configuration.
pub(super) fn of(store: &Store, configs: &[WebhookConfig]) -> Option<Webhooks> {
    (!configs.is_empty()).then(|| Webhooks::new(store.clone(), OF.to_owned(), configs))
}

/// Sends while no other collector does, until `stop`. What one that was killed has sent and not noted, the next one sends again.
pub(super) async fn send(webhooks: Webhooks, store: Store, stop: CancellationToken) {
    let mut is_failing = false;
    while !stop.is_cancelled() {
        match store.lease(OF).await {
            Ok(lease) => {
                is_failing = false;
                tracing::info!("webhook: this collector sends");
                let turn = stop.child_token();
                webhooks.start(None, &turn);
                let lost = stop.run_until_cancelled(lease.keep(store.clone())).await;
                turn.cancel();
                if lost.is_some() {
                    tracing::warn!("webhook: another collector sends now");
                }
            }
            Err(StoreError::Leased { .. }) => is_failing = false,
            Err(error) if !is_failing => {
                is_failing = true;
                tracing::warn!(error = error.chain(), "webhook: it cannot be found out who sends; it is tried again");
            }
            Err(_still) => {}
        }
        let _stopped = stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await;
    }
}

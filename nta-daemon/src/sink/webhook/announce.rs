//! What happens to the daemon itself while the database takes nothing: sent before it is in the log, and not once more with it.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;

use super::message::{Delivery, told_as};
use super::{FIRST_WAIT, LONGEST_WAIT, Shared, Webhook};
use crate::store::{Announced, LogState};

/// Events that may be told before they are logged: of so many it is known that the target has them.
const TOLD: usize = 512;

/// What a target has of the events that may be told before they are logged.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) log: LogState,
    names: VecDeque<String>,
}

impl Told {
    pub(super) fn has(&self, name: &str) -> bool {
        self.names.iter().any(|told| told == name)
    }

    pub(super) fn add(&mut self, name: String) {
        self.names.push_back(name);
        self.names.drain(..self.names.len().saturating_sub(TOLD));
    }
}

impl Shared {
    /// Sends what happens to the daemon itself while the database takes nothing. What the target does not take by then comes with the log.
    pub(super) async fn announce(&self, webhook: &Webhook) {
        if webhook.target.is_err() {
            return;
        }
        let mut news = self.store.announced();
        let (mut trouble, mut next, mut wait) = (0, 0, FIRST_WAIT);
        loop {
            let found = {
                let announced = news.borrow_and_update();
                if announced.trouble != trouble {
                    (trouble, next, wait) = (announced.trouble, 0, FIRST_WAIT);
                }
                announced.events.get(next).cloned()
            };
            let Some(event) = found else {
                if news.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let name = told_as(&event).filter(|_| webhook.takes(&event, &self.sensor));
            let Some(name) = name else {
                next += 1;
                continue;
            };
            let mut told = webhook.told.lock().await;
            let goes_on = |now: &Announced| now.trouble == trouble && now.events.len() > next;
            if !goes_on(&news.borrow()) {
                continue;
            }
            let sent = if told.has(&name) { Ok(()) } else { webhook.send(&Delivery::new(&told.log, &event)).await };
            webhook.counts[usize::from(sent.is_err())].fetch_add(1, Relaxed);
            match sent {
                Ok(()) => {
                    told.add(name);
                    (next, wait) = (next + 1, FIRST_WAIT);
                }
                Err(failure) if failure.is_for_good => next += 1,
                Err(failure) => {
                    drop(told);
                    tracing::warn!(
                        webhook = webhook.config.name,
                        reason = failure.reason,
                        "webhook: a trouble is not taken"
                    );
                    tokio::time::sleep(failure.retry_after.unwrap_or_default().max(wait)).await;
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
            }
        }
    }
}

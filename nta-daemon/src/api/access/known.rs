//! The tokens as they were read last. What another process changes, as `nta-daemon tokens` does, is seen within [`FRESH_NS`]; while the
//! store does not answer, what it said last holds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::api::ApiError;
use crate::api::state::now;
use crate::store::{Store, StoreError, StoredToken};
use nta_core::domain::Timestamp;

/// For so long what was read is not read again.
const FRESH_NS: u64 = 1_000_000_000;
/// So long the store is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// That a token is used is written down once in this time.
const NOTED_NS: u64 = 60_000_000_000;

/// The tokens that there are.
#[derive(Clone, Debug)]
pub(super) struct Tokens {
    pub(super) list: Arc<[StoredToken]>,
    /// Whether one was ever made, also where its row cannot be read.
    pub(super) exist: bool,
}

#[derive(Debug)]
pub(super) struct Known {
    store: Store,
    last: Mutex<Option<(Tokens, Timestamp)>>,
    /// Held by the one that reads.
    reading: tokio::sync::Mutex<()>,
    /// When each was used last, as far as this process knows: no more than there are tokens.
    used: Mutex<HashMap<u64, Used>>,
}

/// When a token was used last, and which time of these is written down.
#[derive(Clone, Copy, Debug)]
struct Used {
    last: Timestamp,
    written: Timestamp,
}

impl Known {
    pub(super) fn new(store: Store) -> Self {
        Self { store, last: Mutex::default(), reading: tokio::sync::Mutex::default(), used: Mutex::default() }
    }

    /// Where they are kept.
    pub(super) fn store(&self) -> Store {
        self.store.clone()
    }

    /// The tokens as they were read last; asks nobody.
    pub(super) fn last_known(&self) -> Option<Tokens> {
        self.last().map(|(tokens, _)| tokens)
    }

    /// The tokens.
    ///
    /// # Errors
    /// When the store does not answer, and never did.
    pub(super) async fn tokens(&self) -> Result<Tokens, ApiError> {
        if let Some((tokens, at)) = self.last() {
            let at_now = now();
            if at <= at_now && at_now.since(at) < FRESH_NS {
                return Ok(tokens);
            }
            // One reads; the others go on with what there is.
            let Ok(_reading) = self.reading.try_lock() else { return Ok(tokens) };
            return Ok(self.read_now().await.unwrap_or_else(|_unanswered| {
                self.keep(&tokens);
                tokens
            }));
        }
        self.read().await
    }

    /// Reads them.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(super) async fn read(&self) -> Result<Tokens, ApiError> {
        let _reading = self.reading.lock().await;
        self.read_now().await
    }

    async fn read_now(&self) -> Result<Tokens, ApiError> {
        let asked = tokio::time::timeout(PATIENCE, self.store.tokens()).await;
        let (list, exist) = asked.unwrap_or(Err(StoreError::Closed)).map_err(ApiError::Store)?;
        let mut tokens = Tokens { list: list.into(), exist };
        // A database that was damaged or deleted is followed by an empty one, and the door stays closed.
        if let Some((before, _)) = self.last().filter(|(before, _)| before.exist && !exist) {
            self.restore(&before).await;
            tokens = before;
        }
        self.keep(&tokens);
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|id, _| tokens.list.iter().any(|token| token.id == *id));
        Ok(tokens)
    }

    async fn restore(&self, tokens: &Tokens) {
        let restored = tokio::time::timeout(PATIENCE, self.store.restore_tokens(&tokens.list)).await;
        let tokens = tokens.list.len();
        if let Err(error) = restored.unwrap_or(Err(StoreError::Closed)) {
            let error = error.chain();
            tracing::warn!(
                tokens,
                error,
                "api: the database lost its tokens; those that were known hold until the next start"
            );
            return;
        }
        tracing::warn!(tokens, "api: the database lost its tokens; those that were known are in it again");
    }

    fn last(&self) -> Option<(Tokens, Timestamp)> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, tokens: &Tokens) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((tokens.clone(), now()));
    }

    /// When a token was used last, as far as this process knows.
    pub(super) fn used(&self, id: u64) -> Option<Timestamp> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).get(&id).map(|used| used.last)
    }

    /// Notes that a token is used; nobody waits until that is written.
    pub(super) fn note_use(&self, token: &StoredToken, at: Timestamp) {
        {
            let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            let before = used.get(&token.id).map(|used| used.written).or(token.used);
            let is_noted = before.filter(|written| *written <= at && at.since(*written) < NOTED_NS);
            used.insert(token.id, Used { last: at, written: is_noted.unwrap_or(at) });
            if is_noted.is_some() {
                return;
            }
        }
        let (store, id) = (self.store.clone(), token.id);
        tokio::spawn(async move {
            if let Err(error) = store.token_used(id, at).await {
                tracing::debug!(error = error.chain(), token = id, "api: not written down that a token was used");
            }
        });
    }
}

//! What the database has of an analysis. The same captures with the same settings are analysed by one process at a time: the
//! others wait and then answer from what it has stored, or go on if it was killed.

use crate::capture::clock;
use crate::store::{Lease, Store, StoreError};

/// Captures with the settings that they are analysed with.
#[derive(Clone, Debug)]
pub struct Analysis {
    /// Hash of all captures and of the settings.
    pub key: String,
    /// SHA-256, name and bytes of each capture.
    pub captures: Vec<(String, String, u64)>,
    /// Whether it is stored once more beside what is there.
    pub again: bool,
}

/// What is to be done with an analysis.
#[derive(Default)]
pub(super) struct Looked {
    /// The key under which it is stored, unless it is known.
    pub(super) new: Option<String>,
    /// The run that has stored it before.
    pub(super) known: Option<[u8; 16]>,
    /// How many of the same are stored already.
    pub(super) earlier: u32,
    /// That no other process stores it meanwhile.
    pub(super) lease: Option<Lease>,
}

/// Looks for an analysis; where it has to be stored, first waits for its lease.
pub(super) async fn look_up(store: &Store, analysis: Option<Analysis>) -> Result<Looked, StoreError> {
    let Some(Analysis { key, captures, again }) = analysis else { return Ok(Looked::default()) };
    if !again && let Some(known) = known(store, &key).await? {
        return Ok(known);
    }
    // With --again too: how many there are goes into the identities of what it finds.
    let lease = store.analysis_lease(&key).await?;
    if !again && let Some(known) = known(store, &key).await? {
        return Ok(known);
    }
    let earlier = store.completed_analyses(&key).await?;
    store.note_captures(&key, &captures, clock::now()).await?;
    Ok(Looked { new: Some(key), known: None, earlier, lease: Some(lease) })
}

async fn known(store: &Store, key: &str) -> Result<Option<Looked>, StoreError> {
    let Some((started, run)) = store.completed_analysis(key).await? else { return Ok(None) };
    tracing::info!(%started, "analysed before with these settings: the database has it (--again stores it once more)");
    Ok(Some(Looked { known: Some(run), ..Looked::default() }))
}

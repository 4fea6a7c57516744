//! An attempt to write batches: committed, looked for by another connection, counted once; broken off where there is no time left, or no answer.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::{RETAIN_BATCHES, Task};
use crate::store::StoreError;
use crate::store::db::Query;
use crate::store::rows::BatchRows;
use crate::store::write::{self, Trouble};

/// Every so many batches another connection looks whether they are there.
const VERIFY_EVERY: i64 = 16;

/// How long a commit may take before it is broken off, so that a database that hangs (a host that is gone, a process that is stopped) is said and what is
/// queued goes to the disk …
pub(super) const PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 7 } else { 10 });
/// … and at most, where each was in vain or the last one took long.
const MOST_PATIENCE: Duration = Duration::from_mins(5);

/// An attempt to write batches that answered with an error. They may be in the database all the same.
pub(super) struct Attempt {
    run: Vec<u8>,
    first: i64,
    last: i64,
    /// Whether the trouble before it was logged with it.
    with_trouble: bool,
}

impl Task {
    /// Commits batches of one run, and looks at times, and after every error, whether another connection finds them.
    pub(super) async fn commit(&mut self, group: &[BatchRows]) -> Result<(), StoreError> {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { return Ok(()) };
        let trouble = self.trouble.trouble();
        let known = self.failed.take().filter(|known| known.run == first.run.uuid && known.last >= first.number);
        let begin = Instant::now();
        let result = tokio::select! {
            biased;
            result = self.commit_and_verify(group, trouble.as_ref()) => result,
            () = self.store.out_of_time.cancelled(), if self.has_spool() => Err(StoreError::OutOfTime),
            () = tokio::time::sleep(self.patience), if self.has_spool() => {
                let seconds = self.patience.as_secs();
                // It may be slow and not away: the next attempt has longer.
                self.patience = (self.patience * 2).min(MOST_PATIENCE);
                Err(StoreError::NoAnswer { seconds })
            }
        };
        let with_trouble = known.as_ref().is_some_and(|known| known.with_trouble);
        let _ = result.as_ref().inspect_err(|error| self.store.database.note_failure(error));
        let Ok(are_new) = result else {
            // Those of the attempt before may be there as well.
            let run = first.run.uuid.clone();
            let last = known.as_ref().map_or(last.number, |known| known.last.max(last.number));
            let first = known.as_ref().map_or(first.number, |known| known.first);
            let with_trouble = trouble.is_some() || with_trouble;
            self.failed = Some(Attempt { run, first, last, with_trouble });
            return result.map(drop);
        };
        self.trouble.took(are_new.contains(&true) || with_trouble);
        for (rows, is_new) in group.iter().zip(are_new) {
            // One that is there already although an attempt failed was written by that attempt.
            let is_known = |known: &Attempt| (known.first..=known.last).contains(&rows.number);
            self.count(rows, is_new || known.as_ref().is_some_and(is_known));
        }
        self.failed = known.filter(|known| known.last > last.number);
        self.patience = (begin.elapsed() * 2).clamp(PATIENCE, MOST_PATIENCE);
        self.store.commits.send_modify(|commits| *commits += 1);
        self.store.counters.committed(begin.elapsed());
        Ok(())
    }

    /// Counts a batch that is in the database.
    fn count(&mut self, rows: &BatchRows, is_ours: bool) {
        if is_ours {
            self.store.counters.add_batch(rows);
        }
        self.batches += if rows.end.is_some() { RETAIN_BATCHES } else { 1 };
        self.rows += rows.windows.len()
            + rows.alerts.len()
            + rows.flows.len()
            + rows.features.len()
            + rows.anomalies.len()
            + rows.raw_packets.len();
    }

    async fn commit_and_verify(&self, group: &[BatchRows], trouble: Option<&Trouble>) -> Result<Vec<bool>, StoreError> {
        let are_new = write::commit(&self.store, group, trouble).await?;
        if self.store.database.was_replaced() {
            return Err(StoreError::Replaced);
        }
        self.store.database.check_files().await?;
        let is_due = group.len() > 1 || group.iter().any(|rows| rows.number % VERIFY_EVERY == 0);
        if let Some(rows) = group.last().filter(|_| is_due || self.store.counters.failing.load(Relaxed)) {
            let seen = Query::new("SELECT last_batch FROM runs WHERE uuid = $1").bind(rows.run.uuid.clone());
            let seen = self.store.read("runs", seen, |row| Ok(row.first()?)).await?;
            if seen.first().is_none_or(|last| *last < rows.number) {
                return Err(StoreError::Unseen { number: rows.number });
            }
        }
        Ok(are_new)
    }
}

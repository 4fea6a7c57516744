//! Windows and flows as Parquet files by table, date, sensor and hour, for programs that read folders: DuckDB, Spark, ClickHouse.
//!
//! An hour is written once, when it is whole: a later window of the sensor is stored, nothing that the sensor shipped is missing, and all its
//! flows have ended. What has not come a day later is not waited for. A file that is there says that its hour was written: a restart goes on from the files.

mod folder;

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use self::folder::Folder;
use crate::api::{FlowItem, WindowItem};
use crate::export::{Encoder, ExportError, Format, What};
use crate::sink::{Counters, Kind};
use crate::store::{FlowFilter, FlowSort, Key, Position, Store, StoreError, Whose, WindowFilter, WindowSort};
use nta_core::domain::Timestamp;

const KIND: Kind = Kind { name: "archive", unit: "files", about: "Files of an hour" };
const TABLES: [What; 2] = [What::Windows, What::Flows];
const HOUR_NS: u64 = 3600 * 1_000_000_000;
/// What has not come so long after the end of its hour is not waited for.
const LATEST_NS: u64 = 24 * HOUR_NS;
/// How often hours that are over are looked for.
const EVERY: Duration = Duration::from_secs(300);
/// Rows that are read at a time.
const ROWS: u32 = 500;

/// Why an hour was not written.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The store does not answer.
    #[error("{}", .0.chain())]
    Store(#[from] StoreError),
    /// A row cannot be written as Parquet.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The folder cannot be written.
    #[error("{0}")]
    Folder(#[from] io::Error),
}

/// Writes hours of a store into a folder.
#[derive(Debug)]
pub struct History {
    store: Store,
    folder: Folder,
    counters: Arc<Counters>,
    /// Hours before these are written, by table and sensor.
    next: HashMap<(&'static str, String), u64>,
}

impl History {
    /// Into this folder, which is made; the oldest files go where they would take more than so many bytes, 0 for no bound.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn new(store: Store, folder: &Path, max_bytes: u64) -> io::Result<Self> {
        let counters = Arc::new(Counters::new(KIND, folder.display()));
        Ok(Self { store, folder: Folder::open(folder, max_bytes)?, counters, next: HashMap::new() })
    }

    /// Files that were written, and those that went since.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Writes every hour once it is whole, until `stop`.
    pub async fn keep(mut self, stop: CancellationToken, now: impl Fn() -> Timestamp) {
        let mut ticks = tokio::time::interval(EVERY);
        let keeps = async {
            loop {
                ticks.tick().await;
                if let Err(error) = self.round(now()).await {
                    self.counters.failed(&error);
                }
            }
        };
        stop.run_until_cancelled(keeps).await;
    }

    /// Writes the hours that are whole at this time and not there yet.
    ///
    /// # Errors
    /// At the first hour that cannot be written; the next round goes on there.
    pub async fn round(&mut self, now: Timestamp) -> Result<(), HistoryError> {
        for sensor in self.store.sensors().await? {
            let Some(come) = self.come(&sensor).await? else { continue };
            // Behind what has come there is nothing.
            let behind = (come.end.as_nanos().div_ceil(HOUR_NS)).min(now.as_nanos() / HOUR_NS);
            for what in TABLES {
                let key = (what.word(), sensor.clone());
                let mut hour = self.next.get(&key).copied().unwrap_or_default();
                let mut is_gapless = true;
                while let Some(found) = self.hour_from(what, &sensor, hour).await?.filter(|found| *found < behind) {
                    let is_done = self.hour(what, &sensor, found, (come, now)).await?;
                    hour = found + 1;
                    is_gapless &= is_done;
                    if is_gapless {
                        self.next.insert(key.clone(), hour);
                    }
                }
            }
        }
        Ok(())
    }

    /// How far a sensor's windows are here; `None` without any.
    async fn come(&self, sensor: &str) -> Result<Option<Come>, HistoryError> {
        let filter = WindowFilter { whose: Whose::from(Some(sensor)), ..WindowFilter::default() };
        let newest = Position { descending: true, after: None, limit: 1 };
        let page = self.store.windows(&filter, WindowSort::Time, newest).await?;
        let Some(newest) = page.items.first() else { return Ok(None) };
        let shipped = self.store.shipped(Some(sensor), 1).await?;
        let has_holes = shipped.iter().any(|log| !log.missing().is_empty());
        Ok(Some(Come { end: newest.item.end, has_holes }))
    }

    /// The first hour from this one on that has a row.
    async fn hour_from(&self, what: What, sensor: &str, hour: u64) -> Result<Option<u64>, HistoryError> {
        let (whose, first) = (Whose::from(Some(sensor)), Position { descending: false, after: None, limit: 1 });
        let from = Some(Timestamp::from_nanos(hour * HOUR_NS));
        let time = match what {
            What::Flows => {
                let filter = FlowFilter { from, whose, ..FlowFilter::default() };
                let page = self.store.find_flows(&filter, FlowSort::LastTime, first).await?;
                page.items.first().map(|flow| flow.item.last)
            }
            _ => {
                let filter = WindowFilter { from, whose, ..WindowFilter::default() };
                let page = self.store.windows(&filter, WindowSort::Time, first).await?;
                page.items.first().map(|window| window.item.start)
            }
        };
        // A window that began before may reach into it.
        Ok(time.map(|time| (time.as_nanos() / HOUR_NS).max(hour)))
    }

    /// Writes an hour unless it is there; whether nothing of it is left to be written.
    async fn hour(
        &self,
        what: What,
        sensor: &str,
        hour: u64,
        (come, now): (Come, Timestamp),
    ) -> Result<bool, HistoryError> {
        let file = self.folder.file(what.word(), sensor, hour);
        if file.exists() {
            return Ok(true);
        }
        let end = Timestamp::from_nanos((hour + 1) * HOUR_NS);
        let is_late = now.since(end) >= LATEST_NS;
        if !is_late && (come.end < end || come.has_holes) {
            return Ok(false);
        }
        let rows = Rows { store: self.store.clone(), what, sensor: sensor.to_owned(), hour, takes_all: is_late };
        let (folder, runtime) = (self.folder.clone(), Handle::current());
        // Parquet is made off the executor.
        let written = spawn_blocking(move || runtime.block_on(rows.write(&folder, &file))).await;
        let written = written.map_err(io::Error::other)??;
        if written == Written::File {
            self.counters.sent(1);
            self.counters.dropped(self.folder.make_room()?);
        }
        Ok(written != Written::Grows)
    }
}

/// How far a sensor's rows are here.
#[derive(Clone, Copy, Debug)]
struct Come {
    /// End of the newest window.
    end: Timestamp,
    /// Something that it shipped is missing.
    has_holes: bool,
}

/// What was made of an hour's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    File,
    /// It has no rows.
    Nothing,
    /// A flow of it goes on.
    Grows,
}

/// The rows of an hour.
struct Rows {
    store: Store,
    what: What,
    sensor: String,
    hour: u64,
    /// Whether flows that go on are not waited for.
    takes_all: bool,
}

impl Rows {
    async fn write(self, folder: &Folder, file: &Path) -> Result<Written, HistoryError> {
        let mut encoder = Encoder::new(self.what, Format::Parquet)?;
        let mut draft = None;
        let (mut after, mut is_some) = (None, false);
        loop {
            let page = match self.what {
                What::Flows => self.flows(after, &mut encoder).await?,
                _ => self.windows(after, &mut encoder).await?,
            };
            is_some |= page.rows > 0;
            let bytes = encoder.take();
            if page.grows {
                return Ok(Written::Grows);
            }
            if !bytes.is_empty() {
                match &mut draft {
                    None => draft.insert(folder.draft(file)?).write_all(&bytes)?,
                    Some(draft) => draft.write_all(&bytes)?,
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        if !is_some {
            return Ok(Written::Nothing);
        }
        let mut draft = match draft {
            Some(draft) => draft,
            None => folder.draft(file)?,
        };
        draft.write_all(&encoder.end()?)?;
        draft.keep()?;
        Ok(Written::File)
    }

    fn times(&self) -> (Timestamp, Timestamp) {
        let [from, to] = [self.hour, self.hour + 1].map(|hour| Timestamp::from_nanos(hour * HOUR_NS));
        (from, to)
    }

    /// Base windows that begin in it.
    async fn windows(&self, after: Option<Key>, to: &mut Encoder) -> Result<Page, HistoryError> {
        let (begin, end) = self.times();
        let whose = Whose::from(Some(self.sensor.as_str()));
        let filter = WindowFilter { from: Some(begin), to: Some(end), whose, ..WindowFilter::default() };
        let page = self.store.windows(&filter, WindowSort::Time, position(after)).await?;
        let mut rows = 0;
        for window in page.items.iter().filter(|window| window.item.start >= begin) {
            to.item(&WindowItem::from(window))?;
            rows += 1;
        }
        Ok(Page { rows, next: page.next, grows: false })
    }

    /// Flows whose last packet is in it.
    async fn flows(&self, after: Option<Key>, to: &mut Encoder) -> Result<Page, HistoryError> {
        let (begin, end) = self.times();
        let whose = Whose::from(Some(self.sensor.as_str()));
        let filter = FlowFilter { from: Some(begin), whose, ..FlowFilter::default() };
        let page = self.store.find_flows(&filter, FlowSort::LastTime, position(after)).await?;
        let is_over = page.items.iter().any(|flow| flow.item.last >= end);
        let (mut rows, mut grows) = (0, false);
        for flow in page.items.iter().filter(|flow| (begin..end).contains(&flow.item.last)) {
            grows |= flow.item.ended.is_none() && !self.takes_all;
            to.item(&FlowItem::from(flow))?;
            rows += 1;
        }
        Ok(Page { rows, next: page.next.filter(|_| !is_over), grows })
    }
}

/// What of an hour was read at a time.
struct Page {
    rows: u64,
    next: Option<Key>,
    /// A flow of it goes on.
    grows: bool,
}

const fn position(after: Option<Key>) -> Position {
    Position { descending: false, after, limit: ROWS }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::WindowBatch;
    use crate::store::tests::{begin, flow, window};
    use nta_core::domain::{EndReason, FlowRecord};

    #[tokio::test]
    async fn an_hour_is_written_once_it_is_whole_and_a_day_later_as_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open("sqlite::memory:").await.expect("open");
        let (writer, _task) = begin(&store).await;
        let mut history = History::new(store.clone(), folder.path(), 0).expect("a folder");
        let there = |table: &str, hour: u64| history_file(folder.path(), table, hour).exists();
        // The last window of the first hour begins 5 s before its end; a flow goes on.
        let batch = WindowBatch { window: Some(window(719)), flows: vec![flow(1, 100, 3)], ..WindowBatch::default() };
        writer.send(batch).await.expect("send");
        let send = async |id, flows| {
            let batch = WindowBatch { window: Some(window(id)), flows, ..WindowBatch::default() };
            writer.send(batch).await.expect("send");
            writer.flush().await.expect("flush");
        };
        send(718, Vec::new()).await;
        let at = |hours: u64| Timestamp::from_nanos(hours * HOUR_NS);
        history.round(at(2)).await.expect("a round");
        assert_eq!([there("windows", 0), there("flows", 0)], [true, false]);
        let ended = FlowRecord { ended: Some(EndReason::Closed), ..flow(1, 100, 3) };
        send(721, vec![ended, flow(2, 3700, 1)]).await;
        history.round(at(2)).await.expect("a round");
        assert_eq!([there("flows", 0), there("windows", 1), there("flows", 1)], [true, false, false]);
        // Nothing more comes: no window ends behind the second hour, and its flow stays as it is.
        history.round(at(25)).await.expect("a round");
        assert!(!there("windows", 1));
        history.round(at(26)).await.expect("a round");
        assert_eq!([there("windows", 1), there("flows", 1), there("windows", 2)], [true, true, false]);
        assert_eq!(history.counters().counts(), [4, 0]);
        let mut again = History::new(store, folder.path(), 0).expect("a folder");
        again.round(at(26)).await.expect("a round");
        assert_eq!(again.counters().counts(), [0, 0], "the files say what is written");
    }

    fn history_file(folder: &Path, table: &str, hour: u64) -> std::path::PathBuf {
        folder.join(format!("{table}/date=1970-01-01/sensor=test/{hour:02}.parquet"))
    }
}

//! The newest records of the log, kept in memory for who asks by the API. What `--log` lets through comes here as well as to standard
//! error. The bound is a number of records and of bytes: the oldest go, and are counted. Text is made before the lock is taken, and a
//! reader takes references and no copies, so that who logs waits for no reader.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::secrets::{without_secrets, worth_hiding};
use nta_core::domain::Timestamp;

/// The records of this process.
pub static RECORDS: Records = Records::new();

/// Most records.
pub const MAX_RECORDS: usize = 2000;
/// Most bytes of all of them.
const MAX_BYTES: usize = 1 << 20;
/// Most bytes of a message, and of a field.
const MAX_TEXT: usize = 2048;
/// Most secrets that are looked for; of more, which many reloads may bring, those of before go.
const MAX_SECRETS: usize = 1024;
/// What a record takes beside its texts.
const OVERHEAD: usize = 128;

/// A record.
#[derive(Debug)]
pub struct Record {
    /// Its number since the start, from 1 on.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// How grave.
    pub level: Level,
    /// Where in the program.
    pub target: String,
    /// What happened.
    pub message: String,
    /// The numbers and names that belong to it.
    pub fields: Map<String, Value>,
}

/// The newest records.
#[derive(Debug)]
pub struct Records {
    kept: Mutex<Kept>,
    /// What must be in none.
    secrets: RwLock<Vec<String>>,
}

#[derive(Debug)]
struct Kept {
    records: VecDeque<Arc<Record>>,
    bytes: usize,
    /// Records since the start.
    all: u64,
}

/// How many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordCounts {
    /// Since the start.
    pub all: u64,
    /// Of these, records that are still here.
    pub kept: u64,
    /// Bytes of those.
    pub bytes: u64,
}

impl Records {
    /// None yet.
    #[expect(clippy::new_without_default, reason = "one is a static")]
    pub const fn new() -> Self {
        let kept = Kept { records: VecDeque::new(), bytes: 0, all: 0 };
        Self { kept: Mutex::new(kept), secrets: RwLock::new(Vec::new()) }
    }

    /// Has these in no record from now on, beside what looks like a secret and what was hidden before.
    pub fn hide(&self, secrets: impl IntoIterator<Item = String>) {
        let mut known = self.secrets.write().unwrap_or_else(PoisonError::into_inner);
        let new: Vec<String> = worth_hiding(secrets).into_iter().filter(|secret| !known.contains(secret)).collect();
        known.extend(new);
        let too_many = known.len().saturating_sub(MAX_SECRETS);
        known.drain(..too_many);
    }

    /// The newest records that are at least so grave, of targets that begin with this; the newest first.
    pub fn newest(&self, mildest: Level, target: &str, most: usize) -> Vec<Arc<Record>> {
        let all: Vec<Arc<Record>> = self.lock().records.iter().cloned().collect();
        let wanted = |record: &Arc<Record>| record.level <= mildest && record.target.starts_with(target);
        all.into_iter().rev().filter(wanted).take(most).collect()
    }

    /// How many there are.
    pub fn counts(&self) -> RecordCounts {
        let kept = self.lock();
        RecordCounts { all: kept.all, kept: kept.records.len() as u64, bytes: kept.bytes as u64 }
    }

    fn add(&self, mut record: Record) {
        let mut gone = Vec::new();
        let mut kept = self.lock();
        kept.all += 1;
        record.number = kept.all;
        kept.bytes += record.bytes();
        kept.records.push_back(Arc::new(record));
        while kept.records.len() > MAX_RECORDS || kept.bytes > MAX_BYTES {
            let Some(oldest) = kept.records.pop_front() else { break };
            kept.bytes -= oldest.bytes();
            gone.push(oldest);
        }
        // What is gone is freed without the lock.
        drop(kept);
    }

    fn text(&self, text: &str) -> String {
        let mut text = without_secrets(text, &self.secrets.read().unwrap_or_else(PoisonError::into_inner));
        if text.len() > MAX_TEXT {
            let end = (0..=MAX_TEXT).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            text.truncate(end);
            text.push('…');
        }
        text
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    fn bytes(&self) -> usize {
        let fields = self.fields.iter().map(|(name, value)| name.len() + value.as_str().map_or(16, str::len));
        OVERHEAD + self.target.len() + self.message.len() + fields.sum::<usize>()
    }
}

/// Takes what is logged into records.
#[derive(Debug)]
pub struct RecordsLayer(pub &'static Records);

impl<S: Subscriber> Layer<S> for RecordsLayer {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let metadata = event.metadata();
        let mut record = Record {
            number: 0,
            at: now(),
            level: *metadata.level(),
            target: metadata.target().to_owned(),
            message: String::new(),
            fields: Map::new(),
        };
        event.record(&mut Fields { records: self.0, record: &mut record });
        self.0.add(record);
    }
}

fn now() -> Timestamp {
    Timestamp::from_nanos(u64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or_default())
}

/// Takes the fields of an event.
struct Fields<'a> {
    records: &'static Records,
    record: &'a mut Record,
}

impl Fields<'_> {
    fn take(&mut self, field: &Field, value: Value) {
        let value = match value {
            Value::String(text) => Value::String(self.records.text(&text)),
            other => other,
        };
        match (field.name(), value) {
            ("message", Value::String(message)) => self.record.message = message,
            // A line of the crate `log` has its target as a field.
            ("log.target", Value::String(target)) => self.record.target = target,
            (name, _) if name.starts_with("log.") => {}
            (name, value) => {
                self.record.fields.insert(name.to_owned(), value);
            }
        }
    }
}

impl Visit for Fields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.take(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.take(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.take(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.take(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field, format!("{value:?}").into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt as _;

    #[test]
    fn records_are_found_by_level_and_target_and_hold_no_secret() {
        static OWN: Records = Records::new();
        OWN.hide(["correct horse".to_owned()]);
        let subscriber = tracing_subscriber::registry().with(RecordsLayer(&OWN));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(target: "records::one", interface = "eth0", packets = 7_u64, share = 0.5, "attached");
            tracing::warn!(target: "records::two", url = %"postgres://nta:pw12345@db/nta", "it says `correct horse`");
            tracing::debug!(target: "records::one", long = "é".repeat(5000), "much");
        });
        let found = OWN.newest(Level::TRACE, "records::", 10);
        assert_eq!(found.iter().map(|record| record.number).collect::<Vec<_>>(), [3, 2, 1], "the newest first");
        let [long, warned, attached] = &found[..] else { panic!("{found:?}") };
        assert_eq!(attached.message, "attached");
        let fields = serde_json::json!({"interface": "eth0", "packets": 7, "share": 0.5});
        assert_eq!(Value::Object(attached.fields.clone()), fields);
        assert_eq!(warned.message, "it says `***`");
        assert_eq!(warned.fields["url"], "postgres://nta:***@db/nta");
        assert!(long.fields["long"].as_str().is_some_and(|text| text.len() <= MAX_TEXT + 3 && text.ends_with("é…")));
        let messages = |mildest, target, most| {
            let found = OWN.newest(mildest, target, most);
            found.iter().map(|record| record.message.clone()).collect::<Vec<_>>()
        };
        assert_eq!(messages(Level::INFO, "records::one", 10), ["attached"]);
        assert_eq!(messages(Level::WARN, "", 10), ["it says `***`"]);
        assert_eq!(messages(Level::TRACE, "", 1), ["much"]);
    }

    #[test]
    fn the_oldest_make_room_and_are_counted() {
        static OWN: Records = Records::new();
        let add = |length: usize| {
            let (message, fields) = ("x".repeat(length), Map::new());
            let (at, target) = (Timestamp::from_nanos(0), String::new());
            OWN.add(Record { number: 0, at, level: Level::INFO, target, message, fields });
        };
        (0..MAX_RECORDS + 5).for_each(|_| add(1));
        let bytes = (MAX_RECORDS * (OVERHEAD + 1)) as u64;
        assert_eq!(OWN.counts(), RecordCounts { all: MAX_RECORDS as u64 + 5, kept: MAX_RECORDS as u64, bytes });
        assert_eq!(OWN.newest(Level::INFO, "", usize::MAX).last().map(|record| record.number), Some(6));
        (0..1000).for_each(|_| add(MAX_TEXT));
        let RecordCounts { kept, bytes, .. } = OWN.counts();
        assert_eq!(kept, (MAX_BYTES / (OVERHEAD + MAX_TEXT)) as u64);
        assert!(bytes <= MAX_BYTES as u64);
    }
}

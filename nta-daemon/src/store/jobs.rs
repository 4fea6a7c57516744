//! The table `jobs`: work that goes on after its request was answered, and what became of it.
//!
//! A row belongs to the run whose process does the work. Whose lock is free is dead: the next start takes over or gives up what
//! that one left.

use super::db::{Conn, Query, Row};
use super::list::Placed;
use super::runs::lock_name;
use super::unreadable::Unreadable;
use super::{Key, Position, Range, Store, StoreError, from_sql, to_sql};
use nta_core::domain::{Mode, Timestamp};

const TABLE: &str = "jobs";
const COLUMNS: &str = "number, id, kind, state, sensor, mode, run, who, request, progress, result, error, attempts, created_ns, \
                       started_ns, ended_ns, key_sha256";
/// Jobs of dead processes that one start looks at.
const MOST_LEFT: i64 = 1_000;
/// Jobs that one look deletes.
const MOST_DELETED: i64 = 1_000;

/// What became of a job so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobState {
    /// It waits for its turn.
    Queued,
    /// It is under way.
    Running,
    /// It is done, and has a result.
    Done,
    /// It could not be done, and has an error.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
    /// Its process ended, and it could not be resumed.
    Lost,
}

impl JobState {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Queued, Self::Running, Self::Done, Self::Failed, Self::Cancelled, Self::Lost];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
        }
    }

    /// Whether nothing changes it any more.
    pub const fn is_over(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }

    fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }
}

/// Whose jobs: those of one sensor, live or of its replays.
#[derive(Clone, Debug)]
pub struct JobOwner {
    /// Name of the sensor.
    pub sensor: String,
    /// Live or replay.
    pub mode: Mode,
    /// The run whose process does the work.
    pub run: [u8; 16],
}

/// A job that is to be stored.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// Identity: a UUID of version 7.
    pub id: String,
    /// What is done.
    pub kind: String,
    /// Who asked for it.
    pub who: String,
    /// What was asked for: a JSON object.
    pub request: String,
    /// The key that the client gave the request, and the SHA-256 of what it asks for.
    pub key: Option<(String, Vec<u8>)>,
    /// When.
    pub created: Timestamp,
}

/// A job as it is stored. Its documents are JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredJob {
    /// The row.
    pub number: i64,
    /// Identity.
    pub id: String,
    /// What is done.
    pub kind: String,
    /// What became of it so far.
    pub state: JobState,
    /// Name of the sensor.
    pub sensor: String,
    /// Live or replay, as a word.
    pub mode: String,
    /// The run whose process does the work.
    pub run: Vec<u8>,
    /// Who asked for it.
    pub who: String,
    /// What was asked for.
    pub request: String,
    /// How far it was when it ended.
    pub progress: Option<String>,
    /// What it found.
    pub result: Option<String>,
    /// Why it could not be done.
    pub error: Option<String>,
    /// How often it was begun.
    pub attempts: u64,
    /// When it was asked for.
    pub created: Timestamp,
    /// When it was begun last.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// SHA-256 of what its request asks for, where that has a key.
    pub key_sha256: Option<Vec<u8>>,
}

/// What is stored when a job ends, or goes back into the queue.
#[derive(Clone, Debug)]
pub struct JobEnd {
    /// What became of it.
    pub state: JobState,
    /// How far it was.
    pub progress: Option<String>,
    /// What it found.
    pub result: Option<String>,
    /// Why it could not be done.
    pub error: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// Which jobs.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    /// Of this kind.
    pub kind: Option<String>,
    /// In this state.
    pub state: Option<JobState>,
    /// Of this sensor.
    pub sensor: Option<String>,
    /// Asked for in this time.
    pub range: Range,
}

/// A page of jobs.
#[derive(Clone, Debug)]
pub struct JobPage {
    /// The jobs.
    pub items: Vec<StoredJob>,
    /// The last one's key, if there are more.
    pub next: Option<Key>,
}

/// How much is kept of jobs that are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobsKept {
    /// So many.
    pub most: u64,
    /// Those that ended at this time or later.
    pub since: Timestamp,
}

impl Store {
    /// Stores a job, or answers the one that has its key already.
    pub async fn insert_job(&self, owner: &JobOwner, job: &NewJob) -> Result<Option<StoredJob>, StoreError> {
        let error = StoreError::query(TABLE);
        let (key, sha256) = job.key.clone().unzip();
        let mut transaction = self.database.begin().await?;
        let conn = transaction.conn().map_err(&error)?;
        let insert = Query::new(
            "INSERT INTO jobs (id, kind, state, sensor, mode, run, who, request, created_ns, key, key_sha256) \
             VALUES ($1, $2, 'queued', $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING",
        );
        let insert = insert.bind(job.id.as_str()).bind(job.kind.as_str()).bind(owner.sensor.as_str());
        let insert = insert.bind(owner.mode.word()).bind(owner.run.to_vec()).bind(job.who.as_str());
        let insert = insert.bind(job.request.as_str()).bind(to_sql(job.created.as_nanos()));
        let inserted = conn.execute(insert.bind(key.clone()).bind(sha256)).await.map_err(&error)?;
        transaction.commit().await.map_err(error)?;
        if inserted > 0 {
            return Ok(None);
        }
        let known = format!("SELECT {COLUMNS} FROM jobs WHERE sensor = $1 AND mode = $2 AND key = $3");
        let known = Query::new(known).bind(owner.sensor.as_str()).bind(owner.mode.word()).bind(key);
        self.read_one(TABLE, known, 0, read).await?.map(Some).ok_or(StoreError::query(TABLE)(sqlx::Error::RowNotFound))
    }

    /// Notes that a job is under way.
    pub async fn begin_job(&self, id: &str, at: Timestamp) -> Result<(), StoreError> {
        let begin = "UPDATE jobs SET state = 'running', started_ns = $1, attempts = attempts + 1 WHERE id = $2";
        self.change_job(Query::new(begin).bind(to_sql(at.as_nanos())).bind(id)).await
    }

    /// Notes what became of a job. What is over stays as it is; what goes back into the queue has no end.
    pub async fn end_job(&self, id: &str, end: &JobEnd) -> Result<(), StoreError> {
        let update = "UPDATE jobs SET state = $1, progress = $2, result = $3, error = $4, ended_ns = $5 WHERE id = $6 \
                      AND state IN ('queued', 'running')";
        let ended_ns = end.state.is_over().then(|| to_sql(end.at.as_nanos()));
        let update = Query::new(update).bind(end.state.word()).bind(end.progress.clone()).bind(end.result.clone());
        self.change_job(update.bind(end.error.clone()).bind(ended_ns).bind(id)).await
    }

    /// Makes a job this run's, and puts it into the queue.
    pub async fn adopt_job(&self, id: &str, run: &[u8; 16]) -> Result<(), StoreError> {
        let adopt = "UPDATE jobs SET run = $1, state = 'queued', started_ns = NULL WHERE id = $2";
        self.change_job(Query::new(adopt).bind(run.to_vec()).bind(id)).await
    }

    /// Removes a job that was never begun.
    pub async fn forget_job(&self, id: &str) -> Result<(), StoreError> {
        self.change_job(Query::new("DELETE FROM jobs WHERE id = $1 AND state = 'queued'").bind(id)).await
    }

    async fn change_job(&self, query: Query) -> Result<(), StoreError> {
        let error = StoreError::query(TABLE);
        let mut transaction = self.database.begin().await?;
        transaction.conn().map_err(&error)?.execute(query).await.map_err(&error)?;
        transaction.commit().await.map_err(error)
    }

    /// A job.
    pub async fn job(&self, id: &str) -> Result<Option<StoredJob>, StoreError> {
        let query = Query::new(format!("SELECT {COLUMNS} FROM jobs WHERE id = $1")).bind(id);
        self.read_one(TABLE, query, 0, read).await
    }

    /// A page of jobs by the time at which they were asked for.
    pub async fn jobs(&self, filter: &JobFilter, position: Position) -> Result<JobPage, StoreError> {
        // Retention bounds the table: what goes through it reads some thousand rows.
        let mut query = Query::new(format!("SELECT {COLUMNS} FROM jobs WHERE 1 = 1"));
        if let Some(kind) = &filter.kind {
            query.push(" AND kind = ").push_bind(kind.as_str());
        }
        if let Some(state) = filter.state {
            query.push(" AND state = ").push_bind(state.word());
        }
        if let Some(sensor) = &filter.sensor {
            query.push(" AND sensor = ").push_bind(sensor.as_str());
        }
        if let Some(from) = filter.range.from {
            query.push(" AND created_ns >= ").push_bind(to_sql(from.as_nanos()));
        }
        if let Some(to) = filter.range.to {
            query.push(" AND created_ns < ").push_bind(to_sql(to.as_nanos()));
        }
        position.and_one().push_by(&mut query, "created_ns", "number");
        let placed = |row: &Row| {
            let key = Key { value: row.int("created_ns")?, id: row.int("number")? };
            Ok(Placed { key, item: self.usable(TABLE, read(row)) })
        };
        let (items, next) = position.cut(self.read(TABLE, query, placed).await?);
        Ok(JobPage { items, next })
    }

    /// Unfinished jobs whose process has ended: those of the owner's sensor and, of replays, of any.
    pub async fn jobs_left(&self, owner: &JobOwner) -> Result<Vec<StoredJob>, StoreError> {
        let query = format!(
            "SELECT {COLUMNS} FROM jobs WHERE state IN ('queued', 'running') AND run <> $1 \
             AND (mode = 'replay' OR mode = $2 AND sensor = $3) ORDER BY number LIMIT $4"
        );
        let query = Query::new(query).bind(owner.run.to_vec()).bind(owner.mode.word());
        let unfinished = self.read(TABLE, query.bind(owner.sensor.as_str()).bind(MOST_LEFT), read).await?;
        let mut left: Vec<StoredJob> = Vec::new();
        for job in unfinished {
            // Many jobs are of the same run; what is no run's identity is nobody's.
            let is_known = left.last().is_some_and(|last| last.run == job.run) || job.run.len() != owner.run.len();
            if is_known || self.lock(&lock_name(&job.run), true).await?.is_some() {
                left.push(job);
            }
        }
        Ok(left)
    }

    /// Deletes jobs that are over and of which there are too many, or which are too old; answers how many.
    pub async fn delete_jobs(&self, kept: JobsKept) -> Result<u64, StoreError> {
        let error = StoreError::query(TABLE);
        let mut transaction = self.database.begin().await?;
        let conn = transaction.conn().map_err(&error)?;
        let old = Query::new(
            "DELETE FROM jobs WHERE number IN (SELECT number FROM jobs WHERE ended_ns < $1 ORDER BY ended_ns, number LIMIT $2)",
        );
        let old = delete(conn, old.bind(to_sql(kept.since.as_nanos())).bind(MOST_DELETED)).await?;
        let many = Query::new(
            "DELETE FROM jobs WHERE number IN (SELECT number FROM jobs WHERE ended_ns IS NOT NULL \
             ORDER BY ended_ns DESC, number DESC LIMIT $2 OFFSET $1)",
        );
        let many = delete(conn, many.bind(to_sql(kept.most)).bind(MOST_DELETED)).await?;
        transaction.commit().await.map_err(error)?;
        Ok(old + many)
    }
}

async fn delete(conn: &mut Conn, query: Query) -> Result<u64, StoreError> {
    conn.execute(query).await.map_err(StoreError::query(TABLE))
}

fn read(row: &Row) -> Result<StoredJob, Unreadable> {
    let time = |ns: i64| Timestamp::from_nanos(from_sql(ns));
    let state = row.text("state")?;
    Ok(StoredJob {
        number: row.int("number")?,
        id: row.text("id")?,
        kind: row.text("kind")?,
        state: JobState::named(&state).ok_or_else(|| Unreadable::new(format!("`{state}` is no state of a job")))?,
        sensor: row.text("sensor")?,
        mode: row.text("mode")?,
        run: row.blob("run")?,
        who: row.text("who")?,
        request: row.text("request")?,
        progress: row.opt_text("progress")?,
        result: row.opt_text("result")?,
        error: row.opt_text("error")?,
        attempts: from_sql(row.natural("attempts")?),
        created: time(row.natural("created_ns")?),
        started: row.opt_natural("started_ns")?.map(time),
        ended: row.opt_natural("ended_ns")?.map(time),
        key_sha256: row.opt_blob("key_sha256")?,
    })
}

//! The table `runs`: who wrote the windows and flows, from when to when, and why it ended.

use std::collections::BTreeSet;

use super::db::{Conn, Dialect, Query};
use super::flows::state;
use super::lease::Lock;
use super::rows::{AlertRow, RunRow};
use super::unreadable::{Unreadable, usable};
use super::write::{Event, log, run_id};
use super::{Store, StoreError, capture_of_sensor, event_body, joint_write, spans, to_sql};
use nta_core::domain::{EndReason, Mode, Timestamp};

/// A start of the daemon, or a replay.
#[derive(Clone, Debug)]
pub struct Run {
    /// When it started (wall clock).
    pub started: Timestamp,
    /// Live or replay.
    pub mode: Mode,
    /// The interfaces, or the capture's path.
    pub source: String,
    /// Version of the daemon.
    pub version: String,
    /// Name of the sensor that it runs for.
    pub sensor: String,
    /// Identity of the run: a UUID of version 7.
    pub uuid: [u8; 16],
    /// Of a replay: the hash of its captures and settings.
    pub analysis: Option<String>,
}

/// A run as the database has it, and the lock that says that it goes on; without it the next start ends it.
#[derive(Debug)]
pub struct RunKey {
    pub(super) row: RunRow,
    pub(super) lock: Lock,
}

/// Killed runs that one start ends at most; the next one ends the others.
const MAX_DEAD_RUNS: i64 = 50;

/// The name of a run's lock.
pub(super) fn lock_name(uuid: &[u8]) -> String {
    uuid.iter().fold("run-".to_owned(), |name, byte| format!("{name}{byte:02x}"))
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// All of its input was read.
    Completed,
    /// Somebody stopped it.
    Stopped,
}

impl RunEnd {
    /// The word for it in the database.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Stopped => "stopped",
        }
    }
}

impl Run {
    /// A new identity, made of the time and chance.
    pub fn new_uuid(now: Timestamp) -> [u8; 16] {
        let mut uuid: [u8; 16] = rand::random();
        let milliseconds = (now.as_nanos() / 1_000_000).to_be_bytes();
        uuid[..6].copy_from_slice(&milliseconds[2..]);
        uuid[6] = (uuid[6] & 0x0f) | 0x70;
        uuid[8] = (uuid[8] & 0x3f) | 0x80;
        uuid
    }

    fn row(&self) -> RunRow {
        RunRow {
            uuid: self.uuid.to_vec(),
            sensor: self.sensor.clone(),
            mode: self.mode.word().to_owned(),
            source: self.source.clone(),
            version: self.version.clone(),
            started_ns: to_sql(self.started.as_nanos()),
            analysis: self.analysis.clone(),
        }
    }
}

impl Store {
    /// Registers a run, and ends runs that were killed, each at its last committed window's end. Those are the live ones of
    /// its sensor, where this is one, for the lease says that none of them goes on; and the replays whose lock is free.
    pub async fn begin_run(&self, run: &Run) -> Result<RunKey, StoreError> {
        let row = run.row();
        let taken = self.lock(&lock_name(&row.uuid), true).await?;
        let lock =
            taken.ok_or_else(|| StoreError::Leased { holder: "a run".to_owned(), sensor: row.sensor.clone() })?;
        let dead = self.dead_runs(run).await?;
        let is_waiting = self.waits_in_spool();
        if is_waiting && !dead.is_empty() {
            tracing::warn!(
                "batches of a run before wait for the database: its longer windows end with the last whole one"
            );
        }
        let error = StoreError::query("runs");
        let mut transaction = self.database.begin().await?;
        let conn = transaction.conn().map_err(&error)?;
        if !dead.is_empty() {
            joint_write::lock(conn).await?;
        }
        for (id, _lock) in &dead {
            if !is_waiting {
                spans::close_open(conn, *id).await?;
            }
            close(conn, *id, "interrupted", "interrupted").await?;
        }
        if let Some(analysis) = &row.analysis {
            one_at_a_time(conn, analysis).await?;
        }
        run_id(conn, &row).await?;
        transaction.commit().await.map_err(error)?;
        if capture_of_sensor(&row.sensor).is_none() {
            self.own_run.get_or_init(|| row.uuid.clone());
        }
        Ok(RunKey { row, lock })
    }

    /// Runs that ended without a word, each with its lock, so that nobody else ends it at the same time.
    async fn dead_runs(&self, run: &Run) -> Result<Vec<(i64, Option<Lock>)>, StoreError> {
        let open = Query::new("SELECT id, uuid, mode, sensor FROM runs WHERE ended_ns IS NULL ORDER BY id LIMIT $1");
        let open = self.read("runs", open.bind(MAX_DEAD_RUNS), |row| {
            Ok((row.int("id")?, row.blob("uuid")?, row.text("mode")?, row.text("sensor")?))
        });
        let mut dead = Vec::new();
        for (id, uuid, mode, sensor) in open.await? {
            if mode == Mode::Live.word() {
                if run.mode == Mode::Live && sensor == run.sensor {
                    dead.push((id, self.lock(&lock_name(&uuid), true).await?));
                }
            } else if !self.database.is_memory()
                && let Some(lock) = self.lock(&lock_name(&uuid), true).await?
            {
                dead.push((id, Some(lock)));
            }
        }
        Ok(dead)
    }

    /// The newest completed run of an analysis: when it began and its identity.
    pub async fn completed_analysis(&self, analysis: &str) -> Result<Option<(Timestamp, [u8; 16])>, StoreError> {
        let error = StoreError::query("runs");
        let query = Query::new(
            "SELECT started_ns, uuid FROM runs WHERE analysis = $1 AND end_reason = 'completed' ORDER BY id DESC LIMIT 1",
        );
        let row = self.database.fetch_optional(query.bind(analysis)).await.map_err(&error)?;
        let read = |row: &super::Row| {
            let started = Timestamp::from_nanos(super::from_sql(row.natural("started_ns")?));
            let uuid = row.blob("uuid")?.try_into().map_err(|_other| Unreadable::new("uuid"))?;
            Ok((started, uuid))
        };
        Ok(row.and_then(|row| self.usable("runs", read(&row))))
    }

    /// From the start of a run's first window to the end of its last one; `None` while it has none.
    pub async fn span_of_run(&self, uuid: &[u8; 16]) -> Result<Option<(Timestamp, Timestamp)>, StoreError> {
        let query = Query::new(
            "SELECT r.last_ns, (SELECT w.start_ns FROM windows w WHERE w.run_id = r.id AND w.factor = 1 \
             ORDER BY w.number LIMIT 1) AS first_ns FROM runs r WHERE r.uuid = $1",
        );
        let time = |ns: i64| Timestamp::from_nanos(super::from_sql(ns));
        let span = |row: &super::Row| Ok((row.opt_natural("first_ns")?.map(time), time(row.natural("last_ns")?)));
        let spans = self.read("runs", query.bind(uuid.to_vec()), span).await?;
        Ok(spans.into_iter().find_map(|(first, end)| Some((first?, end))))
    }

    /// How many completed runs of an analysis there are.
    pub async fn completed_analyses(&self, analysis: &str) -> Result<u32, StoreError> {
        let query = Query::new("SELECT count(*) FROM runs WHERE analysis = $1 AND end_reason = 'completed'");
        let count = self.read("runs", query.bind(analysis), |row| Ok(row.first()?)).await?;
        Ok(count.first().and_then(|count| u32::try_from(*count).ok()).unwrap_or_default())
    }

    /// Refuses to go on with a run of an analysis that another process has completed between our look and our begin: it had lost
    /// its lease, and completes no more from now on. `earlier` were completed at our look.
    pub async fn check_analysis(&self, analysis: &str, earlier: u32) -> Result<(), StoreError> {
        if self.completed_analyses(analysis).await? > earlier { Err(StoreError::Overtaken) } else { Ok(()) }
    }

    /// How many runs have stored windows of the analysis that this run is of, this one among them: lists show all of them.
    pub async fn runs_alike(&self, uuid: &[u8; 16]) -> Result<u64, StoreError> {
        let query = Query::new(
            "SELECT count(*) FROM runs r WHERE r.analysis = (SELECT analysis FROM runs WHERE uuid = $1) \
             AND EXISTS (SELECT 1 FROM windows w WHERE w.run_id = r.id)",
        );
        let count = self.read("runs", query.bind(uuid.to_vec()), |row| Ok(row.first()?)).await?;
        Ok(count.first().and_then(|count| u64::try_from(*count).ok()).unwrap_or_default())
    }

    /// Notes the captures of an analysis, in their order: SHA-256, name, bytes.
    pub async fn note_captures(
        &self,
        analysis: &str,
        captures: &[(String, String, u64)],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let error = StoreError::query("captures");
        let mut transaction = self.database.begin().await?;
        let conn = transaction.conn().map_err(&error)?;
        for (position, (sha256, name, bytes)) in captures.iter().enumerate() {
            let capture = Query::new(
                "INSERT INTO captures (sha256, name, bytes, added_ns) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
            );
            let capture = capture.bind(sha256.as_str()).bind(name.as_str()).bind(to_sql(*bytes));
            conn.execute(capture.bind(to_sql(now.as_nanos()))).await.map_err(&error)?;
            let part = Query::new(
                "INSERT INTO analysis_captures (analysis, position, sha256) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            );
            conn.execute(part.bind(analysis).bind(to_sql(position as u64)).bind(sha256.as_str()))
                .await
                .map_err(&error)?;
        }
        transaction.commit().await.map_err(error)
    }

    /// Notes which analysis a run turned out to be of: while a capture comes, nobody knows its SHA-256.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn note_analysis(&self, run: &[u8; 16], analysis: &str) -> Result<(), StoreError> {
        let error = StoreError::query("runs");
        let mut transaction = self.database.begin().await?;
        let note = Query::new("UPDATE runs SET analysis = $1 WHERE uuid = $2").bind(analysis).bind(run.to_vec());
        transaction.conn().map_err(&error)?.execute(note).await.map_err(&error)?;
        transaction.commit().await.map_err(error)
    }

    /// The SHA-256 of an analysis' captures, in their order.
    pub async fn captures_of(&self, analysis: &str) -> Result<Vec<String>, StoreError> {
        let query = Query::new("SELECT sha256 FROM analysis_captures WHERE analysis = $1 ORDER BY position");
        self.read("analysis_captures", query.bind(analysis), |row| Ok(row.text("sha256")?)).await
    }
}

/// The run of this number.
pub(super) async fn row_of(conn: &mut Conn, run: i64) -> Result<Option<RunRow>, StoreError> {
    let error = StoreError::query("runs");
    let query = Query::new("SELECT uuid, sensor, mode, source, version, started_ns, analysis FROM runs WHERE id = $1")
        .bind(run);
    let row = conn.fetch_optional(query).await.map_err(&error)?;
    let read = |row: &super::Row| {
        Ok(RunRow {
            uuid: row.blob("uuid")?,
            sensor: row.text("sensor")?,
            mode: row.text("mode")?,
            source: row.text("source")?,
            version: row.text("version")?,
            started_ns: row.int("started_ns")?,
            analysis: row.opt_text("analysis")?,
        })
    };
    Ok(usable("runs", row.iter().map(read)).pop())
}

/// Ends a run by its own word; refused where another process has begun the same analysis since.
pub(super) async fn complete(conn: &mut Conn, run: i64, row: &RunRow, reason: &str) -> Result<(), StoreError> {
    if let Some(analysis) = row.analysis.as_ref().filter(|_| reason == RunEnd::Completed.word()) {
        one_at_a_time(conn, analysis).await?;
        let rival = Query::new(
            "SELECT count(*) FROM runs WHERE analysis = $1 AND id > $2 AND (end_reason IS NULL OR end_reason = 'completed')",
        );
        let rival = rival.bind(analysis.as_str()).bind(run);
        if conn.number(rival).await.map_err(StoreError::query("runs"))? > 0 {
            return Err(StoreError::Overtaken);
        }
    }
    close(conn, run, reason, "run_ended").await
}

/// Begin and completion of runs of one analysis come one behind the other until the transaction ends. SQLite's writers do so
/// anyway.
async fn one_at_a_time(conn: &mut Conn, analysis: &str) -> Result<(), StoreError> {
    if conn.dialect() == Dialect::Postgres {
        let lock = Query::new("SELECT pg_advisory_xact_lock(hashtextextended('nta stores ' || $1, 0))");
        conn.execute(lock.bind(analysis)).await.map_err(StoreError::query("runs"))?;
    }
    Ok(())
}

/// Ends a run at its last committed window's end: its alerts are cleared then, its flows no longer active.
pub(super) async fn close(conn: &mut Conn, run: i64, reason: &str, alerts: &str) -> Result<(), StoreError> {
    let error = StoreError::query("runs");
    let end = Query::new(
        "UPDATE runs SET ended_ns = CAST(CASE WHEN last_ns > 0 AND last_ns < 9223372036854775807 THEN last_ns \
         WHEN started_ns > 0 AND started_ns < 9223372036854775807 THEN started_ns ELSE 0 END AS BIGINT), end_reason = $1 \
         WHERE id = $2 AND ended_ns IS NULL RETURNING ended_ns",
    );
    let Some(row) = conn.fetch_optional(end.bind(reason).bind(run)).await.map_err(&error)? else { return Ok(()) };
    let end_ns = row.first().map_err(&error)?;
    let clear = Query::new(
        "UPDATE detected_alerts SET state = 'cleared', cleared_ns = CASE WHEN last_ns > $1 THEN last_ns ELSE $1 END, \
         end_reason = $2 WHERE run_id = $3 AND state = 'raised' \
         RETURNING id, kind, severity, source, destination, first_ns, last_ns, raised_ns, body, joint",
    );
    let cleared = conn.fetch_all(clear.bind(end_ns).bind(alerts).bind(run)).await;
    let cleared = cleared.map_err(StoreError::query("detected_alerts"))?;
    let (mut events, mut joints) = (Vec::new(), BTreeSet::new());
    let read = |row: &super::Row| Ok((AlertRow::cleared(row)?, row.opt_text("joint").ok().flatten()));
    for (alert, joint) in usable("detected_alerts", cleared.iter().map(read)) {
        match joint {
            Some(joint) => drop(joints.insert(joint)),
            None => events.push(event_body::cleared_with_run(&alert, end_ns.max(alert.last_ns), alerts)),
        }
    }
    events.push(Event { time_ns: end_ns, kind: "run_ended".into(), body: format!("{{\"reason\":\"{reason}\"}}") });
    let ended = if alerts == "interrupted" { EndReason::Interrupted } else { EndReason::Shutdown };
    let flows =
        Query::new("UPDATE flows SET state = $2 WHERE run_id = $1 AND state = 0").bind(run).bind(state(Some(ended)));
    conn.execute(flows).await.map_err(StoreError::query("flows"))?;
    log(conn, run, &events).await?;
    for joint in joints {
        joint_write::refresh(conn, &joint).await?;
    }
    Ok(())
}

impl AlertRow {
    /// What an event says of a stored row that was just cleared; what cannot be read of it is left out.
    pub(super) fn cleared(row: &super::db::Row) -> Result<Self, Unreadable> {
        let text = |name| row.opt_text(name).ok().flatten();
        Ok(Self {
            id: row.text("id")?,
            kind: text("kind").unwrap_or_default(),
            severity: row.int("severity").unwrap_or_default(),
            source: text("source"),
            destination: text("destination"),
            score_ppm: 0,
            state: "cleared".to_owned(),
            first_ns: row.int("first_ns").unwrap_or_default(),
            last_ns: row.int("last_ns").unwrap_or_default(),
            raised_ns: row.int("raised_ns").unwrap_or_default(),
            cleared_ns: None,
            body: text("body").unwrap_or_default(),
            hosts: Vec::new(),
        })
    }
}

//! The table `uploads`: captures that clients send, their reports, and the rows of the runs that analysed them.

use super::db::{Query, Row};
use super::unreadable::Unreadable;
use super::{Key, Position, Store, StoreError, deleted, from_sql, to_sql};
use nta_core::domain::Timestamp;

/// How far a capture is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadState {
    /// Not all of it has come.
    Receiving,
    /// All of it is there; it is analysed, or waits for that.
    Received,
    /// All of it is there, recorded here; it is analysed when somebody asks for it.
    Recorded,
    /// There is a report.
    Analysed,
    /// There is none, and `problem` says why.
    Failed,
}

impl UploadState {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Receiving, Self::Received, Self::Recorded, Self::Analysed, Self::Failed];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Receiving => "receiving",
            Self::Received => "received",
            Self::Recorded => "recorded",
            Self::Analysed => "analysed",
            Self::Failed => "failed",
        }
    }
}

/// A capture that a client sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Its name here: 32 hexadecimal digits.
    pub file_id: String,
    /// What its client called it.
    pub name: String,
    /// How far it is.
    pub state: UploadState,
    /// Bytes that have come.
    pub bytes: u64,
    /// Bytes that were announced, if so.
    pub length: Option<u64>,
    /// SHA-256 of all of it.
    pub sha256: Option<String>,
    /// SHA-256 of its first bytes.
    pub head: Option<String>,
    /// When it began to come.
    pub added: Timestamp,
    /// When something of it changed.
    pub changed: Timestamp,
    /// The run that analyses it, or did.
    pub run: Option<[u8; 16]>,
    /// Packets, bytes on the wire, flows and alerts of its report.
    pub totals: UploadTotals,
    /// Why there is no report, or what of the capture could not be read.
    pub problem: Option<String>,
    /// Of a recording: the name of its file in the folder of recordings.
    pub recorded: Option<String>,
    /// Times of its first and last packet, where they are known.
    pub span: Option<[Timestamp; 2]>,
}

/// Sums over captures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UploadTotals {
    /// Captures.
    pub captures: u64,
    /// Bytes of their files.
    pub file_bytes: u64,
    /// Packets read.
    pub packets: u64,
    /// Their length on the wire.
    pub bytes: u64,
    /// Flows.
    pub flows: u64,
    /// Alerts.
    pub alerts: u64,
}

pub(super) const TABLE: &str = "uploads";
pub(super) const COLUMNS: &str = "number, file_id, name, state, bytes, length, sha256, head, added_ns, changed_ns, run, packets, \
                       wire_bytes, flows, alerts, problem, recorded, first_ns, last_ns";
/// Rows of a run that are deleted in one transaction.
const DELETE_ROWS: i64 = 10_000;
/// Tables with rows of a run, each with the column that names a row.
const OF_RUN: [(&str, &str); 6] = [
    ("flows", "number"),
    ("detected_alerts", "number"),
    ("anomalies", "id"),
    ("aggregated_features", "id"),
    ("raw_packets", "id"),
    ("windows", "id"),
];

impl Store {
    /// Notes a capture that begins to come.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn insert_upload(&self, upload: &Upload) -> Result<(), StoreError> {
        let query = Query::new(
            "INSERT INTO uploads (file_id, name, state, bytes, length, head, added_ns, changed_ns) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(upload.file_id.as_str())
        .bind(upload.name.as_str())
        .bind(upload.state.word())
        .bind(to_sql(upload.bytes))
        .bind(upload.length.map(to_sql))
        .bind(upload.head.clone())
        .bind(to_sql(upload.added.as_nanos()))
        .bind(to_sql(upload.changed.as_nanos()));
        self.change_upload(query).await.map(drop)
    }

    /// Notes how much has come of a capture that is still received.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn note_upload_bytes(&self, file_id: &str, bytes: u64, now: Timestamp) -> Result<(), StoreError> {
        let query =
            Query::new("UPDATE uploads SET bytes = $1, changed_ns = $2 WHERE file_id = $3 AND state = 'receiving'")
                .bind(to_sql(bytes))
                .bind(to_sql(now.as_nanos()))
                .bind(file_id);
        self.change_upload(query).await.map(drop)
    }

    /// Notes the first bytes of a capture by their SHA-256.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn note_upload_head(&self, file_id: &str, head: &str) -> Result<(), StoreError> {
        let query = Query::new("UPDATE uploads SET head = $1 WHERE file_id = $2").bind(head).bind(file_id);
        self.change_upload(query).await.map(drop)
    }

    /// Notes the run that analyses a capture.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn note_upload_run(&self, file_id: &str, run: &[u8; 16]) -> Result<(), StoreError> {
        let query = Query::new("UPDATE uploads SET run = $1 WHERE file_id = $2").bind(run.to_vec()).bind(file_id);
        self.change_upload(query).await.map(drop)
    }

    /// A capture is whole: gives it its identity. Answers the name of the one that has these bytes already, if there is one;
    /// nothing is noted then.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn identify_upload(
        &self,
        file_id: &str,
        (sha256, bytes): (&str, u64),
        now: Timestamp,
    ) -> Result<Option<String>, StoreError> {
        let error = StoreError::query(TABLE);
        let mut transaction = self.database.begin().await?;
        let conn = transaction.conn().map_err(&error)?;
        let same = Query::new("SELECT file_id FROM uploads WHERE sha256 = $1 AND file_id <> $2");
        let same = conn.fetch_optional(same.bind(sha256).bind(file_id)).await.map_err(&error)?;
        if let Some(row) = same {
            return row.text("file_id").map(Some).map_err(error);
        }
        let note = Query::new(
            "UPDATE uploads SET sha256 = $1, bytes = $2, state = 'received', changed_ns = $3 WHERE file_id = $4",
        );
        let note = note.bind(sha256).bind(to_sql(bytes)).bind(to_sql(now.as_nanos())).bind(file_id);
        conn.execute(note).await.map_err(&error)?;
        transaction.commit().await.map_err(error)?;
        Ok(None)
    }

    /// Keeps the report of a capture; `problem` is what of it could not be read.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn keep_report(
        &self,
        file_id: &str,
        (report, totals, problem): (&str, &UploadTotals, Option<&str>),
        span: Option<[Timestamp; 2]>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let query = Query::new(
            "UPDATE uploads SET state = 'analysed', report = $1, problem = $10, packets = $2, wire_bytes = $3, flows = $4, \
             alerts = $5, changed_ns = $6, first_ns = coalesce($8, first_ns), last_ns = coalesce($9, last_ns) WHERE file_id = $7",
        )
        .bind(report)
        .bind(to_sql(totals.packets))
        .bind(to_sql(totals.bytes))
        .bind(to_sql(totals.flows))
        .bind(to_sql(totals.alerts))
        .bind(to_sql(now.as_nanos()))
        .bind(file_id)
        .bind(span.map(|span| to_sql(span[0].as_nanos())))
        .bind(span.map(|span| to_sql(span[1].as_nanos())))
        .bind(problem.map(str::to_owned));
        self.change_upload(query).await.map(drop)
    }

    /// Notes why there is no report.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn fail_upload(&self, file_id: &str, problem: &str, now: Timestamp) -> Result<(), StoreError> {
        let query = Query::new("UPDATE uploads SET state = 'failed', problem = $1, changed_ns = $2 WHERE file_id = $3")
            .bind(problem)
            .bind(to_sql(now.as_nanos()))
            .bind(file_id);
        self.change_upload(query).await.map(drop)
    }

    /// Forgets a capture; the rows of its run are another matter. Answers whether there was one.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn delete_upload(&self, file_id: &str) -> Result<bool, StoreError> {
        let query = Query::new("DELETE FROM uploads WHERE file_id = $1").bind(file_id);
        Ok(self.change_upload(query).await? > 0)
    }

    async fn change_upload(&self, query: Query) -> Result<u64, StoreError> {
        let error = StoreError::query(TABLE);
        let mut transaction = self.database.begin().await?;
        let changed = transaction.conn().map_err(&error)?.execute(query).await.map_err(&error)?;
        transaction.commit().await.map_err(error)?;
        Ok(changed)
    }

    /// A capture.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn upload(&self, file_id: &str) -> Result<Option<Upload>, StoreError> {
        let query = Query::new(format!("SELECT {COLUMNS} FROM uploads WHERE file_id = $1")).bind(file_id);
        Ok(self.read(TABLE, query, |row| Ok(upload(row)?.1)).await?.pop())
    }

    /// Whether a capture begins with these bytes and is `bytes` long, where that is known.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn has_upload_like(&self, head: &str, bytes: Option<u64>) -> Result<bool, StoreError> {
        let query = Query::new(
            "SELECT count(*) FROM uploads WHERE head = $1 AND sha256 IS NOT NULL AND bytes = coalesce($2, bytes)",
        );
        let count = self.read(TABLE, query.bind(head).bind(bytes.map(to_sql)), |row| Ok(row.first()?)).await?;
        Ok(count.first().is_some_and(|count| *count > 0))
    }

    /// The report of a capture, as JSON.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn report(&self, file_id: &str) -> Result<Option<String>, StoreError> {
        let query = Query::new("SELECT report FROM uploads WHERE file_id = $1").bind(file_id);
        Ok(self.read(TABLE, query, |row| Ok(row.opt_text("report")?)).await?.pop().flatten())
    }

    /// A page of the captures by the time at which they came.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn uploads(&self, position: Position) -> Result<(Vec<Upload>, Option<Key>), StoreError> {
        let mut query = Query::new(format!("SELECT {COLUMNS} FROM uploads WHERE 1 = 1"));
        let (than, order) = if position.descending { ("<", "DESC") } else { (">", "ASC") };
        if let Some(Key { value, id }) = position.after {
            query.push(format_args!(" AND (added_ns {than} ")).push_bind(value).push(" OR added_ns = ");
            query.push_bind(value).push(format_args!(" AND number {than} ")).push_bind(id).push(")");
        }
        query.push(format_args!(" ORDER BY added_ns {order}, number {order} LIMIT "));
        query.push_bind(i64::from(position.limit) + 1);
        let mut found = self.read(TABLE, query, upload).await?;
        let most = position.limit as usize;
        let is_more = found.len() > most;
        found.truncate(most);
        let next =
            found.last().filter(|_| is_more).map(|(id, last)| Key { value: to_sql(last.added.as_nanos()), id: *id });
        Ok((found.into_iter().map(|(_, upload)| upload).collect(), next))
    }

    /// Captures whose state is one of these, the oldest first; a thousand at most.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn uploads_in(&self, states: &[UploadState]) -> Result<Vec<Upload>, StoreError> {
        let mut query = Query::new(format!("SELECT {COLUMNS} FROM uploads WHERE state IN ("));
        for (index, state) in states.iter().enumerate() {
            query.push(if index == 0 { "" } else { ", " }).push_bind(state.word());
        }
        query.push(") ORDER BY added_ns, number LIMIT 1000");
        self.read(TABLE, query, |row| Ok(upload(row)?.1)).await
    }

    /// Sums over all captures.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn upload_totals(&self) -> Result<UploadTotals, StoreError> {
        let query = Query::new(
            "SELECT count(*) AS captures, CAST(coalesce(sum(bytes), 0) AS BIGINT) AS file_bytes, \
             CAST(coalesce(sum(packets), 0) AS BIGINT) AS packets, CAST(coalesce(sum(wire_bytes), 0) AS BIGINT) AS bytes, \
             CAST(coalesce(sum(flows), 0) AS BIGINT) AS flows, CAST(coalesce(sum(alerts), 0) AS BIGINT) AS alerts FROM uploads",
        );
        let read = |row: &Row| {
            let number = |column: &str| Ok::<_, Unreadable>(from_sql(row.int(column)?));
            Ok(UploadTotals {
                captures: number("captures")?,
                file_bytes: number("file_bytes")?,
                packets: number("packets")?,
                bytes: number("bytes")?,
                flows: number("flows")?,
                alerts: number("alerts")?,
            })
        };
        Ok(self.read(TABLE, query, read).await?.pop().unwrap_or_default())
    }

    /// Deletes what a run has stored, some rows at a time, so that no other writer waits long. The run itself stays: it ended.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn delete_rows_of_run(&self, run: &[u8; 16], sensor: &str) -> Result<(), StoreError> {
        for (table, id) in OF_RUN {
            loop {
                let error = StoreError::query(table);
                let mut transaction = self.database.begin().await?;
                let conn = transaction.conn().map_err(&error)?;
                let query = Query::new(format!(
                    "DELETE FROM {table} WHERE {id} IN (SELECT {id} FROM {table} WHERE run_id = \
                     (SELECT id FROM runs WHERE uuid = $1) LIMIT $2)"
                ));
                let gone = deleted::delete(conn, table, query.bind(run.to_vec()).bind(DELETE_ROWS)).await?;
                transaction.commit().await.map_err(error)?;
                if to_sql(gone.rows) < DELETE_ROWS {
                    break;
                }
            }
        }
        for of_sensor in [
            "DELETE FROM hosts WHERE sensor = $1",
            "DELETE FROM services WHERE sensor = $1",
            "DELETE FROM sensors WHERE name = $1",
        ] {
            self.change_upload(Query::new(of_sensor).bind(sensor)).await?;
        }
        Ok(())
    }
}

pub(super) fn upload(row: &Row) -> Result<(i64, Upload), Unreadable> {
    let time = |column: &str| Ok::<_, Unreadable>(Timestamp::from_nanos(from_sql(row.natural(column)?)));
    let word = row.text("state")?;
    let state = UploadState::ALL.into_iter().find(|state| state.word() == word);
    let number = |column: &str| Ok::<_, Unreadable>(from_sql(row.natural(column)?));
    // SQLite gives an empty blob for NULL.
    let run = row.opt_blob("run")?.filter(|run| !run.is_empty());
    let bytes = number("bytes")?;
    let upload = Upload {
        file_id: row.text("file_id")?,
        name: row.text("name")?,
        state: state.ok_or_else(|| Unreadable::new("state"))?,
        bytes,
        length: row.opt_natural("length")?.map(from_sql),
        sha256: row.opt_text("sha256")?,
        head: row.opt_text("head")?,
        added: time("added_ns")?,
        changed: time("changed_ns")?,
        run: run.map(|run| run.try_into().map_err(|_other| Unreadable::new("run"))).transpose()?,
        totals: UploadTotals {
            captures: 1,
            file_bytes: bytes,
            packets: number("packets")?,
            bytes: number("wire_bytes")?,
            flows: number("flows")?,
            alerts: number("alerts")?,
        },
        problem: row.opt_text("problem")?,
        recorded: row.opt_text("recorded")?,
        span: row
            .opt_natural("first_ns")?
            .zip(row.opt_natural("last_ns")?)
            .map(|(first, last)| [first, last].map(|ns| Timestamp::from_nanos(from_sql(ns)))),
    };
    Ok((row.int("number")?, upload))
}

//! Writing batches in one transaction, and the tables that have no file of their own for it.

use std::borrow::Cow;

use super::copy::{Copy, is_copied, stage};
use super::db::{Conn, Dialect, Query, Value};
use super::rows::{BatchRows, RunRow, VectorRow};
use super::together::Together;
use super::window_write::By;
use super::{Notice, Store, StoreError, from_sql, joint_write, to_sql, totals};
use nta_core::domain::{Mode, Severity, Timestamp};

/// A time in which the database took nothing, which is logged with the first batch that it takes again.
#[derive(Debug)]
pub(super) struct Trouble {
    from_ns: i64,
    to_ns: i64,
    begun: String,
    over: String,
}

impl Trouble {
    pub(super) fn new(from: Timestamp, to: Timestamp, error: &str) -> Self {
        let begun = format!("the database took nothing from {from} to {to}: {error}");
        Self {
            from_ns: to_sql(from.as_nanos()),
            to_ns: to_sql(to.as_nanos()),
            begun: Self::body((from, Some(to)), error, &begun),
            over: Self::body((from, Some(to)), error, &format!("the database takes batches again, since {to}")),
        }
    }

    /// What is told of one that goes on.
    pub(super) fn notice(from: Timestamp, error: &str) -> Notice {
        let reason = format!("the database takes nothing since {from}: {error}");
        let body = Self::body((from, None), error, &reason);
        Notice { time_ns: from.as_nanos(), kind: "store_trouble".to_owned(), body }
    }

    fn body((from, to): (Timestamp, Option<Timestamp>), error: &str, reason: &str) -> String {
        let body = serde_json::json!({
            "severity": Severity::High.word(), "from": from.to_string(), "to": to.map(|to| to.to_string()),
            "error": error, "reason": reason,
        });
        body.to_string()
    }

    fn said(&self) -> [(i64, &'static str, &String); 2] {
        [(self.from_ns, "store_trouble", &self.begun), (self.to_ns, "store_recovered", &self.over)]
    }

    pub(super) fn events(&self) -> [Event; 2] {
        self.said().map(|(time_ns, kind, body)| Event { time_ns, kind: kind.into(), body: body.clone() })
    }

    pub(super) fn notices(&self) -> [Notice; 2] {
        self.said().map(|(time_ns, kind, body)| Notice {
            time_ns: from_sql(time_ns),
            kind: kind.to_owned(),
            body: body.clone(),
        })
    }
}

/// Commits the batches once, or leaves the database as it was. Answers of each whether it is new: not when it is there already.
pub(super) async fn commit(
    store: &Store,
    batches: &[BatchRows],
    mut trouble: Option<&Trouble>,
) -> Result<Vec<bool>, StoreError> {
    let (database, outbox, correlation) = (&store.database, store.outbox(), &store.correlation);
    store.make_parts().await;
    let mut transaction = database.begin().await?;
    let error = StoreError::query("runs");
    let conn = transaction.conn().map_err(&error)?;
    let mut joins = None;
    if batches.iter().any(may_join) && joint_write::is_centre(conn).await? {
        joint_write::lock(conn).await?;
        joins = Some(&**correlation);
    }
    let mut together = Together::new(outbox.as_ref(), joins);
    let mut are_new = Vec::with_capacity(batches.len());
    for batch in batches {
        let is_new = together.write(conn, batch, trouble).await?;
        if is_new {
            trouble = None;
        }
        are_new.push(is_new);
    }
    together.flush(conn).await?;
    if are_new.contains(&true) {
        transaction.commit().await.map_err(error)?;
        #[cfg(test)]
        database.note(Query::new("COMMIT"));
    }
    Ok(are_new)
}

/// Whether a batch can change an alert of several gateways.
pub(super) fn may_join(batch: &BatchRows) -> bool {
    batch.run.mode == Mode::Live.word() && (!batch.alerts.is_empty() || batch.end.is_some())
}

/// The run's number, and that of its newest batch, which no other transaction changes from here on; its row is inserted where there is
/// none.
pub(super) async fn run_and_last(conn: &mut Conn, run: &RunRow) -> Result<(i64, i64), StoreError> {
    let error = StoreError::query("runs");
    let lock = if conn.dialect() == Dialect::Postgres { " FOR NO KEY UPDATE" } else { "" };
    let known = format!("SELECT id, last_batch FROM runs WHERE uuid = $1{lock}");
    let known = Query::new(known).bind(run.uuid.clone());
    if let Some(row) = conn.fetch_optional(known).await.map_err(&error)? {
        return Ok((row.int("id").map_err(&error)?, row.int("last_batch").map_err(error)?));
    }
    let insert = Query::new(
        "INSERT INTO runs (started_ns, mode, source, version, uuid, sensor, analysis, last_ns) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, 0) RETURNING id",
    )
    .bind(run.started_ns)
    .bind(run.mode.as_str())
    .bind(run.source.as_str())
    .bind(run.version.as_str())
    .bind(run.uuid.clone())
    .bind(run.sensor.as_str())
    .bind(run.analysis.clone());
    let id = conn.number(insert).await.map_err(error)?;
    let begun = serde_json::json!({ "mode": run.mode, "source": run.source, "version": run.version });
    log(conn, id, &[Event { time_ns: run.started_ns, kind: "run_begun".into(), body: begun.to_string() }]).await?;
    Ok((id, 0))
}

/// The run's number; its row is inserted where there is none.
pub(super) async fn run_id(conn: &mut Conn, run: &RunRow) -> Result<i64, StoreError> {
    run_and_last(conn, run).await.map(|(id, _)| id)
}

/// An entry of the event log.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) time_ns: i64,
    pub(super) kind: Cow<'static, str>,
    pub(super) body: String,
}

impl From<&Notice> for Event {
    fn from(notice: &Notice) -> Self {
        Self { time_ns: to_sql(notice.time_ns), kind: notice.kind.clone().into(), body: notice.body.clone() }
    }
}

/// Appends to the event log.
pub(super) async fn log(conn: &mut Conn, run: i64, events: &[Event]) -> Result<(), StoreError> {
    log_all(conn, &events.iter().map(|event| (run, event)).collect::<Vec<_>>()).await
}

/// Appends events of several runs. Other writers wait for their numbers until the transaction ends.
pub(super) async fn log_all(conn: &mut Conn, events: &[(i64, &Event)]) -> Result<(), StoreError> {
    if events.is_empty() {
        return Ok(());
    }
    let error = StoreError::query("events");
    let count = i64::try_from(events.len()).unwrap_or(i64::MAX);
    let first = totals::next(conn, totals::EVENTS, count).await? - count + 1;
    let values = |((run, event), seq): (&(i64, &Event), i64)| -> Vec<Value> {
        vec![seq.into(), event.time_ns.into(), event.kind.as_ref().into(), (*run).into(), event.body.as_str().into()]
    };
    let columns = "seq, time_ns, kind, run_id, body";
    if is_copied(conn, events.len()) {
        let mut copy = Copy::default();
        events.iter().zip(first..).for_each(|row| copy.row(values(row)));
        return copy.send(conn, "events", columns).await.map_err(error);
    }
    let mut seqs = first..;
    for chunk in events.chunks(conn.chunk_rows()) {
        let mut query = Query::new(format!("INSERT INTO events ({columns}) "));
        query.push_table(conn, chunk.iter().zip(seqs.by_ref()).map(values));
        conn.execute(query).await.map_err(&error)?;
    }
    Ok(())
}

/// Inserts feature vectors, of which none has the window and host of another.
pub(super) async fn insert_features(conn: &mut Conn, rows: &[(By, &VectorRow)]) -> Result<(), StoreError> {
    let error = StoreError::query("aggregated_features");
    let columns = "run_id, sensor_id, start_ns, end_ns, span_ns, host, schema_version, vector";
    let values = |((run, sensor), row): &(By, &VectorRow)| -> Vec<Value> {
        vec![
            (*run).into(),
            (*sensor).into(),
            row.start_ns.into(),
            row.end_ns.into(),
            row.span_ns.into(),
            Value::from(row.host.to_vec()),
            i64::from(row.schema_version).into(),
            row.vector.as_str().into(),
        ]
    };
    let is_copied = is_copied(conn, rows.len());
    for chunk in rows.chunks(if is_copied { rows.len() } else { conn.chunk_rows() }) {
        let mut query = Query::new(format!("INSERT INTO aggregated_features ({columns}) "));
        if is_copied {
            stage(conn, "aggregated_features", columns, chunk.iter().map(values)).await.map_err(&error)?;
            query.push(format_args!("SELECT {columns} FROM aggregated_features_staging"));
        } else {
            query.push_table(conn, chunk.iter().map(values));
        }
        query.push(" ON CONFLICT (run_id, span_ns, start_ns, host) DO UPDATE SET vector = excluded.vector");
        conn.execute(query).await.map_err(&error)?;
    }
    Ok(())
}

pub(super) async fn upsert_baselines(
    conn: &mut Conn,
    name: &str,
    updated_ns: i64,
    body: &str,
) -> Result<(), StoreError> {
    let upsert = Query::new(
        "INSERT INTO baselines (name, updated_ns, body) VALUES ($1, $2, $3) \
         ON CONFLICT (name) DO UPDATE SET updated_ns = excluded.updated_ns, body = excluded.body",
    );
    let upsert = upsert.bind(name).bind(updated_ns).bind(body);
    conn.execute(upsert).await.map_err(StoreError::query("baselines"))?;
    Ok(())
}

pub(super) async fn insert_raw_packets(
    conn: &mut Conn,
    run: i64,
    packets: &[(i64, i64, Vec<u8>)],
) -> Result<(), StoreError> {
    for chunk in packets.chunks(conn.chunk_rows()) {
        let mut query = Query::new("INSERT INTO raw_packets (run_id, time_ns, wire_len, head) ");
        query.push_table(
            conn,
            chunk.iter().map(|(time_ns, wire_len, head)| {
                vec![run.into(), (*time_ns).into(), (*wire_len).into(), Value::from(head.clone())]
            }),
        );
        conn.execute(query).await.map_err(StoreError::query("raw_packets"))?;
    }
    Ok(())
}

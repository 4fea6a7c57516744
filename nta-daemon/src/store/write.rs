//! Writing batches: windows with all that was found in them and the flows that changed, in one transaction.

use std::borrow::Cow;

use super::cut::rejoined;
use super::db::{Conn, Query, Value};
use super::outbox::{self, Outbox};
use super::rows::{BatchRows, RunRow, VectorRow};
use super::{
    Correlation, Notice, Store, StoreError, alert_write, anomaly_write, flow_write, from_sql, joint_write, late, runs,
    sensor, to_sql, totals, troubles, window_write,
};
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

    fn events(&self) -> [Event; 2] {
        self.said().map(|(time_ns, kind, body)| Event { time_ns, kind: kind.into(), body: body.clone() })
    }

    fn notices(&self) -> [Notice; 2] {
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
    let mut transaction = database.begin().await?;
    let error = StoreError::query("runs");
    let mut joins = None;
    if batches.iter().any(may_join) && joint_write::is_centre(transaction.conn().map_err(&error)?).await? {
        joint_write::lock(transaction.conn().map_err(&error)?).await?;
        joins = Some(&**correlation);
    }
    let mut are_new = Vec::with_capacity(batches.len());
    let mut is_full = false;
    for batch in batches {
        let conn = transaction.conn().map_err(&error)?;
        if is_full && flow_write::is_staged(conn, &batch.flows) {
            flow_write::make_room(conn).await?;
            is_full = false;
        }
        let is_new = write(conn, batch, trouble, outbox.as_ref(), joins).await?;
        if is_new {
            trouble = None;
            is_full |= flow_write::is_staged(conn, &batch.flows);
        }
        are_new.push(is_new);
    }
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

/// Writes a batch, and puts it into the outbox where there is one. `false` when it is there already.
pub(super) async fn write(
    conn: &mut Conn,
    batch: &BatchRows,
    trouble: Option<&Trouble>,
    outbox: Option<&Outbox>,
    correlation: Option<&Correlation>,
) -> Result<bool, StoreError> {
    let error = StoreError::query("runs");
    let (run, last) = run_and_last(conn, &batch.run).await?;
    let last_ns = batch.end_ns();
    let taken = conn
        .execute(
            Query::new(
                // Of what is no number it is not known that the batch is there; writing it twice adds nothing.
                "UPDATE runs SET last_batch = $1, last_ns = coalesce($2, last_ns) WHERE id = $3 \
                 AND NOT (coalesce(last_batch, 0) >= $1 AND coalesce(last_batch, 0) < 9223372036854775807)",
            )
            .bind(batch.number)
            .bind(last_ns)
            .bind(run),
        )
        .await
        .map_err(error)?;
    let rest;
    let batch = if taken > 0 {
        if batch.number > last + 1 {
            late::note(conn, &batch.run.uuid, last + 1, batch.number - 1).await?;
        }
        batch
    } else if late::fill(conn, &batch.run.uuid, batch.number).await? {
        rest = late::rest(conn, run, batch).await?;
        &rest
    } else {
        return Ok(false);
    };
    // A daemon's own batches have no newer run behind them.
    let is_kept_once = batch.baselines.is_some() || batch.readings.is_some() || batch.standing.is_some();
    let is_outdated = is_kept_once && late::is_outdated(conn, run, &batch.run).await?;
    let mut events: Vec<Event> = trouble.into_iter().flat_map(Trouble::events).collect();
    let windows = rejoined(conn, run, &batch.run, &batch.windows).await?;
    let by = (run, sensor::number(conn, &batch.run.sensor).await?);
    events.extend(window_write::insert(conn, by, &windows).await?);
    alert_write::take_over(conn, run, &batch.run, &batch.alerts).await?;
    let changes = alert_write::upsert(conn, by, &batch.alerts).await?;
    events.extend(match correlation.filter(|_| may_join(batch)) {
        Some(correlation) => joint_write::correlate(conn, correlation, by.1, &batch.alerts, changes).await?,
        None => changes,
    });
    if batch.run.mode == Mode::Live.word() {
        if let Some(standing) = batch.standing.as_ref().filter(|_| !is_outdated) {
            let at = Timestamp::from_nanos(from_sql(last_ns.unwrap_or(batch.run.started_ns)));
            events.extend(troubles::end(conn, &batch.run.sensor, standing, at).await?);
        }
        troubles::note(conn, &batch.run.sensor, &batch.notices).await?;
    }
    events.extend(batch.notices.iter().map(Event::from));
    log(conn, run, &events).await?;
    anomaly_write::insert(conn, by, &batch.anomalies).await?;
    insert_features(conn, by, &batch.features).await?;
    if let Some((name, updated_ns, body)) = batch.baselines.as_ref().filter(|_| !is_outdated) {
        upsert_baselines(conn, name, *updated_ns, body).await?;
    }
    flow_write::write(conn, by, &batch.run.sensor, &batch.flows).await?;
    insert_raw_packets(conn, run, &batch.raw_packets).await?;
    if let Some(readings) = batch.readings.as_ref().filter(|_| !is_outdated) {
        readings.write(conn, &batch.run.sensor, run).await?;
    }
    if let Some(reason) = &batch.end {
        runs::complete(conn, run, &batch.run, reason).await?;
    }
    if let Some(outbox) = outbox {
        let notices: Vec<Notice> = trouble.into_iter().flat_map(Trouble::notices).collect();
        outbox::add(conn, outbox, batch, &notices).await?;
    }
    Ok(true)
}

/// The run's number; its row is inserted where there is none.
pub(super) async fn run_id(conn: &mut Conn, run: &RunRow) -> Result<i64, StoreError> {
    run_and_last(conn, run).await.map(|(id, _)| id)
}

/// The run's number, and that of its newest batch; its row is inserted where there is none.
async fn run_and_last(conn: &mut Conn, run: &RunRow) -> Result<(i64, i64), StoreError> {
    let error = StoreError::query("runs");
    let known = Query::new("SELECT id, last_batch FROM runs WHERE uuid = $1").bind(run.uuid.clone());
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
    if events.is_empty() {
        return Ok(());
    }
    let error = StoreError::query("events");
    let count = i64::try_from(events.len()).unwrap_or(i64::MAX);
    let mut seq = totals::next(conn, totals::EVENTS, count).await? - count;
    for chunk in events.chunks(conn.chunk_rows()) {
        let mut query = Query::new("INSERT INTO events (seq, time_ns, kind, run_id, body) ");
        query.push_table(
            conn,
            chunk.iter().map(|event| {
                seq += 1;
                vec![
                    seq.into(),
                    event.time_ns.into(),
                    event.kind.as_ref().into(),
                    run.into(),
                    event.body.as_str().into(),
                ]
            }),
        );
        conn.execute(query).await.map_err(&error)?;
    }
    Ok(())
}

async fn insert_features(conn: &mut Conn, (run, sensor): (i64, i64), rows: &[VectorRow]) -> Result<(), StoreError> {
    for chunk in rows.chunks(conn.chunk_rows()) {
        let mut query = Query::new(
            "INSERT INTO aggregated_features (run_id, sensor_id, start_ns, end_ns, span_ns, host, schema_version, vector) ",
        );
        query.push_table(
            conn,
            chunk.iter().map(|row| {
                vec![
                    run.into(),
                    sensor.into(),
                    row.start_ns.into(),
                    row.end_ns.into(),
                    row.span_ns.into(),
                    Value::from(row.host.to_vec()),
                    i64::from(row.schema_version).into(),
                    row.vector.as_str().into(),
                ]
            }),
        );
        query.push(" ON CONFLICT (run_id, span_ns, start_ns, host) DO UPDATE SET vector = excluded.vector");
        conn.execute(query).await.map_err(StoreError::query("aggregated_features"))?;
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

async fn insert_raw_packets(conn: &mut Conn, run: i64, packets: &[(i64, i64, Vec<u8>)]) -> Result<(), StoreError> {
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

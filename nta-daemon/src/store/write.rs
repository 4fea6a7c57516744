//! Writing batches: windows with all that was found in them and the flows that changed, in one transaction.

use super::cut::rejoin;
use super::db::{Conn, Database, Query, Value};
use super::rows::{AlertRow, BatchRows, RunRow, VectorRow, WindowRow};
use super::{StoreError, anomaly_write, flow_write, runs, to_sql};
use nta_core::domain::Timestamp;

/// Rows in one statement of the smaller tables.
const CHUNK_ROWS: usize = 100;
/// An hour in nanoseconds.
const HOUR_NS: i64 = 3_600_000_000_000;

/// A time in which the database took nothing, which is logged with the first batch that it takes again.
#[derive(Debug)]
pub(super) struct Trouble {
    to_ns: i64,
    body: String,
}

impl Trouble {
    pub(super) fn new(from: Timestamp, to: Timestamp, error: &str) -> Self {
        let body = serde_json::json!({ "from": from.to_string(), "to": to.to_string(), "error": error });
        Self { to_ns: to_sql(to.as_nanos()), body: body.to_string() }
    }
}

/// Commits the batches once, or leaves the database as it was. Answers of each whether it is new: not when it is there already.
pub(super) async fn commit(
    database: &Database,
    batches: &[BatchRows],
    mut trouble: Option<&Trouble>,
) -> Result<Vec<bool>, StoreError> {
    let mut transaction = database.begin().await?;
    let error = StoreError::query("runs");
    let mut are_new = Vec::with_capacity(batches.len());
    let mut has_flows = false;
    for batch in batches {
        let conn = transaction.conn().map_err(&error)?;
        if has_flows {
            flow_write::make_room(conn).await?;
            has_flows = false;
        }
        let is_new = write(conn, batch, trouble).await?;
        if is_new {
            trouble = None;
            has_flows = !batch.flows.is_empty();
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

/// Writes a batch. `false` when it is there already.
async fn write(conn: &mut Conn, batch: &BatchRows, trouble: Option<&Trouble>) -> Result<bool, StoreError> {
    let error = StoreError::query("runs");
    let run = run_id(conn, &batch.run).await?;
    let last_ns = batch.end_ns();
    let taken = conn
        .execute(
            Query::new(
                "UPDATE runs SET last_batch = $1, last_ns = coalesce($2, last_ns) WHERE id = $3 AND last_batch < $1",
            )
            .bind(batch.number)
            .bind(last_ns)
            .bind(run),
        )
        .await
        .map_err(error)?;
    if taken == 0 {
        return Ok(false);
    }
    if let Some(Trouble { to_ns, body }) = trouble {
        event(conn, *to_ns, "store_trouble", run, body.clone()).await?;
    }
    for window in &batch.windows {
        let whole = rejoin(conn, run, &batch.run, window).await?;
        if let Some(id) = insert_window(conn, run, whole.as_ref().unwrap_or(window)).await? {
            let body = format!("{{\"id\":{id},\"factor\":{}}}", window.factor);
            event(conn, window.end_ns, "window_closed", run, body).await?;
        }
    }
    for alert in &batch.alerts {
        upsert_alert(conn, run, alert).await?;
    }
    anomaly_write::insert(conn, run, &batch.anomalies).await?;
    insert_features(conn, run, &batch.features).await?;
    if let Some((name, updated_ns, body)) = &batch.baselines {
        upsert_baselines(conn, name, *updated_ns, body).await?;
    }
    flow_write::write(conn, run, &batch.run.sensor, &batch.flows).await?;
    insert_raw_packets(conn, run, &batch.raw_packets).await?;
    if let Some(readings) = &batch.readings {
        readings.write(conn, &batch.run.sensor, run).await?;
    }
    if let Some(reason) = &batch.end {
        runs::close(conn, run, reason, "run_ended").await?;
    }
    Ok(true)
}

/// The run's number; its row is inserted where there is none.
pub(super) async fn run_id(conn: &mut Conn, run: &RunRow) -> Result<i64, StoreError> {
    let error = StoreError::query("runs");
    let known = Query::new("SELECT id FROM runs WHERE uuid = $1").bind(run.uuid.clone());
    if let Some(row) = conn.fetch_optional(known).await.map_err(&error)? {
        return row.first().map_err(error);
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
    event(conn, run.started_ns, "run_begun", id, "{}".to_owned()).await?;
    Ok(id)
}

/// Appends to the event log. The number comes from a row that all writers change, so that readers never see a larger
/// one before a smaller.
pub(super) async fn event(conn: &mut Conn, time_ns: i64, kind: &str, run: i64, body: String) -> Result<(), StoreError> {
    let error = StoreError::query("events");
    let next = Query::new("UPDATE totals SET value = value + 1 WHERE name = 'events' RETURNING value");
    let seq = conn.number(next).await.map_err(&error)?;
    let insert = Query::new("INSERT INTO events (seq, time_ns, kind, run_id, body) VALUES ($1, $2, $3, $4, $5)");
    let insert = insert.bind(seq).bind(time_ns).bind(kind).bind(run).bind(body);
    conn.execute(insert).await.map_err(error)?;
    Ok(())
}

/// Adds to a count that is kept.
pub(super) async fn add(conn: &mut Conn, name: &str, rows: i64) -> Result<(), StoreError> {
    if rows != 0 {
        let update = Query::new("UPDATE totals SET value = value + $1 WHERE name = $2").bind(rows).bind(name);
        conn.execute(update).await.map_err(StoreError::query("totals"))?;
    }
    Ok(())
}

/// Inserts a window, and what it adds to the sums of its hour. `None` where it is there already.
pub(super) async fn insert_window(conn: &mut Conn, run: i64, window: &WindowRow) -> Result<Option<i64>, StoreError> {
    let error = StoreError::query("windows");
    let span_ns = window.span_ns;
    let insert = Query::new(
        "INSERT INTO windows (run_id, factor, number, start_ns, end_ns, span_ns, packets, bytes, flows, connections, \
         bandwidth_bps, rtt_samples, rtt_mean_ms, rtt_max_ms, rtt_histogram, body, rtt_shortest_ms) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) \
         ON CONFLICT DO NOTHING RETURNING id",
    )
    .bind(run)
    .bind(window.factor)
    .bind(window.number)
    .bind(window.start_ns)
    .bind(window.end_ns)
    .bind(span_ns)
    .bind(window.packets)
    .bind(window.bytes)
    .bind(window.flows)
    .bind(window.connections)
    .bind(window.bandwidth_bps)
    .bind(window.rtt_samples)
    .bind(window.rtt_mean_ms)
    .bind(window.rtt_max_ms)
    .bind(window.rtt_histogram.clone())
    .bind(window.body.as_str())
    .bind(window.rtt_shortest_ms);
    let Some(row) = conn.fetch_optional(insert).await.map_err(&error)? else { return Ok(None) };
    let id = row.first().map_err(error)?;
    if window.factor == 1 {
        add(conn, "windows", 1).await?;
    }
    let sum = window.rtt_mean_ms.map(|mean| mean * window.rtt_samples as f64);
    let hour = Query::new(
        "INSERT INTO window_hours (run_id, hour_ns, windows, first_ns, last_ns, span_ns, packets, bytes, connections, \
         min_bps, max_bps, rtt_samples, rtt_sum_ms, rtt_min_ms, rtt_max_ms, factor, window_ns, rtt_shortest_ms) \
         VALUES ($1, $2, 1, $3, $4, $5, $6, $7, $8, $9, $9, $10, $11, $12, $13, $14, $15, $16) \
         ON CONFLICT (factor, hour_ns, run_id) DO UPDATE SET windows = window_hours.windows + 1, \
         first_ns = CASE WHEN excluded.first_ns < window_hours.first_ns THEN excluded.first_ns \
         ELSE window_hours.first_ns END, \
         last_ns = CASE WHEN excluded.last_ns > window_hours.last_ns THEN excluded.last_ns \
         ELSE window_hours.last_ns END, \
         span_ns = window_hours.span_ns + excluded.span_ns, packets = window_hours.packets + excluded.packets, \
         bytes = window_hours.bytes + excluded.bytes, \
         connections = window_hours.connections + excluded.connections, \
         min_bps = CASE WHEN excluded.min_bps < window_hours.min_bps THEN excluded.min_bps \
         ELSE window_hours.min_bps END, \
         max_bps = CASE WHEN excluded.max_bps > window_hours.max_bps THEN excluded.max_bps \
         ELSE window_hours.max_bps END, \
         rtt_samples = window_hours.rtt_samples + excluded.rtt_samples, \
         rtt_sum_ms = coalesce(window_hours.rtt_sum_ms + excluded.rtt_sum_ms, window_hours.rtt_sum_ms, \
         excluded.rtt_sum_ms), \
         rtt_min_ms = CASE WHEN window_hours.rtt_min_ms < excluded.rtt_min_ms THEN window_hours.rtt_min_ms \
         ELSE coalesce(excluded.rtt_min_ms, window_hours.rtt_min_ms) END, \
         rtt_max_ms = CASE WHEN window_hours.rtt_max_ms > excluded.rtt_max_ms THEN window_hours.rtt_max_ms \
         ELSE coalesce(excluded.rtt_max_ms, window_hours.rtt_max_ms) END, \
         rtt_shortest_ms = CASE WHEN window_hours.rtt_samples = 0 THEN excluded.rtt_shortest_ms \
         WHEN excluded.rtt_samples = 0 OR window_hours.rtt_shortest_ms < excluded.rtt_shortest_ms \
         OR window_hours.rtt_shortest_ms IS NULL THEN window_hours.rtt_shortest_ms ELSE excluded.rtt_shortest_ms END",
    )
    .bind(run)
    .bind(window.start_ns / HOUR_NS * HOUR_NS)
    .bind(window.start_ns)
    .bind(window.end_ns)
    .bind(window.end_ns - window.start_ns)
    .bind(window.packets)
    .bind(window.bytes)
    .bind(window.connections)
    .bind(window.bandwidth_bps)
    .bind(window.rtt_samples)
    .bind(sum)
    .bind(window.rtt_mean_ms)
    .bind(window.rtt_max_ms)
    .bind(window.factor)
    .bind(span_ns)
    .bind(window.rtt_shortest_ms);
    conn.execute(hour).await.map_err(StoreError::query("window_hours"))?;
    Ok(Some(id))
}

/// Inserts or updates an alert of the run. What people did about it is not touched.
async fn upsert_alert(conn: &mut Conn, run: i64, alert: &AlertRow) -> Result<(), StoreError> {
    let error = StoreError::query("detected_alerts");
    let known = Query::new("SELECT raised_ns FROM detected_alerts WHERE id = $1 AND run_id = $2");
    let known = conn.fetch_optional(known.bind(alert.id.as_str()).bind(run)).await.map_err(&error)?;
    let is_new = known.is_none();
    // Part of the key: it stays as it was.
    let raised_ns = known.map_or(Ok(alert.raised_ns), |row| row.first()).map_err(&error)?;
    let upsert = Query::new(
        "INSERT INTO detected_alerts (id, run_id, kind, severity, source, destination, score_ppm, state, \
         first_ns, last_ns, raised_ns, cleared_ns, body) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
         ON CONFLICT (id, run_id, raised_ns) DO UPDATE SET severity = excluded.severity, \
         source = excluded.source, destination = excluded.destination, score_ppm = excluded.score_ppm, \
         state = excluded.state, first_ns = excluded.first_ns, last_ns = excluded.last_ns, \
         cleared_ns = excluded.cleared_ns, body = excluded.body",
    )
    .bind(alert.id.as_str())
    .bind(run)
    .bind(alert.kind.as_str())
    .bind(alert.severity)
    .bind(alert.source.clone())
    .bind(alert.destination.clone())
    .bind(alert.score_ppm)
    .bind(alert.state.as_str())
    .bind(alert.first_ns)
    .bind(alert.last_ns)
    .bind(raised_ns)
    .bind(alert.cleared_ns)
    .bind(alert.body.as_str());
    conn.execute(upsert).await.map_err(error)?;
    add(conn, "alerts", i64::from(is_new)).await?;
    let body = format!("{{\"id\":\"{}\",\"state\":\"{}\",\"is_new\":{is_new}}}", alert.id, alert.state);
    event(conn, alert.cleared_ns.unwrap_or(alert.last_ns), "alert_changed", run, body).await
}

async fn insert_features(conn: &mut Conn, run: i64, rows: &[VectorRow]) -> Result<(), StoreError> {
    for chunk in rows.chunks(CHUNK_ROWS) {
        let mut query = Query::new(
            "INSERT INTO aggregated_features (run_id, start_ns, end_ns, span_ns, host, schema_version, vector) VALUES ",
        );
        query.persistent = chunk.len() == CHUNK_ROWS;
        query.push_rows(chunk.iter().map(|row| {
            vec![
                run.into(),
                row.start_ns.into(),
                row.end_ns.into(),
                row.span_ns.into(),
                Value::from(row.host.to_vec()),
                i64::from(row.schema_version).into(),
                row.vector.as_str().into(),
            ]
        }));
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
    for chunk in packets.chunks(CHUNK_ROWS) {
        let mut query = Query::new("INSERT INTO raw_packets (run_id, time_ns, wire_len, head) VALUES ");
        query.persistent = chunk.len() == CHUNK_ROWS;
        query.push_rows(chunk.iter().map(|(time_ns, wire_len, head)| {
            vec![run.into(), (*time_ns).into(), (*wire_len).into(), Value::from(head.clone())]
        }));
        conn.execute(query).await.map_err(StoreError::query("raw_packets"))?;
    }
    Ok(())
}

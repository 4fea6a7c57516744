//! Writing anomalies, and what they add to the counts by kind and severity: rows by the hundred in one statement, a count once
//! a batch.

use std::collections::{BTreeMap, BTreeSet};

use super::StoreError;
use super::db::{Conn, Query};
use super::rows::AnomalyRow;

/// What a batch adds to the count of a kind and severity, or what is taken out of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kept {
    pub(super) count: i64,
    pub(super) alerts: i64,
    first_ns: i64,
    pub(super) last_ns: i64,
    pub(super) score_sum_ppm: i64,
    pub(super) score_max_ppm: i64,
}

/// Inserts the anomalies of a run; those that are there already are left as they are.
pub(super) async fn insert(
    conn: &mut Conn,
    (run, sensor): (i64, i64),
    anomalies: &[AnomalyRow],
) -> Result<(), StoreError> {
    let mut grown: BTreeMap<(&str, i64), Kept> = BTreeMap::new();
    // Alerts with a severity that an anomaly of this batch has had.
    let mut counted: BTreeSet<(&str, i64)> = BTreeSet::new();
    for chunk in anomalies.chunks(conn.chunk_rows()) {
        let pairs: BTreeSet<(&str, i64)> = chunk.iter().map(|row| (row.alert_id.as_str(), row.severity)).collect();
        let known = with_anomalies(conn, &pairs.into_iter().collect::<Vec<_>>()).await?;
        let new = insert_chunk(conn, (run, sensor), chunk).await?;
        for row in chunk.iter().filter(|row| new.contains(&row.number)) {
            let pair = (row.alert_id.as_str(), row.severity);
            let is_first = !known.contains(&(row.alert_id.clone(), row.severity)) && counted.insert(pair);
            let of = grown.entry((row.kind.as_str(), row.severity)).or_insert(Kept {
                count: 0,
                alerts: 0,
                first_ns: row.start_ns,
                last_ns: row.end_ns,
                score_sum_ppm: 0,
                score_max_ppm: 0,
            });
            of.count += 1;
            of.alerts += i64::from(is_first);
            of.first_ns = of.first_ns.min(row.start_ns);
            of.last_ns = of.last_ns.max(row.end_ns);
            of.score_sum_ppm += row.score_ppm;
            of.score_max_ppm = of.score_max_ppm.max(row.score_ppm);
        }
    }
    for ((kind, severity), grown) in grown {
        add(conn, kind, severity, grown).await?;
    }
    Ok(())
}

/// Which of these alerts have an anomaly of the same severity: the rows of this batch that came before are among them.
pub(super) async fn with_anomalies(
    conn: &mut Conn,
    pairs: &[(&str, i64)],
) -> Result<BTreeSet<(String, i64)>, StoreError> {
    let error = StoreError::query("anomalies");
    let mut query = Query::new("SELECT p.column1 AS alert_id, p.column2 AS severity FROM (");
    query.push_table(conn, pairs.iter().map(|(alert, severity)| vec![(*alert).into(), (*severity).into()]));
    query.push(
        ") AS p WHERE EXISTS (SELECT 1 FROM anomalies a WHERE a.alert_id = p.column1 AND a.severity = p.column2)",
    );
    query.plan_anew(conn);
    let rows = conn.fetch_all(query).await.map_err(&error)?;
    let pair = |row: &super::db::Row| Ok::<_, sqlx::Error>((row.text("alert_id")?, row.int("severity")?));
    rows.iter().map(|row| pair(row).map_err(&error)).collect()
}

/// Inserts some rows; the numbers of those that were not there.
async fn insert_chunk(
    conn: &mut Conn,
    (run, sensor): (i64, i64),
    chunk: &[AnomalyRow],
) -> Result<BTreeSet<i64>, StoreError> {
    let error = StoreError::query("anomalies");
    let mut query = Query::new(
        "INSERT INTO anomalies (run_id, sensor_id, number, alert_id, kind, severity, source, destination, score_ppm, start_ns, \
         end_ns, body) ",
    );
    query.push_table(
        conn,
        chunk.iter().map(|row| {
            vec![
                run.into(),
                sensor.into(),
                row.number.into(),
                row.alert_id.as_str().into(),
                row.kind.as_str().into(),
                row.severity.into(),
                row.source.clone().into(),
                row.destination.clone().into(),
                row.score_ppm.into(),
                row.start_ns.into(),
                row.end_ns.into(),
                row.body.as_str().into(),
            ]
        }),
    );
    query.push(" ON CONFLICT DO NOTHING RETURNING number");
    let rows = conn.fetch_all(query).await.map_err(&error)?;
    rows.iter().map(|row| row.first().map_err(&error)).collect()
}

async fn add(conn: &mut Conn, kind: &str, severity: i64, grown: Kept) -> Result<(), StoreError> {
    // What no number of anomalies can be begins again with those that come.
    let kept = |column: &str| {
        format!(
            "CASE WHEN anomaly_totals.{column} BETWEEN 0 AND {MOST_KEPT} THEN anomaly_totals.{column} ELSE 0 END + excluded.{column}"
        )
    };
    let [count, alerts, score_sum] = ["count", "alerts", "score_sum_ppm"].map(kept);
    let total = Query::new(format!(
        "INSERT INTO anomaly_totals (kind, severity, count, alerts, first_ns, last_ns, score_sum_ppm, score_max_ppm) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (kind, severity) DO UPDATE SET \
         count = {count}, alerts = {alerts}, \
         first_ns = CASE WHEN excluded.first_ns < anomaly_totals.first_ns THEN excluded.first_ns \
         ELSE anomaly_totals.first_ns END, \
         last_ns = CASE WHEN excluded.last_ns > anomaly_totals.last_ns THEN excluded.last_ns \
         ELSE anomaly_totals.last_ns END, \
         score_sum_ppm = {score_sum}, \
         score_max_ppm = CASE WHEN excluded.score_max_ppm > anomaly_totals.score_max_ppm \
         THEN excluded.score_max_ppm ELSE anomaly_totals.score_max_ppm END",
    ))
    .bind(kind)
    .bind(severity)
    .bind(grown.count)
    .bind(grown.alerts)
    .bind(grown.first_ns)
    .bind(grown.last_ns)
    .bind(grown.score_sum_ppm)
    .bind(grown.score_max_ppm);
    conn.execute(total).await.map_err(StoreError::query("anomaly_totals"))?;
    Ok(())
}

/// No more was ever counted.
const MOST_KEPT: i64 = 1 << 62;
/// A day in nanoseconds: no window is as long.
const DAY_NS: i64 = 86_400_000_000_000;

/// Takes anomalies that were deleted out of the count. What they were the first, the last or the highest of is found anew among
/// those that are left, each by its index.
pub(super) async fn take_out(conn: &mut Conn, kind: &str, severity: i64, gone: Kept) -> Result<(), StoreError> {
    let error = StoreError::query("anomaly_totals");
    let last = format!(
        "SELECT max(end_ns) FROM anomalies WHERE kind = $1 AND severity + 0 = $2 \
         AND start_ns >= (SELECT max(start_ns) FROM anomalies WHERE kind = $1) - {DAY_NS}"
    );
    let kept = |column: &str| format!("CASE WHEN {column} BETWEEN 0 AND {MOST_KEPT} THEN {column} ELSE 0 END");
    let [count, alerts, score_sum] = ["count", "alerts", "score_sum_ppm"].map(kept);
    let update = format!(
        "UPDATE anomaly_totals SET count = {count} - $3, alerts = {alerts} - $4, score_sum_ppm = {score_sum} - $5, \
         first_ns = coalesce((SELECT start_ns FROM anomalies WHERE kind = $1 AND severity + 0 = $2 \
         ORDER BY start_ns LIMIT 1), first_ns), \
         last_ns = CASE WHEN $6 < last_ns THEN last_ns ELSE coalesce(({last}), last_ns) END, \
         score_max_ppm = CASE WHEN $7 < score_max_ppm THEN score_max_ppm ELSE coalesce((SELECT score_ppm FROM anomalies \
         WHERE coalesce(kind, '') = $1 AND severity + 0 = $2 ORDER BY score_ppm DESC LIMIT 1), score_max_ppm) END \
         WHERE kind = $1 AND severity = $2"
    );
    let update = Query::new(update).bind(kind).bind(severity).bind(gone.count).bind(gone.alerts);
    let update = update.bind(gone.score_sum_ppm).bind(gone.last_ns).bind(gone.score_max_ppm);
    conn.execute(update).await.map_err(&error)?;
    let empty = Query::new("DELETE FROM anomaly_totals WHERE kind = $1 AND severity = $2 AND count <= 0");
    conn.execute(empty.bind(kind).bind(severity)).await.map(drop).map_err(error)
}

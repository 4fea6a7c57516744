//! What goes with rows that retention deletes: counts and sums that were kept of them, the anomalies of an alert.

use std::collections::{BTreeMap, BTreeSet};

use super::anomaly_write::{self, Kept};
use super::db::{Conn, Query, Row};
use super::totals::{NEAR, add};
use super::unreadable::{Unreadable, usable};
use super::window_write::recount_hour;
use super::{StoreError, joint_write, window_drop};

/// How many rows of a table were deleted, and how many anomalies went with them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Deleted {
    pub(super) rows: u64,
    pub(super) anomalies: u64,
}

/// Runs a statement that deletes rows of a table.
pub(super) async fn delete(conn: &mut Conn, table: &'static str, query: Query) -> Result<Deleted, StoreError> {
    let error = StoreError::query(table);
    let mut deleted = Deleted::default();
    match table {
        "windows" => {
            let gone = window_drop::delete(conn, query).await?;
            deleted.rows = gone.len() as u64;
            // Only base windows are counted. A window that waits to be joined, of factor 0, is in no sum.
            let base = gone.iter().filter(|row| matches!(row.first(), Ok(1))).count();
            add(conn, "windows", -to_rows(base)).await?;
            add(conn, NEAR, -near(&gone)).await?;
            let hour =
                |row: &Row| Ok::<_, Unreadable>((row.int("run_id")?, row.int("factor")?, row.natural("start_ns")?));
            let hours = usable(table, gone.iter().map(hour));
            let hours: BTreeSet<_> = hours
                .into_iter()
                .filter(|(_, factor, _)| *factor > 0)
                .map(|(run, factor, start_ns)| (run, factor, super::window_write::hour_of(start_ns)))
                .collect();
            for (run, factor, hour_ns) in hours {
                recount_hour(conn, run, factor, hour_ns).await?;
            }
        }
        "anomalies" => deleted.rows = delete_anomalies(conn, query).await?,
        "detected_alerts" => {
            let gone = fetch(conn, table, query, " RETURNING id").await?;
            deleted.rows = gone.len() as u64;
            add(conn, "alerts", -to_rows(gone.len())).await?;
            let ids: BTreeSet<String> = usable(table, gone.iter().map(|row| Ok(row.text("id")?))).into_iter().collect();
            if !ids.is_empty() {
                joint_write::set_free(conn).await?;
                // Of an analysis that was made again the alert of the other run may be there.
                let mut query = Query::new(
                    "DELETE FROM anomalies WHERE NOT EXISTS (SELECT 1 FROM detected_alerts a WHERE a.id = alert_id) \
                     AND alert_id IN (",
                );
                query.push_table(conn, ids.iter().map(|id| vec![id.as_str().into()])).push(")");
                query.plan_anew(conn);
                deleted.anomalies = delete_anomalies(conn, query).await?;
            }
        }
        "flows" => {
            deleted.rows = conn.execute(query).await.map_err(&error)?;
            add(conn, "flows", -i64::try_from(deleted.rows).unwrap_or(i64::MAX)).await?;
        }
        _ => deleted.rows = conn.execute(query).await.map_err(&error)?,
    }
    Ok(deleted)
}

/// Measures in the documents of windows that are gone.
pub(super) fn near(gone: &[Row]) -> i64 {
    gone.iter().filter_map(|row| row.natural("near").ok()).fold(0, i64::saturating_add)
}

fn to_rows(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

async fn fetch(
    conn: &mut Conn,
    table: &'static str,
    mut query: Query,
    returning: &str,
) -> Result<Vec<Row>, StoreError> {
    query.push(returning);
    conn.fetch_all(query).await.map_err(StoreError::query(table))
}

/// Deletes anomalies, and takes them out of the counts by kind and severity.
async fn delete_anomalies(conn: &mut Conn, query: Query) -> Result<u64, StoreError> {
    const TABLE: &str = "anomalies";
    let gone = fetch(conn, TABLE, query, " RETURNING kind, severity, alert_id, score_ppm, end_ns").await?;
    let read = |row: &Row| {
        let of = (row.text("kind")?, row.int("severity")?);
        Ok::<_, Unreadable>((of, row.text("alert_id")?, row.int("score_ppm")?, row.int("end_ns")?))
    };
    let mut kinds: BTreeMap<(String, i64), (Kept, BTreeSet<String>)> = BTreeMap::new();
    for (of, alert, score_ppm, end_ns) in usable(TABLE, gone.iter().map(read)) {
        let (kept, alerts) = kinds.entry(of).or_default();
        kept.count += 1;
        kept.score_sum_ppm = kept.score_sum_ppm.saturating_add(score_ppm);
        kept.score_max_ppm = kept.score_max_ppm.max(score_ppm);
        kept.last_ns = kept.last_ns.max(end_ns);
        alerts.insert(alert);
    }
    for ((kind, severity), (mut kept, alerts)) in kinds {
        let pairs: Vec<(&str, i64)> = alerts.iter().map(|alert| (alert.as_str(), severity)).collect();
        let mut still = 0;
        for chunk in pairs.chunks(conn.chunk_rows()) {
            still += anomaly_write::with_anomalies(conn, chunk).await?.len();
        }
        kept.alerts = to_rows(pairs.len().saturating_sub(still));
        anomaly_write::take_out(conn, &kind, severity, kept).await?;
    }
    Ok(gone.len() as u64)
}

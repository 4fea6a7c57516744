//! Writing one batch: a window with all that was found in it and the flows that changed, in one transaction.

use sqlx::{AssertSqlSafe, QueryBuilder, Sqlite, SqliteConnection, SqlitePool};

use nta_common::packet::proto;

use super::flows::{state, tcp_row};
use super::{Batch, RunId, StoreError, alerts, anomalies, baselines, features, raw_packets, to_sql};
use crate::json::WindowJson;
use nta_core::domain::FlowRecord;
use nta_core::window::{Span, Window};

/// Rows in one statement. SQLite binds at most 32,766 values, which would be 1,365 rows. 100,000 flows take 0.4 to
/// 0.7 s with 100, 500 or 1,500 rows, and with 8 or 64 MiB of page cache alike: the time goes into rows.
const CHUNK_ROWS: usize = 500;

/// Commits the batch, or leaves the database as it was.
pub(super) async fn commit(pool: &SqlitePool, run: RunId, batch: &mut Batch) -> Result<(), StoreError> {
    let flows_error = StoreError::query("flows");
    let mut transaction = pool.begin().await.map_err(StoreError::query("windows"))?;
    if let Some(window) = &batch.window {
        insert_window(&mut transaction, run, Span::Base, window).await?;
    }
    for (span, window) in &batch.longer {
        insert_window(&mut transaction, run, *span, window).await?;
    }
    alerts::write(&mut transaction, run, &batch.alerts).await?;
    anomalies::write(&mut transaction, run, &batch.anomalies).await?;
    features::write(&mut transaction, run, &batch.features).await?;
    if let Some((name, export)) = &batch.baselines {
        baselines::write(&mut transaction, name, export).await?;
    }
    in_key_order(&mut batch.flows);
    for chunk in batch.flows.chunks(CHUNK_ROWS) {
        upsert_flows(&mut transaction, run, chunk).await?;
    }
    raw_packets::insert(&mut transaction, run, &batch.raw_packets).await?;
    transaction.commit().await.map_err(flows_error)
}

/// Sorts by identity, so that the rows go into the table from left to right, and keeps the last record of each flow.
fn in_key_order(flows: &mut Vec<FlowRecord>) {
    flows.sort_by_key(|flow| flow.id.0.cast_signed());
    flows.dedup_by(|later, earlier| {
        let same = later.id == earlier.id;
        if same {
            *earlier = *later;
        }
        same
    });
}

async fn insert_window(
    connection: &mut SqliteConnection,
    run: RunId,
    span: Span,
    window: &Window,
) -> Result<(), StoreError> {
    let json = WindowJson::from(window);
    let body = serde_json::to_string(&json).map_err(|source| StoreError::Encode {
        table: "windows",
        number: window.id,
        source,
    })?;
    // The column is for sorting; the exact value stands in the body.
    let bandwidth_bps = json.bandwidth_bps.round() as i64;
    sqlx::query(
        "INSERT INTO windows (run_id, factor, number, start_ns, end_ns, span_ns, packets, bytes, flows, connections, \
         bandwidth_bps, rtt_samples, rtt_mean_ms, rtt_max_ms, rtt_histogram, body) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) \
         ON CONFLICT (run_id, factor, number) DO NOTHING",
    )
    .bind(run.0)
    .bind(to_sql(span.factor()))
    .bind(to_sql(window.id))
    .bind(to_sql(window.start.as_nanos()))
    .bind(to_sql(window.end.as_nanos()))
    .bind(to_sql(window.end.since(window.start)))
    .bind(to_sql(window.packets))
    .bind(to_sql(window.bytes))
    .bind(to_sql(window.flows))
    .bind(to_sql(json.connections))
    .bind(bandwidth_bps)
    .bind(to_sql(window.rtt_samples))
    .bind(window.rtt_mean_ms)
    .bind(window.rtt_max_ms)
    .bind((window.rtt.count > 0).then(|| format!("{:?}", window.rtt.histogram)))
    .bind(body)
    .execute(connection)
    .await
    .map_err(StoreError::query("windows"))?;
    Ok(())
}

async fn upsert_flows(connection: &mut SqliteConnection, run: RunId, flows: &[FlowRecord]) -> Result<(), StoreError> {
    let whole = flows.len() == CHUNK_ROWS;
    // Binding to `?` and not to `$1`: SQLite looks up a numbered parameter's name in a list that grows with them.
    let mut query = sqlx::query::<Sqlite>(AssertSqlSafe(upsert_sql(flows.len()))).persistent(whole);
    for flow in flows {
        let (orig, resp) = (&flow.originator, &flow.responder);
        query = query
            .bind(flow.id.0.cast_signed())
            .bind(run.0)
            .bind(flow.proto)
            .bind(orig.address.to_string())
            .bind(orig.port)
            .bind(resp.address.to_string())
            .bind(resp.port)
            .bind(flow.vlan)
            .bind(to_sql(flow.first.as_nanos()))
            .bind(to_sql(flow.last.as_nanos()))
            .bind(to_sql(orig.sent.packets))
            .bind(to_sql(orig.sent.bytes))
            .bind(to_sql(orig.sent.ip_bytes))
            .bind(to_sql(resp.sent.packets))
            .bind(to_sql(resp.sent.bytes))
            .bind(to_sql(resp.sent.ip_bytes))
            .bind(flow.handshake_us[0])
            .bind(flow.handshake_us[1])
            .bind(state(flow.ended))
            .bind(tcp(flow))
            .bind(flow.conn_state.as_str())
            .bind(flow.history.to_string())
            .bind(orig.payload_bytes.map(to_sql))
            .bind(resp.payload_bytes.map(to_sql));
    }
    query.execute(connection).await.map_err(StoreError::query("flows"))?;
    Ok(())
}

/// Nested arrays of numbers look the same in Rust's debug form and in JSON.
fn tcp(flow: &FlowRecord) -> Option<String> {
    let sides = [tcp_row(&flow.originator.tcp), tcp_row(&flow.responder.tcp)];
    (flow.proto == proto::TCP).then(|| format!("{sides:?}"))
}

fn upsert_sql(rows: usize) -> String {
    let mut sql = QueryBuilder::<Sqlite>::new(
        "INSERT INTO flows (id, run_id, proto, orig_addr, orig_port, resp_addr, resp_port, vlan, first_ns, last_ns, \
         orig_packets, orig_bytes, orig_ip_bytes, resp_packets, resp_bytes, resp_ip_bytes, handshake_resp_us, \
         handshake_orig_us, state, tcp, conn_state, history, orig_payload, resp_payload) VALUES ",
    );
    for row in 0..rows {
        sql.push(if row == 0 { "" } else { ", " })
            .push("(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
    }
    sql.push(
        " ON CONFLICT (id) DO UPDATE SET run_id = excluded.run_id, orig_addr = excluded.orig_addr, \
         orig_port = excluded.orig_port, resp_addr = excluded.resp_addr, resp_port = excluded.resp_port, \
         vlan = excluded.vlan, last_ns = excluded.last_ns, orig_packets = excluded.orig_packets, \
         orig_bytes = excluded.orig_bytes, orig_ip_bytes = excluded.orig_ip_bytes, \
         resp_packets = excluded.resp_packets, resp_bytes = excluded.resp_bytes, \
         resp_ip_bytes = excluded.resp_ip_bytes, handshake_resp_us = excluded.handshake_resp_us, \
         handshake_orig_us = excluded.handshake_orig_us, state = excluded.state, tcp = excluded.tcp, \
         conn_state = excluded.conn_state, history = excluded.history, orig_payload = excluded.orig_payload, \
         resp_payload = excluded.resp_payload",
    );
    sql.into_string()
}

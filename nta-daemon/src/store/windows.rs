//! Reading the table `windows`.

use sqlx::{FromRow, QueryBuilder, Sqlite};

use super::{Key, Position, Store, StoreError, from_sql, to_sql};
use crate::json::WindowJson;
use nta_core::domain::Timestamp;

/// Which windows.
#[derive(Clone, Copy, Debug, Default)]
pub struct WindowFilter {
    /// Windows that end behind this time.
    pub from: Option<Timestamp>,
    /// Windows that start before this time.
    pub to: Option<Timestamp>,
    /// Windows of this length in nanoseconds; `None` for base windows of any.
    pub span_ns: Option<u64>,
}

impl WindowFilter {
    pub(super) fn push(&self, query: &mut QueryBuilder<Sqlite>) {
        match self.span_ns {
            Some(span_ns) => query.push(" WHERE factor IN (1, 6, 36) AND span_ns = ").push_bind(to_sql(span_ns)),
            None => query.push(" WHERE factor = 1"),
        };
        if let Some(from) = self.from {
            query.push(" AND end_ns > ").push_bind(to_sql(from.as_nanos()));
        }
        if let Some(to) = self.to {
            query.push(" AND start_ns < ").push_bind(to_sql(to.as_nanos()));
        }
    }
}

/// Order of a list of windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowSort {
    /// By start.
    Time,
    /// By bits a second.
    Bandwidth,
    /// By packets.
    Packets,
    /// By frame bytes.
    Bytes,
    /// By flows.
    Flows,
    /// By new connections.
    Connections,
}

impl WindowSort {
    pub(super) const fn column(self) -> &'static str {
        match self {
            Self::Time => "start_ns",
            Self::Bandwidth => "bandwidth_bps",
            Self::Packets => "packets",
            Self::Bytes => "bytes",
            Self::Flows => "flows",
            Self::Connections => "connections",
        }
    }
}

/// Some windows, and where the next page begins.
#[derive(Clone, Debug)]
pub struct WindowPage {
    /// The windows, with the database's ids.
    pub items: Vec<WindowJson>,
    /// Key of the last one, when there are more behind it.
    pub next: Option<Key>,
}

/// Sums over windows.
#[derive(Clone, Debug, Default, PartialEq, FromRow)]
pub struct WindowsSummary {
    /// How many.
    pub windows: i64,
    /// Start of the first in nanoseconds; `None` without windows.
    pub first_ns: Option<i64>,
    /// End of the last in nanoseconds.
    pub last_ns: Option<i64>,
    /// Their lengths together, in nanoseconds.
    pub span_ns: i64,
    /// Packets.
    pub packets: i64,
    /// Frame bytes.
    pub bytes: i64,
    /// New connections.
    pub connections: i64,
    /// Smallest bandwidth of a window.
    pub min_bps: Option<i64>,
    /// Largest bandwidth of a window.
    pub max_bps: Option<i64>,
    /// Round-trip samples.
    pub rtt_samples: i64,
    /// Sum of the round trips in milliseconds.
    pub rtt_sum_ms: Option<f64>,
    /// Smallest mean round trip of a window.
    pub rtt_min_ms: Option<f64>,
    /// Largest round trip of a window.
    pub rtt_max_ms: Option<f64>,
}

#[derive(FromRow)]
struct Row {
    id: i64,
    value: i64,
    body: String,
}

impl Row {
    fn window(&self) -> Result<WindowJson, StoreError> {
        let corrupt = |error: serde_json::Error| StoreError::Corrupt {
            table: "windows",
            id: self.id,
            reason: format!("the body is no window: {error}"),
        };
        let window: WindowJson = serde_json::from_str(&self.body).map_err(corrupt)?;
        Ok(WindowJson { id: from_sql(self.id), ..window })
    }
}

impl Store {
    /// A page of windows.
    pub async fn windows(
        &self,
        filter: &WindowFilter,
        sort: WindowSort,
        position: Position,
    ) -> Result<WindowPage, StoreError> {
        let column = sort.column();
        let mut query = QueryBuilder::new(format!("SELECT id, {column} AS value, body FROM windows"));
        filter.push(&mut query);
        // One more row than asked for tells whether there is a next page.
        Position { limit: position.limit.saturating_add(1), ..position }.push(&mut query, column);
        let rows: Vec<Row> =
            query.build_query_as().fetch_all(&self.read).await.map_err(StoreError::query("windows"))?;
        let kept = rows.len().min(position.limit as usize);
        let next = (rows.len() > kept).then(|| rows[..kept].last()).flatten();
        let next = next.map(|row| Key { value: row.value, id: row.id });
        let items = rows[..kept].iter().map(Row::window).collect::<Result<_, _>>()?;
        Ok(WindowPage { items, next })
    }

    /// One window.
    pub async fn window(&self, id: u64) -> Result<Option<WindowJson>, StoreError> {
        let row: Option<Row> = sqlx::query_as("SELECT id, start_ns AS value, body FROM windows WHERE id = $1")
            .bind(to_sql(id))
            .fetch_optional(&self.read)
            .await
            .map_err(StoreError::query("windows"))?;
        row.as_ref().map(Row::window).transpose()
    }

    /// How many base windows are stored.
    pub async fn window_count(&self) -> Result<u64, StoreError> {
        let count = sqlx::query_scalar("SELECT count(*) FROM windows WHERE factor = 1").fetch_one(&self.read).await;
        Ok(from_sql(count.map_err(StoreError::query("windows"))?))
    }

    /// Sums over all windows that pass the filter; base windows unless it names a length.
    pub async fn windows_summary(&self, filter: &WindowFilter) -> Result<WindowsSummary, StoreError> {
        let mut query = QueryBuilder::new(
            "SELECT count(*) AS windows, min(start_ns) AS first_ns, max(end_ns) AS last_ns, \
             coalesce(sum(span_ns), 0) AS span_ns, coalesce(sum(packets), 0) AS packets, \
             coalesce(sum(bytes), 0) AS bytes, coalesce(sum(connections), 0) AS connections, \
             min(bandwidth_bps) AS min_bps, max(bandwidth_bps) AS max_bps, \
             coalesce(sum(rtt_samples), 0) AS rtt_samples, sum(rtt_samples * rtt_mean_ms) AS rtt_sum_ms, \
             min(rtt_mean_ms) AS rtt_min_ms, max(rtt_max_ms) AS rtt_max_ms FROM windows",
        );
        filter.push(&mut query);
        query.build_query_as().fetch_one(&self.read).await.map_err(StoreError::query("windows"))
    }
}

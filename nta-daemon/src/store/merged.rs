//! Windows of lengths that are not stored: made of base windows when they are asked for.

use std::collections::BTreeMap;

use super::db::{Query, Row};
use super::rows::WindowRow;
use super::{Key, Position, Store, StoreError, WindowFilter, WindowPage, from_sql, to_sql};
use crate::json::WindowJson;
use nta_common::tcp::RTT_BUCKETS;
use nta_core::domain::Timestamp;
use nta_core::window::{Span, Window};

/// What a stored window is made of again.
pub(super) struct Part {
    id: i64,
    run_id: i64,
    start_ns: i64,
    end_ns: i64,
    rtt_histogram: Option<String>,
    body: String,
}

impl Part {
    /// Of a row that is not yet in the database.
    pub(super) fn of(row: &WindowRow) -> Self {
        let WindowRow { number, start_ns, end_ns, rtt_histogram, body, .. } = row.clone();
        Self { id: number, run_id: 0, start_ns, end_ns, rtt_histogram, body }
    }

    pub(super) fn read(row: &Row) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.int("id")?,
            run_id: row.int("run_id")?,
            start_ns: row.int("start_ns")?,
            end_ns: row.int("end_ns")?,
            rtt_histogram: row.opt_text("rtt_histogram")?,
            body: row.text("body")?,
        })
    }

    pub(super) fn window(&self) -> Result<Window, StoreError> {
        let corrupt = |error: serde_json::Error| StoreError::Corrupt {
            table: "windows",
            id: self.id,
            reason: format!("the body is no window: {error}"),
        };
        let json: WindowJson = serde_json::from_str(&self.body).map_err(corrupt)?;
        let histogram = self.rtt_histogram.as_deref().map(serde_json::from_str::<[u32; RTT_BUCKETS]>);
        let time = |ns: i64| Timestamp::from_nanos(from_sql(ns));
        let histogram = histogram.transpose().map_err(corrupt)?;
        Ok(WindowJson { id: from_sql(self.id), ..json }.to_window(time(self.start_ns), time(self.end_ns), histogram))
    }
}

/// Base windows that are read for one page of longer ones; a page has fewer windows where they are long.
const MAX_PARTS: u64 = 20_000;

impl Store {
    /// A page of windows of `filter.span_ns` in the order of time, each made of the base windows of `base_ns` in it; its id is
    /// the first one's. A page may be shorter than its limit and still have a next one.
    pub async fn merged_windows(
        &self,
        filter: &WindowFilter,
        base_ns: u64,
        position: Position,
    ) -> Result<WindowPage, StoreError> {
        let base_ns = base_ns.max(1);
        let span_ns = filter.span_ns.unwrap_or(base_ns).max(base_ns);
        let parts_of_one = span_ns / base_ns;
        // With one more than is answered, whose parts may not all be there.
        let wanted = (u64::from(position.limit) + 1).min(MAX_PARTS / parts_of_one + 1);
        let most = u32::try_from(wanted * parts_of_one).unwrap_or(u32::MAX);
        let mut query = Query::new(
            "SELECT id, run_id, start_ns, end_ns, rtt_histogram, body FROM windows WHERE factor = 1 AND span_ns = ",
        );
        query.push_bind(to_sql(base_ns));
        if let Some(from) = filter.from {
            query.push(" AND start_ns >= ").push_bind(to_sql(from.floor(span_ns).as_nanos()));
        }
        if let Some(to) = filter.to {
            let last = Timestamp::from_nanos(to.as_nanos().saturating_sub(1)).floor(span_ns).plus(span_ns);
            query.push(" AND start_ns < ").push_bind(to_sql(last.as_nanos()));
        }
        Position { limit: most, ..position }.push(&mut query, "start_ns");
        let parts: Vec<Part> = self.read("windows", query, Part::read).await?;
        let is_last = parts.len() < most as usize;
        let floor = |part: &Part| Timestamp::from_nanos(from_sql(part.start_ns)).floor(span_ns);
        // All windows of one start, of each run one.
        let mut starts: Vec<&[Part]> = parts.chunk_by(|a, b| floor(a) == floor(b)).collect();
        if !is_last && starts.len() > 1 {
            starts.pop();
        }
        let mut items = Vec::new();
        let mut next = None;
        for (index, parts) in starts.iter().enumerate() {
            let mut by_run: BTreeMap<i64, Vec<&Part>> = BTreeMap::new();
            parts.iter().for_each(|part| by_run.entry(part.run_id).or_default().push(part));
            for mut parts in by_run.into_values() {
                parts.sort_by_key(|part| (part.start_ns, part.id));
                let start = floor(parts[0]);
                let id = from_sql(parts[0].id);
                let parts = parts.into_iter().map(Part::window).collect::<Result<Vec<_>, _>>()?;
                items.push(WindowJson::from(&Window::join(id, start, start.plus(span_ns), &parts)));
            }
            if items.len() >= position.limit as usize || index + 1 == starts.len() {
                let more = index + 1 < starts.len() || !is_last;
                next = parts.last().filter(|_| more).map(|part| Key { value: part.start_ns, id: part.id });
                break;
            }
        }
        Ok(WindowPage { items, next })
    }

    /// The newest stored windows of this length, at most `most`, in the order of time.
    pub async fn network_windows(
        &self,
        span: Span,
        filter: &WindowFilter,
        most: u32,
    ) -> Result<Vec<Window>, StoreError> {
        let mut query = Query::new("SELECT id, run_id, start_ns, end_ns, rtt_histogram, body FROM windows");
        filter.push(&mut query, "start_ns");
        query.push(" AND factor + 0 = ").push_bind(to_sql(span.factor()));
        Position { descending: true, after: None, limit: most }.push(&mut query, "start_ns");
        let parts: Vec<Part> = self.read("windows", query, Part::read).await?;
        parts.iter().rev().map(Part::window).collect()
    }
}

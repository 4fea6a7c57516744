//! Windows of lengths that are not stored: made of base windows when they are asked for.

use super::db::{Query, Row};
use super::rows::WindowRow;
use super::{Key, Position, Store, StoreError, WindowFilter, WindowPage, WindowSort, from_sql, to_sql};
use crate::json::WindowJson;
use nta_common::tcp::RTT_BUCKETS;
use nta_core::domain::Timestamp;
use nta_core::window::{Span, Window};

struct Group {
    id: i64,
    run_id: i64,
    start_ns: i64,
    value: i64,
}

pub(super) struct Part {
    id: i64,
    start_ns: i64,
    end_ns: i64,
    rtt_histogram: Option<String>,
    body: String,
}

impl Group {
    fn read(row: &Row) -> Result<Self, sqlx::Error> {
        let (id, run_id) = (row.int("id")?, row.int("run_id")?);
        Ok(Self { id, run_id, start_ns: row.int("start_ns")?, value: row.int("value")? })
    }
}

impl Part {
    /// Of a row that is not yet in the database.
    pub(super) fn of(row: &WindowRow) -> Self {
        let WindowRow { number, start_ns, end_ns, rtt_histogram, body, .. } = row.clone();
        Self { id: number, start_ns, end_ns, rtt_histogram, body }
    }

    pub(super) fn read(row: &Row) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.int("id")?,
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

/// How base windows become one value to sort by.
const fn aggregate(sort: WindowSort) -> &'static str {
    match sort {
        WindowSort::Time => "min(start_ns)",
        // Windows of one length: more bytes are more bits a second.
        WindowSort::Bandwidth | WindowSort::Bytes => "CAST(sum(bytes) AS BIGINT)",
        WindowSort::Packets => "CAST(sum(packets) AS BIGINT)",
        WindowSort::Flows => "CAST(sum(flows) AS BIGINT)",
        WindowSort::Connections => "CAST(sum(connections) AS BIGINT)",
    }
}

impl Store {
    /// A page of windows of `filter.span_ns`, each made of the base windows of `base_ns` in it; its id is the first one's.
    pub async fn merged_windows(
        &self,
        filter: &WindowFilter,
        base_ns: u64,
        sort: WindowSort,
        position: Position,
    ) -> Result<WindowPage, StoreError> {
        let span_ns = filter.span_ns.unwrap_or(base_ns);
        let span = to_sql(span_ns);
        let mut query = Query::new(format!(
            "SELECT id, run_id, start_ns, value FROM (SELECT min(id) AS id, run_id, min(start_ns) AS start_ns, \
             {} AS value FROM windows WHERE factor = 1 AND span_ns = ",
            aggregate(sort)
        ));
        query.push_bind(to_sql(base_ns));
        if let Some(from) = filter.from {
            query.push(" AND start_ns >= ").push_bind(to_sql((from.floor(span_ns)).as_nanos()));
        }
        if let Some(to) = filter.to {
            let last = Timestamp::from_nanos(to.as_nanos().saturating_sub(1)).floor(span_ns).plus(span_ns);
            query.push(" AND start_ns < ").push_bind(to_sql(last.as_nanos()));
        }
        query.push(" GROUP BY run_id, start_ns / ").push_bind(span).push(") AS groups WHERE 1 = 1");
        position.and_one().push(&mut query, "value");
        let mut groups: Vec<Group> = self.read("windows", query, Group::read).await?;
        let next = position.cut(&mut groups, |group| Key { value: group.value, id: group.id });
        let mut items = Vec::with_capacity(groups.len());
        for group in groups {
            let start = Timestamp::from_nanos(from_sql(group.start_ns)).floor(span_ns);
            let end = start.plus(span_ns);
            let query = Query::new(
                "SELECT id, start_ns, end_ns, rtt_histogram, body FROM windows WHERE factor = 1 AND span_ns = $1 \
                 AND run_id = $2 AND start_ns >= $3 AND start_ns < $4 ORDER BY start_ns, id",
            )
            .bind(to_sql(base_ns))
            .bind(group.run_id)
            .bind(to_sql(start.as_nanos()))
            .bind(to_sql(end.as_nanos()));
            let parts: Vec<Part> = self.read("windows", query, Part::read).await?;
            let parts = parts.iter().map(Part::window).collect::<Result<Vec<_>, _>>()?;
            items.push(WindowJson::from(&Window::join(from_sql(group.id), start, end, &parts)));
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
        let mut query = Query::new("SELECT id, start_ns, end_ns, rtt_histogram, body FROM windows");
        filter.push(&mut query);
        query.push(" AND factor = ").push_bind(to_sql(span.factor()));
        Position { descending: true, after: None, limit: most }.push(&mut query, "start_ns");
        let parts: Vec<Part> = self.read("windows", query, Part::read).await?;
        parts.iter().rev().map(Part::window).collect()
    }
}

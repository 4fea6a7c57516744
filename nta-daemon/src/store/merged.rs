//! Windows of lengths that are not stored: made of base windows when they are asked for.

use std::collections::BTreeMap;

use super::body::WindowBody;
use super::db::{Query, Row};
use super::rows::WindowRow;
use super::sensor::sensor_of_run;
use super::spans::measured;
use super::windows::window;
use super::{BySensor, Key, Position, Store, StoreError, WindowFilter, WindowPage, from_sql, to_sql};
use nta_core::domain::Timestamp;
use nta_core::window::{Measured, Span, Window};

/// What a window is made of: where it stands, and the window; `None` where that cannot be read.
struct Part {
    id: i64,
    run_id: i64,
    start_ns: i64,
    window: Option<BySensor<Window>>,
}

/// Parts with their sensors.
const PARTS: &str =
    concat!("SELECT id, run_id, start_ns, end_ns, rtt_histogram, body, ", sensor_of_run!(), " AS sensor FROM windows");

/// The window of a row that is not yet in the database.
pub(super) fn window_of(row: &WindowRow) -> Result<Window, StoreError> {
    let times = [row.start_ns, row.end_ns].map(|ns| Timestamp::from_nanos(from_sql(ns)));
    WindowBody::read(row.number, &row.body)?.window(row.number, times, row.rtt_histogram.as_deref())
}

/// Base windows that are read for one page of longer ones; a page has fewer windows where they are long.
const MAX_PARTS: u64 = 20_000;

impl Store {
    /// A page of windows of `filter.span_ns` in the order of time, each made of the base windows of `base_ns` that one run has
    /// in it; its id is the first one's, its key the start and the run. A page may be shorter than its limit and still have a
    /// next one.
    pub async fn merged_windows(
        &self,
        filter: &WindowFilter,
        base_ns: u64,
        position: Position,
    ) -> Result<WindowPage, StoreError> {
        let base_ns = base_ns.max(1);
        let merged = Merged { base_ns, span_ns: filter.span_ns.unwrap_or(base_ns).max(base_ns) };
        let parts_of_one = merged.span_ns / base_ns;
        let all = MAX_PARTS.max(parts_of_one * 2);
        // One more than is answered, whose parts may not all be there, and the one that the page before ended in.
        let mut most = ((u64::from(position.limit) + 2) * parts_of_one).min(all);
        loop {
            let query = merged.query(filter, position, most);
            let part = |row: &Row| {
                let (id, run_id, start_ns) = (row.int("id")?, row.int("run_id")?, row.natural("start_ns")?);
                Ok(Part { id, run_id, start_ns, window: self.usable("windows", window(row)) })
            };
            let parts: Vec<Part> = self.read("windows", query, part).await?;
            let is_last = (parts.len() as u64) < most;
            let page = merged.page(&parts, is_last, position);
            if !page.items.is_empty() || page.next.is_some() || is_last {
                return Ok(page);
            }
            // Many runs have windows at the same time.
            if most >= all {
                return Err(StoreError::TooMuch { table: "windows", most: all });
            }
            most = (most * 4).min(all);
        }
    }

    /// The newest stored windows of this length, at most `most`, in the order of time.
    pub async fn network_windows(
        &self,
        span: Span,
        filter: &WindowFilter,
        most: u32,
    ) -> Result<Vec<Window>, StoreError> {
        let mut query = Query::new(PARTS);
        filter.push(&mut query, "start_ns");
        query.push(" AND factor + 0 = ").push_bind(to_sql(span.factor()));
        Position { descending: true, after: None, limit: most }.push(&mut query, "start_ns");
        let windows = self.read("windows", query, window).await?;
        Ok(windows.into_iter().rev().map(|window| window.item).collect())
    }
}

/// The lengths of the parts and of what is made of them.
#[derive(Clone, Copy, Debug)]
struct Merged {
    base_ns: u64,
    span_ns: u64,
}

impl Merged {
    /// The parts of a page, from the start of the window that the page before ended in.
    fn query(self, filter: &WindowFilter, position: Position, most: u64) -> Query {
        let mut query = Query::new(PARTS);
        query.push(" WHERE factor + 0 = 1 AND span_ns = ");
        query.push_bind(to_sql(self.base_ns));
        let last = |to: Timestamp| Timestamp::from_nanos(to.as_nanos().saturating_sub(1));
        let mut from = filter.from.map(|from| to_sql(from.floor(self.span_ns).as_nanos()));
        let mut to = filter.to.map(|to| to_sql(last(to).floor(self.span_ns).plus(self.span_ns).as_nanos()));
        match position.after {
            Some(key) if position.descending => {
                let end = key.value.saturating_add(to_sql(self.span_ns));
                to = Some(to.map_or(end, |to| to.min(end)));
            }
            Some(key) => from = Some(from.map_or(key.value, |from| from.max(key.value))),
            None => {}
        }
        // Of SQLite's values only numbers are between two of them.
        query.push(" AND start_ns >= ").push_bind(from.unwrap_or(0));
        query.push(" AND start_ns < ").push_bind(to.unwrap_or(i64::MAX));
        filter.push_sensor(&mut query);
        let limit = u32::try_from(most).unwrap_or(u32::MAX);
        Position { after: None, limit, ..position }.push(&mut query, "start_ns");
        query
    }

    /// The window of these parts. The newest of a run ends with them, whether that has ended or goes on.
    fn whole(self, start: Timestamp, parts: &[Window], is_newest: bool) -> Window {
        let id = parts.first().map_or(0, |part| part.id);
        let until = parts.iter().map(|part| part.end).max().unwrap_or(start);
        let end = start.plus(self.span_ns);
        // A part that was closed late ends behind it.
        let end = if is_newest { until } else { end.max(until) };
        let mut whole = Window::join(id, start, end, parts);
        // Behind the last part comes silence; what no part and no silence covers, nobody counted.
        let counted_ns = measured(start, parts).saturating_add(end.since(until)).min(end.since(start));
        let (length_ns, gap_ns) = (counted_ns.max(1), end.since(start).saturating_sub(counted_ns));
        whole.measured = Measured { span_ns: self.span_ns, length_ns, gap_ns, ..whole.measured };
        whole
    }

    /// The windows behind the position; the parts of the last one are not all there unless `is_last` says so.
    fn page(self, parts: &[Part], is_last: bool, position: Position) -> WindowPage {
        let floor = |part: &Part| Timestamp::from_nanos(from_sql(part.start_ns)).floor(self.span_ns);
        let mut starts: Vec<&[Part]> = parts.chunk_by(|a, b| floor(a) == floor(b)).collect();
        if !is_last {
            starts.pop();
        }
        let mut page = WindowPage { items: Vec::new(), next: None };
        let mut last = None;
        let mut newest: BTreeMap<i64, i64> = BTreeMap::new();
        parts.iter().for_each(|part| {
            let start_ns = newest.entry(part.run_id).or_default();
            *start_ns = part.start_ns.max(*start_ns);
        });
        for parts in starts {
            let mut by_run: BTreeMap<i64, Vec<&Part>> = BTreeMap::new();
            parts.iter().for_each(|part| by_run.entry(part.run_id).or_default().push(part));
            let mut runs: Vec<(i64, Vec<&Part>)> = by_run.into_iter().collect();
            if position.descending {
                runs.reverse();
            }
            for (run, mut parts) in runs {
                let start = floor(parts[0]);
                let key = Key { value: to_sql(start.as_nanos()), id: run };
                if position.after.is_some_and(|after| !position.is_behind(key, after)) {
                    continue;
                }
                if page.items.len() == position.limit as usize {
                    page.next = last;
                    return page;
                }
                parts.sort_by_key(|part| (part.start_ns, part.id));
                let is_newest = parts.last().is_some_and(|part| newest.get(&run) == Some(&part.start_ns));
                let parts: Vec<&BySensor<Window>> = parts.into_iter().filter_map(|part| part.window.as_ref()).collect();
                last = Some(key);
                // Of some parts that cannot be read the others are answered.
                let Some(sensor) = parts.first().map(|part| part.sensor.clone()) else { continue };
                let parts: Vec<Window> = parts.into_iter().map(|part| part.item.clone()).collect();
                page.items.push(BySensor { sensor, item: self.whole(start, &parts, is_newest) });
            }
        }
        page.next = last.filter(|_| !is_last);
        page
    }
}

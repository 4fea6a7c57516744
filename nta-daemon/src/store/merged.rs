//! Windows of lengths that are not stored: made of base windows when they are asked for.

use std::collections::{BTreeMap, BTreeSet};

use super::body::WindowBody;
use super::db::{Dialect, Query, Row, Value};
use super::rows::WindowRow;
use super::sensor::sensor_of_run;
use super::spans::measured;
use super::unreadable::Unreadable;
use super::windows::window;
use super::{BySensor, Key, Position, Store, StoreError, WindowFilter, WindowPage, from_sql, to_sql};
use nta_core::domain::Timestamp;
use nta_core::window::{Measured, NotWhole, Span, Window};

/// What a window is made of: where it stands, its number in its run, and the window; `None` where that cannot be read.
struct Part {
    id: i64,
    run_id: i64,
    number: i64,
    start_ns: i64,
    window: Option<BySensor<Window>>,
}

impl Part {
    /// Since when it stands for all time, and until when.
    fn times(&self) -> Option<(Timestamp, Timestamp)> {
        let window = &self.window.as_ref()?.item;
        let start = window.start.as_nanos().saturating_sub(window.measured.silence_ns);
        Some((Timestamp::from_nanos(start), window.end))
    }
}

/// Where another base window is looked for.
#[derive(Clone, Copy, Debug)]
enum Side {
    Before,
    Behind,
}

/// Parts with their sensors.
const PARTS: &str = concat!(
    "SELECT id, run_id, number, start_ns, end_ns, rtt_histogram, body, ",
    sensor_of_run!(),
    " AS sensor FROM windows"
);

/// The window of a row that is not yet in the database.
pub(super) fn window_of(row: &WindowRow) -> Result<Window, StoreError> {
    let times = [row.start_ns, row.end_ns].map(|ns| Timestamp::from_nanos(from_sql(ns)));
    WindowBody::read(row.number, &row.body)?.window(row.number, times, row.rtt_histogram.as_deref())
}

/// Base windows that are read for one page of longer ones; a page has fewer windows where they are long.
const MAX_PARTS: u64 = 20_000;
/// Runs whose windows beside those that were read are asked for in one statement.
const MOST_RUNS: usize = 500;
/// For so many the statement is worth keeping prepared.
const FEW_RUNS: usize = 4;

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
        let (base_ns, dialect) = (base_ns.max(1), self.database.dialect());
        let merged = Merged { base_ns, span_ns: filter.span_ns.unwrap_or(base_ns).max(base_ns) };
        let parts_of_one = merged.span_ns / base_ns;
        let all = MAX_PARTS.max(parts_of_one * 2);
        // One more than is answered, whose parts may not all be there, and the one that the page before ended in.
        let mut most = ((u64::from(position.limit) + 2) * parts_of_one).min(all);
        loop {
            let query = merged.query(filter, (position, dialect), most);
            let parts: Vec<Part> = self.read("windows", query, |row| self.part(row)).await?;
            let is_last = (parts.len() as u64) < most;
            let begin_late = merged.begin_late(&parts);
            let mut around = self.next_to(&begin_late, Side::Before, base_ns).await?;
            let is_first = |run: &i64| !around.iter().any(|part| part.run_id == *run);
            let first = begin_late.into_keys().filter(is_first).collect();
            around.extend(self.next_to(&merged.end_early(&parts), Side::Behind, base_ns).await?);
            let page = merged.page(&parts, (&around, &first), is_last, position);
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

    /// Of each of these runs the base window that is next to the one of this number, on one side.
    async fn next_to(&self, windows: &BTreeMap<i64, i64>, side: Side, base_ns: u64) -> Result<Vec<Part>, StoreError> {
        let (is_beyond, order) = match side {
            Side::Before => ("<", "DESC"),
            Side::Behind => (">", "ASC"),
        };
        let windows: Vec<(i64, i64)> = windows.iter().map(|(run, number)| (*run, *number)).collect();
        let mut found = Vec::new();
        for some in windows.chunks(MOST_RUNS) {
            let rows = some.iter().map(|(run, number)| vec![Value::from(*run), Value::from(*number)]);
            let next = format!("w.number {is_beyond} v.column2 ORDER BY w.number {order} LIMIT 1");
            let mut query;
            if self.database.dialect() == Dialect::Postgres {
                // Found and read at once, in the parts of their length alone.
                query = Query::new(PARTS.replace(" FROM windows", " FROM (VALUES "));
                query.push_rows(rows).push(") AS v CROSS JOIN LATERAL (SELECT * FROM windows w WHERE w.span_ns = ");
                query.push_bind(to_sql(base_ns));
                query.push(format_args!(" AND w.run_id = v.column1 AND w.factor = 1 AND {next}) AS windows"));
            } else {
                query = Query::new(PARTS);
                query.push(
                    " WHERE id IN (SELECT (SELECT w.id FROM windows w WHERE w.run_id = v.column1 AND w.factor = 1 ",
                );
                query.push(format_args!("AND {next}) FROM (VALUES ")).push_rows(rows).push(") AS v)");
            }
            query.persistent = some.len() <= FEW_RUNS;
            found.extend(self.read("windows", query, |row| self.part(row)).await?);
        }
        Ok(found)
    }

    fn part(&self, row: &Row) -> Result<Part, Unreadable> {
        let (id, run_id, number) = (row.int("id")?, row.int("run_id")?, row.int("number")?);
        Ok(Part { id, run_id, number, start_ns: row.natural("start_ns")?, window: self.usable("windows", window(row)) })
    }

    /// The newest stored windows of this length, at most `most`, in the order of time.
    pub async fn network_windows(
        &self,
        span: Span,
        filter: &WindowFilter,
        most: u32,
    ) -> Result<Vec<Window>, StoreError> {
        let mut query = Query::new(PARTS);
        query.push(" WHERE factor + 0 = ").push_bind(to_sql(span.factor()));
        if let Some(from) = filter.from {
            query.push(" AND end_ns + 0 > ").push_bind(to_sql(from.as_nanos()));
        }
        let newest = Position { descending: true, after: None, limit: most };
        let to = (&mut query, self.database.dialect());
        filter.push_page(to, filter.span_ns.map_or(0, to_sql), filter.starts(), newest);
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
    fn query(self, filter: &WindowFilter, (position, dialect): (Position, Dialect), most: u64) -> Query {
        let mut query = Query::new(PARTS);
        query.push(" WHERE factor + 0 = 1");
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
        let starts = [from.unwrap_or(0), to.unwrap_or(i64::MAX)];
        let limit = u32::try_from(most).unwrap_or(u32::MAX);
        let page = Position { after: None, limit, ..position };
        filter.push_page((&mut query, dialect), to_sql(self.base_ns), starts, page);
        query
    }

    /// Of each run the number of the oldest part, if it is not the run's first and begins later than the window made of it: the
    /// one before it may be in the database, in front of what was read.
    fn begin_late(self, parts: &[Part]) -> BTreeMap<i64, i64> {
        let begins_late =
            |part: &&Part| part.times().is_none_or(|(since, _)| part.number > 1 && since > self.start_of(part));
        let oldest = last_by_run(parts, |part, known| (part.start_ns, part.id) < (known.start_ns, known.id));
        oldest.into_iter().filter(begins_late).map(|part| (part.run_id, part.number)).collect()
    }

    /// Of each run the number of the newest part, if it ends before the window made of it does: the next one may be in the
    /// database, behind what was read.
    fn end_early(self, parts: &[Part]) -> BTreeMap<i64, i64> {
        let ends_early =
            |part: &&Part| part.times().is_none_or(|(_, until)| until < self.start_of(part).plus(self.span_ns));
        let newest = last_by_run(parts, |part, known| (part.start_ns, part.id) > (known.start_ns, known.id));
        newest.into_iter().filter(ends_early).map(|part| (part.run_id, part.number)).collect()
    }

    /// Start of the window that a part goes into.
    fn start_of(self, part: &Part) -> Timestamp {
        Timestamp::from_nanos(from_sql(part.start_ns)).floor(self.span_ns)
    }

    /// The times that windows of a run were counted for which are not in the database. `is_first` says that it has none of the
    /// run before these parts.
    fn not_stored(parts: &mut [&Part], is_first: bool) -> Vec<(Timestamp, Timestamp)> {
        parts.sort_by_key(|part| (part.start_ns, part.id));
        let mut holes = Vec::new();
        let mut before: Option<(i64, Timestamp)> = is_first.then_some((0, Timestamp::default()));
        for part in parts.iter() {
            let Some((since, until)) = part.times() else { continue };
            if let Some((_, end)) =
                before.filter(|(number, end)| part.number > number.saturating_add(1) && *end < since)
            {
                holes.push((end, since));
            }
            before = Some((part.number, until));
        }
        holes
    }

    /// The window of these parts. The newest of a run ends with them, whether that has ended or goes on.
    fn whole(self, start: Timestamp, parts: &[Window], holes: &[(Timestamp, Timestamp)], is_newest: bool) -> Window {
        let id = parts.first().map_or(0, |part| part.id);
        let until = parts.iter().map(|part| part.end).max().unwrap_or(start);
        let end = start.plus(self.span_ns);
        // A part that was closed late ends behind it.
        let end = if is_newest { until } else { end.max(until) };
        let mut whole = Window::join(id, start, end, parts);
        // Behind the last part comes silence; what no part and no silence covers, nobody counted.
        let lacks = |since: Timestamp| -> u64 {
            holes.iter().map(|(from, to)| (*to).min(end).since((*from).max(since))).fold(0, u64::saturating_add)
        };
        let behind_ns = end.since(until).saturating_sub(lacks(until));
        let counted_ns = measured(start, parts).saturating_add(behind_ns).min(end.since(start));
        let not_stored_ns = lacks(start).min(end.since(start).saturating_sub(counted_ns));
        let gap_ns = end.since(start).saturating_sub(counted_ns).saturating_sub(not_stored_ns);
        if not_stored_ns > 0 {
            whole.measured.not_whole = Some(NotWhole::NotStored);
        }
        let length_ns = counted_ns.max(1);
        whole.measured = Measured { span_ns: self.span_ns, length_ns, gap_ns, not_stored_ns, ..whole.measured };
        whole
    }

    /// The windows behind the position; the parts of the last one are not all there unless `is_last` says so.
    /// Beside them `around` are those next to them in their runs, and `first` the runs that have none in front of them.
    fn page(
        self,
        parts: &[Part],
        (around, first): (&[Part], &BTreeSet<i64>),
        is_last: bool,
        position: Position,
    ) -> WindowPage {
        let floor = |part: &Part| self.start_of(part);
        let mut starts: Vec<&[Part]> = parts.chunk_by(|a, b| floor(a) == floor(b)).collect();
        if !is_last {
            starts.pop();
        }
        let mut page = WindowPage { items: Vec::new(), next: None };
        let mut last = None;
        let mut of_run: BTreeMap<i64, Vec<&Part>> = BTreeMap::new();
        parts.iter().chain(around).for_each(|part| of_run.entry(part.run_id).or_default().push(part));
        // Where each run ends, and what it lacks.
        let runs: BTreeMap<i64, (i64, Vec<(Timestamp, Timestamp)>)> = of_run
            .into_iter()
            .map(|(run, mut parts)| {
                let newest = parts.iter().map(|part| part.start_ns).max().unwrap_or_default();
                (run, (newest, Self::not_stored(&mut parts, first.contains(&run))))
            })
            .collect();
        for parts in starts {
            let mut by_run: BTreeMap<i64, Vec<&Part>> = BTreeMap::new();
            parts.iter().for_each(|part| by_run.entry(part.run_id).or_default().push(part));
            let mut in_order: Vec<(i64, Vec<&Part>)> = by_run.into_iter().collect();
            if position.descending {
                in_order.reverse();
            }
            for (run, mut parts) in in_order {
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
                let Some((newest, holes)) = runs.get(&run) else { continue };
                let is_newest = parts.last().is_some_and(|part| *newest == part.start_ns);
                let parts: Vec<&BySensor<Window>> = parts.into_iter().filter_map(|part| part.window.as_ref()).collect();
                last = Some(key);
                // Of some parts that cannot be read the others are answered.
                let Some(sensor) = parts.first().map(|part| part.sensor.clone()) else { continue };
                let parts: Vec<Window> = parts.into_iter().map(|part| part.item.clone()).collect();
                page.items.push(BySensor { sensor, item: self.whole(start, &parts, holes, is_newest) });
            }
        }
        page.next = last.filter(|_| !is_last);
        page
    }
}

/// Of each run the part that is before all others by this order.
fn last_by_run(parts: &[Part], is_before: impl Fn(&Part, &Part) -> bool) -> Vec<&Part> {
    let mut last: BTreeMap<i64, &Part> = BTreeMap::new();
    for part in parts {
        let known = last.entry(part.run_id).or_insert(part);
        if is_before(part, known) {
            *known = part;
        }
    }
    last.into_values().collect()
}

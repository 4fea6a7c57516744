//! Writing windows, and what they add to the sums of their hours: rows by the hundred in one statement, more by COPY, a sum once for all that are
//! written together.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::copy::{Copy, is_copied};
use super::db::{Conn, Query, Row, Value};
use super::rows::WindowRow;
use super::sums::{are_natural, are_real, sum};
use super::totals::{NEAR, add};
use super::windows::{MEASURED, MEASURED_BPS, NO_BPS, WINDOW_COLUMNS, WINDOW_REALS};
use super::write::Event;
use super::{StoreError, event_body};

/// An hour in nanoseconds.
const HOUR_NS: i64 = 3_600_000_000_000;
const SECOND_NS: i64 = 1_000_000_000;

/// The hour to which a window belongs that begins then.
pub(super) const fn hour_of(start_ns: i64) -> i64 {
    start_ns / HOUR_NS * HOUR_NS
}

/// The numbers of a run and its sensor.
pub(super) type By = (i64, i64);

/// Inserts windows of a run and its sensor, and what they add to the sums of their hours; those that are there already are left as they are.
/// Answers an event for each that is new, in their order.
pub(super) async fn insert(conn: &mut Conn, by: By, windows: &[WindowRow]) -> Result<Vec<Event>, StoreError> {
    let windows: Vec<_> = windows.iter().map(|window| (by, window)).collect();
    let written = insert_all(conn, &windows).await?;
    written.count(conn).await?;
    Ok(written.events.into_iter().flatten().collect())
}

/// What became of windows that were inserted.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Of each an event, where it is new.
    pub(super) events: Vec<Option<Event>>,
    base: i64,
    near: i64,
}

impl Written {
    /// Adds them to the totals, which other writers wait for until the transaction ends.
    pub(super) async fn count(&self, conn: &mut Conn) -> Result<(), StoreError> {
        add(conn, "windows", self.base).await?;
        add(conn, NEAR, self.near).await
    }
}

/// The same for windows of several runs, whose totals are to be counted.
pub(super) async fn insert_all(conn: &mut Conn, windows: &[(By, &WindowRow)]) -> Result<Written, StoreError> {
    let rows: Vec<Measured<'_>> =
        windows.iter().map(|(by, window)| Measured { by: *by, window, measured_ns: measured_ns(window) }).collect();
    let mut written = Written { events: Vec::with_capacity(rows.len()), ..Written::default() };
    let mut hours: BTreeMap<HourKey, Hour> = BTreeMap::new();
    let at_once = if is_copied(conn, rows.len()) { rows.len() } else { conn.chunk_rows() };
    for chunk in rows.chunks(at_once) {
        let mut ids = if is_copied(conn, chunk.len()) {
            copy_chunk(conn, chunk).await?
        } else {
            insert_chunk(conn, chunk).await?
        };
        for row in chunk {
            // One of two with the same key is stored.
            let id = ids.remove(&row.key());
            written.events.push(id.map(|id| event_body::window_closed(id, row.window)));
            if id.is_some() {
                written.base += i64::from(row.window.factor == 1);
                written.near += row.window.near;
                let hour = (row.by.0, row.window.factor, hour_of(row.window.start_ns));
                hours.entry(hour).and_modify(|sum| sum.add(&Hour::of(row))).or_insert_with(|| Hour::of(row));
            }
        }
    }
    let hours: Vec<_> = hours.into_iter().collect();
    for chunk in hours.chunks(conn.chunk_rows()) {
        add_hours(conn, chunk).await?;
    }
    Ok(written)
}

/// A window of a run and its sensor, with the time that its rates divide by.
struct Measured<'a> {
    by: By,
    window: &'a WindowRow,
    measured_ns: i64,
}

/// Run, factor, number and start: by these windows differ.
type WindowKey = (i64, i64, i64, i64);
/// Run, factor and begin of the hour.
type HourKey = (i64, i64, i64);

impl Measured<'_> {
    const fn key(&self) -> WindowKey {
        (self.by.0, self.window.factor, self.window.number, self.window.start_ns)
    }

    /// In the order of [`COLUMNS`].
    fn values(&self) -> Vec<Value> {
        let window = self.window;
        vec![
            self.by.0.into(),
            self.by.1.into(),
            window.factor.into(),
            window.number.into(),
            window.start_ns.into(),
            window.end_ns.into(),
            window.span_ns.into(),
            window.packets.into(),
            window.bytes.into(),
            window.flows.into(),
            window.connections.into(),
            window.bandwidth_bps.into(),
            window.rtt_samples.into(),
            window.rtt_mean_ms.into(),
            window.rtt_max_ms.into(),
            window.rtt_histogram.clone().into(),
            window.body.as_str().into(),
            window.rtt_shortest_ms.into(),
            self.measured_ns.into(),
            window.near.into(),
        ]
    }
}

const COLUMNS: &str = "run_id, sensor_id, factor, number, start_ns, end_ns, span_ns, packets, bytes, flows, connections, \
    bandwidth_bps, rtt_samples, rtt_mean_ms, rtt_max_ms, rtt_histogram, body, rtt_shortest_ms, measured_ns, near";

/// Inserts some rows; the numbers that the database gives those that were not there.
async fn insert_chunk(conn: &mut Conn, chunk: &[Measured<'_>]) -> Result<HashMap<WindowKey, i64>, StoreError> {
    let error = StoreError::query("windows");
    let mut query = Query::new(format!("INSERT INTO windows ({COLUMNS}) "));
    query.push_table(conn, chunk.iter().map(Measured::values));
    query.push(" ON CONFLICT DO NOTHING RETURNING id, run_id, factor, number, start_ns");
    let rows = conn.fetch_all(query).await.map_err(&error)?;
    rows.iter().map(|row| Ok((read_key(row)?, row.int("id")?))).collect::<Result<_, _>>().map_err(error)
}

/// The same by COPY, which takes no row that is there: those are looked up before.
async fn copy_chunk(conn: &mut Conn, chunk: &[Measured<'_>]) -> Result<HashMap<WindowKey, i64>, StoreError> {
    let error = StoreError::query("windows");
    lock_runs(conn, chunk).await?;
    let mut stored = stored_keys(conn, chunk).await?;
    let new: Vec<&Measured<'_>> = chunk.iter().filter(|row| stored.insert(row.key())).collect();
    if new.is_empty() {
        return Ok(HashMap::new());
    }
    // The sequence is looked up once, not for each number.
    let ids = "SELECT nextval((SELECT CAST(pg_get_serial_sequence('windows', 'id') AS regclass))) AS id FROM generate_series(1, $1)";
    let ids = Query::new(ids).bind(i64::try_from(new.len()).unwrap_or(i64::MAX));
    let ids = conn.fetch_all(ids).await.map_err(&error)?;
    let mut given = HashMap::with_capacity(new.len());
    let mut copy = Copy::default();
    for (row, id) in new.into_iter().zip(ids) {
        let id = id.int("id").map_err(&error)?;
        copy.row([id.into()].into_iter().chain(row.values()).collect());
        given.insert(row.key(), id);
    }
    copy.send(conn, "windows", &format!("id, {COLUMNS}")).await.map_err(error)?;
    Ok(given)
}

/// Nobody else writes windows of these runs until the transaction ends.
async fn lock_runs(conn: &mut Conn, chunk: &[Measured<'_>]) -> Result<(), StoreError> {
    let runs: BTreeSet<i64> = chunk.iter().map(|row| row.by.0).collect();
    for some in runs.into_iter().collect::<Vec<_>>().chunks(conn.chunk_rows()) {
        let mut query = Query::new("SELECT id FROM runs WHERE id IN (");
        query.push_table(conn, some.iter().map(|run| vec![(*run).into()])).push(") ORDER BY id FOR NO KEY UPDATE");
        conn.execute(query).await.map_err(StoreError::query("runs"))?;
    }
    Ok(())
}

/// The keys of windows that are stored of the runs, factors, numbers and times of these.
async fn stored_keys(conn: &mut Conn, chunk: &[Measured<'_>]) -> Result<HashSet<WindowKey>, StoreError> {
    let error = StoreError::query("windows");
    let mut numbers: BTreeMap<(i64, i64), [i64; 2]> = BTreeMap::new();
    let starts = || chunk.iter().map(|row| row.window.start_ns);
    let (first_ns, last_ns) = (starts().min().unwrap_or_default(), starts().max().unwrap_or_default());
    for row in chunk {
        let number = row.window.number;
        let [first, last] = numbers.entry((row.by.0, row.window.factor)).or_insert([number; 2]);
        (*first, *last) = ((*first).min(number), (*last).max(number));
    }
    let numbers: Vec<_> = numbers.into_iter().collect();
    let mut keys = HashSet::new();
    for some in numbers.chunks(conn.chunk_rows()) {
        let mut query = Query::new("SELECT w.run_id, w.factor, w.number, w.start_ns FROM (");
        let values = |((run, factor), [first, last]): &((i64, i64), [i64; 2])| {
            [*run, *factor, *first, *last].map(Value::from).to_vec()
        };
        query.push_table(conn, some.iter().map(values));
        // Each by the index of the key, whatever is known of the table: the fence is what OFFSET is for.
        query.push(
            ") AS v CROSS JOIN LATERAL (SELECT run_id, factor, number, start_ns FROM windows WHERE run_id = v.column1 \
             AND factor = v.column2 AND number >= v.column3 AND number <= v.column4 AND start_ns >= ",
        );
        // In the parts of these times alone.
        query.push_bind(first_ns).push(" AND start_ns <= ").push_bind(last_ns).push(" OFFSET 0) AS w");
        let rows = conn.fetch_all(query).await.map_err(&error)?;
        for row in &rows {
            keys.insert(read_key(row).map_err(&error)?);
        }
    }
    Ok(keys)
}

fn read_key(row: &Row) -> Result<WindowKey, sqlx::Error> {
    Ok((row.int("run_id")?, row.int("factor")?, row.int("number")?, row.int("start_ns")?))
}

/// The time that a window's rates divide by: how long packets were counted for it, and a second where it is shorter and some came.
fn measured_ns(window: &WindowRow) -> i64 {
    #[derive(serde::Deserialize)]
    struct Measured {
        length_ns: Option<i64>,
    }
    let body = serde_json::from_str::<Measured>(&window.body).ok();
    let length_ns = body.and_then(|body| body.length_ns).filter(|ns| *ns >= 0);
    let length_ns = length_ns.unwrap_or(window.end_ns - window.start_ns);
    if window.bytes > 0 { length_ns.max(SECOND_NS) } else { length_ns }
}

/// What windows of one length add to the sums of an hour.
#[derive(Clone, Debug)]
struct Hour {
    windows: i64,
    first_ns: i64,
    last_ns: i64,
    span_ns: i64,
    packets: i64,
    bytes: i64,
    connections: i64,
    /// [`NO_BPS`] where no packets were counted in any of them.
    min_bps: i64,
    max_bps: i64,
    rtt_samples: i64,
    rtt_sum_ms: Option<f64>,
    rtt_min_ms: Option<f64>,
    rtt_max_ms: Option<f64>,
    /// Nothing where there are samples: of some only the mean is known.
    rtt_shortest_ms: Option<f64>,
    /// How long windows of this kind are.
    window_ns: i64,
}

impl Hour {
    fn of(Measured { window, measured_ns, .. }: &Measured<'_>) -> Self {
        let measured_ns = *measured_ns;
        Self {
            windows: 1,
            first_ns: window.start_ns,
            last_ns: window.end_ns,
            span_ns: measured_ns,
            packets: window.packets,
            bytes: window.bytes,
            connections: window.connections,
            // Of a window for which nothing was counted 0 is no bandwidth.
            min_bps: if measured_ns > 1 { window.bandwidth_bps } else { NO_BPS },
            max_bps: window.bandwidth_bps,
            rtt_samples: window.rtt_samples,
            rtt_sum_ms: window.rtt_mean_ms.map(|mean| mean * window.rtt_samples as f64),
            rtt_min_ms: window.rtt_mean_ms,
            rtt_max_ms: window.rtt_max_ms,
            rtt_shortest_ms: window.rtt_shortest_ms,
            window_ns: window.span_ns,
        }
    }

    /// As [`ADD`] adds in the database.
    fn add(&mut self, other: &Self) {
        /// The one that `pick` chooses, where both are there.
        fn both(a: Option<f64>, b: Option<f64>, pick: fn(f64, f64) -> f64) -> Option<f64> {
            a.zip(b).map(|(a, b)| pick(a, b)).or(a).or(b)
        }
        self.rtt_shortest_ms = match (self.rtt_samples, other.rtt_samples) {
            (0, _) => other.rtt_shortest_ms,
            (_, 0) => self.rtt_shortest_ms,
            _ => self.rtt_shortest_ms.zip(other.rtt_shortest_ms).map(|(a, b)| a.min(b)),
        };
        self.windows += other.windows;
        self.first_ns = self.first_ns.min(other.first_ns);
        self.last_ns = self.last_ns.max(other.last_ns);
        self.span_ns = self.span_ns.saturating_add(other.span_ns);
        self.packets = self.packets.saturating_add(other.packets);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.connections = self.connections.saturating_add(other.connections);
        self.min_bps = self.min_bps.min(other.min_bps);
        self.max_bps = self.max_bps.max(other.max_bps);
        self.rtt_samples = self.rtt_samples.saturating_add(other.rtt_samples);
        self.rtt_sum_ms = both(self.rtt_sum_ms, other.rtt_sum_ms, |a, b| a + b);
        self.rtt_min_ms = both(self.rtt_min_ms, other.rtt_min_ms, f64::min);
        self.rtt_max_ms = both(self.rtt_max_ms, other.rtt_max_ms, f64::max);
    }

    fn values(&self, (run, factor, hour_ns): HourKey) -> Vec<Value> {
        let mut values: Vec<Value> = vec![run.into(), hour_ns.into(), factor.into(), self.window_ns.into()];
        let sums = [self.windows, self.first_ns, self.last_ns, self.span_ns, self.packets, self.bytes];
        values.extend(sums.map(Value::from));
        values.extend([self.connections, self.min_bps, self.max_bps, self.rtt_samples].map(Value::from));
        values.extend([self.rtt_sum_ms, self.rtt_min_ms, self.rtt_max_ms, self.rtt_shortest_ms].map(Value::from));
        values
    }
}

const ADD: &str = " ON CONFLICT (factor, hour_ns, run_id) DO UPDATE SET \
    windows = window_hours.windows + excluded.windows, \
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
    OR window_hours.rtt_shortest_ms IS NULL THEN window_hours.rtt_shortest_ms ELSE excluded.rtt_shortest_ms END";

/// Adds to the sums of hours.
async fn add_hours(conn: &mut Conn, hours: &[(HourKey, Hour)]) -> Result<(), StoreError> {
    let mut query = Query::new(
        "INSERT INTO window_hours (run_id, hour_ns, factor, window_ns, windows, first_ns, last_ns, span_ns, packets, \
         bytes, connections, min_bps, max_bps, rtt_samples, rtt_sum_ms, rtt_min_ms, rtt_max_ms, rtt_shortest_ms) ",
    );
    query.push_table(conn, hours.iter().map(|(of, hour)| hour.values(*of))).push(ADD);
    conn.execute(query).await.map_err(StoreError::query("window_hours"))?;
    Ok(())
}

/// Makes the sums of an hour again, of which windows of this length have gone.
pub(super) async fn recount_hour(conn: &mut Conn, run: i64, factor: i64, hour_ns: i64) -> Result<(), StoreError> {
    let error = StoreError::query("window_hours");
    let bound = |sql: &str| Query::new(sql).bind(run).bind(hour_ns).bind(factor);
    let old = bound("DELETE FROM window_hours WHERE run_id = $1 AND hour_ns = $2 AND factor = $3");
    conn.execute(old).await.map_err(&error)?;
    let dialect = conn.dialect();
    let [span, packets, bytes, connections, samples] =
        [MEASURED, "packets", "bytes", "connections", "rtt_samples"].map(|of| sum(dialect, of));
    let readable = are_natural(dialect, &WINDOW_COLUMNS) + &are_real(dialect, &WINDOW_REALS);
    let new = bound(&format!(
        "INSERT INTO window_hours (run_id, hour_ns, factor, window_ns, windows, first_ns, last_ns, span_ns, packets, bytes, \
         connections, min_bps, max_bps, rtt_samples, rtt_sum_ms, rtt_min_ms, rtt_max_ms, rtt_shortest_ms) \
         SELECT run_id, CAST($2 AS BIGINT), factor, max(span_ns), count(*), min(start_ns), max(end_ns), \
         {span}, {packets}, {bytes}, {connections}, coalesce(min({MEASURED_BPS}), {NO_BPS}), coalesce(max({MEASURED_BPS}), 0), \
         {samples}, \
         sum(rtt_samples * rtt_mean_ms), min(rtt_mean_ms), max(rtt_max_ms), \
         CASE WHEN count(rtt_mean_ms) = count(rtt_shortest_ms) THEN min(rtt_shortest_ms) END FROM windows \
         WHERE factor = $3 AND run_id = $1 AND start_ns >= $2 AND start_ns < $4 AND {readable} GROUP BY run_id, factor",
    ));
    conn.execute(new.bind(hour_ns.saturating_add(HOUR_NS))).await.map(drop).map_err(error)
}

//! Windows that a restart cut: what the run before stored of one is joined with what this one has, so that it is one window
//! again, with the time in which nobody counted as its gap. One that the run before closed late has its time for itself: the
//! first one of this run begins where that ended. So it does where the run before ended less than a window's length before it: a
//! restart takes no time away.

use std::borrow::Cow;

use super::db::{Conn, Query};
use super::deleted::near;
use super::merged::window_of;
use super::rows::{RunRow, WindowRow};
use super::totals::{NEAR, add};
use super::unreadable::usable;
use super::window_write::{hour_of, recount_hour};
use super::windows::window;
use super::{StoreError, from_sql, to_sql};
use nta_core::domain::{Mode, Timestamp};
use nta_core::window::{Measured, NotWhole, Window};

/// The live runs of a sensor before one.
const RUNS_BEFORE: &str = "(SELECT id FROM runs WHERE sensor = $3 AND mode = 'live' AND id < $4)";

/// How many windows of its length before one are looked at for one that was closed late.
const LATE_SPANS: i64 = 720;

/// Windows of a run, each as it is, or joined with what earlier runs have of it.
pub(super) async fn rejoined<'a>(
    conn: &mut Conn,
    run: i64,
    owner: &RunRow,
    rows: &'a [WindowRow],
) -> Result<Cow<'a, [WindowRow]>, StoreError> {
    let mut all = Cow::Borrowed(rows);
    for (index, row) in rows.iter().enumerate() {
        if let Some(whole) = rejoin(conn, run, owner, row).await? {
            all.to_mut()[index] = whole;
        }
    }
    Ok(all)
}

/// The first window of its length in a run, joined with what earlier runs of the sensor have of it, whose rows go. `None` where
/// they have nothing of its time, nor of the one before it. When the run started says nothing: it may take longer to attach than to
/// the next multiple of a length.
async fn rejoin(conn: &mut Conn, run: i64, owner: &RunRow, row: &WindowRow) -> Result<Option<WindowRow>, StoreError> {
    if owner.mode != Mode::Live.word() || row.number != 1 {
        return Ok(None);
    }
    let error = StoreError::query("windows");
    let about =
        |sql: String, to_ns: i64| Query::new(sql).bind(row.start_ns).bind(to_ns).bind(owner.sensor.as_str()).bind(run);
    let end_ns = row.start_ns.saturating_add(row.span_ns);
    // One that was closed late ends within this one.
    let late = format!(
        "SELECT end_ns FROM windows WHERE start_ns < $1 AND end_ns > $1 AND end_ns < $2 AND factor = $5 AND start_ns > $6 \
         AND run_id IN {RUNS_BEFORE} ORDER BY end_ns DESC LIMIT 1"
    );
    // Far enough for any that stands for several, and a bound for what is read.
    let from_ns = row.start_ns.saturating_sub(row.span_ns.saturating_mul(LATE_SPANS));
    let late = conn.fetch_optional(about(late, row.end_ns).bind(row.factor).bind(from_ns)).await.map_err(&error)?;
    let late_ns = late.and_then(|late| late.natural("end_ns").ok());
    let mut start_ns = late_ns.unwrap_or(row.start_ns);
    let parts = format!(
        "SELECT id, run_id, start_ns, end_ns, rtt_histogram, body FROM windows WHERE factor IN (0, 1) AND start_ns >= $1 \
         AND start_ns < $2 AND run_id IN {RUNS_BEFORE} ORDER BY start_ns, factor, id"
    );
    let parts = conn.fetch_all(about(parts, end_ns)).await.map_err(&error)?;
    let parts = usable("windows", parts.iter().map(|part| Ok(window(part)?.item)));
    let mut parts = whole_ones(&parts);
    parts.retain(|part| to_sql(part.start.as_nanos()) >= start_ns);
    if parts.is_empty() && late_ns.is_none() {
        let before = format!(
            "SELECT max(end_ns) AS end_ns FROM windows WHERE start_ns < $1 AND start_ns > $6 AND end_ns >= $2 AND end_ns <= $1 \
             AND factor = $5 AND run_id IN {RUNS_BEFORE}"
        );
        let before = about(before, row.start_ns.saturating_sub(row.span_ns)).bind(row.factor).bind(from_ns);
        let before = conn.fetch_optional(before).await.map_err(&error)?;
        let Some(end_ns) = before.and_then(|row| row.opt_natural("end_ns").ok()?) else {
            return Ok(None);
        };
        if end_ns == row.start_ns {
            return Ok(None);
        }
        start_ns = end_ns;
    }
    // A base window is kept apart, where no list shows it: longer windows that are open still need this part of them.
    let go = if row.factor == 1 { "UPDATE windows SET factor = 0, span_ns = 0" } else { "DELETE FROM windows" };
    let stale = format!(
        "{go} WHERE start_ns >= $1 AND start_ns < $5 AND factor = $2 AND run_id IN {RUNS_BEFORE} RETURNING run_id, near"
    );
    let stale = conn.fetch_all(about(stale, row.factor).bind(end_ns)).await.map_err(&error)?;
    if row.factor == 1 {
        add(conn, "windows", -(stale.len() as i64)).await?;
    } else {
        add(conn, NEAR, -near(&stale)).await?;
    }
    for of in &stale {
        recount_hour(conn, of.int("run_id").map_err(&error)?, row.factor, hour_of(row.start_ns)).await?;
    }
    let whole = join(row, Timestamp::from_nanos(from_sql(start_ns)), parts)?;
    WindowRow::new(from_sql(row.factor), &whole).map(Some)
}

/// Parts that no later one has in it: after several restarts within a window, the last one has those before it.
fn whole_ones(parts: &[Window]) -> Vec<Window> {
    let is_in =
        |part: &Window, other: &Window| part.id < other.id && part.start >= other.start && part.end <= other.end;
    parts.iter().filter(|part| !parts.iter().any(|other| is_in(part, other))).cloned().collect()
}

/// One window of what the runs before have of it from `start` on, and this one. What of its time nobody counted is its gap.
fn join(row: &WindowRow, start: Timestamp, mut parts: Vec<Window>) -> Result<Window, StoreError> {
    let own = window_of(row)?;
    let (end, number, span_ns) = (own.end, from_sql(row.number), from_sql(row.span_ns));
    let length_ns: u64 = parts.iter().chain([&own]).map(Window::length_ns).fold(0, u64::saturating_add);
    // What the wall clock was set by is no time; a window whose own time it was set in ends by the clock that it began with.
    let step_ns: i64 = parts.iter().map(|part| part.measured.clock_step_ns).fold(0, i64::saturating_add);
    let gap_ns = end.since(start).saturating_add_signed(step_ns.saturating_neg()).saturating_sub(length_ns);
    let whole = if parts.is_empty() {
        let cut = (start < own.start).then_some(NotWhole::Interrupted);
        let not_whole = own.measured.not_whole.max(cut);
        Window { start, measured: Measured { not_whole, ..own.measured }, ..own }
    } else {
        parts.push(own);
        let mut whole = Window::join(number, start, end, &parts);
        whole.measured.not_whole = Some(NotWhole::Interrupted);
        whole
    };
    let measured = Measured { span_ns, length_ns, gap_ns, ..whole.measured };
    Ok(Window { measured, ..whole })
}

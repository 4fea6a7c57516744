//! Windows that are kept although nothing judges them: of two base windows, which lists show, and of an hour. They are made
//! of base windows as these close.

use super::cut::rejoined;
use super::db::{Conn, Query, Row};
use super::rows::WindowRow;
use super::unreadable::{Unreadable, usable};
use super::windows::window;
use super::write::log;
use super::{StoreError, from_sql, runs, sensor, to_sql, window_write};
use nta_core::domain::{Mode, Timestamp};
use nta_core::window::{Lengths, Measured, NotWhole, Span, Window};

/// How many base windows the shorter ones have.
pub const DOUBLE: u64 = 2;
const HOUR_NS: u64 = 3_600_000_000_000;

/// Lengths in nanoseconds of all windows that are stored, shortest first.
pub fn stored_spans(base_ns: u64) -> Vec<u64> {
    let mut spans: Vec<u64> = Span::ALL.iter().map(|span| span.factor() * base_ns).collect();
    spans.extend(kept(base_ns).map(|factor| factor * base_ns));
    spans.sort_unstable();
    spans
}

/// The stored length that is nearest to this one from above; the longest where none is.
pub fn stored_span_from(asked_ns: u64, base_ns: u64) -> u64 {
    let spans = stored_spans(base_ns);
    spans.iter().copied().find(|span| *span >= asked_ns).or(spans.last().copied()).unwrap_or(base_ns)
}

/// Factors of the windows made here.
fn kept(base_ns: u64) -> impl Iterator<Item = u64> {
    let hour = (base_ns > 0 && HOUR_NS.is_multiple_of(base_ns)).then(|| HOUR_NS / base_ns);
    [Some(DOUBLE), hour.filter(|hour| *hour > Span::Long.factor())].into_iter().flatten()
}

/// The open windows of a run.
#[derive(Debug)]
pub(super) struct Spans {
    lengths: Lengths,
    open: Vec<Open>,
}

/// A window that is still open.
#[derive(Debug)]
struct Open {
    factor: u64,
    span_ns: u64,
    next_number: u64,
    /// End of the last window: a part that was closed late ends behind the interval.
    until: Timestamp,
    parts: Vec<Window>,
}

impl Spans {
    pub(super) const fn new(lengths: Lengths) -> Self {
        Self { lengths, open: Vec::new() }
    }

    /// Adds a base window, and hands out with their factors the windows that this closes.
    pub(super) fn add(&mut self, base: &Window, closed: &mut Vec<(u64, Window)>) {
        let base_ns = base.span_ns();
        if self.open.is_empty() {
            let until = Timestamp::from_nanos(0);
            let open = |factor| Open { factor, span_ns: factor * base_ns, next_number: 1, until, parts: Vec::new() };
            self.open = kept(base_ns).map(open).collect();
        }
        for open in &mut self.open {
            closed.extend(open.add(base, self.lengths));
        }
    }

    /// Hands out what is open at the end of the run.
    pub(super) fn finish(&mut self, closed: &mut Vec<(u64, Window)>) {
        for open in &mut self.open {
            closed.extend(open.close(self.lengths, Some(NotWhole::RunEnded)));
        }
    }
}

impl Open {
    /// Adds a base window; returns the windows that this closes.
    fn add(&mut self, base: &Window, lengths: Lengths) -> Vec<(u64, Window)> {
        let mut closed = Vec::new();
        if self.interval().is_some_and(|(start, end)| base.start >= end || base.start < start) {
            closed.extend(self.close(lengths, None));
        }
        self.parts.push(base.clone());
        if self.interval().is_some_and(|(_, end)| base.end >= end) {
            closed.extend(self.close(lengths, None));
        }
        closed
    }

    fn interval(&self) -> Option<(Timestamp, Timestamp)> {
        let first = self.parts.first()?.start;
        let start = first.floor(self.span_ns);
        let end = start.plus(self.span_ns);
        Some((if self.until <= first { start.max(self.until) } else { start }, end))
    }

    /// The window made of the parts, as long as they and the silence between them; in a capture, as its time says. It ends with
    /// its last part where something ended it.
    fn close(&mut self, lengths: Lengths, ended: Option<NotWhole>) -> Option<(u64, Window)> {
        let (start, end) = self.interval()?;
        let parts = std::mem::take(&mut self.parts);
        let until = parts.last().map_or(end, |part| part.end);
        // A part that was closed late ends behind it.
        let end = if ended.is_some() { end.min(until) } else { end.max(until) };
        let number = self.next_number;
        self.next_number += 1;
        self.until = end;
        let mut whole = Window::join(number, start, end, &parts);
        if number == 1 {
            // The run began within it.
            let gap_ns = parts.first().map_or(0, |part| part.start.since(start));
            whole.measured.gap_ns = whole.measured.gap_ns.saturating_add(gap_ns);
        }
        let length_ns = match lengths {
            Lengths::Nominal => end.since(start).saturating_sub(whole.measured.gap_ns).max(1),
            Lengths::Measured => measured(start, &parts) + if ended.is_some() { 0 } else { end.since(until) },
        };
        whole.measured = Measured { span_ns: self.span_ns, length_ns, ..whole.measured };
        whole.measured.not_whole = whole.measured.not_whole.max(ended);
        Some((self.factor, whole))
    }
}

/// How long packets were counted for these parts, with the silence between them.
pub(super) fn measured(start: Timestamp, parts: &[Window]) -> u64 {
    let mut until = start;
    parts
        .iter()
        .map(|part| {
            let silence_ns = part.measured.silence_ns.min(part.start.since(until));
            until = part.end;
            part.length_ns().saturating_add(silence_ns)
        })
        .fold(0, u64::saturating_add)
}

/// Base windows that are read at once.
const PAGE: i64 = 1000;
/// Base windows of the longest window: an hour of those of a second.
const MOST_PARTS: i64 = 3600;

/// Makes the windows that a version before did not store. Does nothing where that is done.
pub(super) async fn make_missing(conn: &mut Conn) -> Result<(), StoreError> {
    let error = StoreError::query("windows");
    let due = Query::new("SELECT name FROM meta WHERE name = 'spans'");
    if conn.fetch_optional(due).await.map_err(&error)?.is_none() {
        return Ok(());
    }
    tracing::info!("windows of further lengths are made of those that are stored");
    conn.begin().await.map_err(&error)?;
    for row in conn.fetch_all(Query::new("SELECT id, mode FROM runs ORDER BY id")).await.map_err(&error)? {
        let is_live = row.text("mode").is_ok_and(|mode| mode == Mode::Live.word());
        let lengths = if is_live { Lengths::Measured } else { Lengths::Nominal };
        make_of_run(conn, row.int("id").map_err(&error)?, Spans::new(lengths)).await?;
    }
    conn.execute(Query::new("DELETE FROM meta WHERE name = 'spans'")).await.map_err(&error)?;
    conn.run("COMMIT").await.map_err(error)
}

/// Closes the longer windows that a killed run left open, where its last base window ended.
pub(super) async fn close_open(conn: &mut Conn, run: i64) -> Result<(), StoreError> {
    let error = StoreError::query("windows");
    let Some(owner) = runs::row_of(conn, run).await? else { return Ok(()) };
    let by = (run, sensor::number(conn, &owner.sensor).await?);
    let is_live = owner.mode == Mode::Live.word();
    let lengths = if is_live { Lengths::Measured } else { Lengths::Nominal };
    let last = Query::new(
        "SELECT id, run_id, number, span_ns, start_ns, end_ns, rtt_histogram, body FROM windows WHERE run_id = $1 \
         AND factor = 1 ORDER BY number DESC LIMIT $2",
    );
    let rows = conn.fetch_all(last.bind(run).bind(MOST_PARTS)).await.map_err(&error)?;
    let part = |row: &Row| {
        let mut window = part(row)?;
        if row.int("number")? == 1 {
            without_stop(&mut window);
        }
        Ok(window)
    };
    let parts: Vec<Window> = usable("windows", rows.iter().rev().map(part));
    let Some(base_ns) = parts.last().map(Window::span_ns).filter(|base_ns| *base_ns > 0) else { return Ok(()) };
    for span_ns in stored_spans(base_ns).into_iter().filter(|span_ns| *span_ns > base_ns) {
        let factor = span_ns / base_ns;
        let last = Query::new(
            "SELECT number, start_ns, end_ns FROM windows WHERE run_id = $1 AND factor = $2 ORDER BY number DESC LIMIT 1",
        );
        let last = conn.fetch_optional(last.bind(run).bind(to_sql(factor))).await.map_err(&error)?;
        let mut open = Open { factor, span_ns, next_number: 1, until: Timestamp::from_nanos(0), parts: Vec::new() };
        let mut known = 0;
        let last = usable(
            "windows",
            last.iter().map(|last| {
                let int = |name| last.natural(name).map(from_sql);
                Ok((int("number")?, Timestamp::from_nanos(int("start_ns")?), Timestamp::from_nanos(int("end_ns")?)))
            }),
        );
        if let Some(&(number, start, end)) = last.first() {
            (open.next_number, open.until) = (number.saturating_add(1), end);
            let is_known = |part: &Window| part.start >= start && part.end <= end;
            known = parts.iter().rposition(is_known).map_or(0, |at| at + 1);
        }
        let mut closed = Vec::new();
        for part in &parts[known..] {
            closed.extend(open.add(part, lengths));
        }
        closed.extend(open.close(lengths, Some(NotWhole::Interrupted)));
        let rows =
            closed.iter().map(|(factor, window)| WindowRow::new(*factor, window)).collect::<Result<Vec<_>, _>>()?;
        // The run before it may have been killed within the same window.
        let rows = rejoined(conn, run, &owner, &rows).await?;
        let events = window_write::insert(conn, by, &rows).await?;
        log(conn, run, &events).await?;
    }
    Ok(())
}

/// A base window with its length.
fn part(row: &Row) -> Result<Window, Unreadable> {
    let mut window = window(row)?.item;
    window.measured.span_ns = from_sql(row.natural("span_ns")?);
    Ok(window)
}

/// The first base window of a run as that had it, without the stop before it that it was given when it was stored: the longer ones
/// get it by themselves.
fn without_stop(window: &mut Window) {
    let last = Timestamp::from_nanos(window.end.as_nanos().saturating_sub(1));
    let stop_ns = last.floor(window.span_ns()).since(window.start).min(window.measured.gap_ns);
    window.start = window.start.plus(stop_ns);
    window.measured.gap_ns -= stop_ns;
}

async fn make_of_run(conn: &mut Conn, run: i64, mut spans: Spans) -> Result<(), StoreError> {
    let error = StoreError::query("windows");
    let by = (run, sensor::number_of(conn, run).await?);
    let mut after = i64::MIN;
    let mut is_over = false;
    while !is_over {
        let next = Query::new(
            "SELECT id, run_id, number, span_ns, start_ns, end_ns, rtt_histogram, body FROM windows WHERE run_id = $1 \
             AND factor = 1 AND number > $2 ORDER BY number LIMIT $3",
        );
        let rows = conn.fetch_all(next.bind(run).bind(after).bind(PAGE)).await.map_err(&error)?;
        let mut closed = Vec::new();
        after = rows.iter().filter_map(|row| row.int("number").ok()).max().unwrap_or(i64::MAX);
        for window in usable("windows", rows.iter().map(part)) {
            spans.add(&window, &mut closed);
        }
        is_over = rows.is_empty();
        if is_over {
            spans.finish(&mut closed);
        }
        let rows =
            closed.iter().map(|(factor, window)| WindowRow::new(*factor, window)).collect::<Result<Vec<_>, _>>()?;
        window_write::insert(conn, by, &rows).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn base(start_s: u64, length_s: u64, silence_s: u64) -> Window {
        let start = Timestamp::from_nanos(start_s * S);
        let measured =
            Measured { span_ns: 5 * S, length_ns: length_s * S, silence_ns: silence_s * S, ..Measured::default() };
        Window { start, end: start.plus(length_s * S), bytes: 100, packets: 1, measured, ..Window::default() }
    }

    /// Factor, start, end and length in seconds, bytes.
    fn made(lengths: Lengths, parts: &[Window]) -> Vec<(u64, u64, u64, u64, u64)> {
        let (mut spans, mut closed) = (Spans::new(lengths), Vec::new());
        parts.iter().for_each(|part| spans.add(part, &mut closed));
        spans.finish(&mut closed);
        let s = |time: Timestamp| time.as_nanos() / S;
        closed.iter().map(|(f, w)| (*f, s(w.start), s(w.end), w.length_ns() / S, w.bytes)).collect()
    }

    #[test]
    fn windows_of_two_and_of_an_hour_are_made_of_base_windows_as_they_close() {
        let whole: Vec<Window> = (0..721).map(|n| base(n * 5, 5, 0)).collect();
        let made = made(Lengths::Measured, &whole);
        let of = |factor| made.iter().filter(move |window| window.0 == factor).copied().collect::<Vec<_>>();
        assert_eq!(of(2).len(), 361);
        assert_eq!(of(2)[..2], [(2, 0, 10, 10, 200), (2, 10, 20, 10, 200)]);
        assert_eq!(of(2)[360], (2, 3600, 3605, 5, 100), "cut by the end of the run");
        assert_eq!(of(720), [(720, 0, 3600, 3600, 72_000), (720, 3600, 3605, 5, 100)]);
    }

    #[test]
    fn silence_counts_as_time_in_which_nothing_came_and_a_gap_does_not() {
        // 5 s of silence before the second part of the first window; then nobody counted for the first half.
        let parts = [base(0, 5, 0), base(15, 5, 10), base(25, 5, 0), base(30, 5, 0), base(35, 5, 0)];
        let two: Vec<_> = made(Lengths::Measured, &parts).into_iter().filter(|window| window.0 == 2).collect();
        assert_eq!(two, [(2, 0, 10, 10, 100), (2, 10, 20, 10, 100), (2, 20, 30, 5, 100), (2, 30, 40, 10, 200)]);
        let nominal: Vec<_> = made(Lengths::Nominal, &parts).into_iter().filter(|window| window.0 == 2).collect();
        assert_eq!(nominal[2], (2, 20, 30, 10, 100), "of a capture, what no frame came in is silence");
    }

    #[test]
    fn the_default_is_the_stored_length_nearest_to_ten_seconds_from_above() {
        for (base_s, span_s) in [(1, 36), (2, 12), (4, 24), (5, 10), (7, 14), (10, 10), (60, 60)] {
            assert_eq!(stored_span_from(10 * S, base_s * S), span_s * S, "base of {base_s} s");
        }
        assert_eq!(stored_spans(5 * S), [5, 10, 30, 180, 3600].map(|s| s * S));
        assert_eq!(stored_spans(7 * S).len(), 4, "an hour is no multiple of 7 s");
    }
}

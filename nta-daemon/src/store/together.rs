//! Batches that are written together, in one transaction: windows and feature vectors of many by one statement a table, the rest a batch after the
//! other. What is stored is what they leave one by one.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::cut::rejoined;
use super::db::{Conn, Query};
use super::outbox::{self, Outbox};
use super::rows::{BatchRows, VectorRow, WindowRow};
use super::window_write::{self, By};
use super::write::{
    Event, Trouble, insert_features, insert_raw_packets, log_all, may_join, run_and_last, upsert_baselines,
};
use super::{
    Correlation, Notice, StoreError, alert_counts, alert_write, anomaly_write, flow_write, from_sql, joint_write, late,
    runs, sensor, troubles,
};
use nta_core::domain::{AlertKind, Mode, Timestamp};

/// What a transaction writes, batch by batch. As much of it waits in memory as the caller has of it.
#[derive(Debug)]
pub(super) struct Together<'a> {
    outbox: Option<&'a Outbox>,
    /// How alerts of several gateways are joined, where they are.
    correlation: Option<&'a Correlation>,
    /// By identity; their rows are locked.
    runs: HashMap<&'a [u8], Known>,
    taken: Vec<Taken<'a>>,
    /// Kinds of the alerts that were raised.
    raised: Vec<AlertKind>,
}

/// A run.
#[derive(Clone, Copy, Debug)]
struct Known {
    by: By,
    /// Number of its newest batch.
    last: i64,
    /// End of its newest window.
    last_ns: Option<i64>,
    is_changed: bool,
}

/// A batch that is to be written.
#[derive(Debug)]
struct Taken<'a> {
    by: By,
    batch: Cow<'a, BatchRows>,
    /// Its windows, those that a restart cut joined.
    windows: Cow<'a, [WindowRow]>,
    /// The time without the database that is logged with it.
    trouble: Option<&'a Trouble>,
    /// Whether a newer run has stored what is kept once for a sensor.
    is_outdated: bool,
}

impl<'a> Together<'a> {
    pub(super) fn new(outbox: Option<&'a Outbox>, correlation: Option<&'a Correlation>) -> Self {
        Self { outbox, correlation, runs: HashMap::new(), taken: Vec::new(), raised: Vec::new() }
    }

    /// Takes a batch, and puts it into the outbox where there is one; `false` where it is stored already. All that was taken is written by
    /// [`flush`](Self::flush) at the latest.
    pub(super) async fn write(
        &mut self,
        conn: &mut Conn,
        batch: &'a BatchRows,
        trouble: Option<&'a Trouble>,
    ) -> Result<bool, StoreError> {
        let run = self.run_of(conn, batch).await?;
        // A number that is none says nothing; writing a batch twice adds nothing.
        let is_behind = batch.number <= run.last && run.last < i64::MAX;
        let is_alone = trouble.is_some() || is_behind || looks_back(batch);
        if is_alone {
            self.flush(conn).await?;
        }
        let batch = if is_behind {
            if !late::fill(conn, &batch.run.uuid, batch.number).await? {
                return Ok(false);
            }
            Cow::Owned(late::rest(conn, run.by.0, batch).await?)
        } else {
            if run.last < i64::MAX && batch.number > run.last + 1 {
                late::note(conn, &batch.run.uuid, run.last + 1, batch.number - 1).await?;
            }
            let last_ns = batch.end_ns().or(run.last_ns);
            self.runs.insert(&batch.run.uuid, Known { last: batch.number, last_ns, is_changed: true, ..run });
            Cow::Borrowed(batch)
        };
        // A daemon's own batches have no newer run behind them.
        let is_kept_once = batch.baselines.is_some() || batch.readings.is_some() || batch.standing.is_some();
        let is_outdated = is_kept_once && late::is_outdated(conn, run.by.0, &batch.run).await?;
        let windows = match &batch {
            Cow::Borrowed(batch) => rejoined(conn, run.by.0, &batch.run, &batch.windows).await?,
            Cow::Owned(batch) => Cow::Owned(rejoined(conn, run.by.0, &batch.run, &batch.windows).await?.into_owned()),
        };
        self.taken.push(Taken { by: run.by, batch, windows, trouble, is_outdated });
        if is_alone {
            self.flush(conn).await?;
        }
        Ok(true)
    }

    async fn run_of(&mut self, conn: &mut Conn, batch: &'a BatchRows) -> Result<Known, StoreError> {
        if let Some(known) = self.runs.get(batch.run.uuid.as_slice()) {
            return Ok(*known);
        }
        let (run, last) = run_and_last(conn, &batch.run).await?;
        let by = (run, sensor::number(conn, &batch.run.sensor).await?);
        let known = Known { by, last, last_ns: None, is_changed: false };
        self.runs.insert(&batch.run.uuid, known);
        Ok(known)
    }

    /// Kinds of the alerts that were raised by what was written.
    pub(super) fn raised(&self) -> &[AlertKind] {
        &self.raised
    }

    /// Writes what was taken.
    pub(super) async fn flush(&mut self, conn: &mut Conn) -> Result<(), StoreError> {
        self.note_runs(conn).await?;
        let taken = std::mem::take(&mut self.taken);
        if taken.is_empty() {
            return Ok(());
        }
        let windows: Vec<_> =
            taken.iter().flat_map(|taken| taken.windows.iter().map(move |window| (taken.by, window))).collect();
        let mut written = window_write::insert_all(conn, &windows).await?;
        let mut closed = std::mem::take(&mut written.events).into_iter();
        let mut events = Vec::with_capacity(windows.len());
        for of in &taken {
            let closed = closed.by_ref().take(of.windows.len()).flatten();
            let (found, joint) = of.write_found(conn, self.correlation).await?;
            self.raised.extend(alert_counts::raised(found.iter().chain(&joint)));
            let begun = of.trouble.into_iter().flat_map(Trouble::events);
            events.extend(begun.chain(closed).chain(found).map(|event| (of.by.0, event)));
        }
        insert_features(conn, &vectors(&taken)).await?;
        for of in &taken {
            of.write_rest(conn).await?;
        }
        // Last: others wait for the numbers and counts that these change.
        written.count(conn).await?;
        log_all(conn, &events.iter().map(|(run, event)| (*run, event)).collect::<Vec<_>>()).await?;
        for Taken { by, batch, trouble, .. } in &taken {
            if let Some(reason) = &batch.end {
                runs::complete(conn, by.0, &batch.run, reason).await?;
            }
            if let Some(outbox) = self.outbox {
                let notices: Vec<Notice> = trouble.iter().flat_map(|trouble| trouble.notices()).collect();
                outbox::add(conn, outbox, batch, &notices).await?;
            }
        }
        Ok(())
    }

    /// Notes the newest batch of each run.
    async fn note_runs(&mut self, conn: &mut Conn) -> Result<(), StoreError> {
        let mut changed: Vec<Known> = Vec::new();
        for run in self.runs.values_mut().filter(|run| run.is_changed) {
            changed.push(*run);
            run.is_changed = false;
        }
        for chunk in changed.chunks(conn.chunk_rows()) {
            let mut query = Query::new(
                "UPDATE runs SET last_batch = newest.column2, last_ns = coalesce(newest.column3, runs.last_ns) FROM (",
            );
            query.push_table(conn, chunk.iter().map(|run| vec![run.by.0.into(), run.last.into(), run.last_ns.into()]));
            query.push(") AS newest WHERE runs.id = newest.column1");
            conn.execute(query).await.map_err(StoreError::query("runs"))?;
        }
        Ok(())
    }
}

impl Taken<'_> {
    /// Writes alerts and troubles; answers the events of them, and those of alerts of several gateways, which are logged.
    async fn write_found(
        &self,
        conn: &mut Conn,
        correlation: Option<&Correlation>,
    ) -> Result<(Vec<Event>, Vec<Event>), StoreError> {
        let Self { by, batch, is_outdated, .. } = self;
        alert_write::take_over(conn, by.0, &batch.run, &batch.alerts).await?;
        let changes = alert_write::upsert(conn, *by, &batch.alerts).await?;
        let (mut events, joint) = match correlation.filter(|_| may_join(batch)) {
            Some(correlation) => joint_write::correlate(conn, correlation, by.1, &batch.alerts, changes).await?,
            None => (changes, Vec::new()),
        };
        if batch.run.mode == Mode::Live.word() {
            if let Some(standing) = batch.standing.as_ref().filter(|_| !is_outdated) {
                let at = Timestamp::from_nanos(from_sql(batch.end_ns().unwrap_or(batch.run.started_ns)));
                events.extend(troubles::end(conn, &batch.run.sensor, standing, at).await?);
            }
            troubles::note(conn, &batch.run.sensor, &batch.notices).await?;
        }
        events.extend(batch.notices.iter().map(Event::from));
        Ok((events, joint))
    }

    /// Writes what is neither window nor vector and has no events.
    async fn write_rest(&self, conn: &mut Conn) -> Result<(), StoreError> {
        let Self { by, batch, is_outdated, .. } = self;
        anomaly_write::insert(conn, *by, &batch.anomalies).await?;
        if let Some((name, updated_ns, body)) = batch.baselines.as_ref().filter(|_| !is_outdated) {
            upsert_baselines(conn, name, *updated_ns, body).await?;
        }
        flow_write::write(conn, *by, &batch.run.sensor, &batch.flows).await?;
        insert_raw_packets(conn, by.0, &batch.raw_packets).await?;
        if let Some(readings) = batch.readings.as_ref().filter(|_| !is_outdated) {
            readings.write(conn, &batch.run.sensor, by.0).await?;
        }
        Ok(())
    }
}

/// Whether what is stored before a batch is looked at when it is written, or a run begins or ends with it.
fn looks_back(batch: &BatchRows) -> bool {
    let begins = batch.run.mode == Mode::Live.word() && batch.windows.iter().any(|window| window.number == 1);
    begins || batch.baselines.is_some() || batch.readings.is_some() || batch.standing.is_some() || batch.end.is_some()
}

/// The vectors of all, the last of those of one window and host: a statement changes no row twice.
fn vectors<'a>(taken: &'a [Taken<'_>]) -> Vec<(By, &'a VectorRow)> {
    let all = || taken.iter().flat_map(|taken| taken.batch.features.iter().map(move |row| (taken.by, row)));
    if taken.len() == 1 {
        return all().collect();
    }
    let mut seen = HashSet::new();
    let all: Vec<_> = all().collect();
    let mut last: Vec<_> =
        all.into_iter().rev().filter(|(by, row)| seen.insert((by.0, row.span_ns, row.start_ns, row.host))).collect();
    last.reverse();
    last
}

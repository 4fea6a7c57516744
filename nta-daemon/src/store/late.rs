//! Batches that come after newer ones of their run: the spool could not read them in their turn.
//!
//! A batch is known by its number in the run, and a run's row has the newest one. So the numbers that a newer batch passed over
//! are kept beside it: by these a late one is told from one that is there already, over a restart too.

use std::collections::HashSet;

use super::db::{Conn, Query};
use super::rows::{BatchRows, RunRow};
use super::{StoreError, meta};
use nta_core::domain::Mode;

/// Ranges of missing numbers kept of a run; the oldest go first, and a batch of these counts as stored.
const MAX_RANGES: usize = 1024;

/// First and last of numbers that are missing.
type Holes = Vec<(i64, i64)>;

/// Notes that the batches from `first` to `last` of a run are not stored, although a newer one is.
pub(super) async fn note(conn: &mut Conn, uuid: &[u8], first: i64, last: i64) -> Result<(), StoreError> {
    let mut holes = read(conn, uuid).await?;
    if holes.len() >= MAX_RANGES {
        holes.remove(0);
    }
    holes.push((first, last));
    write(conn, uuid, &holes).await
}

/// Takes a batch off those that are missing. `false` where it is none of them.
pub(super) async fn fill(conn: &mut Conn, uuid: &[u8], number: i64) -> Result<bool, StoreError> {
    let mut holes = read(conn, uuid).await?;
    let Some(at) = holes.iter().position(|(first, last)| (*first..=*last).contains(&number)) else { return Ok(false) };
    let (first, last) = holes[at];
    let rest = [(first, number - 1), (number + 1, last)].into_iter().filter(|(first, last)| first <= last);
    holes.splice(at..=at, rest);
    write(conn, uuid, &holes).await?;
    Ok(true)
}

/// Whether a newer live run of the sensor has stored something: what is kept once for a sensor is newer by now, however late the
/// batch of this run comes.
pub(super) async fn is_outdated(conn: &mut Conn, run: i64, row: &RunRow) -> Result<bool, StoreError> {
    // By expressions, so that only runs behind this one are read.
    let newer = Query::new(
        "SELECT id FROM runs WHERE id > $1 AND coalesce(sensor, '') = $2 AND coalesce(mode, '') = 'live' \
         AND coalesce(last_batch, 0) > 0 ORDER BY id LIMIT 1",
    );
    let newer = newer.bind(run).bind(row.sensor.as_str());
    Ok(row.mode == Mode::Live.word() && conn.fetch_optional(newer).await.map_err(StoreError::query("runs"))?.is_some())
}

/// What a late batch still adds: not the state of flows and alerts that a newer batch has written, nor what is kept once for a
/// sensor and is newer by now.
pub(super) async fn rest(conn: &mut Conn, run: i64, batch: &BatchRows) -> Result<BatchRows, StoreError> {
    let mut rest = BatchRows { baselines: None, readings: None, standing: None, ..batch.clone() };
    let mut newer = HashSet::new();
    let error = StoreError::query("flows");
    for chunk in batch.flows.chunks(conn.chunk_rows()) {
        let mut query = Query::new("SELECT f.id, f.first_ns FROM (");
        let row = |flow: &super::rows::FlowRow| vec![flow.id.into(), flow.first_ns.into(), flow.last_ns.into()];
        query.push_table(conn, chunk.iter().map(row));
        query.push(
            ") AS s JOIN flows f ON f.id = s.column1 AND f.first_ns = s.column2 \
             AND (f.last_ns > s.column3 OR f.last_ns = s.column3 AND f.state <> 0) WHERE f.run_id = ",
        );
        query.push_bind(run).plan_anew(conn);
        for row in conn.fetch_all(query).await.map_err(&error)? {
            newer.insert((row.int("id").map_err(&error)?, row.int("first_ns").map_err(&error)?));
        }
    }
    rest.flows.retain(|flow| !newer.contains(&(flow.id, flow.first_ns)));
    let mut newer = HashSet::new();
    let error = StoreError::query("detected_alerts");
    for chunk in batch.alerts.chunks(conn.chunk_rows()) {
        let mut query = Query::new("SELECT a.id FROM (");
        query.push_table(conn, chunk.iter().map(|alert| vec![alert.id.as_str().into(), alert.last_ns.into()]));
        query.push(
            ") AS s JOIN detected_alerts a ON a.id = s.column1 \
             AND (a.last_ns > s.column2 OR a.last_ns = s.column2 AND a.cleared_ns IS NOT NULL) WHERE a.run_id = ",
        );
        query.push_bind(run).plan_anew(conn);
        for row in conn.fetch_all(query).await.map_err(&error)? {
            newer.insert(row.text("id").map_err(&error)?);
        }
    }
    rest.alerts.retain(|alert| !newer.contains(&alert.id));
    Ok(rest)
}

async fn read(conn: &mut Conn, uuid: &[u8]) -> Result<Holes, StoreError> {
    let Some(text) = meta::get(conn, &name(uuid)).await? else { return Ok(Holes::new()) };
    serde_json::from_str(&text).map_err(|error| corrupt(&error))
}

async fn write(conn: &mut Conn, uuid: &[u8], holes: &Holes) -> Result<(), StoreError> {
    if holes.is_empty() {
        let delete = Query::new("DELETE FROM meta WHERE name = $1").bind(name(uuid));
        return conn.execute(delete).await.map(drop).map_err(StoreError::query("meta"));
    }
    let text = serde_json::to_string(holes).map_err(|error| corrupt(&error))?;
    meta::set(conn, &name(uuid), &text).await
}

fn name(uuid: &[u8]) -> String {
    use std::fmt::Write as _;
    uuid.iter().fold("missing:".to_owned(), |mut name, byte| {
        let _ = write!(name, "{byte:02x}"); // a string takes all
        name
    })
}

fn corrupt(error: &serde_json::Error) -> StoreError {
    StoreError::Corrupt { table: "meta", id: 0, reason: format!("missing batches: {error}") }
}

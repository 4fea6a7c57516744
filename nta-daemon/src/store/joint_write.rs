//! Alerts of several gateways are made, changed and closed as their parts are, in the transaction that changes these.
//!
//! They are rows as the others are, of no sensor. Their parts name them in the column `joint`, and lists leave the parts out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering::Relaxed;

use super::db::{Conn, Dialect, Query, Value};
use super::joint::{Correlation, PART, Part, common_of, gateways, groups, joined};
use super::rows::AlertRow;
use super::unreadable::usable;
use super::write::{Event, log};
use super::{StoreError, alert_write, event_body, from_sql, sensor, to_sql};
use nta_core::alerting::{Common, joint_id};
use nta_core::domain::{AlertKind, Mode, Timestamp};

/// Identity of the run that they are of.
const RUN: &[u8; 16] = b"nta-joint-alerts";
/// The sensor that they are of: none.
const NOBODY: &str = "";
/// Alerts of gateways that one is made of; further ones stay by themselves.
const MOST_PARTS: usize = 1000;
/// What a part is: an alert of a live run of some sensor.
const IS_PART: &str = "EXISTS (SELECT 1 FROM runs r WHERE r.id = run_id AND r.mode = 'live' AND r.sensor <> '')";

const TABLE: &str = "detected_alerts";

/// Where several write one database, one at a time makes them of what it reads. It comes before whatever else a transaction locks.
pub(super) async fn lock(conn: &mut Conn) -> Result<(), StoreError> {
    if conn.dialect() == Dialect::Postgres {
        let lock = Query::new("SELECT pg_advisory_xact_lock(hashtextextended('nta joint alerts', 0))");
        conn.execute(lock).await.map_err(StoreError::query(TABLE))?;
    }
    Ok(())
}

/// Whether gateways ship to this database.
pub(super) async fn is_centre(conn: &mut Conn) -> Result<bool, StoreError> {
    let any = Query::new("SELECT sensor FROM shipped LIMIT 1");
    Ok(conn.fetch_optional(any).await.map_err(StoreError::query("shipped"))?.is_some())
}

/// Joins these alerts of a sensor, which are stored, with those of other sensors. Answers their events without those of alerts that are
/// parts of one, and those of the one, which are logged.
pub(super) async fn correlate(
    conn: &mut Conn,
    by: &Correlation,
    sensor: i64,
    alerts: &[AlertRow],
    events: Vec<Event>,
) -> Result<(Vec<Event>, Vec<Event>), StoreError> {
    let mut about: BTreeMap<(AlertKind, Common), [i64; 2]> = BTreeMap::new();
    for alert in alerts.iter().filter(|_| by.apart_ns > 0) {
        let Some(key) = common_of(alert, &by.shared) else { continue };
        let times = about.entry(key).or_insert([alert.first_ns, alert.last_ns]);
        *times = [alert.first_ns.min(times[0]), alert.last_ns.max(times[1])];
    }
    let elsewhere = seen_elsewhere(conn, sensor, about.keys().map(|(_, common)| *common).collect()).await?;
    let (mut folded, mut joint) = (BTreeSet::new(), Vec::new());
    for ((kind, common), times) in about.into_iter().filter(|((_, common), _)| elsewhere.contains(common)) {
        let parts = parts_around(conn, by, (kind, common), times).await?;
        for group in groups(parts, to_sql(by.apart_ns)) {
            if gateways(&group).len() < 2 && group.iter().all(|part| part.joint.is_none()) {
                continue;
            }
            let begun = |part: &Part| {
                let own = alerts.iter().position(|alert| alert.id == part.row.id);
                // What was raised with this batch nobody was told of.
                own.map_or(part.is_raised(), |at| events.get(at).is_none_or(|event| event.kind != "alert_raised"))
            };
            joint.extend(fold(conn, by, (kind, common), &group, begun).await?);
            folded.extend(group.into_iter().map(|part| part.row.id));
        }
    }
    let both = alerts.iter().zip(events).filter(|(alert, _)| !folded.contains(&alert.id));
    Ok((both.map(|(_, event)| event).collect(), joint))
}

/// Those of some parties that another sensor has alerts about.
async fn seen_elsewhere(conn: &mut Conn, sensor: i64, all: BTreeSet<Common>) -> Result<BTreeSet<Common>, StoreError> {
    let mut elsewhere = BTreeSet::new();
    let all: Vec<(Common, &str, String)> =
        all.into_iter().map(|common| (common, column(common), party(common))).collect();
    for side in ["source", "destination"] {
        let of_side: Vec<_> = all.iter().filter(|(_, column, _)| *column == side).collect();
        for chunk in of_side.chunks(conn.chunk_rows()) {
            let mut query =
                Query::new(format!("SELECT DISTINCT {side} AS party FROM detected_alerts WHERE {side} IN ("));
            query.push_table(conn, chunk.iter().map(|(_, _, party)| vec![party.as_str().into()]));
            query.push(") AND sensor_id <> ").push_bind(sensor).plan_anew(conn);
            let rows = conn.fetch_all(query).await.map_err(StoreError::query(TABLE))?;
            let found: BTreeSet<String> =
                usable(TABLE, rows.iter().map(|row| Ok(row.text("party")?))).into_iter().collect();
            elsewhere.extend(chunk.iter().filter(|(_, _, party)| found.contains(party)).map(|(common, ..)| *common));
        }
    }
    Ok(elsewhere)
}

/// All alerts of this kind about it that follow each other without a pause, from some time on both ways.
async fn parts_around(
    conn: &mut Conn,
    by: &Correlation,
    of: (AlertKind, Common),
    [mut first_ns, mut last_ns]: [i64; 2],
) -> Result<Vec<Part>, StoreError> {
    let apart_ns = to_sql(by.apart_ns);
    loop {
        // The kind has an index too, in which there are many more.
        let query = Query::new(format!(
            "SELECT {PART} FROM detected_alerts WHERE {} = $1 AND coalesce(kind, '') = $2 AND last_ns + 0 >= $3 \
             AND first_ns + 0 <= $4 AND {IS_PART} ORDER BY first_ns, id LIMIT $5",
            column(of.1)
        ));
        let query = query.bind(party(of.1)).bind(of.0.word()).bind(first_ns.saturating_sub(apart_ns));
        let mut query = query.bind(last_ns.saturating_add(apart_ns)).bind(MOST_PARTS as i64 + 1);
        query.plan_anew(conn);
        let rows = conn.fetch_all(query).await.map_err(StoreError::query(TABLE))?;
        let is_full = rows.len() > MOST_PARTS;
        let mut parts = usable(TABLE, rows.iter().map(Part::read));
        // Of a flood's victim also those alerts are found that say who does it.
        parts.retain(|part| common_of(&part.row, &by.shared) == Some(of));
        if is_full {
            parts.truncate(MOST_PARTS);
            if by.left_out.fetch_add(1, Relaxed).is_power_of_two() {
                tracing::warn!(
                    kind = of.0.word(),
                    party = party(of.1),
                    most = MOST_PARTS,
                    "store: an alert has as many parts as it may have"
                );
            }
            return Ok(parts);
        }
        let begin = parts.iter().map(|part| part.row.first_ns).min().unwrap_or(first_ns).min(first_ns);
        let end = parts.iter().map(|part| part.row.last_ns).max().unwrap_or(last_ns).max(last_ns);
        if (begin, end) == (first_ns, last_ns) {
            return Ok(parts);
        }
        (first_ns, last_ns) = (begin, end);
    }
}

/// Makes one alert of these, or adds them to the one that some of them are parts of; answers its events, which are logged.
async fn fold(
    conn: &mut Conn,
    by: &Correlation,
    (kind, common): (AlertKind, Common),
    parts: &[Part],
    was_told: impl Fn(&Part) -> bool,
) -> Result<Vec<Event>, StoreError> {
    let error = StoreError::query(TABLE);
    let mut known = Vec::new();
    for id in parts.iter().filter_map(|part| part.joint.as_ref()).collect::<BTreeSet<_>>() {
        known.extend(of_id(conn, id).await?);
    }
    // Of two that turn out to be one the first stays.
    known.sort_by_key(|joint| joint.number);
    let first_ns = parts.iter().map(|part| part.row.first_ns).min().unwrap_or_default();
    let first = Timestamp::from_nanos(from_sql(first_ns));
    let id = known.first().map(|joint| joint.row.id.clone());
    let id = id.unwrap_or_else(|| joint_id(kind, common, first, by.apart_ns).to_string());
    let is_new = |part: &&Part| part.joint.as_ref() != Some(&id);
    let news: Vec<&Part> = parts.iter().filter(is_new).chain(known.iter().skip(1)).collect();
    for chunk in news.chunks(conn.chunk_rows()) {
        let mut point = Query::new("UPDATE detected_alerts SET joint = $1 WHERE number IN (").bind(id.as_str());
        for (at, part) in chunk.iter().enumerate() {
            point.push(if at == 0 { "" } else { ", " }).push_bind(part.number);
        }
        point.push(")");
        conn.execute(point).await.map_err(&error)?;
    }
    for other in known.iter().skip(1).filter(|other| other.is_raised()) {
        let clear = Query::new(
            "UPDATE detected_alerts SET state = 'cleared', cleared_ns = last_ns, end_reason = 'folded' WHERE number = $1",
        );
        conn.execute(clear.bind(other.number)).await.map_err(&error)?;
    }
    let is_over =
        |part: &&&Part| if part.sensor == NOBODY { part.is_raised() } else { part.joint.is_none() && was_told(part) };
    for part in news.iter().filter(is_over) {
        log(conn, part.run, &[event_body::folded(&part.row, &id)]).await?;
    }
    refresh(conn, &id).await
}

/// Brings one to what its parts are now, and logs it; nothing is done where it is so already.
pub(super) async fn refresh(conn: &mut Conn, id: &str) -> Result<Vec<Event>, StoreError> {
    let error = StoreError::query(TABLE);
    let query = Query::new(format!(
        "SELECT {PART} FROM detected_alerts WHERE joint = $1 AND {IS_PART} ORDER BY first_ns, id LIMIT $2"
    ));
    let rows = conn.fetch_all(query.bind(id).bind(MOST_PARTS as i64)).await.map_err(&error)?;
    let parts = usable(TABLE, rows.iter().map(Part::read));
    let Some(row) = joined(id.to_owned(), &parts)? else { return Ok(Vec::new()) };
    let stored = of_id(conn, id).await?;
    let is_so =
        |stored: &Part| stored.row == AlertRow { raised_ns: stored.row.raised_ns, hosts: Vec::new(), ..row.clone() };
    if stored.as_ref().is_some_and(is_so) {
        return Ok(Vec::new());
    }
    let by = (run(conn).await?, sensor::number(conn, NOBODY).await?);
    let events = alert_write::upsert(conn, by, &[row]).await?;
    log(conn, by.0, &events).await?;
    // Whom its parts concern it concerns too.
    for chunk in parts.chunks(conn.chunk_rows()) {
        let mut hosts = Query::new(
            "INSERT INTO alert_hosts (alert, raised_ns, host, side) SELECT j.number, j.raised_ns, h.host, h.side FROM alert_hosts h \
             JOIN detected_alerts j ON j.id = $1 AND j.run_id = $2 WHERE h.alert IN (",
        );
        hosts = hosts.bind(id).bind(by.0);
        for (at, part) in chunk.iter().enumerate() {
            hosts.push(if at == 0 { "" } else { ", " }).push_bind(part.number);
        }
        hosts.push(") ORDER BY h.host, h.side LIMIT 1024 ON CONFLICT DO NOTHING");
        conn.execute(hosts).await.map_err(StoreError::query("alert_hosts"))?;
    }
    Ok(events)
}

/// The alert of several gateways of this identity.
async fn of_id(conn: &mut Conn, id: &str) -> Result<Option<Part>, StoreError> {
    let query = Query::new(format!(
        "SELECT {PART} FROM detected_alerts WHERE id = $1 AND run_id = (SELECT id FROM runs WHERE uuid = $2)"
    ));
    let rows = conn.fetch_all(query.bind(id).bind(RUN.to_vec())).await.map_err(StoreError::query(TABLE))?;
    Ok(usable(TABLE, rows.iter().map(Part::read)).pop())
}

/// The run that they are of. It has begun and ended before all others.
async fn run(conn: &mut Conn) -> Result<i64, StoreError> {
    let error = StoreError::query("runs");
    let known = Query::new("SELECT id FROM runs WHERE uuid = $1").bind(RUN.to_vec());
    if let Some(row) = conn.fetch_optional(known).await.map_err(&error)? {
        return row.int("id").map_err(error);
    }
    let insert = Query::new(
        "INSERT INTO runs (started_ns, mode, source, version, uuid, sensor, last_ns, ended_ns, end_reason) \
         VALUES (0, $1, '', $2, $3, $4, 0, 0, 'completed') RETURNING id",
    );
    let insert = insert.bind(Mode::Live.word()).bind(env!("CARGO_PKG_VERSION")).bind(Value::from(RUN.to_vec()));
    conn.number(insert.bind(NOBODY)).await.map_err(error)
}

/// Alerts whose one is deleted are by themselves again.
pub(super) async fn set_free(conn: &mut Conn) -> Result<(), StoreError> {
    let free = Query::new(
        "UPDATE detected_alerts SET joint = NULL WHERE joint IS NOT NULL \
         AND NOT EXISTS (SELECT 1 FROM detected_alerts j WHERE j.id = detected_alerts.joint)",
    );
    conn.execute(free).await.map(drop).map_err(StoreError::query(TABLE))
}

const fn column(common: Common) -> &'static str {
    match common {
        Common::Source(_) => "source",
        Common::Destination(_) => "destination",
    }
}

fn party(common: Common) -> String {
    let (Common::Source(party) | Common::Destination(party)) = common;
    party.to_string()
}

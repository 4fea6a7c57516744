//! Writing alerts: what is known of them is asked once, and they are inserted or updated together.

use std::collections::HashMap;

use super::db::{Conn, Query};
use super::rows::{AlertRow, RunRow};
use super::totals::add;
use super::unreadable::usable;
use super::write::Event;
use super::{StoreError, concerned, event_body};
use nta_core::domain::Mode;

/// Inserts or updates alerts of the run. What people did about them is not touched. Answers an event for each change, in
/// their order.
pub(super) async fn upsert(
    conn: &mut Conn,
    (run, sensor): (i64, i64),
    alerts: &[AlertRow],
) -> Result<Vec<Event>, StoreError> {
    let mut events = Vec::with_capacity(alerts.len());
    for chunk in alerts.chunks(conn.chunk_rows()) {
        let mut raised = known(conn, run, chunk).await?;
        let before = raised.len();
        for alert in chunk {
            let known = raised.get(&alert.id);
            // Part of the key: it stays as it was.
            let raised_ns = known.map_or(alert.raised_ns, |known| known.raised_ns);
            let before = known.map(|known| known.state.as_str());
            events.push(event_body::alert(alert, before, raised_ns));
            raised.insert(alert.id.clone(), Known { raised_ns, state: alert.state.clone() });
        }
        upsert_chunk(conn, (run, sensor), chunk, &raised).await?;
        add(conn, "alerts", i64::try_from(raised.len() - before).unwrap_or(i64::MAX)).await?;
    }
    Ok(events)
}

/// Alerts of the sensor's earlier runs that came back in this one are its own from here on: identities of live runs name the run, so
/// that only what was taken up is in two.
pub(super) async fn take_over(
    conn: &mut Conn,
    run: i64,
    owner: &RunRow,
    alerts: &[AlertRow],
) -> Result<(), StoreError> {
    if owner.mode != Mode::Live.word() {
        return Ok(());
    }
    let error = StoreError::query("detected_alerts");
    for chunk in alerts.chunks(conn.chunk_rows()) {
        let mut query = Query::new("SELECT number FROM detected_alerts WHERE id IN (");
        query.push_table(conn, chunk.iter().map(|alert| vec![alert.id.as_str().into()]));
        query.push(") AND run_id < ").push_bind(run);
        query.plan_anew(conn);
        let rows = conn.fetch_all(query).await.map_err(&error)?;
        for number in usable("detected_alerts", rows.iter().map(|row| Ok(row.int("number")?))) {
            let take = Query::new("UPDATE detected_alerts SET run_id = $1, end_reason = NULL WHERE number = $2");
            conn.execute(take.bind(run).bind(number)).await.map_err(&error)?;
        }
    }
    Ok(())
}

/// What is stored of an alert.
#[derive(Debug)]
struct Known {
    raised_ns: i64,
    state: String,
}

/// What is stored of them, by identity.
async fn known(conn: &mut Conn, run: i64, chunk: &[AlertRow]) -> Result<HashMap<String, Known>, StoreError> {
    let error = StoreError::query("detected_alerts");
    let mut query = Query::new("SELECT id, raised_ns, state FROM detected_alerts WHERE id IN (");
    query.push_table(conn, chunk.iter().map(|alert| vec![alert.id.as_str().into()]));
    query.push(") AND run_id = ").push_bind(run);
    query.plan_anew(conn);
    let rows = conn.fetch_all(query).await.map_err(&error)?;
    let mut raised = HashMap::with_capacity(rows.len());
    for row in &rows {
        let id = row.text("id").map_err(&error)?;
        // What is no time is set right: it is a part of the key.
        let raised_ns = match (row.int("raised_ns"), chunk.iter().find(|alert| alert.id == id)) {
            (Ok(raised_ns), _) => raised_ns,
            (Err(_), Some(alert)) => {
                let mend = Query::new("UPDATE detected_alerts SET raised_ns = $3 WHERE id = $1 AND run_id = $2");
                let mend = mend.bind(alert.id.as_str()).bind(run).bind(alert.raised_ns);
                conn.execute(mend).await.map_err(&error)?;
                alert.raised_ns
            }
            (Err(unreadable), None) => return Err(error(unreadable)),
        };
        // What is no text is written anew with this change.
        let state = row.text("state").unwrap_or_default();
        raised.insert(id, Known { raised_ns, state });
    }
    Ok(raised)
}

async fn upsert_chunk(
    conn: &mut Conn,
    (run, sensor): (i64, i64),
    chunk: &[AlertRow],
    raised: &HashMap<String, Known>,
) -> Result<(), StoreError> {
    // One statement changes no row twice: of an alert that changed several times the last change is what is stored.
    let last: HashMap<&str, usize> = chunk.iter().enumerate().map(|(at, alert)| (alert.id.as_str(), at)).collect();
    let is_last = |(at, alert): &(usize, &AlertRow)| last.get(alert.id.as_str()) == Some(at);
    let mut query = Query::new(
        "INSERT INTO detected_alerts (id, run_id, sensor_id, kind, severity, source, destination, score_ppm, state, \
         first_ns, last_ns, raised_ns, cleared_ns, body) ",
    );
    query.push_table(
        conn,
        chunk.iter().enumerate().filter(is_last).map(|(_, alert)| {
            vec![
                alert.id.as_str().into(),
                run.into(),
                sensor.into(),
                alert.kind.as_str().into(),
                alert.severity.into(),
                alert.source.clone().into(),
                alert.destination.clone().into(),
                alert.score_ppm.into(),
                alert.state.as_str().into(),
                alert.first_ns.into(),
                alert.last_ns.into(),
                raised.get(&alert.id).map_or(alert.raised_ns, |known| known.raised_ns).into(),
                alert.cleared_ns.into(),
                alert.body.as_str().into(),
            ]
        }),
    );
    query.push(
        " ON CONFLICT (id, run_id, raised_ns) DO UPDATE SET severity = excluded.severity, \
         source = excluded.source, destination = excluded.destination, score_ppm = excluded.score_ppm, \
         state = excluded.state, first_ns = excluded.first_ns, last_ns = excluded.last_ns, \
         cleared_ns = excluded.cleared_ns, body = excluded.body",
    );
    conn.execute(query).await.map_err(StoreError::query("detected_alerts"))?;
    let last: Vec<&AlertRow> = chunk.iter().enumerate().filter(is_last).map(|(_, alert)| alert).collect();
    concerned::insert(conn, run, &last).await
}

//! The table `troubles`: what the event log says is wrong with a sensor, until it says that this is over. So whoever heard of a trouble hears
//! of its end, although the daemon was killed in between.

use super::db::{Conn, Query};
use super::unreadable::usable;
use super::write::Event;
use super::{Notice, Store, StoreError};
use nta_core::domain::{Severity, Timestamp};

/// What a reason is about: it begins with the interface or the webhook, and what is counted in it changes.
pub fn about(reason: &str) -> &str {
    reason.split_whitespace().next().unwrap_or_default()
}

/// What a notice is about, and whether it begins or ends there; `None` where it is about the database, whose trouble is logged with its end.
fn subject(notice: &Notice) -> Option<(String, bool, String)> {
    let (of, what) = notice.kind.split_once('_')?;
    if !matches!((of, what), ("capture" | "webhook", "trouble" | "recovered")) {
        return None;
    }
    let body: serde_json::Value = serde_json::from_str(&notice.body).ok()?;
    let reason = body.get("reason")?.as_str()?;
    Some((format!("{of}/{}", about(reason)), what == "trouble", reason.to_owned()))
}

/// Notes what is logged of a sensor.
pub(super) async fn note(conn: &mut Conn, sensor: &str, notices: &[Notice]) -> Result<(), StoreError> {
    for notice in notices {
        let Some((about, begins, reason)) = subject(notice) else { continue };
        let query = if begins {
            let severity = super::events::severity(&notice.body).unwrap_or(Severity::High);
            Query::new(
                "INSERT INTO troubles (sensor, about, severity, reason) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (sensor, about) DO UPDATE SET severity = excluded.severity, reason = excluded.reason",
            )
            .bind(sensor)
            .bind(about)
            .bind(severity.word())
            .bind(reason)
        } else {
            Query::new("DELETE FROM troubles WHERE sensor = $1 AND about = $2").bind(sensor).bind(about)
        };
        conn.execute(query).await.map_err(StoreError::query("troubles"))?;
    }
    Ok(())
}

/// Ends what earlier runs of a sensor had wrong with its interfaces, but for what is so still; answers what is logged of it.
pub(super) async fn end(
    conn: &mut Conn,
    sensor: &str,
    standing: &[String],
    at: Timestamp,
) -> Result<Vec<Event>, StoreError> {
    let error = StoreError::query("troubles");
    let open = Query::new(
        "SELECT about, severity, reason FROM troubles WHERE sensor = $1 AND about LIKE 'capture/%' ORDER BY about",
    );
    let rows = conn.fetch_all(open.bind(sensor)).await.map_err(&error)?;
    let read = |row: &super::db::Row| Ok((row.text("about")?, row.text("severity")?, row.text("reason")?));
    let mut events = Vec::new();
    for (about, severity, reason) in usable("troubles", rows.iter().map(read)) {
        if about.strip_prefix("capture/").is_some_and(|about| standing.iter().any(|still| still == about)) {
            continue;
        }
        let severity = Severity::named(&severity).unwrap_or(Severity::High);
        let notice = Notice::new(at, "capture_recovered", severity, &reason);
        note(conn, sensor, std::slice::from_ref(&notice)).await?;
        events.push(Event::from(&notice));
    }
    Ok(events)
}

impl Store {
    /// Whether the log says that this is wrong with a sensor, and not yet that it is over.
    pub async fn is_in_trouble(&self, sensor: &str, about: &str) -> Result<bool, StoreError> {
        let query = Query::new("SELECT count(*) FROM troubles WHERE sensor = $1 AND about = $2");
        let count = self.read("troubles", query.bind(sensor).bind(about), |row| Ok(row.first()?)).await?;
        Ok(count.first().is_some_and(|count: &i64| *count > 0))
    }
}

//! How near a host came to what detectors look for: kept in the document of each window. It goes with its window, or before it, by
//! bounds of its own: rows and days.

use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;

use super::body::WindowBody;
use super::db::Query;
use super::totals::{NEAR, add};
use super::unreadable::usable;
use super::window_parts::table_of;
use super::windows::{WindowFilter, WindowSort};
use super::{Position, Store, StoreError, Whose, to_sql};
use nta_core::domain::{HostMeasure, Timestamp};

/// Windows of a length that are read: those that were closed late, or of several sensors, overlap.
const MOST_WINDOWS: u32 = 16;

/// What is known about a host in a window.
#[derive(Clone, Debug, PartialEq)]
pub struct Nearness {
    /// First instant of the window.
    pub start: Timestamp,
    /// First instant behind it.
    pub end: Timestamp,
    /// How long windows of its kind are, in nanoseconds.
    pub span_ns: u64,
    /// Its sensor, where that is known.
    pub sensor: Option<String>,
    /// What detectors measured of the host, the nearest to its threshold first; what did not reach a quarter of it is not there.
    pub measures: Vec<HostMeasure>,
    /// Measures of any host that found no room in the window: where there are some, one that is not there may be among them.
    pub left_out: u64,
    /// There were some, which are beyond what is kept.
    pub is_forgotten: bool,
}

/// Windows whose measures go in one transaction: their documents are written anew.
const FORGET_WINDOWS: i64 = 500;
/// Which windows lose theirs next: what a wrong clock put behind `$1`, the furthest first.
const LATER: &str = "SELECT id, near, body, {table} FROM windows WHERE near > 0 AND start_ns > $1 ORDER BY start_ns DESC, near DESC LIMIT $2";
/// Of too many those that were stored first, whatever time they are of.
const FIRST: &str = "SELECT id, near, body, {table} FROM windows WHERE near > 0 AND id < $1 ORDER BY id LIMIT $2";
/// Too old ones of a sensor: those of a capture go with it, however old its packets are.
const OLDEST: &str =
    "SELECT id, near, body, {table} FROM windows WHERE near > 0 AND start_ns < $1 ORDER BY start_ns, near LIMIT $2";
const OLDEST_OF: &str = "SELECT id, near, body, {table} FROM windows WHERE near > 0 AND start_ns < $1 AND \
                         sensor_id = (SELECT id FROM sensors WHERE name = $3) ORDER BY start_ns LIMIT $2";

impl Store {
    /// How near a host came to what detectors look for at a time, in the stored windows of these lengths in nanoseconds that
    /// hold it, shortest length first. Empty where no such window is stored: nothing is known then.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn nearness(
        &self,
        host: IpAddr,
        at: Timestamp,
        spans_ns: &[u64],
        whose: &Whose,
    ) -> Result<Vec<Nearness>, StoreError> {
        let mut found = Vec::new();
        for span_ns in spans_ns {
            let filter =
                WindowFilter { from: Some(at), to: Some(at.plus(1)), span_ns: Some(*span_ns), whose: whose.clone() };
            let newest = Position { descending: true, after: None, limit: MOST_WINDOWS };
            for window in self.windows(&filter, WindowSort::Time, newest).await?.items {
                let near = window.item.near;
                found.push(Nearness {
                    start: window.item.start,
                    end: window.item.end,
                    span_ns: *span_ns,
                    sensor: window.sensor,
                    measures: near.kept.into_iter().filter(|measure| measure.host == host).collect(),
                    left_out: near.left_out,
                    is_forgotten: near.is_forgotten,
                });
            }
        }
        Ok(found)
    }

    /// Takes measures that are too many or too old out of their windows, which stay.
    pub(super) async fn forget_near(&self, future_ns: i64) -> Result<(), StoreError> {
        let most = to_sql(self.retention().max_near);
        for (which, bound) in [(LATER, future_ns), (FIRST, i64::MAX)] {
            loop {
                let surplus = to_sql(self.total(NEAR).await?) - most;
                if surplus <= 0 || self.forget_once((which, bound, None), surplus).await? == 0 {
                    break;
                }
            }
        }
        if let Some(before_ns) = self.too_old(self.retention().max_near_age_ns, future_ns).await? {
            let sensors = self.whose_are_no_captures("").await?;
            if sensors.names().is_empty() {
                while self.forget_once((OLDEST, before_ns, None), i64::MAX).await? == FORGET_WINDOWS {}
            }
            for name in sensors.names() {
                while self.forget_once((OLDEST_OF, before_ns, Some(name)), i64::MAX).await? == FORGET_WINDOWS {}
            }
        }
        Ok(())
    }

    /// Takes at least so many out, as far as some windows have them; of how many windows.
    async fn forget_once(
        &self,
        (which, bound, sensor): (&str, i64, Option<&String>),
        surplus: i64,
    ) -> Result<i64, StoreError> {
        let error = StoreError::query("windows");
        let mut transaction = self.database.begin().await?;
        let conn = transaction.conn().map_err(&error)?;
        // Each is written in the table that holds it: over all parts it would be planned for each of them.
        let which = which.replace("{table}", &format!("{} AS part", table_of(conn.dialect())));
        let query = Query::new(which).bind(bound).bind(FORGET_WINDOWS);
        let query = if let Some(sensor) = sensor { query.bind(sensor.as_str()) } else { query };
        let rows = conn.fetch_all(query).await.map_err(&error)?;
        let read = |row: &super::db::Row| {
            Ok((row.int("id")?, row.int("near")?, row.text("body").unwrap_or_default(), row.text("part")?))
        };
        let (mut windows, mut measures) = (0, 0_i64);
        for (id, near, body, table) in usable("windows", rows.iter().map(read)) {
            if measures >= surplus {
                break;
            }
            // A document that cannot be read has none that are of use.
            let body = WindowBody::without_near(id, &body).unwrap_or(body);
            let update = Query::new(format!("UPDATE {table} SET near = 0, body = $1 WHERE id = $2"));
            conn.execute(update.bind(body).bind(id)).await.map_err(&error)?;
            (windows, measures) = (windows + 1, measures.saturating_add(near));
        }
        add(conn, NEAR, -measures).await?;
        transaction.commit().await.map_err(error)?;
        self.counters.near_deleted.fetch_add(measures.unsigned_abs(), Relaxed);
        Ok(windows)
    }
}

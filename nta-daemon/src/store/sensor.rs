//! Who observed a row: the sensor of its run. Several may share a database.

use std::ops::Deref;

use super::db::{Conn, Query, Row};
use super::list::{Condition, Lead, when};
use super::{StoreError, runs};

/// What one sensor observed.
#[derive(Clone, Debug, PartialEq)]
pub struct BySensor<T> {
    /// Its name; `None` in rows of versions that did not note it.
    pub sensor: Option<String>,
    /// What it observed.
    pub item: T,
}

impl<T> Deref for BySensor<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.item
    }
}

impl<T: PartialEq> PartialEq<T> for BySensor<T> {
    fn eq(&self, item: &T) -> bool {
        self.item == *item
    }
}

/// The name in the row's column `sensor`; `None` where that is not to be read: its run is another row.
pub(super) fn sensor(row: &Row) -> Option<String> {
    row.opt_text("sensor").ok().flatten().filter(|name| !name.is_empty())
}

/// The sensor of a row of a table with the column `run_id`.
macro_rules! sensor_of_run {
    () => {
        "(SELECT r.sensor FROM runs r WHERE r.id = run_id)"
    };
}
pub(super) use sensor_of_run;

/// The number of the sensor of this name, which the rows of large tables have in the column `sensor_id`.
macro_rules! sensor_number {
    () => {
        "(SELECT id FROM sensors WHERE name = ?)"
    };
}
pub(super) use sensor_number;

/// Only what this sensor observed, row by row.
pub(super) fn only(sensor: Option<&String>) -> Option<Condition> {
    sensor.map(|sensor| when(concat!("sensor_id + 0 = ", sensor_number!()), sensor.clone()))
}

/// The begin of the indexes that hold the rows of each sensor together.
pub(super) fn lead(sensor: &str) -> Lead {
    Lead::new("sensor_id", sensor_number!(), sensor)
}

/// The number of a sensor; it is given one where it has none.
pub(super) async fn number(conn: &mut Conn, name: &str) -> Result<i64, StoreError> {
    let error = StoreError::query("sensors");
    let known = Query::new("SELECT id FROM sensors WHERE name = $1").bind(name);
    if let Some(row) = conn.fetch_optional(known.clone()).await.map_err(&error)? {
        return row.int("id").map_err(error);
    }
    let insert = Query::new("INSERT INTO sensors (name) VALUES ($1) ON CONFLICT (name) DO NOTHING").bind(name);
    conn.execute(insert).await.map_err(&error)?;
    conn.number(known).await.map_err(error)
}

/// The number of a run's sensor.
pub(super) async fn number_of(conn: &mut Conn, run: i64) -> Result<i64, StoreError> {
    let name = runs::row_of(conn, run).await?.map(|run| run.sensor).unwrap_or_default();
    number(conn, &name).await
}

//! Who observed a row: the sensor of its run. Several may share a database.

use std::ops::Deref;

use super::db::Row;
use super::list::{Condition, when};

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

/// Only what this sensor observed. Row by row: an index that began with the sensor would be one more for each order.
pub(super) fn only(sensor: Option<&String>) -> Option<Condition> {
    sensor.map(|sensor| when(concat!(sensor_of_run!(), " = ?"), sensor.clone()))
}

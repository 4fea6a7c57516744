//! Who observed a row: the sensor of its run. Several may share a database.

use std::ops::Deref;

use super::db::{Conn, Query, Row};
use super::list::{Condition, Lead, when};
use super::{Store, StoreError, runs};

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

/// Whose rows: those of some sensors, or of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whose(Vec<String>);

/// So many sensors are read each by its own index; of more, rows are looked at one by one.
const MOST_LED: usize = 8;

impl From<Option<String>> for Whose {
    fn from(sensor: Option<String>) -> Self {
        Self(sensor.into_iter().collect())
    }
}

impl From<Option<&str>> for Whose {
    fn from(sensor: Option<&str>) -> Self {
        Self(sensor.map(str::to_owned).into_iter().collect())
    }
}

impl From<Vec<String>> for Whose {
    fn from(sensors: Vec<String>) -> Self {
        Self(sensors)
    }
}

impl Whose {
    /// Whether it is all of them.
    pub const fn is_all(&self) -> bool {
        self.0.is_empty()
    }

    /// The names of the sensors; none where it is all of them.
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// Whether a row of this sensor is one of theirs.
    pub fn has(&self, sensor: Option<&str>) -> bool {
        self.is_all() || sensor.is_some_and(|sensor| self.0.iter().any(|name| name == sensor))
    }

    /// The sensors whose own index is read, each by itself.
    pub(super) fn led(&self) -> &[String] {
        if self.0.len() <= MOST_LED { &self.0 } else { &[] }
    }

    /// Only what they observed, row by row, where `expression` is the number of a row's sensor.
    pub(super) fn only(&self) -> Option<Condition> {
        match self.0.as_slice() {
            [] => None,
            [one] => Some(when(concat!("sensor_id + 0 = ", sensor_number!()), one.clone())),
            several => {
                let names = several.iter().map(|name| name.as_str().into()).collect();
                Some(Condition::one_of("sensor_id + 0 IN (SELECT id FROM sensors WHERE name", names).closed())
            }
        }
    }

    /// The same where `expression` is the name of a row's sensor.
    pub(super) fn named(&self, expression: &str) -> Option<Condition> {
        let names: Vec<_> = self.0.iter().map(|name| name.as_str().into()).collect();
        (!self.is_all()).then(|| Condition::one_of(expression, names))
    }
}

/// What stands in the place of a sensor in the rows of an uploaded capture: this, and its name.
const CAPTURE: &str = "capture-";
/// The length of such a name.
const CAPTURE_NAME: usize = CAPTURE.len() + 32;

/// What stands in the place of a sensor in the rows of a capture.
pub fn sensor_of_capture(file_id: &str) -> String {
    format!("{CAPTURE}{file_id}")
}

/// The capture whose rows have this in the place of a sensor; `None` where it is a sensor.
pub fn capture_of_sensor(sensor: &str) -> Option<&str> {
    sensor.strip_prefix(CAPTURE).filter(|_| sensor.len() == CAPTURE_NAME)
}

impl Store {
    /// Whose rows are not those of uploaded captures: all, where nobody uploaded any; `own` where no sensor has stored a row.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn whose_are_no_captures(&self, own: &str) -> Result<Whose, StoreError> {
        let (captures, sensors) = self.captures_and_sensors().await?;
        if captures.is_empty() {
            return Ok(Whose::default());
        }
        Ok(Whose(if sensors.is_empty() { vec![own.to_owned()] } else { sensors }))
    }

    /// Names of the sensors that have stored a row; an uploaded capture is none.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn sensors(&self) -> Result<Vec<String>, StoreError> {
        Ok(self.captures_and_sensors().await?.1)
    }

    async fn captures_and_sensors(&self) -> Result<(Vec<String>, Vec<String>), StoreError> {
        let names =
            self.read("sensors", Query::new("SELECT name FROM sensors ORDER BY id"), |row| Ok(row.text("name")?));
        Ok(names.await?.into_iter().partition(|name| capture_of_sensor(name).is_some()))
    }
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

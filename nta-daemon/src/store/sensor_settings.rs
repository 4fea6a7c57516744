//! The table `sensor_settings`: what sensors are to do.

use std::collections::BTreeMap;

use super::db::Query;
use super::unreadable::Unreadable;
use super::{Row, Store, StoreError, from_sql};

const TABLE: &str = "sensor_settings";

/// What a sensor is to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Their number, which rises; 0 while there are none.
    pub version: u64,
    /// JSON.
    pub text: String,
}

impl Store {
    /// What a sensor is to do.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn sensor_settings(&self, sensor: &str) -> Result<Settings, StoreError> {
        let query = Query::new("SELECT sensor, version, settings FROM sensor_settings WHERE sensor = $1").bind(sensor);
        Ok(self.read(TABLE, query, row).await?.pop().map(|(_, settings)| settings).unwrap_or_default())
    }

    /// What each sensor is to do of which anything was asked, at most so many of them.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn settings_by_sensor(&self, limit: u32) -> Result<BTreeMap<String, Settings>, StoreError> {
        let query = Query::new("SELECT sensor, version, settings FROM sensor_settings ORDER BY sensor LIMIT $1");
        Ok(self.read(TABLE, query.bind(i64::from(limit)), row).await?.into_iter().collect())
    }

    /// Keeps what a sensor is to do from now on, under a new number.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn set_sensor_settings(&self, sensor: &str, text: &str) -> Result<u64, StoreError> {
        let error = StoreError::query(TABLE);
        let mut transaction = self.database.begin().await?;
        let upsert = Query::new(
            "INSERT INTO sensor_settings (sensor, version, settings) VALUES ($1, 1, $2) \
             ON CONFLICT (sensor) DO UPDATE SET version = CASE WHEN sensor_settings.version BETWEEN 0 AND 4611686018427387904 THEN sensor_settings.version + 1 ELSE 1 END, settings = excluded.settings RETURNING version",
        );
        let version =
            transaction.conn().map_err(&error)?.number(upsert.bind(sensor).bind(text)).await.map_err(&error)?;
        transaction.commit().await.map_err(error)?;
        Ok(from_sql(version))
    }
}

fn row(row: &Row) -> Result<(String, Settings), Unreadable> {
    let settings = Settings { version: from_sql(row.natural("version")?), text: row.text("settings")? };
    Ok((row.text("sensor")?, settings))
}

//! Whose rows a list has: those of all sensors, of one, or what was found in an uploaded capture.

use super::extract::{Sensor, parameters};
use super::page::Period;
use super::routes::uploads::FileId;
use super::{ApiError, ApiState};
use crate::store::{Range, Whose, capture_of_sensor, sensor_of_capture};

parameters! {
    /// Whose rows.
    pub(in crate::api) struct WhoseQuery {
        /// Name of the sensor that saw it. Unless given it is what any sensor saw, but nothing of uploaded captures.
        "sensor" => sensor: Sensor,
        /// `file_id` of a capture: what was found in it, from its begin to its end unless `from` or `to` is given. Not with `sensor`.
        "capture" => capture: FileId,
    }
}

impl WhoseQuery {
    /// Of no sensor in particular.
    pub(super) const ANY: Self = Self { sensor: None, capture: None };

    /// Whether one sensor or capture is asked for.
    pub(super) const fn is_one(&self) -> bool {
        self.sensor.is_some() || self.capture.is_some()
    }
}

/// Whose rows, and the run that holds them where they are a capture's.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    pub(super) whose: Whose,
    run: Option<[u8; 16]>,
}

impl ApiState {
    /// Whose rows are asked for.
    ///
    /// # Errors
    /// Where there is no such capture.
    pub(super) async fn scope(&self, WhoseQuery { sensor, capture }: WhoseQuery) -> Result<Scope, ApiError> {
        match (sensor, capture) {
            (Some(_), Some(_)) => Err(ApiError::invalid("capture", "expected either `capture` or `sensor`")),
            (None, Some(FileId(file_id))) => {
                let upload = self.store.upload(&file_id).await?;
                let unknown = || ApiError::invalid("capture", format!("`{file_id}`: there is no such capture"));
                let run = upload.ok_or_else(unknown)?.run;
                Ok(Scope { whose: Some(sensor_of_capture(&file_id)).into(), run })
            }
            (Some(Sensor(sensor)), None) => {
                let upload = match capture_of_sensor(&sensor) {
                    Some(file_id) => self.store.upload(file_id).await?,
                    None => None,
                };
                Ok(Scope { run: upload.and_then(|upload| upload.run), whose: Some(sensor).into() })
            }
            (None, None) => {
                let own = self.tools.sensor.as_deref().unwrap_or_default();
                Ok(Scope { whose: self.store.whose_are_no_captures(own).await?, run: None })
            }
        }
    }

    /// The time range that is asked for, filled up: with that of the capture whose rows are asked for.
    pub(super) async fn range_of(&self, period: Period, scope: &Scope) -> Result<Range, ApiError> {
        match scope.run {
            Some(_) if period.from.is_none() && period.to.is_none() => self.span_of(scope).await,
            Some(_) => Ok(Range { from: period.from, to: period.to }),
            None => self.range(period).await,
        }
    }

    /// From the begin to the end of the capture whose rows are asked for; unbounded where that is none.
    pub(super) async fn span_of(&self, scope: &Scope) -> Result<Range, ApiError> {
        let Some(run) = scope.run else { return Ok(Range::default()) };
        let span = self.store.span_of_run(&run).await?;
        Ok(span.map_or_else(Range::default, |(first, end)| Range { from: Some(first), to: Some(end) }))
    }
}

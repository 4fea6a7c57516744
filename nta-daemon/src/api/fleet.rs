//! The sensors that ship to this server, as the API and the command line show them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::json::{seconds, words};
use crate::store::{About, NumberRange, Said, Settings, Shipped};
use nta_core::domain::Timestamp;

/// Logs that are listed.
pub(crate) const MOST: u32 = 1000;
/// For so long after both were heard of it is said that two gateways have one name.
const CONTENDED_FOR: Duration = Duration::from_mins(5);

/// Numbers from the first to the last.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct NumbersJson {
    first: u64,
    last: u64,
}

impl From<NumberRange> for NumbersJson {
    fn from(NumberRange { first, last }: NumberRange) -> Self {
        Self { first, last }
    }
}

/// A sensor, by one of its logs: a new database begins a new one.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct SensorJson {
    pub(crate) name: String,
    /// Identity of its log: numbers count in it.
    epoch: String,
    /// Version of its daemon.
    pub(crate) version: String,
    /// `ok`; `degraded` with reasons; `silent` where nothing was heard of it for a minute.
    #[schema(value_type = words::SensorState)]
    pub(crate) state: &'static str,
    /// Why it is degraded, as it says; and whether another gateway ships by its name.
    pub(crate) reasons: Vec<String>,
    /// Whether all that it ever numbered is stored here.
    is_complete: bool,
    /// The same in words: "1…8,412 complete, none double", or what is missing.
    pub(crate) completeness: String,
    /// The first number that this server was told of.
    first: u64,
    /// All up to this number is stored.
    watermark: u64,
    /// The newest number that the sensor gave.
    newest: u64,
    /// Numbers behind the watermark that are missing although later ones are there.
    missing: Vec<NumbersJson>,
    /// Batches that are lost: the sensor does not have them any more, or lost all but the alerts of them to its bound, or they could
    /// not be stored.
    lost: u64,
    /// Batches that came again and added nothing.
    doubles: u64,
    /// Packets of the windows stored.
    packets: u64,
    /// From the end of its newest window here until now; null before the first.
    #[schema(required)]
    pub(crate) lag_s: Option<f64>,
    /// End of its newest window here.
    #[schema(required, format = DateTime)]
    last_window: Option<String>,
    /// When it was heard of last.
    #[schema(format = DateTime)]
    pub(crate) last_seen: String,
    /// Its clock less this one's when it was heard of last, with the time on the way.
    clock_skew_s: f64,
    /// What waits at the sensor.
    pub(crate) spool: SpoolJson,
    /// Number of the settings that it follows; 0 for its own.
    settings: u64,
    /// What it is to do, as an administrator asked; null where nothing was.
    #[schema(required)]
    asked: Option<SensorSettingsSet>,
}

/// What waits at a sensor, as it said last.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct SpoolJson {
    /// Batches that this server has not confirmed.
    pub(crate) pending: u64,
    /// Their bytes on its disk.
    pending_bytes: u64,
    /// When the oldest of them was made; null where none waits.
    #[schema(required, format = DateTime)]
    pending_since: Option<String>,
    /// Batches that this server has confirmed since it knows the sensor.
    processed: u64,
    /// Batches that are never sent: they were refused, or cannot be read back.
    pub(crate) failed: u64,
}

impl SensorJson {
    fn new(shipped: Shipped, is_contended: bool, asked: Option<&Settings>, now: Timestamp) -> Self {
        let is_silent = shipped.is_silent(now);
        let (watermark, is_complete, missing) = (shipped.watermark(), shipped.is_complete(), shipped.missing());
        let (gone, completeness) = (shipped.gone(), completeness(&shipped));
        let Shipped { sensor, epoch, first, doubles, packets, last, received, said, .. } = shipped;
        let Said { newest, sent_ns, about, .. } = said;
        let About { version, pending_batches, pending_bytes, pending_since_ns, failed, mut reasons, settings, .. } =
            about;
        if is_contended {
            let reason = format!(
                "two gateways ship as {sensor}, or one goes back and forth between two databases: give each gateway a name of its own"
            );
            reasons.insert(0, reason);
        }
        let state = match reasons.is_empty() {
            _ if is_silent => "silent",
            true => "ok",
            false => "degraded",
        };
        let skew_ns = i128::from(sent_ns) - i128::from(received.as_nanos());
        Self {
            name: sensor,
            epoch,
            version,
            state,
            reasons,
            is_complete,
            completeness,
            first,
            watermark,
            newest,
            missing: missing.into_iter().map(NumbersJson::from).collect(),
            lost: gone,
            doubles,
            packets,
            lag_s: last.map(|last| seconds(now.since(last))),
            last_window: last.map(|last| last.to_string()),
            last_seen: received.to_string(),
            clock_skew_s: (skew_ns as f64 / 1e6).round() / 1e3,
            spool: SpoolJson {
                pending: pending_batches,
                pending_bytes,
                pending_since: pending_since_ns.map(|since| Timestamp::from_nanos(since).to_string()),
                processed: (watermark + 1).saturating_sub(first),
                failed,
            },
            settings,
            asked: asked.map(SensorSettingsSet::new),
        }
    }
}

/// Every log as it is now; `asked` is what sensors are to do.
pub(crate) fn sensors(logs: Vec<Shipped>, asked: &BTreeMap<String, Settings>, now: Timestamp) -> Vec<SensorJson> {
    let is_recent = |log: &Shipped| u128::from(now.since(log.received)) < CONTENDED_FOR.as_nanos();
    let contended = contended(logs.iter().filter(|log| is_recent(log)));
    logs.into_iter()
        .map(|log| {
            let is_contended = contended.contains(&log.sensor) && is_recent(&log);
            let asked = asked.get(&log.sensor);
            SensorJson::new(log, is_contended, asked, now)
        })
        .collect()
}

/// The names that two logs were sent under side by side.
fn contended<'a>(logs: impl Iterator<Item = &'a Shipped>) -> BTreeSet<String> {
    let mut by_name: BTreeMap<&str, Vec<&Shipped>> = BTreeMap::new();
    for log in logs {
        by_name.entry(&log.sensor).or_default().push(log);
    }
    let is_contended = |logs: &[&Shipped]| {
        logs.iter().enumerate().any(|(at, one)| logs[..at].iter().any(|other| one.is_beside(other)))
    };
    by_name.into_iter().filter(|(_, logs)| is_contended(logs)).map(|(name, _)| name.to_owned()).collect()
}

/// Whether anything is missing, with a number.
fn completeness(shipped: &Shipped) -> String {
    let (first, watermark, newest) = (shipped.first, shipped.watermark(), shipped.said.newest);
    if watermark < first {
        return format!("nothing yet of {first}…{}", newest.max(first));
    }
    let range = format!("{}…{}", grouped(first), grouped(watermark));
    let holes: u64 = shipped.missing().iter().map(|hole| hole.last - hole.first + 1).sum();
    match (shipped.gone(), holes, newest.saturating_sub(watermark)) {
        (0, 0, 0) => format!("{range} complete, none double"),
        (0, 0, behind) => format!("{range} complete, none double; {} on the way", grouped(behind)),
        (0, holes, _) => format!("{range} complete; {} missing behind it, asked for again", grouped(holes)),
        (lost, ..) => format!("{range} incomplete: {} lost", grouped(lost)),
    }
}

/// A number with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

/// What a sensor is to do otherwise than it is configured; what is null or left out stays as it configures it.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SensorSettings {
    /// Whether it ships flows.
    flows: Option<bool>,
    /// Whether it ships heads of frames.
    headers: Option<bool>,
    /// Most bytes a second that it sends; 0 is no bound.
    #[schema(maximum = 1_000_000_000_000_u64)]
    pub(crate) max_bytes_per_s: Option<u64>,
}

/// The settings of a sensor, which it takes up with its next message.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct SensorSettingsSet {
    /// Their number: the sensor shows it once it follows them.
    pub(crate) version: u64,
    pub(crate) settings: SensorSettings,
}

impl SensorSettingsSet {
    /// As it is kept; what cannot be read was written by another version.
    fn new(Settings { version, text }: &Settings) -> Self {
        Self { version: *version, settings: serde_json::from_str(text).unwrap_or_default() }
    }
}

//! The table `detected_alerts`: written by the pipeline, read with what people did about each.

use std::borrow::Cow;

use super::alert_filter::AlertFilter;
use super::body::{AlertBody, FindingRecord, OpinionRecord};
use super::db;
use super::db::Query;
use super::list::Listed;
use super::sensor::{sensor, sensor_of_run};
use super::unreadable::Unreadable;
use super::window_ids::WindowRef;
use super::{Key, Position, Store, StoreError, from_sql, to_sql};
use nta_core::alerting::EarlierAlert;
use nta_core::detect::declarations;
use nta_core::domain::{AlertId, AlertKind, Basis, Party, Severity, Timestamp};

/// Alerts of runs before that one start takes up at most: as many as it keeps unless the configuration says otherwise.
const MOST_EARLIER: i64 = 10_000;

/// Order of a list of alerts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertSort {
    /// By the time it was raised.
    Time,
    /// By its last finding.
    LastTime,
    /// By severity.
    Severity,
    /// By score.
    Score,
}

impl AlertSort {
    const fn column(self) -> &'static str {
        match self {
            Self::Time => "raised_ns",
            Self::LastTime => "last_ns",
            Self::Severity => "severity",
            Self::Score => "score_ppm",
        }
    }
}

/// An alert as the pipeline emitted it last, and what people did about it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredAlert {
    /// Name of the sensor that saw it; `None` where it was not noted.
    pub sensor: Option<String>,
    /// Identity, 16 hexadecimal digits.
    pub id: String,
    /// Kind, such as `port_scan`.
    pub kind: String,
    /// Severity.
    pub severity: Severity,
    /// How sure the detectors are.
    pub score: f64,
    /// Who does it; `None` when nobody in particular.
    pub source: Option<String>,
    /// Who suffers it.
    pub destination: Option<String>,
    /// Port at the destination, where it is about one.
    pub port: Option<u16>,
    /// What the traffic does: `raised` or `cleared`.
    pub state: String,
    /// Start of the first window with a finding.
    pub first: Timestamp,
    /// End of the last one.
    pub last: Timestamp,
    /// End of the window in which it was raised.
    pub raised: Timestamp,
    /// When it was cleared.
    pub cleared: Option<Timestamp>,
    /// Why: `quiet`, `run_ended` or `interrupted`.
    pub clear_reason: Option<String>,
    /// Windows with a finding.
    pub windows: u32,
    /// Findings that are part of it beside the first.
    pub merged: u32,
    /// First and last packet of what was found, as far as known.
    pub seen: Option<[Timestamp; 2]>,
    /// All detectors that found it.
    pub detectors: Vec<String>,
    /// The strongest finding.
    pub finding: FindingRecord,
    /// Its window.
    pub window: WindowRef,
    /// What each detector says.
    pub opinions: Vec<OpinionRecord>,
    /// `open`, `acknowledged` or `resolved`.
    pub status: String,
    /// Who changed the status last.
    pub status_by: Option<String>,
    /// When.
    pub status_at: Option<Timestamp>,
    /// What people say it was: `true_positive`, `benign` or `false_positive`.
    pub verdict: Option<String>,
    /// The gateways that saw it, where it is one of several.
    pub gateways: Vec<String>,
    /// The alert of several gateways that it is a part of.
    pub joint: Option<String>,
}

/// Some alerts, and where the next page begins.
#[derive(Clone, Debug)]
pub struct AlertPage {
    /// The alerts.
    pub items: Vec<StoredAlert>,
    /// Key of the last one, when there are more behind it.
    pub next: Option<Key>,
}

const ALERTS: Listed = Listed {
    table: "detected_alerts",
    columns: concat!(
        "number, run_id, id, kind, severity, source, destination, score_ppm, state, first_ns, last_ns, raised_ns, cleared_ns, \
         end_reason, status, status_by, status_at_ns, verdict, body, joint, ",
        sensor_of_run!(),
        " AS sensor"
    ),
    order: "raised_ns",
    id: "number",
};

impl StoredAlert {
    fn read(row: &db::Row) -> Result<Self, Unreadable> {
        let time = |ns: i64| Timestamp::from_nanos(from_sql(ns));
        let body = AlertBody::read(row.int("number")?, &row.text("body")?)?;
        let AlertBody {
            score,
            port,
            clear_reason,
            windows,
            merged,
            seen_ns,
            detectors,
            finding,
            opinions,
            gateways,
            ..
        } = body;
        Ok(Self {
            sensor: sensor(row),
            id: row.text("id")?,
            kind: row.text("kind")?,
            severity: severity_of(row.int("severity")?)?,
            score: score_of(score)?,
            source: row.opt_text("source")?,
            destination: row.opt_text("destination")?,
            port,
            state: word(row, "state", &["raised", "cleared"])?,
            first: time(row.natural("first_ns")?),
            last: time(row.natural("last_ns")?),
            raised: time(row.natural("raised_ns")?),
            cleared: row.opt_natural("cleared_ns")?.map(time),
            // The end of its run may have cleared it since the pipeline reported it.
            clear_reason: row.opt_text("end_reason")?.or(clear_reason),
            windows,
            merged,
            seen: seen_ns.map(|seen| seen.map(time)),
            detectors,
            window: WindowRef::of(row, finding.window()),
            finding,
            opinions,
            status: word(row, "status", &["open", "acknowledged", "resolved"])?,
            status_by: row.opt_text("status_by")?,
            status_at: row.opt_natural("status_at_ns")?.map(time),
            verdict: match row.opt_text("verdict")? {
                Some(_) => Some(word(row, "verdict", &["true_positive", "benign", "false_positive"])?),
                None => None,
            },
            gateways,
            joint: row.opt_text("joint")?,
        })
    }
}

impl StoredAlert {
    fn earlier(self) -> Result<EarlierAlert, Unreadable> {
        let id = u64::from_str_radix(&self.id, 16).map_err(|_other| Unreadable::new("the identity of an alert"))?;
        let kind = AlertKind::named(&self.kind).ok_or_else(|| Unreadable::new("the kind of an alert"))?;
        let named = |name: &String| declarations().into_iter().map(|known| known.name).find(|known| known == name);
        // As the pipeline shows a party: nobody in particular is NULL.
        let party = |party: Option<String>| party.unwrap_or_else(|| Party::Nobody.to_string());
        Ok(EarlierAlert {
            id: AlertId(id),
            kind,
            parties: [party(self.source), party(self.destination)],
            first: self.first,
            last: self.last,
            seen: self.seen,
            raised: self.raised,
            windows: self.windows,
            merged: self.merged,
            detectors: self.detectors.iter().filter_map(named).collect(),
            is_learned: self.opinions.iter().any(|opinion| opinion.basis == Basis::Model.word()),
        })
    }
}

/// One of some words.
fn word(row: &db::Row, column: &str, words: &[&str]) -> Result<String, Unreadable> {
    let word = row.text(column)?;
    if words.contains(&word.as_str()) { Ok(word) } else { Err(Unreadable::new(format!("`{word}` is no {column}"))) }
}

/// A severity as the database sorts it, back.
pub(super) fn severity_of(number: i64) -> Result<Severity, Unreadable> {
    let severity = usize::try_from(number).ok().and_then(|place| Severity::ALL.get(place).copied());
    severity.ok_or_else(|| Unreadable::new(format!("severity {number}")))
}

/// A score of a document.
pub(super) fn score_of(score: f64) -> Result<f64, Unreadable> {
    if (0.0..=1.0).contains(&score) { Ok(score) } else { Err(Unreadable::new(format!("score {score}"))) }
}

impl Store {
    /// A page of alerts.
    pub async fn alerts(
        &self,
        filter: &AlertFilter,
        sort: AlertSort,
        position: Position,
    ) -> Result<AlertPage, StoreError> {
        let listed = Listed { order: sort.column(), ..ALERTS };
        let filter = self.named_parties(filter).await?;
        let rows = self.list(&listed, &filter.ways(sort), position.and_one(), StoredAlert::read).await?;
        let (mut items, next) = position.cut(rows);
        self.find_windows(items.iter_mut().map(|alert| &mut alert.window).collect()).await?;
        Ok(AlertPage { items, next })
    }

    /// The filter with the parties that its networks hold by their names.
    pub(super) async fn named_parties<'a>(&self, filter: &'a AlertFilter) -> Result<Cow<'a, AlertFilter>, StoreError> {
        const BOTH: [&str; 2] = ["source", "destination"];
        if filter.source.is_named() && filter.destination.is_named() && filter.host.is_named() {
            return Ok(Cow::Borrowed(filter));
        }
        let source = self.named(&filter.source, &BOTH[..1]).await?;
        let destination = self.named(&filter.destination, &BOTH[1..]).await?;
        let host = self.named(&filter.host, &BOTH).await?;
        Ok(Cow::Owned(AlertFilter { source, destination, host, ..filter.clone() }))
    }

    /// One alert; of several runs that found the same, the newest one's.
    pub async fn alert(&self, id: &str) -> Result<Option<StoredAlert>, StoreError> {
        let Listed { table, columns, .. } = ALERTS;
        let query = Query::new(format!("SELECT {columns} FROM {table} WHERE id = $1 ORDER BY run_id DESC LIMIT 1"));
        let mut found = self.read_one("detected_alerts", query.bind(id), 0, StoredAlert::read).await?;
        self.find_windows(found.iter_mut().map(|alert| &mut alert.window).collect()).await?;
        Ok(found)
    }

    /// The alerts of gateways that one of several is made of, the first first; at most `limit`.
    pub async fn parts_of_alert(&self, id: &str, limit: u32) -> Result<Vec<StoredAlert>, StoreError> {
        let Listed { table, columns, .. } = ALERTS;
        let query = Query::new(format!(
            "SELECT {columns} FROM {table} WHERE joint = $1 AND EXISTS (SELECT 1 FROM runs r WHERE r.id = run_id \
             AND r.sensor <> '') ORDER BY first_ns, number LIMIT $2"
        ));
        self.read("detected_alerts", query.bind(id).bind(i64::from(limit)), StoredAlert::read).await
    }

    /// Alerts of a sensor's live runs that had a finding since then and go on no longer, the newest ones.
    pub async fn earlier_alerts(&self, sensor: &str, since: Timestamp) -> Result<Vec<EarlierAlert>, StoreError> {
        let Listed { table, columns, .. } = ALERTS;
        let query = Query::new(format!(
            "SELECT {columns} FROM {table} WHERE last_ns > $1 AND state = 'cleared' AND EXISTS (SELECT 1 FROM runs r \
             WHERE r.id = run_id AND r.mode = 'live' AND r.sensor = $2) ORDER BY last_ns DESC, number DESC LIMIT $3"
        ));
        let query = query.bind(to_sql(since.as_nanos())).bind(sensor).bind(MOST_EARLIER);
        let earlier = |row: &db::Row| StoredAlert::read(row)?.earlier();
        self.read("detected_alerts", query, earlier).await
    }

    /// Kind, first and last finding of alerts that had one in this interval.
    pub async fn alerts_between(
        &self,
        from: Timestamp,
        to: Timestamp,
        sensor: Option<&str>,
    ) -> Result<Vec<(String, Timestamp, Timestamp)>, StoreError> {
        let query =
            Query::new("SELECT kind, first_ns, last_ns FROM detected_alerts WHERE last_ns > $1 AND first_ns < $2");
        let mut query = query.bind(to_sql(from.as_nanos())).bind(to_sql(to.as_nanos()));
        if let Some(sensor) = sensor {
            query.push(concat!(" AND ", sensor_of_run!(), " = ")).push_bind(sensor);
        }
        let time = |ns: i64| Timestamp::from_nanos(from_sql(ns));
        let read =
            |row: &db::Row| Ok((row.text("kind")?, time(row.natural("first_ns")?), time(row.natural("last_ns")?)));
        self.read("detected_alerts", query, read).await
    }
}

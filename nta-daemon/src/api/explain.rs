//! Why there was an alert about a host at some time, or none: what every detector measured of it, beside its threshold.

use std::net::IpAddr;

use serde::Serialize;

use super::found;
use crate::json::{AlertJson, seconds, words};
use crate::store::{
    AlertFilter, AlertSort, Nearness, Position, Store, StoreError, StoredAlert, Whose, WindowFilter, WindowSort,
};
use nta_core::detect::{Declaration, Scope, declarations};
use nta_core::domain::{HostMeasure, Timestamp};
use nta_core::window::Span;

/// Alerts about the host that an answer names, those raised last.
const MOST_ALERTS: u32 = 100;
/// What judges by groups of hosts and states nothing of one.
const OF_NETWORKS: &str = "distributed_flood";
/// Why the measures of a window that is stored are not.
const FORGOTTEN: &str = "what hosts came near to then is beyond what is kept (store.max_near_measures, store.keep_near_days); the windows \
                         are there";

/// Which host, and when.
#[derive(Clone, Debug)]
pub struct Question {
    /// The host.
    pub host: IpAddr,
    /// The time.
    pub at: Timestamp,
    /// The sensor that was asked for; `None` for all.
    pub sensor: Option<String>,
    /// Windows of these.
    pub whose: Whose,
    /// Length of a base window in nanoseconds.
    pub base_ns: u64,
    /// Detectors that do not run now.
    pub off: Vec<String>,
    /// Detectors of which it is not known whether they run.
    pub unsure: Vec<String>,
}

/// The answer.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Explanation {
    /// The host.
    host: String,
    /// The time that is asked about.
    #[schema(format = DateTime)]
    at: String,
    /// Whether what was measured at that time is stored.
    #[schema(value_type = words::Kept)]
    state: &'static str,
    /// Why not; null where it is.
    reason: Option<String>,
    /// The stored windows that hold the time, shortest first.
    windows: Vec<LookedAt>,
    /// Every detector, those that came nearest to a threshold first.
    detectors: Vec<Measured>,
    /// The alerts about the host that went on then, the one raised last first; at most 100.
    alerts: Vec<AlertJson>,
}

/// A window that was looked at.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
struct LookedAt {
    #[schema(format = DateTime)]
    start: String,
    #[schema(format = DateTime)]
    end: String,
    /// From start to end.
    span_s: f64,
    /// Its sensor; null where it was not noted.
    sensor: Option<String>,
    /// Measures of any host that found no room in the window.
    left_out: u64,
    /// Whether its measures are still stored: they have bounds of their own, and may go before their window.
    measures_kept: bool,
}

/// What a detector measured of the host.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
struct Measured {
    detector: String,
    /// `reached` when a measure reached its threshold, `near` when one reached a quarter of it, `below_quarter` when none did.
    #[schema(value_type = words::Nearness)]
    state: &'static str,
    /// The same in words.
    about: String,
    /// The measures that reached a quarter of their threshold, the nearest first.
    measures: Vec<MeasureJson>,
}

/// A measure beside its threshold.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
struct MeasureJson {
    #[schema(format = DateTime)]
    window_start: String,
    #[schema(format = DateTime)]
    window_end: String,
    /// Sensor of the window; null where it was not noted.
    sensor: Option<String>,
    /// What was measured.
    measure: String,
    /// Its unit; `1` for ratios.
    unit: String,
    observed: f64,
    /// From which value on it is reported, if all else is as the detector needs it.
    threshold: f64,
    /// observed / threshold.
    share: f64,
}

impl MeasureJson {
    fn new(window: &Nearness, measure: &HostMeasure) -> Self {
        Self {
            window_start: window.start.to_string(),
            window_end: window.end.to_string(),
            sensor: window.sensor.clone(),
            measure: measure.name.to_string(),
            unit: measure.unit.to_string(),
            observed: measure.observed,
            threshold: measure.threshold,
            share: measure.share(),
        }
    }
}

/// Answers from what is stored.
///
/// # Errors
/// If the database fails.
pub async fn explain(store: &Store, asked: &Question) -> Result<Explanation, StoreError> {
    let spans = Span::ALL.map(|span| asked.base_ns * span.factor());
    let windows = store.nearness(asked.host, asked.at, &spans, &asked.whose).await?;
    let is_kept = windows.iter().any(|window| !window.is_forgotten);
    let reason = match (windows.is_empty(), is_kept) {
        (true, _) => Some(why_not(store, asked).await?),
        (_, false) => Some(FORGOTTEN.to_owned()),
        _ => None,
    };
    let filter = AlertFilter {
        host: asked.host.into(),
        from: Some(asked.at),
        to: Some(asked.at.plus(1)),
        whose: asked.whose.clone(),
        ..AlertFilter::default()
    };
    let newest = Position { descending: true, after: None, limit: MOST_ALERTS };
    let alerts: Vec<StoredAlert> = store.alerts(&filter, AlertSort::Time, newest).await?.items;
    let mut detectors: Vec<_> =
        declarations().into_iter().map(|declared| measured(declared, &windows, asked, &alerts)).collect();
    let share = |one: &Measured| one.measures.first().map_or(0.0, |first| first.share);
    detectors.sort_by(|a, b| share(b).total_cmp(&share(a)).then_with(|| a.detector.cmp(&b.detector)));
    Ok(Explanation {
        host: asked.host.to_string(),
        at: asked.at.to_string(),
        state: if is_kept { "kept" } else { "not_kept" },
        reason,
        windows: windows.iter().map(looked_at).collect(),
        detectors,
        alerts: alerts.iter().map(found::alert).collect(),
    })
}

fn looked_at(window: &Nearness) -> LookedAt {
    LookedAt {
        start: window.start.to_string(),
        end: window.end.to_string(),
        span_s: seconds(window.end.since(window.start)),
        sensor: window.sensor.clone(),
        left_out: window.left_out,
        measures_kept: !window.is_forgotten,
    }
}

fn measured(declared: &Declaration, windows: &[Nearness], asked: &Question, alerts: &[StoredAlert]) -> Measured {
    let name = declared.name;
    let mut measures: Vec<MeasureJson> = windows
        .iter()
        .flat_map(|window| window.measures.iter().map(move |measure| (window, measure)))
        .filter(|(_, measure)| measure.detector == name)
        .map(|(window, measure)| MeasureJson::new(window, measure))
        .collect();
    measures.sort_by(|a, b| b.share.total_cmp(&a.share));
    let has_alert = alerts.iter().any(|alert| alert.detectors.iter().any(|own| own == name));
    let lengths: Vec<u64> = declared.spans.iter().map(|span| span.factor() * asked.base_ns).collect();
    let judged: Vec<&Nearness> = windows.iter().filter(|window| is_one_of(window, &lengths)).collect();
    let (state, about) = match measures.first() {
        Some(first) if first.share >= 1.0 && has_alert => ("reached", "a threshold was reached: an alert names it".to_owned()),
        Some(first) if first.share >= 1.0 => (
            "reached",
            "a threshold was reached, and no alert about the host names this detector: something else that it needs was not so, \
             the alert is part of another one, or the finding was muted, allowed or waited for"
                .to_owned(),
        ),
        Some(first) => ("near", format!("{:.0} % of a threshold", first.share * 100.0)),
        None if declared.scope == Scope::Network => {
            ("network", "judges the sums over the network, not hosts: POST /api/anomalies/detect judges them again".to_owned())
        }
        None if name == OF_NETWORKS => ("network", "judges networks of hosts, and states nothing of a single one".to_owned()),
        None if asked.off.iter().any(|off| off == name) => ("off", "does not run now".to_owned()),
        None if judged.is_empty() => ("not_kept", "no window of a length that it judges is stored of that time".to_owned()),
        None if judged.iter().all(|window| window.is_forgotten) => {
            ("not_kept", "what it measured then is beyond what is kept".to_owned())
        }
        None if judged.iter().any(|window| window.is_forgotten) => {
            ("unknown", "below a quarter of its thresholds, or measured in a window whose measures are not kept".to_owned())
        }
        None if judged.iter().any(|window| window.left_out > 0) => {
            ("unknown", "below a quarter of its thresholds, or among the measures that found no room in the window".to_owned())
        }
        None if asked.unsure.iter().any(|unsure| unsure == name) => {
            ("unknown", "below a quarter of its thresholds, or its model did not judge".to_owned())
        }
        None => ("below_quarter", "all that it measured was below a quarter of its thresholds".to_owned()),
    };
    Measured { detector: name.to_owned(), state, about, measures }
}

/// Whether a window is of one of these lengths: one that was cut short, or closed late, is of the nearest.
fn is_one_of(window: &Nearness, lengths: &[u64]) -> bool {
    lengths.contains(&window.span_ns)
}

/// Why nothing is stored of that time.
async fn why_not(store: &Store, asked: &Question) -> Result<String, StoreError> {
    let filter = WindowFilter { whose: asked.whose.clone(), ..WindowFilter::default() };
    let end = async |descending| {
        let first = Position { descending, after: None, limit: 1 };
        Ok::<_, StoreError>(store.windows(&filter, WindowSort::Time, first).await?.items.into_iter().next())
    };
    let (Some(oldest), Some(newest)) = (end(false).await?, end(true).await?) else {
        return Ok("no window is stored".to_owned());
    };
    let (oldest, newest) = (oldest.item.start, newest.item.end);
    Ok(if asked.at < oldest {
        format!("what hosts came near to goes with its window, and the oldest window that is stored begins at {oldest}")
    } else if asked.at >= newest {
        format!("no window of that time has closed: the newest one that is stored ends at {newest}")
    } else {
        "no window of that time is stored: nothing was counted then, or it was lost".to_owned()
    })
}

impl Explanation {
    /// As a person reads it.
    pub fn text(&self) -> String {
        use std::fmt::Write as _;

        let mut text = format!("{} at {}\n", self.host, self.at);
        // A String takes whatever is written.
        let mut line = |args: std::fmt::Arguments<'_>| {
            let _infallible = writeln!(text, "{args}");
        };
        if let Some(reason) = &self.reason {
            line(format_args!("not kept: {reason}"));
        }
        for alert in &self.alerts {
            line(format_args!("alert {} {} {}: {}", alert.id, alert.severity, alert.kind, alert.why.summary));
        }
        for one in &self.detectors {
            line(format_args!("{:<24} {:<14} {}", one.detector, one.state, one.about));
            for measure in &one.measures {
                line(format_args!(
                    "    {} {} of {} {} ({:.0} %) from {} to {}",
                    measure.measure,
                    measure.observed,
                    measure.threshold,
                    measure.unit,
                    measure.share * 100.0,
                    measure.window_start,
                    measure.window_end
                ));
            }
        }
        text
    }
}

//! An isolation forest out of the feature vectors that are stored: what the hosts of this network usually do.

use std::collections::HashMap;

use serde_json::json;

use super::files::wrong;
use super::train::{Made, TrainRequest};
use super::{JobContext, JobError};
use crate::api::ApiError;
use crate::model_loader::Report;
use crate::store::{AlertFilter, AlertSort, FeatureFilter, FeatureRow, Position};
use nta_core::domain::Timestamp;
use nta_core::features::{FEATURES, FeatureVector, SCHEMA_VERSION};
use nta_core::model::forest::{self, Params};

/// Rows that are read, the newest: 40 MiB.
const MAX_ROWS: usize = 100_000;
/// Alerts whose hosts are left out.
const MAX_ALERTS: usize = 20_000;
const PAGE: u32 = 1000;
/// Rows that a forest is trained from at least, and that it is then tried on.
const LEAST_TRAINED: usize = 500;
const LEAST_TRIED: usize = 100;
/// The newest rows, which the forest is tried on: one in so many.
const TRIED: usize = 5;
/// Share of these that may be above the threshold, ten times that of the training rows.
const MOST_ABOVE: f64 = 0.01;

/// When alerts were about each host.
type Alerted = HashMap<String, Vec<[Timestamp; 2]>>;

/// Trains from the older rows, and validates by the newest.
pub(super) fn forest(context: &JobContext, request: &TrainRequest) -> Result<Made, JobError> {
    let tools = &context.tools;
    let config = tools.uploads.settings();
    let schema = forest::schema(config.windows.seconds);
    let alerted = alerted(context, request)?;
    let (rows, under_alert) = rows(context, request, schema.window_s, &alerted)?;
    let tried = rows.len() / TRIED;
    // The newest come first.
    let (tried, trained) = rows.split_at(tried);
    if trained.len() < 2 {
        let detail = format!(
            "{} feature vectors of windows of {} s are stored in that time: too few to learn from",
            rows.len(),
            schema.window_s
        );
        return Err(wrong(at_fault(request), detail));
    }
    let params = Params { seed: request.seed, ..Params::default() };
    let forest = forest::train(trained, &params).map_err(|error| wrong(at_fault(request), error.to_string()))?;
    context.check()?;
    let scores = forest.scores(tried).map_err(|error| wrong(at_fault(request), error.to_string()))?;
    let above = scores.iter().filter(|score| **score > forest.threshold()).count();
    let share = above as f64 / tried.len().max(1) as f64;
    let mut refused = Vec::new();
    if trained.len() < LEAST_TRAINED || tried.len() < LEAST_TRIED {
        refused.push(format!(
            "it is trained from {} rows and tried on {}: {LEAST_TRAINED} and {LEAST_TRIED} are needed",
            trained.len(),
            tried.len()
        ));
    }
    if share > MOST_ABOVE {
        refused.push(format!(
            "{above} of the {} newest rows are above its threshold, more than {MOST_ABOVE}: the time that it was trained from is not like that after it",
            tried.len()
        ));
    }
    let from = format!("{} of {} stored rows, the oldest", trained.len(), rows.len());
    let manifest = forest.manifest(schema, &from);
    let figures = json!({
        "rows": trained.len(),
        "rows_tried": tried.len(),
        "above_threshold": above,
        "threshold": forest.threshold(),
        "rows_under_alert": under_alert,
    });
    let text = forest.to_json(manifest.clone()).map_err(|_cannot_fail| ApiError::Internal)?;
    let manifest = serde_json::to_string(&manifest).map_err(|_cannot_fail| ApiError::Internal)?;
    Ok(Made { file: text.into_bytes(), manifest, report: Report { refused, figures }, left_out: Default::default() })
}

/// The field that leaves too little to learn from: the time where one is given; else there is no more for this algorithm.
const fn at_fault(request: &TrainRequest) -> &'static str {
    match (request.from_ns, request.to_ns) {
        (Some(_), _) => "from",
        (None, Some(_)) => "to",
        (None, None) => "algorithm",
    }
}

/// When alerts were about which hosts, in the time that is learned from.
fn alerted(context: &JobContext, request: &TrainRequest) -> Result<Alerted, JobError> {
    let [from, to] = [request.from_ns, request.to_ns].map(|time| time.map(Timestamp::from_nanos));
    let filter = AlertFilter { from, to, whose: context.tools.sensor.clone().into(), ..AlertFilter::default() };
    let (mut alerted, mut read) = (Alerted::new(), 0);
    let mut position = Position { descending: true, after: None, limit: PAGE };
    loop {
        let page = context.wait(context.tools.store.alerts(&filter, AlertSort::Time, position))?;
        read += page.items.len();
        for alert in page.items {
            for host in [&alert.source, &alert.destination].into_iter().flatten() {
                alerted.entry(host.clone()).or_default().push([alert.first, alert.last]);
            }
        }
        match page.next {
            Some(next) if read < MAX_ALERTS => position.after = Some(next),
            _ => return Ok(alerted),
        }
    }
}

/// The newest rows first, without those of hosts under an alert; and how many these were.
fn rows(
    context: &JobContext,
    request: &TrainRequest,
    window_s: u64,
    alerted: &Alerted,
) -> Result<(Vec<FeatureVector>, usize), JobError> {
    let [from, to] = [request.from_ns, request.to_ns].map(|time| time.map(Timestamp::from_nanos));
    let whose = context.tools.sensor.clone().into();
    let filter = FeatureFilter { span_ns: Some(window_s * 1_000_000_000), from, to, whose, ..FeatureFilter::default() };
    let least = context.tools.uploads.settings().detect.isolation_forest.min_packets;
    let (mut rows, mut under_alert) = (Vec::new(), 0);
    let mut position = Position { descending: true, after: None, limit: PAGE };
    loop {
        let page = context.wait(context.tools.store.features(&filter, position))?;
        for (_, row) in page.items {
            let row = row.item;
            let times = alerted.get(&row.host.to_string());
            if times.is_some_and(|times| times.iter().any(|[first, last]| *first < row.end && *last > row.start)) {
                under_alert += 1;
            } else if let Some(vector) = usable(&row, least) {
                rows.push(forest::row(&vector));
            }
        }
        context.progress.set((rows.len() as u64).min(MAX_ROWS as u64), MAX_ROWS as u64);
        match page.next {
            Some(next) if rows.len() < MAX_ROWS => position.after = Some(next),
            _ => {
                rows.truncate(MAX_ROWS);
                return Ok((rows, under_alert));
            }
        }
    }
}

/// The vector of a host that did enough, by this version of the schema.
fn usable(row: &FeatureRow, least_packets: u64) -> Option<FeatureVector> {
    let vector: FeatureVector =
        row.vector.as_slice().try_into().ok().filter(|_| row.schema_version == SCHEMA_VERSION)?;
    let of = |name: &str| FEATURES.iter().position(|feature| feature.name == name).map(|place| vector[place]);
    let rate = of("packets_sent_rate")? + of("packets_received_rate")?;
    let seconds = row.end.since(row.start) as f64 / 1e9;
    (rate * seconds + 0.5 >= least_packets as f64 && vector.iter().all(|value| value.is_finite())).then_some(vector)
}

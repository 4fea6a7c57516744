//! `predict`: what a classifier says of each row of a scored file, by the code that judges live.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::files::{About, ResultLink, keep, unwritten, wrong};
use super::scored::{COLUMNS, Places, ScoredRow};
use super::{JobContext, JobError, Kind, Limits};
use crate::api::ApiError;
use crate::model_loader::NotActivated;
use crate::results::Draft;
use crate::store::ResultKind;
use nta_core::domain::ModelUse;
use nta_core::model::{Classifier, Input};

/// Rows that are asked at once.
const BATCH: usize = 1024;
/// Hosts that the summary names.
const MOST_HOSTS: usize = 20;
/// Hosts that are counted for it; further ones are counted together.
const COUNTED_HOSTS: usize = 100_000;
/// What is answered where no class is likely enough.
const UNKNOWN: &str = "unknown";
/// Columns between those that name a row and the probability of each class.
const ANSWER: [&str; 4] = ["prediction", "class", "probability", "threshold"];

/// The kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Predict;

/// What is predicted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PredictRequest {
    /// Name of a scored file.
    pub(crate) scored: String,
    /// The classifier; the one that judges unless given.
    pub(crate) model: Option<String>,
}

/// What was predicted.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Predicted {
    /// The scored file.
    scored: String,
    /// The classifier that was asked.
    model: String,
    /// Rows by prediction: a class, or `unknown` where none is likely enough.
    predictions: BTreeMap<String, u64>,
    /// Hosts that are taken for attackers or victims: at most 20, the likeliest first.
    #[schema(max_items = 20)]
    hosts: Vec<PredictedHost>,
    /// Hosts beyond the 100,000 that are counted one by one.
    hosts_left_out: u64,
    /// The predictions.
    file: ResultLink,
}

/// A host that is taken for an attacker or a victim.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub(crate) struct PredictedHost {
    host: String,
    /// A class: a type of alerts, with `_victim` behind it for who suffers it.
    prediction: String,
    /// Windows in which it is.
    windows: u64,
    /// The largest probability in one of them.
    #[schema(minimum = 0, maximum = 1)]
    probability: f64,
}

impl Kind for Predict {
    fn name(&self) -> &'static str {
        "predict"
    }

    fn limits(&self) -> Limits {
        Limits { is_long: true, ..Limits::default() }
    }

    fn resumes(&self) -> bool {
        true
    }

    fn run(&self, context: &JobContext) -> Result<Value, JobError> {
        let PredictRequest { scored, model } = context.request()?;
        let tools = &context.tools;
        let sensor = tools.sensor.clone().unwrap_or_default();
        let found = context.wait(tools.results.open(&sensor, &scored))?;
        let found = found.filter(|(about, _)| about.kind == ResultKind::Scored);
        let unknown = || {
            let detail =
                format!("there is no scored file {scored}; GET /api/analysis/list-files?kind=scored lists them");
            wrong("scored", detail)
        };
        let (about, file) = found.ok_or_else(unknown)?;
        let model = classifier(context, model.as_deref())?;
        let name = format!("predictions-{}.csv", context.id);
        let draft = tools.results.begin(&name).map_err(|error| unwritten(&error))?;
        let mut table = Table::begin(draft, &model)?;
        read(context, (file, about.bytes), &mut table)?;
        let Table { to, rows, predictions, hosts, hosts_left_out, .. } = table;
        let draft = to.into_inner().map_err(|error| unwritten(&error.into_error()))?;
        let about = About { source: &scored, model: Some(model.id().to_owned()) };
        let mut files = keep(context, vec![(draft, ResultKind::Predictions, rows)], &about)?;
        let result = Predicted {
            model: model.id().to_owned(),
            predictions,
            hosts: likeliest(hosts),
            hosts_left_out,
            file: files.pop().ok_or(ApiError::Internal)?,
            scored,
        };
        serde_json::to_value(result).map_err(|_cannot_fail| ApiError::Internal.into())
    }
}

/// The classifier of this name, or the one that judges.
fn classifier(context: &JobContext, id: Option<&str>) -> Result<Arc<Classifier>, JobError> {
    let models = context.tools.uploads.models().current();
    if let Some(model) = models.xgboost.as_ref().filter(|model| id.is_none_or(|id| id == model.id())) {
        return Ok(Arc::clone(model));
    }
    if let Some(id) = id {
        let found = async {
            context.tools.models.classifier(id).await.map_err(|error| match error {
                NotActivated::Store(error) => JobError::from(error),
                error => wrong("model", error.to_string()),
            })
        };
        return context.wait(found);
    }
    let why = match models.state.state {
        ModelUse::Off => "models are switched off (`[model] enabled`)".to_owned(),
        _ => models.state.reason.unwrap_or_else(|| "no model is there to be asked".to_owned()),
    };
    Err(wrong("model", why))
}

/// Reads a scored file, and writes what the model says of each row.
fn read(context: &JobContext, (file, bytes): (File, u64), table: &mut Table<'_>) -> Result<(), JobError> {
    let mut reader = csv::Reader::from_reader(file);
    let damaged = |why: String| wrong("scored", format!("the file is not what `score` writes: {why}"));
    let names = reader.headers().map_err(|error| damaged(error.to_string()))?.clone();
    let places = Places::of(&names).map_err(|missing| damaged(format!("the column `{missing}` is missing")))?;
    let mut record = csv::StringRecord::new();
    let mut batch: Vec<ScoredRow> = Vec::with_capacity(BATCH);
    loop {
        let is_more = reader.read_record(&mut record).map_err(|error| damaged(error.to_string()))?;
        if is_more {
            let line = reader.position().line();
            let row = places.row(&record);
            batch.push(row.map_err(|column| damaged(format!("before line {line}: no number in `{column}`")))?);
        }
        if batch.len() == BATCH || !is_more {
            table.answer(&batch)?;
            batch.clear();
            context.progress.set(reader.position().byte(), bytes);
            context.check()?;
        }
        if !is_more {
            return Ok(());
        }
    }
}

/// The predictions.
struct Table<'a> {
    to: csv::Writer<Draft>,
    model: &'a Classifier,
    rows: u64,
    predictions: BTreeMap<String, u64>,
    /// By host and prediction.
    hosts: BTreeMap<(String, String), (u64, f64)>,
    hosts_left_out: u64,
}

impl<'a> Table<'a> {
    fn begin(draft: Draft, model: &'a Classifier) -> Result<Self, JobError> {
        let mut to = csv::Writer::from_writer(draft);
        let of_classes = model.manifest().classes.iter().map(|class| format!("p_{}", class.name));
        let names = COLUMNS[..4].iter().chain(&ANSWER).map(|name| (*name).to_owned()).chain(of_classes);
        to.write_record(names).map_err(|error| unwritten(&error.into()))?;
        let (predictions, hosts) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { to, model, rows: 0, predictions, hosts, hosts_left_out: 0 })
    }

    fn answer(&mut self, rows: &[ScoredRow]) -> Result<(), JobError> {
        let inputs: Vec<Input> = rows.iter().map(|row| row.input).collect();
        let failed = |error| {
            tracing::error!(%error, "job: the model fails");
            JobError::from(ApiError::Internal)
        };
        let classes = self.model.manifest().classes.len();
        let said = self.model.judge(&inputs).map_err(failed)?;
        let probabilities = self.model.probabilities(&inputs).map_err(failed)?;
        for ((row, said), probabilities) in rows.iter().zip(said).zip(probabilities.chunks(classes)) {
            let class = self.model.class(said.class);
            let prediction = if said.is_sure { class.name.as_str() } else { UNKNOWN };
            let answer =
                [prediction.to_owned(), class.name.clone(), said.probability.to_string(), class.threshold.to_string()];
            let all = row.about.iter().cloned().chain(answer).chain(probabilities.iter().map(ToString::to_string));
            self.to.write_record(all).map_err(|error| unwritten(&error.into()))?;
            self.rows += 1;
            *self.predictions.entry(prediction.to_owned()).or_default() += 1;
            if said.is_sure && class.attack().is_some() {
                self.host(&row.about[3], prediction, said.probability);
            }
        }
        Ok(())
    }

    fn host(&mut self, host: &str, prediction: &str, probability: f64) {
        let key = (host.to_owned(), prediction.to_owned());
        if self.hosts.len() >= COUNTED_HOSTS && !self.hosts.contains_key(&key) {
            self.hosts_left_out += 1;
            return;
        }
        let (windows, largest) = self.hosts.entry(key).or_default();
        *windows += 1;
        *largest = largest.max(probability);
    }
}

/// The first of all hosts, by probability, then by windows.
fn likeliest(hosts: BTreeMap<(String, String), (u64, f64)>) -> Vec<PredictedHost> {
    let mut all: Vec<PredictedHost> = hosts
        .into_iter()
        .map(|((host, prediction), (windows, probability))| PredictedHost { host, prediction, windows, probability })
        .collect();
    all.sort_by(|a, b| b.probability.total_cmp(&a.probability).then(b.windows.cmp(&a.windows)));
    all.truncate(MOST_HOSTS);
    all
}

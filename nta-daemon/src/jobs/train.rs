//! `train`: a model out of labelled captures, or a forest out of what hosts usually do. It is kept in the registry, and judges only
//! if it validates.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::files::wrong;
use super::train_forest::forest;
use super::{JobContext, JobError, Kind, Limits};
use crate::api::ApiError;
use crate::capture::clock;
use crate::model_loader::{Algorithm, NotActivated, Report, id_of};
use crate::store::StoredModel;
use crate::train::table;
use crate::uploads::Refusal as NoCapture;
use crate::xgboost::{BUILT_IN, Xgboost};
use nta_core::evaluate::{Label, parse};
use nta_core::model::{Booster, Input, Library, Refusal, Settings, sha256};
use nta_core::train::{Trained, fit, split};

/// Part of the progress, of a hundred, that reading captures takes.
const READING: u64 = 40;
/// Shares that a classifier has to reach on captures that its judges had not seen.
const LEAST_F1: f64 = 0.5;
/// Harmless hours that are needed.
const LEAST_HOURS: f64 = 1.0;
/// Harmless hours in which it may be wrong once.
const HOURS_PER_FALSE: f64 = 10.0;

/// The kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Train;

/// What is trained.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TrainRequest {
    pub(crate) algorithm: Algorithm,
    /// Of a classifier: what is known about the captures, as `labels.tsv`.
    pub(crate) labels: Option<String>,
    /// Of a classifier: tools whose captures are kept back.
    pub(crate) holdout_tools: Vec<String>,
    /// Of a forest: windows in this time, in nanoseconds.
    pub(crate) from_ns: Option<u64>,
    pub(crate) to_ns: Option<u64>,
    pub(crate) seed: u64,
    /// Whether it judges from now on, if it validates.
    pub(crate) activate: bool,
    pub(crate) who: String,
}

/// What was trained.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct TrainedModel {
    /// The first digits of the model's SHA-256: its name in `GET /api/models`.
    id: String,
    /// `xgboost` or `isolation_forest`.
    algorithm: &'static str,
    /// Whether it validates.
    is_valid: bool,
    /// Why not; empty where it does.
    refused: Vec<String>,
    /// The figures that decided.
    #[schema(value_type = Object)]
    figures: Value,
    /// Whether it judges, from the next window on.
    is_active: bool,
    /// Why it does not although it validates; null otherwise.
    #[schema(required)]
    not_activated: Option<String>,
    /// Captures that could not be analysed, and why.
    left_out: std::collections::BTreeMap<String, String>,
}

/// A model that was trained.
pub(super) struct Made {
    pub(super) file: Vec<u8>,
    pub(super) manifest: String,
    pub(super) report: Report,
    pub(super) left_out: std::collections::BTreeMap<String, String>,
}

impl Kind for Train {
    fn name(&self) -> &'static str {
        "train"
    }

    fn limits(&self) -> Limits {
        Limits { waiting: 4, is_long: true, ..Limits::default() }
    }

    fn resumes(&self) -> bool {
        true
    }

    fn run(&self, context: &JobContext) -> Result<Value, JobError> {
        let request: TrainRequest = context.request()?;
        context.check()?;
        let Made { file, manifest, report, left_out } = match request.algorithm {
            Algorithm::Xgboost => classifier(context, &request)?,
            Algorithm::IsolationForest => forest(context, &request)?,
        };
        let (tools, id) = (&context.tools, id_of(&file));
        let stored = StoredModel {
            id: id.clone(),
            algorithm: request.algorithm.word().to_owned(),
            job: context.id.clone(),
            who: request.who.clone(),
            created: clock::now(),
            manifest,
            report: serde_json::to_string(&report).map_err(|_cannot_fail| ApiError::Internal)?,
        };
        context.wait_to_the_end(tools.models.keep(&stored, file))?;
        let is_valid = report.refused.is_empty();
        let mut not_activated = None;
        if is_valid && request.activate {
            let sensor = tools.sensor.clone().unwrap_or_default();
            let activated = tools.models.activate(&sensor, (&id, &request.who), clock::now());
            match context.handle.block_on(activated) {
                Ok(_) => {}
                Err(NotActivated::Store(error)) => return Err(error.into()),
                Err(error) => not_activated = Some(error.to_string()),
            }
        }
        let result = TrainedModel {
            id,
            algorithm: request.algorithm.word(),
            is_valid,
            is_active: is_valid && request.activate && not_activated.is_none(),
            refused: report.refused,
            figures: report.figures,
            not_activated,
            left_out,
        };
        serde_json::to_value(result).map_err(|_cannot_fail| ApiError::Internal.into())
    }
}

/// A classifier out of labelled uploads, by the recipe of `nta-daemon train`.
fn classifier(context: &JobContext, request: &TrainRequest) -> Result<Made, JobError> {
    if !BUILT_IN {
        return Err(wrong("algorithm", Refusal::NotBuiltIn.to_string()));
    }
    let text = request.labels.as_deref().unwrap_or_default();
    let labels = parse(std::path::Path::new("labels"), text).map_err(|error| wrong("labels", error.to_string()))?;
    let uploads = &context.tools.uploads;
    check_captures(context, &labels)?;
    let config = uploads.settings();
    let files: std::collections::BTreeSet<&str> = labels.iter().map(|label| label.file.as_str()).collect();
    let (all, done) = (files.len() as u64, AtomicU64::new(0));
    let stop = context.cancelled();
    let read = || {
        let done = done.fetch_add(1, Relaxed) + 1;
        context.progress.set(done * READING / all.max(1), 100);
    };
    let table = table(&labels, uploads.folder(), config, stop, &read);
    context.check()?;
    let split = split(&table.sources, request.seed, &request.holdout_tools);
    let progress = context.progress.clone();
    let mut rounds = move |done: u32, all: u32| {
        progress.set(READING + u64::from(done) * (100 - READING) / u64::from(all.max(1)), 100);
    };
    let fitted = fit(&Stoppable(stop), &table, &split, request.seed, &mut rounds);
    context.check()?;
    let mut trained = fitted.map_err(|error| wrong("labels", error.to_string()))?;
    trained.manifest.recipe.labels_sha256 = sha256(text.as_bytes());
    trained.manifest.recipe.window_s = config.windows.seconds as f64;
    trained.manifest.created = clock::now().to_string();
    let manifest = serde_json::to_string(&trained.manifest).map_err(|_cannot_fail| ApiError::Internal)?;
    let report = validated(&trained);
    let left_out = table.failed.iter().map(|(file, why)| (file.clone(), shown(why, uploads.folder())));
    Ok(Made { manifest, report, left_out: left_out.collect(), file: trained.model })
}

/// A reason without the folder where captures lie.
fn shown(why: &str, folder: &std::path::Path) -> String {
    why.replace(&format!("{}/", folder.display()), "")
}

/// That each label is about a capture that was uploaded.
fn check_captures(context: &JobContext, labels: &[Label]) -> Result<(), JobError> {
    let mut known = std::collections::BTreeSet::new();
    for label in labels {
        context.check()?;
        if !known.insert(&label.file) {
            continue;
        }
        let looked = async {
            match context.tools.uploads.open(&label.file).await {
                Ok(_) => Ok(None),
                Err(NoCapture::Store(error)) => Err(JobError::from(error)),
                Err(refusal) => Ok(Some(refusal.to_string())),
            }
        };
        if let Some(why) = context.wait(looked)? {
            return Err(wrong("labels", format!("{why} (the column `file` has the `file_id` of uploads)")));
        }
    }
    Ok(())
}

/// Whether a classifier may judge, by its figures on captures that the models that judged them had not seen.
fn validated(trained: &Trained) -> Report {
    let (unseen, one_feature) = (&trained.unseen, &trained.one_feature);
    let (found, attacks) = unseen.total();
    let mut refused = Vec::new();
    if attacks == 0 {
        refused.push("no attack was judged by a model that had not seen its source: captures of at least two sources or tools are needed".to_owned());
    } else if unseen.macro_f1 < LEAST_F1 {
        refused.push(format!("its macro-F1 on unseen captures is {:.3}, less than {LEAST_F1}", unseen.macro_f1));
    }
    if attacks > 0 && unseen.macro_f1 < one_feature.macro_f1 {
        refused.push(format!(
            "the best rule of one input does better on unseen captures: macro-F1 {:.3}, the model's is {:.3}",
            one_feature.macro_f1, unseen.macro_f1
        ));
    }
    if unseen.harmless_hours < LEAST_HOURS {
        refused.push(format!(
            "captures without an attack that were judged last {:.1} h: {LEAST_HOURS} h are needed to see whether it raises false alarms",
            unseen.harmless_hours
        ));
    }
    let falses = unseen.false_captures as f64;
    if falses > 0.0 && unseen.harmless_hours < falses * HOURS_PER_FALSE {
        refused.push(format!(
            "it is wrong in {} captures without an attack, in {:.1} harmless hours; one in {HOURS_PER_FALSE} hours is allowed",
            unseen.false_captures, unseen.harmless_hours
        ));
    }
    let figures = json!({
        "attacks": attacks,
        "found": found,
        "macro_f1": unseen.macro_f1,
        "one_input_macro_f1": one_feature.macro_f1,
        "false_captures": unseen.false_captures,
        "harmless_hours": unseen.harmless_hours,
        "kinds": unseen.kinds,
        "classes": trained.manifest.metrics,
        "too_few": trained.too_few,
    });
    Report { refused, figures }
}

/// The library, which begins no further training once the job is cancelled.
struct Stoppable<'a>(&'a CancellationToken);

impl Library for Stoppable<'_> {
    fn version(&self) -> &'static str {
        Xgboost.version()
    }

    fn load(&self, bytes: &[u8], classes: usize) -> Result<Box<dyn Booster>, Refusal> {
        Xgboost.load(bytes, classes)
    }

    fn train(
        &self,
        rows: &[Input],
        labels: &[u16],
        weights: &[f32],
        settings: &Settings,
        progress: &mut dyn FnMut(u32),
    ) -> Result<Vec<u8>, Refusal> {
        if self.0.is_cancelled() {
            return Err(Refusal::Library("stopped".to_owned()));
        }
        Xgboost.train(rows, labels, weights, settings, progress)
    }
}

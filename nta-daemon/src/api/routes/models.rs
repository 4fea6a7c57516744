//! `/api/train` and `/api/models`: models are trained by jobs, listed, and one of them judges.

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::{Value, json};
use utoipa::openapi::schema::ArrayBuilder;
use utoipa::openapi::{RefOr, Schema};

use super::jobs::JobJson;
use crate::api::access::Caller;
use crate::api::error::Problem;
use crate::api::extract::{
    InPath, Json, Parameter, Path, PathParameter, Query, Word, number, or_null, parse_time, text,
};
use crate::api::order::{Asked, order};
use crate::api::state::now;
use crate::api::{ApiError, ApiState};
use crate::jobs::{TrainRequest as TrainOrder, TrainedModel};
use crate::json::words::words_schema;
use crate::model_loader::{Algorithm, Entry, NotActivated, Origin};
use crate::store::Audit;
use nta_core::evaluate::{LabelError, parse, unknown_word};

/// Longest text of labels in characters.
const MOST_LABELS: usize = 60_000;
/// Tools that may be kept back, and the longest name of one.
const MOST_TOOLS: usize = 50;
const MOST_TOOL: usize = 100;
/// Inputs whose weight is shown.
const MOST_INPUTS: usize = 100;

impl Word for Algorithm {
    fn all() -> Vec<(&'static str, Self)> {
        Self::ALL.map(|algorithm| (algorithm.word(), algorithm)).to_vec()
    }
}

fn algorithm_schema() -> Schema {
    words_schema(Algorithm::ALL.map(Algorithm::word))
}

fn origin_schema() -> Schema {
    words_schema(Origin::ALL.map(Origin::word))
}

/// Names a model.
#[derive(Clone, Debug)]
pub(in crate::api) struct ModelId(String);

impl Parameter for ModelId {
    fn parse(text: &str) -> Result<Self, String> {
        let is_sound = text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        is_sound.then(|| Self(text.to_owned())).ok_or_else(|| "12 hexadecimal digits, as in `id`".to_owned())
    }

    fn schema() -> Schema {
        text().pattern(Some("^[0-9a-f]{12}$")).into()
    }
}

impl PathParameter for ModelId {
    const NAME: &'static str = "id";
    const ABOUT: &'static str = "The first digits of the model's SHA-256.";
}

/// A model.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct ModelItem {
    /// The first digits of the SHA-256 of its file.
    #[schema(schema_with = ModelId::schema)]
    id: String,
    /// `xgboost` distinguishes classes of attacks, `isolation_forest` says how unlike normal traffic a host is.
    #[schema(schema_with = algorithm_schema)]
    algorithm: &'static str,
    /// `shipped` with the daemon, `configured` in `[model]`, or `trained` here.
    #[schema(schema_with = origin_schema)]
    origin: &'static str,
    /// Whether it judges.
    is_active: bool,
    /// Whether it may judge.
    is_valid: bool,
    /// Why it may not; empty where it may.
    refused: Vec<String>,
    /// The figures that decided; null of a model that was not trained here.
    #[schema(value_type = Option<Object>, required)]
    figures: Value,
    /// Of a classifier how each class is recognised in captures that it was not trained with: `class`, `rows`, `precision`, `recall`,
    /// `f1`, `unknown`.
    #[schema(value_type = Vec<Object>)]
    metrics: Value,
    /// Of a classifier the classes with the probabilities from which on they are reported.
    #[schema(value_type = Vec<Object>)]
    classes: Value,
    /// What it is asked.
    schema: ModelSchema,
    /// What its inputs weigh, the weightiest first: of a classifier each one's share of what all cuts gained in training, of a forest
    /// its share of the cuts.
    #[schema(max_items = 100)]
    importance: Vec<InputWeight>,
    /// Length of its file.
    bytes: u64,
    /// The job that trained it; null of a model that was not trained here.
    #[schema(required)]
    job: Option<String>,
    /// Who asked for it; null of a model that was not trained here.
    #[schema(required)]
    who: Option<String>,
    /// When it was made; null where that is not known.
    #[schema(required, format = DateTime)]
    created: Option<String>,
}

/// What a model is asked.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct ModelSchema {
    /// Version of the features.
    version: u64,
    /// Names of the inputs, in order.
    inputs: Vec<String>,
    /// Length of the windows that it was trained with, in seconds; null where it judges windows of all lengths.
    #[schema(required)]
    window_s: Option<f64>,
}

/// An input and its weight.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct InputWeight {
    input: &'static str,
    #[schema(minimum = 0, maximum = 1)]
    share: f64,
}

/// The models that there are.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct ModelList {
    /// The models: those that came along or are configured, then those that were trained here, the newest first.
    items: Vec<ModelItem>,
}

impl ModelItem {
    fn new(entry: Entry) -> Self {
        let Entry { id, algorithm, origin, is_active, report, mut manifest, importance, bytes, trained_by, created } =
            entry;
        let names = |value: &Value| -> Vec<String> {
            value.as_array().into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)).collect()
        };
        let schema = match algorithm {
            Algorithm::Xgboost => ModelSchema {
                version: manifest["schema_version"].as_u64().unwrap_or_default(),
                inputs: names(&manifest["inputs"]),
                window_s: None,
            },
            Algorithm::IsolationForest => ModelSchema {
                version: manifest["schema"]["version"].as_u64().unwrap_or_default(),
                inputs: names(&manifest["schema"]["features"]),
                window_s: manifest["schema"]["window_s"].as_f64(),
            },
        };
        let mut list = |name: &str| match manifest[name].take() {
            Value::Null => json!([]),
            list => list,
        };
        let (metrics, classes) = (list("metrics"), list("classes"));
        let (job, who) = trained_by.unzip();
        let weight = |(input, share)| InputWeight { input, share };
        Self {
            id,
            algorithm: algorithm.word(),
            origin: origin.word(),
            is_active,
            is_valid: report.refused.is_empty(),
            refused: report.refused,
            figures: report.figures,
            metrics,
            classes,
            schema,
            importance: importance.into_iter().take(MOST_INPUTS).map(weight).collect(),
            bytes,
            job,
            who,
            created,
        }
    }
}

/// All models that may judge, with their figures, the schema of their inputs, and what these weigh.
#[utoipa::path(
    get,
    path = "/api/models",
    operation_id = "list_models",
    tag = "models",
    responses((status = 200, description = "The models.", body = ModelList))
)]
pub(in crate::api) async fn list(_: Query<()>, State(state): State<ApiState>) -> Result<Json<ModelList>, ApiError> {
    let models = state.tools().models.list().await?;
    Ok(Json(ModelList { items: models.into_iter().map(ModelItem::new).collect() }))
}

/// Has a model judge from the next window on, in place of the one of its algorithm. It does so after a restart too, until another is
/// activated or `[model]` names another. Of the one that judges already, it changes nothing.
#[utoipa::path(
    post,
    path = "/api/models/{id}/activate",
    operation_id = "activate_model",
    tag = "models",
    params(InPath<ModelId>),
    responses(
        (status = 200, description = "The model, which judges.", body = ModelItem),
        (status = 404, description = "There is no such model.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It does not validate, was trained for another schema, or cannot be used; `detail` says why.",
            body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn activate(
    _: Query<()>,
    State(state): State<ApiState>,
    caller: Caller,
    Path(ModelId(id)): Path<ModelId>,
) -> Result<Json<ModelItem>, ApiError> {
    let tools = state.tools();
    let sensor = tools.sensor.clone().unwrap_or_default();
    let before = tools.models.activate(&sensor, (&id, &caller.name), now()).await?;
    if before.as_ref() != Some(&id) {
        let change = caller.audit("activate model", format!("model {id}"));
        state.record(&Audit { before: before.map(Value::from), after: Some(id.clone().into()), ..change }).await;
    }
    let item = tools.models.list().await?.into_iter().find(|entry| entry.id == id).map(ModelItem::new);
    item.map(Json).ok_or(ApiError::Internal)
}

impl From<NotActivated> for ApiError {
    fn from(error: NotActivated) -> Self {
        let detail = error.to_string();
        match error {
            NotActivated::Unknown(_) => Self::NotFound { detail },
            NotActivated::Invalid { .. } | NotActivated::Unusable { .. } => Self::Conflict { detail },
            NotActivated::Store(error) => error.into(),
        }
    }
}

/// What is trained.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct TrainRequest {
    /// `xgboost` learns classes of attacks from labelled uploads, `isolation_forest` what hosts usually do from stored feature vectors.
    #[schema(schema_with = algorithm_schema)]
    algorithm: Algorithm,
    /// Of `xgboost`, and needed there: what is known about the captures, as `labels.tsv` of `nta-daemon train`. The column `file` has
    /// the `file_id` of uploads.
    #[schema(schema_with = labels_schema)]
    labels: Option<String>,
    /// Of `xgboost`: tools whose captures are not learned from, to see how the model does on them.
    #[schema(schema_with = tools_schema)]
    holdout_tools: Option<Vec<String>>,
    /// Of `isolation_forest`: windows from this time on, RFC 3339 or Unix seconds; all that are stored unless given.
    #[schema(schema_with = TrainTime::schema)]
    from: Option<TrainTime>,
    /// Of `isolation_forest`: windows before this time.
    #[schema(schema_with = TrainTime::schema)]
    to: Option<TrainTime>,
    /// The same seed and data give the same model; 1 unless given.
    #[schema(schema_with = seed_schema)]
    seed: Option<u32>,
    /// Whether the model judges from then on if it validates; it does unless this is false.
    activate: Option<bool>,
}

fn labels_schema() -> Schema {
    or_null(text().min_length(Some(1)).max_length(Some(MOST_LABELS)).into())
}

fn tools_schema() -> Schema {
    let tool: Schema = text().min_length(Some(1)).max_length(Some(MOST_TOOL)).into();
    or_null(ArrayBuilder::new().items(RefOr::T(tool)).max_items(Some(MOST_TOOLS)).into())
}

fn seed_schema() -> Schema {
    or_null(number(0, u32::MAX.into()).into())
}

/// A time.
#[derive(Clone, Copy, Debug)]
struct TrainTime(u64);

impl TrainTime {
    fn schema() -> Schema {
        or_null(text().max_length(Some(64)).into())
    }
}

impl<'de> Deserialize<'de> for TrainTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let given = String::deserialize(deserializer)?;
        let expected = || D::Error::custom("expected RFC 3339 as in 2026-01-31T12:00:00Z, or Unix seconds as a text");
        parse_time(&given).map(|time| Self(time.as_nanos())).ok_or_else(expected)
    }
}

/// Trains a model, by a job. It is kept among `GET /api/models`, and judges from the next window on if it validates: if on captures, or
/// time, that it had not seen its figures are good enough. `figures` and `refused` of the result say so.
#[utoipa::path(
    post,
    path = "/api/train",
    operation_id = "train_model",
    tag = "models",
    params(Asked),
    request_body = TrainRequest,
    responses(
        (status = 200, description = "What was trained.", body = TrainedModel),
        (status = 202, description = "It takes longer: the job that does it, with `Location`.", body = JobJson),
        (status = 409, description = "The job was cancelled.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "There is too little to learn from, a capture is not there, models are not built in, or the key was \
            used for another request; `detail` says which.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn train(
    _: Query<()>,
    State(state): State<ApiState>,
    caller: Caller,
    asked: Asked,
    Json(body): Json<TrainRequest>,
) -> Result<Response, ApiError> {
    let is_forest = body.algorithm == Algorithm::IsolationForest;
    let given = [
        ("labels", body.labels.is_some(), !is_forest),
        ("holdout_tools", body.holdout_tools.is_some(), !is_forest),
        ("from", body.from.is_some(), is_forest),
        ("to", body.to.is_some(), is_forest),
    ];
    if let Some((field, ..)) = given.into_iter().find(|(_, is_given, is_taken)| *is_given && !is_taken) {
        return Err(ApiError::invalid(field, format!("has no effect with `{}`", body.algorithm.word())));
    }
    if let (Some(TrainTime(from)), Some(TrainTime(to))) = (body.from, body.to)
        && from >= to
    {
        return Err(ApiError::invalid("to", "expected a time after `from`"));
    }
    let labels = body.labels;
    if !is_forest && labels.as_ref().is_none_or(|labels| labels.trim().is_empty()) {
        return Err(ApiError::invalid(
            "labels",
            "expected what is known about the captures: classes are learned from labels",
        ));
    }
    if labels.as_ref().is_some_and(|labels| labels.chars().count() > MOST_LABELS) {
        return Err(ApiError::invalid("labels", format!("expected at most {MOST_LABELS} characters")));
    }
    if let Some(labels) = &labels {
        check_labels(labels)?;
    }
    let holdout_tools = body.holdout_tools.unwrap_or_default();
    let is_tool = |tool: &String| (1..=MOST_TOOL).contains(&tool.chars().count());
    if holdout_tools.len() > MOST_TOOLS || !holdout_tools.iter().all(is_tool) {
        let expected = format!("expected at most {MOST_TOOLS} names of 1 to {MOST_TOOL} characters");
        return Err(ApiError::invalid("holdout_tools", expected));
    }
    let request = TrainOrder {
        algorithm: body.algorithm,
        labels,
        holdout_tools,
        from_ns: body.from.map(|time| time.0),
        to_ns: body.to.map(|time| time.0),
        seed: body.seed.unwrap_or(1).into(),
        activate: body.activate.unwrap_or(true),
        who: caller.name.clone(),
    };
    order(&state, ("train", "train model"), &request, asked, &caller).await
}

/// That every line can be read, and says what it is about in a word that is known.
fn check_labels(text: &str) -> Result<(), ApiError> {
    let labels = parse(std::path::Path::new("labels"), text).map_err(|LabelError::Line { line, reason, .. }| {
        ApiError::invalid("labels", format!("line {line}: {reason}"))
    })?;
    if let Some((label, words)) = unknown_word(&labels) {
        let word: String = label.word.chars().take(MOST_TOOL).collect();
        let detail = format!("line {}, column `type`: there is no `{word}`: expected {words}", label.line);
        return Err(ApiError::invalid("labels", detail));
    }
    Ok(())
}

//! `/api/baselines`: what is usual on the network, by type.

use std::collections::BTreeMap;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::openapi::Schema;
use utoipa::openapi::path::Parameter as Described;
use utoipa::openapi::schema::{ObjectBuilder, Type};

use crate::api::access::Caller;
use crate::api::error::Problem;
use crate::api::extract::{InPath, Json, Pairs, Parameter, Parameters, Path, PathParameter, Query, parameters};
use crate::api::openapi::query;
use crate::api::page::{List, PageQuery, SortField};
use crate::api::state::now;
use crate::api::{ApiError, ApiState};
use crate::json::mode_name;
use crate::json::words::{self, words_schema};
use crate::store::{Audit, Key, Position, Range};
use nta_core::baseline::{Baselines, Expected, Export, Import, Metric, Series};
use nta_core::domain::Timestamp;

/// The only order of the types.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct ByKind;

impl SortField for ByKind {
    const ALL: &'static [(&'static str, Self)] = &[("type", Self)];
}

/// A type of baseline. One that does not exist is not a wrong parameter but a thing that is not there.
#[derive(Debug)]
pub(in crate::api) struct BaselineType(String);

impl Parameter for BaselineType {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(Self(text.to_owned()))
    }

    fn schema() -> Schema {
        words_schema(Metric::TYPES.iter().map(|(name, _)| *name))
    }
}

/// A type of baseline that there is.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct KnownType(&'static str);

impl Parameter for KnownType {
    fn parse(text: &str) -> Result<Self, String> {
        let names = || Metric::TYPES.iter().map(|(name, _)| *name);
        let known = names().find(|name| *name == text).map(Self);
        known.ok_or_else(|| names().collect::<Vec<_>>().join(", "))
    }

    fn schema() -> Schema {
        BaselineType::schema()
    }
}

impl PathParameter for BaselineType {
    const NAME: &'static str = "type";
    const ABOUT: &'static str = "Type of the baseline.";
}

parameters! {
    /// Which page of the types.
    pub(in crate::api) struct BaselinesQuery {
        /// Only this type.
        "type" => kind: KnownType,
        ..period: UsualPeriod,
        ..page: PageQuery<ByKind>,
    }
}

/// The time that `usual` is asked for.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct UsualPeriod(Option<[Timestamp; 2]>);

impl Parameters for UsualPeriod {
    fn names() -> Vec<&'static str> {
        vec!["usual_from", "usual_to"]
    }

    fn read(pairs: &Pairs) -> Result<Self, ApiError> {
        let from = pairs.get::<Timestamp>("usual_from")?;
        let to = pairs.get::<Timestamp>("usual_to")?.unwrap_or_else(now);
        match from {
            Some(from) if to.since(from) > MOST_USUAL_NS => {
                let detail = format!("`{from}`: expected at most 31 days before `usual_to` ({to})");
                Err(ApiError::invalid("usual_from", detail))
            }
            from => Ok(Self(from.map(|from| [from, to]))),
        }
    }

    fn described() -> Vec<Described> {
        vec![
            query::<Timestamp>("usual_from", USUAL_FROM),
            query::<Timestamp>("usual_to", "`usual` before this time; RFC 3339 or Unix seconds. Now unless given."),
        ]
    }
}

const USUAL_FROM: &str = "`usual` from this time on, at most 31 days before `usual_to`; RFC 3339 or Unix seconds. Without it `usual` is empty.";
/// Longest time of `usual` in nanoseconds.
const MOST_USUAL_NS: u64 = 31 * 86_400 * 1_000_000_000;

/// What is usual of one type of metric.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct BaselineJson {
    /// `bandwidth`, `latency`, `loss`, `protocol`, `connections` or `ports`.
    r#type: &'static str,
    /// `ready` when something is expected of each metric.
    #[schema(value_type = words::LearningState)]
    state: &'static str,
    metrics: Vec<MetricJson>,
}

/// What is usual of one metric.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
struct MetricJson {
    metric: &'static str,
    unit: &'static str,
    #[schema(value_type = words::LearningState)]
    state: &'static str,
    /// Windows of 30 s learned from.
    samples: u32,
    /// Hours of the week that are known.
    hours_known: usize,
    /// What is expected at the end of the last window learned from; null in warm-up.
    expected: Option<ExpectedJson>,
    /// What is usual between `usual_from` and `usual_to`, in the order of time: of each hour what earlier weeks say of it, and of the half hour before the
    /// last window, and from there on, what is expected now. Where there is no slot nothing is learned yet. Empty unless asked for.
    #[schema(max_items = 800)]
    usual: Vec<UsualJson>,
}

/// A usual value in a slot of time.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
struct UsualJson {
    #[schema(format = DateTime)]
    from: String,
    #[schema(format = DateTime)]
    to: String,
    median: f64,
    sigma: f64,
}

/// A usual value, as median and standard deviation.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
struct ExpectedJson {
    median: f64,
    sigma: f64,
}

/// One type, with all that was learned: what PUT takes.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct BaselineDetail {
    #[serde(flatten)]
    baseline: BaselineJson,
    /// End of the last window learned from; null when nothing is learned.
    #[schema(format = DateTime)]
    updated: Option<String>,
    /// What was learned, by metric.
    #[schema(value_type = Object)]
    series: BTreeMap<Metric, Series>,
}

/// How far learning has come.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct LearningStats {
    /// Under which name it is stored.
    #[schema(value_type = words::Mode)]
    name: &'static str,
    /// End of the last window learned from; null when nothing is learned.
    #[schema(format = DateTime)]
    updated: Option<String>,
    /// `pipeline`, `store` before the first window, or `none`.
    origin: &'static str,
    /// Windows of 30 s that a metric needs.
    warm_up_windows: u32,
    metrics: usize,
    metrics_ready: usize,
    /// Windows learned from by the metric that has most.
    samples: u32,
    /// Hosts that a level is kept for.
    hosts: usize,
    max_hosts: usize,
    /// Hosts that had to go since the start.
    hosts_evicted: u64,
}

/// What is to be imported: the document of GET, of which only `series` is read.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
pub(in crate::api) struct ImportRequest {
    /// What was learned, by metric of this type.
    #[schema(required, schema_with = series_schema)]
    series: Option<Value>,
}

fn series_schema() -> Schema {
    let series = ObjectBuilder::new().schema_type(Type::Object);
    let metrics = words_schema(Metric::ALL.map(Metric::word));
    let all = ObjectBuilder::new().schema_type(Type::Object).property_names(Some(metrics));
    all.additional_properties(Some(Schema::from(series))).into()
}

/// What is known of the network; the hosts, which are many, are left out.
fn of_network(state: &ApiState, export: &Export) -> Result<Baselines, ApiError> {
    let Export { format, updated_ns, ref network, ref scores, .. } = *export;
    let (network, scores) = (network.clone(), scores.clone());
    state.tools.baselines(Export { format, updated_ns, network, scores, hosts: BTreeMap::new() })
}

fn describe(baselines: &Baselines, over: Option<[Timestamp; 2]>) -> Vec<BaselineJson> {
    let overview = baselines.overview(baselines.updated().unwrap_or_else(now));
    let state = |ready: bool| if ready { "ready" } else { "warm_up" };
    let metric = |metric: &Metric| {
        let row = overview.iter().find(|row| row.0 == *metric);
        let (samples, expected, hours_known) = row.map_or((0, None, 0), |row| (row.1, row.2, row.3));
        MetricJson {
            metric: metric.word(),
            unit: metric.unit(),
            state: state(expected.is_some()),
            samples,
            hours_known,
            expected: expected.map(|e| ExpectedJson { median: e.median, sigma: e.sigma }),
            usual: over.map(|over| baselines.usual(*metric, over)).unwrap_or_default().iter().map(usual).collect(),
        }
    };
    let of = |(name, metrics): &(&'static str, &[Metric])| {
        let metrics: Vec<MetricJson> = metrics.iter().map(metric).collect();
        let ready = metrics.iter().all(|metric| metric.expected.is_some());
        BaselineJson { r#type: name, state: state(ready), metrics }
    };
    Metric::TYPES.iter().map(of).collect()
}

fn usual(([from, to], expected): &([Timestamp; 2], Expected)) -> UsualJson {
    UsualJson { from: from.to_string(), to: to.to_string(), median: expected.median, sigma: expected.sigma }
}

fn metrics_of(kind: &str) -> Result<&'static [Metric], ApiError> {
    let found = Metric::TYPES.iter().find(|(name, _)| *name == kind);
    found.map(|(_, metrics)| *metrics).ok_or_else(|| {
        let names: Vec<&str> = Metric::TYPES.iter().map(|(name, _)| *name).collect();
        ApiError::NotFound { detail: format!("there is no baseline `{kind}`; there are {}", names.join(", ")) }
    })
}

fn detail(baselines: &Baselines, kind: &str) -> Result<BaselineDetail, ApiError> {
    let metrics = metrics_of(kind)?;
    let baseline = describe(baselines, None).into_iter().find(|baseline| baseline.r#type == kind);
    let series = |metric: &Metric| baselines.series(*metric).map(|series| (*metric, series.clone()));
    Ok(BaselineDetail {
        baseline: baseline.ok_or(ApiError::Internal)?,
        updated: baselines.updated().map(|time| time.to_string()),
        series: metrics.iter().filter_map(series).collect(),
    })
}

/// Every type of baseline.
#[utoipa::path(
    get,
    path = "/api/baselines",
    operation_id = "list_baselines",
    tag = "baselines",
    params(BaselinesQuery),
    responses((status = 200, description = "The types.", body = List<BaselineJson>))
)]
pub(in crate::api) async fn list(
    State(state): State<ApiState>,
    Query(BaselinesQuery { kind, period: UsualPeriod(over), page }): Query<BaselinesQuery>,
) -> Result<Json<List<BaselineJson>>, ApiError> {
    let (export, _) = state.tools.known().await?;
    let mut items = describe(&of_network(&state, &export)?, over);
    items.retain(|item| kind.as_ref().is_none_or(|kind| kind.0 == item.r#type));
    items.sort_unstable_by_key(|item| item.r#type);
    let mut placed: Vec<(i64, BaselineJson)> = (0..).zip(items).collect();
    let Position { descending, after, limit } = page.position;
    if descending {
        placed.reverse();
    }
    if let Some(Key { value, .. }) = after {
        placed.retain(|(place, _)| if descending { *place < value } else { *place > value });
    }
    let limit = limit as usize;
    let next =
        placed.get(limit).and(placed.get(limit.saturating_sub(1))).map(|(value, _)| Key { value: *value, id: 0 });
    let items = placed.into_iter().take(limit).map(|(_, item)| item).collect();
    Ok(Json(page.list(items, next, Range::default())))
}

/// One type, with all that was learned.
#[utoipa::path(
    get,
    path = "/api/baselines/{type}",
    operation_id = "get_baseline",
    tag = "baselines",
    params(InPath<BaselineType>),
    responses(
        (status = 200, description = "The baseline.", body = BaselineDetail),
        (status = 404, description = "There is no such type; `detail` names those there are.", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn one(
    _: Query<()>,
    State(state): State<ApiState>,
    Path(BaselineType(kind)): Path<BaselineType>,
) -> Result<Json<BaselineDetail>, ApiError> {
    metrics_of(&kind)?;
    let (export, _) = state.tools.known().await?;
    Ok(Json(detail(&of_network(&state, &export)?, &kind)?))
}

/// How far learning has come.
#[utoipa::path(
    get,
    path = "/api/baselines/stats",
    operation_id = "get_baseline_stats",
    tag = "baselines",
    responses((status = 200, description = "The state of learning.", body = LearningStats))
)]
pub(in crate::api) async fn stats(
    _: Query<()>,
    State(state): State<ApiState>,
) -> Result<Json<LearningStats>, ApiError> {
    let (export, origin) = state.tools.known().await?;
    let hosts = export.hosts.len();
    let learning = of_network(&state, &export)?.state();
    let config = &state.analysis.baseline;
    Ok(Json(LearningStats {
        name: mode_name(state.status().mode),
        updated: learning.updated.map(|time| time.to_string()),
        origin,
        warm_up_windows: config.warm_up_windows,
        metrics: learning.metrics.len(),
        metrics_ready: learning.metrics.iter().filter(|metric| metric.is_ready).count(),
        samples: learning.metrics.iter().map(|metric| metric.samples).max().unwrap_or_default(),
        hosts,
        max_hosts: config.max_hosts,
        hosts_evicted: state.status().learning.hosts_evicted,
    }))
}

/// Imports what was learned of one type elsewhere or before. The pipeline takes it at its next window.
#[utoipa::path(
    put,
    path = "/api/baselines/{type}",
    operation_id = "import_baseline",
    tag = "baselines",
    params(InPath<BaselineType>),
    request_body = ImportRequest,
    responses(
        (status = 200, description = "The baseline as it is now.", body = BaselineDetail),
        (status = 404, description = "There is no such type; `detail` names those there are.", body = Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "Too many imports wait.", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "What is stored cannot be used.", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn put(
    _: Query<()>,
    State(state): State<ApiState>,
    Path(BaselineType(kind)): Path<BaselineType>,
    caller: Caller,
    Json(body): Json<ImportRequest>,
) -> Result<Json<BaselineDetail>, ApiError> {
    let metrics = metrics_of(&kind)?;
    let wrong = |reason: String| ApiError::invalid("series", reason);
    let series = body.series.ok_or_else(|| wrong("missing; it is an object of metrics".to_owned()))?;
    let read: Result<BTreeMap<Metric, Series>, _> = serde_json::from_value(series);
    let series = read.map_err(|error| wrong(error.to_string()))?;
    if series.is_empty() {
        // What GET answers before anything was learned: there is nothing to be imported, and nothing changes.
        let (export, _) = state.tools.known().await?;
        return Ok(Json(detail(&of_network(&state, &export)?, &kind)?));
    }
    if let Some(other) = series.keys().find(|metric| !metrics.contains(metric)) {
        let names: Vec<&str> = metrics.iter().map(|metric| metric.word()).collect();
        return Err(wrong(format!("`{}` is not of this type, which has {}", other.word(), names.join(", "))));
    }
    let mut scratch = Baselines::new(state.analysis.baseline.clone());
    scratch.take(Import::Metrics(series.clone())).map_err(wrong)?;
    let shown = |baselines: &Baselines| {
        let of_kind = describe(baselines, None).into_iter().find(|baseline| baseline.r#type == kind);
        of_kind.and_then(|baseline| serde_json::to_value(baseline).ok())
    };
    let before = shown(&of_network(&state, &state.tools.known().await?.0)?);
    let imported = state.tools.apply(Import::Metrics(series)).await?;
    let change = caller.audit("import baseline", format!("baseline {kind}"));
    state.record(&Audit { before, after: shown(&imported), ..change }).await;
    Ok(Json(detail(&imported, &kind)?))
}

//! `/api/export`: windows, flows, alerts and features as a file, streamed.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::{self, try_unfold};
use futures_util::{Stream, StreamExt as _};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tracing::error;
use utoipa::openapi::path::Parameter as Described;

use super::alerts::{AlertItem, AlertsFilter};
use super::features::{self, FeaturesQuery};
use super::flows::FlowsQuery;
use super::metrics::{self, WindowsQuery};
use crate::anonymize::Anonymizer;
use crate::api::error::Problem;
use crate::api::extract::{Pairs, Parameters, Query, Word};
use crate::api::found::{FlowItem, WindowItem};
use crate::api::openapi::query;
use crate::api::page::Period;
use crate::api::whose::WhoseQuery;
use crate::api::{ApiError, ApiState};
use crate::export::{Encoder, ExportError, Format, What};
use crate::store::{
    AlertFilter, AlertSort, FeatureFilter, FlowFilter, FlowSort, Key, Position, Range, Whose, WindowFilter, WindowSort,
};

/// Rows that an export reads at a time.
const ROWS: u32 = 500;
/// Parameters of lists that an export does not take: it has all rows, the oldest first.
const OF_PAGES: [&str; 3] = ["limit", "cursor", "sort"];
/// What is exported unless a request says otherwise.
const DEFAULT: (What, Format) = (What::Windows, Format::Json);

impl Word for What {
    fn all() -> Vec<(&'static str, Self)> {
        Self::ALL.to_vec()
    }
}

impl Word for Format {
    fn all() -> Vec<(&'static str, Self)> {
        Self::ALL.to_vec()
    }
}

/// What is exported, how, and the filters of its list.
#[derive(Debug)]
pub(in crate::api) struct ExportQuery {
    what: What,
    format: Format,
    filters: Filters,
}

#[derive(Debug)]
enum Filters {
    Windows(WindowsQuery),
    Flows(FlowsQuery),
    Alerts(AlertsFilter),
    Features(FeaturesQuery),
}

impl ExportQuery {
    /// The filters of what is exported.
    fn names_of(what: What) -> Vec<&'static str> {
        let mut names = match what {
            What::Windows => WindowsQuery::names(),
            What::Flows => FlowsQuery::names(),
            What::Alerts => AlertsFilter::names(),
            What::Features => FeaturesQuery::names(),
        };
        names.retain(|name| !OF_PAGES.contains(name));
        names.splice(0..0, ["what", "format"]);
        names
    }
}

impl Parameters for ExportQuery {
    /// Those of all that can be exported.
    fn names() -> Vec<&'static str> {
        let mut names = Vec::new();
        for name in What::ALL.into_iter().flat_map(|(_, what)| Self::names_of(what)) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    fn read(pairs: &Pairs) -> Result<Self, ApiError> {
        let what = pairs.get("what")?.unwrap_or(DEFAULT.0);
        let format = pairs.get("format")?.unwrap_or(DEFAULT.1);
        let known = Self::names_of(what);
        if let Some(other) = pairs.names().find(|name| !known.contains(name)) {
            let detail = format!("`{other}`: no filter of {}; they take {}", what.word(), known.join(", "));
            return Err(ApiError::invalid(other, detail));
        }
        let filters = match what {
            What::Windows => Filters::Windows(Parameters::read(pairs)?),
            What::Flows => Filters::Flows(Parameters::read(pairs)?),
            What::Alerts => Filters::Alerts(Parameters::read(pairs)?),
            What::Features => Filters::Features(Parameters::read(pairs)?),
        };
        Ok(Self { what, format, filters })
    }

    fn described() -> Vec<Described> {
        let mut all = vec![
            query::<What>(
                "what",
                "What is exported; windows unless given. Each takes the filters of its own list and no others.",
            ),
            query::<Format>("format", "How it is written; json unless given. `eve` takes windows, flows and alerts."),
        ];
        let lists =
            [WindowsQuery::described(), FlowsQuery::described(), AlertsFilter::described(), FeaturesQuery::described()];
        for parameter in lists.into_iter().flatten() {
            if !OF_PAGES.contains(&parameter.name.as_str()) && !all.iter().any(|known| known.name == parameter.name) {
                all.push(parameter);
            }
        }
        all
    }
}

impl utoipa::IntoParams for ExportQuery {
    fn into_params(_place: impl Fn() -> Option<utoipa::openapi::path::ParameterIn>) -> Vec<Described> {
        Self::described()
    }
}

/// All windows, flows, alerts or feature vectors that pass the filters of their list, the oldest first, as one file: a JSON
/// array, JSON lines, CSV, Parquet or Suricata's EVE JSON.
///
/// The answer is made while it is read. Where rows cannot be read in its middle it breaks off: a file that ends well is whole.
#[utoipa::path(
    get,
    path = "/api/export",
    operation_id = "export",
    tag = "about",
    params(ExportQuery),
    responses(
        (status = 200, description = "The file.", content(
            (Vec<Object> = "application/json"),
            (Object = "application/x-ndjson"),
            (String = "text/csv"),
            (String = "application/vnd.apache.parquet"),
        )),
        (status = 422, description = "The format has no place for it, or more would be read than may be; `detail` says which.",
            body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn get(
    State(state): State<ApiState>,
    Query(query): Query<ExportQuery>,
) -> Result<Response, ApiError> {
    let (what, format) = (query.what, query.format);
    let file = file(state, query, None).await?;
    let name = format!("attachment; filename=\"nta-{}.{}\"", what.word(), format.extension());
    let headers = [(header::CONTENT_TYPE, format.media_type().to_owned()), (header::CONTENT_DISPOSITION, name)];
    Ok((headers, Body::from_stream(file)).into_response())
}

/// An export by the names and values of the route's parameters, for who asks without HTTP.
pub(in crate::api) async fn by_pairs(
    state: ApiState,
    pairs: Vec<(String, String)>,
    anonymizer: Option<Anonymizer>,
) -> Result<impl Stream<Item = Result<Bytes, ApiError>>, ApiError> {
    let query = ExportQuery::read(&Pairs::of(pairs, &ExportQuery::names())?)?;
    file(state, query, anonymizer).await
}

/// The file in pieces. The first page is read before anything is answered, so that what is refused has its status.
async fn file(
    state: ApiState,
    query: ExportQuery,
    anonymizer: Option<Anonymizer>,
) -> Result<impl Stream<Item = Result<Bytes, ApiError>> + use<>, ApiError> {
    let encoder = Encoder::new(query.what, query.format)?.anonymized(anonymizer);
    let rows = Rows::new(query.filters, &state).await?;
    let position = Position { descending: false, after: None, limit: ROWS };
    let (first, next) = Next { state, rows, encoder, position }.page().await?;
    let rest = try_unfold(next, async |mut next| {
        while let Some(page) = next {
            // The status line is gone: all that is left is to break the stream off.
            let (bytes, then) =
                page.page().await.inspect_err(|failure| error!(error = %failure, "api: export broken off"))?;
            if !bytes.is_empty() {
                return Ok(Some((bytes, then)));
            }
            next = then;
        }
        Ok(None)
    });
    Ok(stream::iter((!first.is_empty()).then_some(Ok(first))).chain(rest))
}

/// What is left to be exported.
struct Next {
    state: ApiState,
    rows: Rows,
    encoder: Encoder,
    position: Position,
}

impl Next {
    /// Makes a page off the executor, in one of the places that all streams share.
    async fn page(self) -> Result<(Bytes, Option<Self>), ApiError> {
        let places = std::sync::Arc::clone(&self.state.streams);
        let _place = places.acquire().await.map_err(|_never_closed| ApiError::Internal)?;
        let runtime = Handle::current();
        let made = spawn_blocking(move || runtime.block_on(self.encoded())).await;
        made.map_err(|_panicked| ApiError::Internal).flatten()
    }

    async fn encoded(mut self) -> Result<(Bytes, Option<Self>), ApiError> {
        match self.rows.write(&self.state, self.position, &mut self.encoder).await? {
            Some(after) => {
                let bytes = self.encoder.take().into();
                Ok((bytes, Some(Self { position: Position { after: Some(after), ..self.position }, ..self })))
            }
            None => Ok((self.encoder.end()?.into(), None)),
        }
    }
}

/// Which rows.
enum Rows {
    Windows(WindowFilter),
    Flows(FlowFilter),
    Alerts(Box<AlertFilter>),
    Features(FeatureFilter),
}

impl Rows {
    async fn new(filters: Filters, state: &ApiState) -> Result<Self, ApiError> {
        let scope = async |whose: &WhoseQuery, period: Period| -> Result<(Whose, Range), ApiError> {
            let scope = state.scope(whose.clone()).await?;
            let range = state.range_of(period, &scope).await?;
            Ok((scope.whose, range))
        };
        Ok(match filters {
            Filters::Windows(query) => {
                let (whose, range) = scope(&query.whose, query.period).await?;
                Self::Windows(query.filter(whose, range, state)?)
            }
            Filters::Flows(query) => {
                let (whose, range) = scope(&query.whose, query.period).await?;
                Self::Flows(query.filter(whose, range))
            }
            Filters::Alerts(query) => {
                let (whose, range) = scope(&query.whose, query.period).await?;
                Self::Alerts(Box::new(query.between(whose, range)?))
            }
            Filters::Features(query) => {
                let (whose, range) = scope(&query.whose, query.period).await?;
                Self::Features(query.filter(whose, range, state)?)
            }
        })
    }

    /// Writes a page of them; the key of its last row, when there are more behind it.
    async fn write(&self, state: &ApiState, position: Position, to: &mut Encoder) -> Result<Option<Key>, ApiError> {
        Ok(match self {
            Self::Windows(filter) => {
                let page = metrics::windows(state, filter, WindowSort::Time, position).await?;
                page.items.iter().try_for_each(|window| to.item(&WindowItem::from(window)))?;
                page.next
            }
            Self::Flows(filter) => {
                let page = state.store.find_flows(filter, FlowSort::Time, position).await?;
                page.items.iter().try_for_each(|flow| to.item(&FlowItem::from(flow)))?;
                page.next
            }
            Self::Alerts(filter) => {
                let page = state.store.alerts(filter, AlertSort::Time, position).await?;
                let insides = state.insides().await;
                page.items.into_iter().try_for_each(|stored| to.item(&AlertItem::new(stored, &insides)))?;
                page.next
            }
            Self::Features(filter) => {
                let page = state.store.features(filter, position).await?;
                page.items.iter().try_for_each(|row| to.item(&features::json(row)))?;
                page.next
            }
        })
    }
}

impl From<ExportError> for ApiError {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::NoEvent => Self::Unprocessable { field: Some("format".to_owned()), detail: error.to_string() },
            error => {
                error!(%error, "api: export cannot be written");
                Self::Internal
            }
        }
    }
}

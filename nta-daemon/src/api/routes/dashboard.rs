//! The dashboard: one page whose scripts read the rest of the API, under every path that its addresses have.
//!
//! It holds no data itself and is public, so that a browser without a token can ask for one. What stands in the query of its
//! addresses is for its scripts: no parameter is refused here.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use utoipa::openapi::Schema;

use super::index::{Index, index};
use crate::api::accept::prefers;
use crate::api::error::Problem;
use crate::api::extract::{InPath, Json, Parameter, Path, PathParameter, Query, text};
use crate::api::{ApiError, ApiState};
use crate::dashboard::{File, PAGE, file};
use crate::json::words::words_schema;

/// Scripts, styles and requests of this server alone, nothing inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
/// What the overview asks for at once, in its own words: browsers fetch it while they still read the scripts.
const FIRST: &str = "</api/status>; rel=preload; as=fetch; crossorigin=anonymous, \
                     </api/alerts?status=open&limit=50&sort=-severity>; rel=preload; as=fetch; crossorigin=anonymous, \
                     </api/alerts/counts?status=open>; rel=preload; as=fetch; crossorigin=anonymous, \
                     </api/hosts?limit=8&sort=-bytes>; rel=preload; as=fetch; crossorigin=anonymous";
/// The pages that have addresses of their own.
const PAGES: [&str; 8] = ["alerts", "hosts", "flows", "captures", "fleet", "why", "learned", "system"];
const HTML: &str = "text/html";
/// Characters of the name of what a page shows.
const LONGEST_NAME: usize = 200;
/// Assets are named by their content: what a name stands for never changes.
const FOR_EVER: &str = "private, max-age=31536000, immutable";

/// Shows the dashboard to a browser; answers the list of paths to everybody else.
#[utoipa::path(
    get,
    path = "/",
    operation_id = "get_root",
    tag = "about",
    responses((status = 200, description = "The paths, or for who names `text/html` in `Accept` the dashboard.",
        content((Index = "application/json"), (String = "text/html"))))
)]
pub(in crate::api) async fn root(_: Query<()>, State(state): State<ApiState>, headers: HeaderMap) -> Response {
    let mut answer = if prefers(&headers, HTML, "application/json") {
        overview(headers).await
    } else {
        Json(index(&state)).into_response()
    };
    answer.headers_mut().append(header::VARY, HeaderValue::from_static("accept"));
    answer
}

/// Shows the dashboard.
#[utoipa::path(
    get,
    path = "/dashboard",
    operation_id = "get_dashboard",
    tag = "dashboard",
    responses((status = 200, description = "The page.", body = String, content_type = "text/html"))
)]
pub(in crate::api) async fn overview(headers: HeaderMap) -> Response {
    let mut answer = page_for(&headers);
    answer.headers_mut().insert(header::LINK, HeaderValue::from_static(FIRST));
    answer
}

/// Shows a page of the dashboard.
#[utoipa::path(
    get,
    path = "/dashboard/{page}",
    operation_id = "get_dashboard_page",
    tag = "dashboard",
    params(InPath<Page>),
    responses(
        (status = 200, description = "The page.", body = String, content_type = "text/html"),
        (status = 404, description = "The dashboard has no such page; for who names `text/html` in `Accept` a page that says so.",
            content((Problem = "application/problem+json"), (String = "text/html"))),
    )
)]
pub(in crate::api) async fn page(Path(Page(name)): Path<Page>, headers: HeaderMap) -> Result<Response, ApiError> {
    if PAGES.contains(&name.as_str()) {
        return Ok(page_for(&headers));
    }
    if prefers(&headers, HTML, "application/json") {
        // It says so, and shows the way to the others.
        let mut answer = page_for(&headers);
        *answer.status_mut() = StatusCode::NOT_FOUND;
        return Ok(answer);
    }
    Err(ApiError::NotFound { detail: format!("the dashboard has no such page; there are {}", PAGES.join(", ")) })
}

/// Shows one thing on a page of the dashboard, such as an alert or a host.
#[utoipa::path(
    get,
    path = "/dashboard/{page}/{name}",
    operation_id = "get_dashboard_part",
    tag = "dashboard",
    params(InPath<Page>, InPath<Name>),
    responses(
        (status = 200, description = "The page.", body = String, content_type = "text/html"),
        (status = 404, description = "The dashboard has no such page; for who names `text/html` in `Accept` a page that says so.",
            content((Problem = "application/problem+json"), (String = "text/html"))),
    )
)]
pub(in crate::api) async fn part(page: Path<Page>, _: Path<Name>, headers: HeaderMap) -> Result<Response, ApiError> {
    self::page(page, headers).await
}

/// Answers the scripts, styles and pictures of the dashboard.
#[utoipa::path(
    get,
    path = "/dashboard/assets/{file}",
    operation_id = "get_dashboard_file",
    tag = "dashboard",
    params(InPath<Asset>),
    responses(
        (status = 200, description = "The file; its name changes with what is in it.",
            content((String = "text/javascript"), (String = "text/css"), (String = "image/svg+xml"))),
        (status = 404, description = "The page loads no such file.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn asset(Path(Asset(name)): Path<Asset>, headers: HeaderMap) -> Result<Response, ApiError> {
    let unknown =
        || ApiError::NotFound { detail: "the dashboard has nothing of this name; load the page anew".to_owned() };
    let mut answer = answer(file(&format!("assets/{name}")).ok_or_else(unknown)?, &headers);
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(FOR_EVER));
    Ok(answer)
}

fn page_for(headers: &HeaderMap) -> Response {
    let Some(page) = file(PAGE) else { return ApiError::Internal.into_response() };
    let mut answer = answer(page, headers);
    answer.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    answer
}

/// A file, packed for who takes that.
fn answer(file: &File, headers: &HeaderMap) -> Response {
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static(file.media_type));
    let vary = (header::VARY, HeaderValue::from_static("accept-encoding"));
    match &file.gzip {
        Some(gzip) if takes_gzip(headers) => {
            ([kind, vary, (header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))], gzip.clone()).into_response()
        }
        _ => ([kind, vary], file.plain.clone()).into_response(),
    }
}

/// Whether `Accept-Encoding` names gzip, or everything, and does not refuse it (RFC 9110, 12.5.3).
fn takes_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let quality =
        |coding: &str| coding.split(';').skip(1).find_map(|part| part.trim().strip_prefix("q=")?.parse::<f32>().ok());
    let codings: Vec<&str> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
    let named = |name: &str| {
        codings.iter().find(|coding| coding.split(';').next().is_some_and(|of| of.trim().eq_ignore_ascii_case(name)))
    };
    named("gzip").or_else(|| named("*")).is_some_and(|coding| quality(coding).is_none_or(|q| q > 0.0))
}

/// The name of a page.
#[derive(Debug)]
pub(in crate::api) struct Page(String);

impl Parameter for Page {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(Self(text.to_owned()))
    }

    fn schema() -> Schema {
        words_schema(PAGES)
    }
}

impl PathParameter for Page {
    const NAME: &'static str = "page";
    const ABOUT: &'static str = "A page of the dashboard.";
}

/// What the page shows.
#[derive(Debug)]
pub(in crate::api) struct Name;

impl Parameter for Name {
    fn parse(text: &str) -> Result<Self, String> {
        let is_short = text.chars().count() <= LONGEST_NAME;
        if is_short { Ok(Self) } else { Err(format!("at most {LONGEST_NAME} characters")) }
    }

    fn schema() -> Schema {
        text().min_length(Some(1)).max_length(Some(LONGEST_NAME)).pattern(Some("^[^/]+$")).into()
    }
}

impl PathParameter for Name {
    const NAME: &'static str = "name";
    const ABOUT: &'static str = "What the page shows: the `id` of an alert, an address, a `file_id`.";
}

/// The name of a file.
#[derive(Debug)]
pub(in crate::api) struct Asset(String);

impl Parameter for Asset {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(Self(text.to_owned()))
    }

    fn schema() -> Schema {
        text().min_length(Some(1)).max_length(Some(100)).pattern(Some("^[A-Za-z0-9._-]+$")).into()
    }
}

impl PathParameter for Asset {
    const NAME: &'static str = "file";
    const ABOUT: &'static str = "A file that the page loads.";
}

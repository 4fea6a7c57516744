//! `POST /graphql`: reads by GraphQL, where `[api] graphql` switches it on.

use async_graphql::{Request, Variables};
use axum::extract::State;
use axum::http::request::Parts;
use serde::Deserialize;
use serde_json::Value;

use crate::api::error::Problem;
use crate::api::extract::{Json, Query};
use crate::api::{ApiError, ApiState};

/// Characters of an operation's name.
const LONGEST_NAME: usize = 200;

/// A query.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct GraphRequest {
    /// The query, such as `{ hosts(limit: 5) { items { address bytes_sent } } }`.
    query: String,
    /// Values of the query's variables.
    #[schema(value_type = Option<Object>)]
    variables: Option<serde_json::Map<String, Value>>,
    /// Which of several operations.
    #[serde(rename = "operationName")]
    #[schema(max_length = 200)]
    operation_name: Option<String>,
}

/// What became of a query.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub(in crate::api) struct GraphAnswer {
    /// What was asked for; missing where the query is refused before anything of it is answered.
    #[serde(skip_serializing_if = "Value::is_null")]
    #[schema(value_type = Object, required = false)]
    data: Value,
    /// What cannot be answered, and why: `message`, `path`, and of refusals of the API `extensions.status` and `extensions.field`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Object>)]
    errors: Vec<Value>,
}

/// Reads by GraphQL: windows, features, flows, hosts, anomalies, alerts, baselines and sums, as the paths of the same parameters answer
/// them, to the same roles. A query has at most 500 fields, 16 of them within each other, 12 spreads of fragments and 2,000 words, and asks for at
/// most 20 fields of `Query`, 2,000 items of lists and 50,000 values. A query that cannot be answered is 200 with `errors`.
#[utoipa::path(
    post,
    path = "/graphql",
    operation_id = "query_graphql",
    tag = "about",
    request_body = GraphRequest,
    responses(
        (status = 200, description = "The answer, or why there is none.", body = GraphAnswer),
        (status = 404, description = "It is not switched on: `[api] graphql`.", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn post(
    _: Query<()>,
    State(state): State<ApiState>,
    parts: Parts,
    Json(asked): Json<GraphRequest>,
) -> Result<Json<GraphAnswer>, ApiError> {
    let off = || ApiError::NotFound { detail: "GraphQL is not switched on: `[api] graphql = true`".to_owned() };
    let graph = state.graph.as_ref().ok_or_else(off)?;
    if asked.operation_name.as_ref().is_some_and(|name| name.chars().count() > LONGEST_NAME) {
        return Err(ApiError::invalid("operationName", format!("at most {LONGEST_NAME} characters")));
    }
    let mut request = Request::new(asked.query);
    request.operation_name = asked.operation_name;
    if let Some(variables) = asked.variables {
        request = request.variables(Variables::from_json(Value::Object(variables)));
    }
    let answer = graph.answer(parts, request).await;
    let data = answer.data.into_json().map_err(|_cannot_fail| ApiError::Internal)?;
    let errors = answer.errors.iter().map(serde_json::to_value).collect::<Result<_, _>>();
    Ok(Json(GraphAnswer { data, errors: errors.map_err(|_cannot_fail| ApiError::Internal)? }))
}

//! `GET /api`: what there is, made from the routes.

use std::collections::BTreeMap;

use axum::extract::State;
use serde::Serialize;
use utoipa::openapi::HttpMethod;

use crate::api::ApiState;
use crate::api::extract::{Json, Query};
use crate::api::openapi::operations;
use crate::api::state::VERSION;

/// The paths of this server.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct Index {
    name: &'static str,
    version: &'static str,
    /// Path, method, and what it does.
    paths: BTreeMap<String, BTreeMap<&'static str, String>>,
}

/// Lists the paths.
#[utoipa::path(
    get,
    path = "/api",
    operation_id = "get_index",
    tag = "about",
    responses((status = 200, description = "The paths.", body = Index))
)]
pub(in crate::api) async fn get(_: Query<()>, State(state): State<ApiState>) -> Json<Index> {
    Json(index(&state))
}

pub(super) fn index(state: &ApiState) -> Index {
    let paths = state.document.paths.paths.iter().map(|(path, item)| {
        let methods =
            operations(item).map(|(method, operation)| (method_name(&method), one_line(operation.summary.as_deref())));
        (path.clone(), methods.collect())
    });
    Index { name: "nta", version: VERSION, paths: paths.collect() }
}

/// A summary as the source has it is broken where its lines end.
fn one_line(summary: Option<&str>) -> String {
    summary.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

const fn method_name(method: &HttpMethod) -> &'static str {
    match method {
        HttpMethod::Head => "HEAD",
        HttpMethod::Post => "POST",
        HttpMethod::Put => "PUT",
        HttpMethod::Patch => "PATCH",
        HttpMethod::Delete => "DELETE",
        _ => "GET",
    }
}

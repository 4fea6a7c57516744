//! `/api/features`: feature vectors of hosts.

use std::collections::BTreeMap;
use std::net::IpAddr;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde::Serialize;

use crate::api::error::Refusals;
use crate::api::page::{List, PageRequest, Sorts};
use crate::api::params::Params;
use crate::api::{ApiError, ApiState};
use crate::json::seconds;
use crate::store::{FeatureFilter, FeatureRow};
use nta_core::features::{FEATURES, SCHEMA_VERSION};
use nta_core::window::Span;

const SORTS: Sorts<()> = &[("time", ())];

/// What a host did in a window, as numbers.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct FeaturesJson {
    id: u64,
    /// Its address.
    host: String,
    window_start: String,
    window_end: String,
    /// Length of the window.
    window_size_s: f64,
    /// Version of the features' names, order and formulas.
    schema_version: u32,
    /// Every feature by its name.
    features: BTreeMap<&'static str, f64>,
    /// What a model says; null as long as there is none.
    prediction: Option<String>,
}

/// A page of feature vectors, the newest first unless `sort` says otherwise.
#[utoipa::path(
    get,
    path = "/api/features",
    tag = "windows",
    params(
        ("window_size" = Option<String>, Query, description = "length of the windows in seconds: 5, 30 or 180 \
            (default 5); with other base windows these, six and thirty-six times as long"),
        ("host" = Option<String>, Query, description = "address of the host"),
        ("from" = Option<String>, Query, description = "windows that end later; RFC 3339 or Unix seconds"),
        ("to" = Option<String>, Query, description = "windows that start earlier; RFC 3339 or Unix seconds"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "items of a page, default 100"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("sort" = Option<String>, Query, description = "time; `-` before it: latest first (default -time)"),
    ),
    responses((status = 200, body = List<FeaturesJson>), Refusals)
)]
pub(in crate::api) async fn list(
    State(state): State<ApiState>,
    uri: Uri,
) -> Result<Json<List<FeaturesJson>>, ApiError> {
    let params = Params::read(&uri, &["window_size", "host", "from", "to", "limit", "cursor", "sort"])?;
    let [from, to] = params.interval()?;
    let host: Option<IpAddr> = params.parsed("host", "an IPv4 or IPv6 address")?;
    let base_ns = state.base_ns();
    let sizes = Span::ALL.map(|span| base_ns * span.factor());
    let size = params.get("window_size").map_or(Ok(base_ns), |text| {
        let asked_s = text.strip_suffix('s').unwrap_or(text).parse::<f64>().ok();
        let same = |size: &u64| asked_s.is_some_and(|asked_s| (asked_s - seconds(*size)).abs() < 1e-9);
        sizes.into_iter().find(same).ok_or_else(|| {
            let sizes = sizes.map(|size| seconds(size).to_string()).join(", ");
            ApiError::invalid("window_size", format!("`{text}`: expected one of {sizes}"))
        })
    })?;
    let page = PageRequest::read(&params, SORTS)?;
    let filter = FeatureFilter { span_ns: Some(size), host, from, to };
    let features = state.store.features(&filter, page.position).await?;
    Ok(Json(page.list(features.items.iter().map(json).collect(), features.next)))
}

fn json((id, row): &(u64, FeatureRow)) -> FeaturesJson {
    // Vectors of other versions have other names, which are not known any more.
    let names = FEATURES.iter().map(|feature| feature.name).take(row.vector.len());
    let features = if row.schema_version == SCHEMA_VERSION {
        names.zip(row.vector.iter().copied()).collect()
    } else {
        BTreeMap::new()
    };
    FeaturesJson {
        id: *id,
        host: row.host.to_string(),
        window_start: row.start.to_string(),
        window_end: row.end.to_string(),
        window_size_s: seconds(row.end.since(row.start)),
        schema_version: row.schema_version,
        features,
        prediction: None,
    }
}

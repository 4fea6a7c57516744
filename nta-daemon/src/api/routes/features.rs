//! `/api/features`: feature vectors of hosts.

use std::collections::BTreeMap;

use axum::extract::State;
use serde::Serialize;

use super::metrics::SpanText;
use crate::api::error::Problem;
use crate::api::extract::{Cidr, Json, Query, Several, addresses, parameters};
use crate::api::page::{List, PageQuery, Period, SortField};
use crate::api::whose::WhoseQuery;
use crate::api::{ApiError, ApiState};
use crate::json::seconds;
use crate::store::{BySensor, FeatureFilter, FeatureRow, Range, Whose};
use nta_core::features::{FEATURES, SCHEMA_VERSION};
use nta_core::window::Span;

/// The only order of a list of features.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct ByTime;

impl SortField for ByTime {
    const ALL: &'static [(&'static str, Self)] = &[("time", Self)];
}

/// What a host did in a window, as numbers.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct HostFeatures {
    id: u64,
    /// Name of the sensor that saw it; null where it was not noted.
    sensor: Option<String>,
    /// Its address.
    host: String,
    #[schema(format = DateTime)]
    window_start: String,
    #[schema(format = DateTime)]
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

parameters! {
    /// Which feature vectors.
    pub(in crate::api) struct FeaturesQuery {
        /// Length of the windows in seconds: 5, 30 or 180 (5 unless given); with other base windows these, six and
        /// thirty-six times as long.
        "window_size" => window_size: SpanText,
        /// Address of the host, network as in 192.0.2.0/24, or several of these.
        "host" => hosts: Several<Cidr>,
        ..whose: WhoseQuery,
        ..period: Period,
        ..page: PageQuery<ByTime>,
    }
}

/// A page of feature vectors, the newest first unless `sort` says otherwise.
#[utoipa::path(
    get,
    path = "/api/features",
    operation_id = "list_features",
    tag = "windows",
    params(FeaturesQuery),
    responses(
        (status = 200, description = "The page.", body = List<HostFeatures>),
        (status = 422, description = "More would be read than may be; `detail` says what to ask for instead.",
            body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn list(
    State(state): State<ApiState>,
    Query(query): Query<FeaturesQuery>,
) -> Result<Json<List<HostFeatures>>, ApiError> {
    let page = query.page;
    let scope = state.scope(query.whose.clone()).await?;
    let range = page.range(query.period, &scope, &state).await?;
    let features = state.store.features(&query.filter(scope.whose, range, &state)?, page.position).await?;
    Ok(Json(page.list(features.items.iter().map(json).collect(), features.next, range)))
}

impl FeaturesQuery {
    /// Which feature vectors, within a range.
    pub(super) fn filter(self, whose: Whose, range: Range, state: &ApiState) -> Result<FeatureFilter, ApiError> {
        let base_ns = state.base_ns();
        let sizes = Span::ALL.map(|span| base_ns * span.factor());
        let size = self.window_size.map_or(base_ns, SpanText::as_nanos);
        if !sizes.contains(&size) {
            let sizes = sizes.map(|size| seconds(size).to_string()).join(", ");
            return Err(ApiError::invalid("window_size", format!("`{}`: expected one of {sizes}", seconds(size))));
        }
        Ok(FeatureFilter {
            span_ns: Some(size),
            hosts: addresses(self.hosts.as_ref()),
            from: range.from,
            to: range.to,
            whose,
        })
    }
}

pub(super) fn json((id, row): &(u64, BySensor<FeatureRow>)) -> HostFeatures {
    // Vectors of other versions have other names, which are not known any more.
    let names = FEATURES.iter().map(|feature| feature.name).take(row.vector.len());
    let features = if row.schema_version == SCHEMA_VERSION {
        names.zip(row.vector.iter().copied()).collect()
    } else {
        BTreeMap::new()
    };
    HostFeatures {
        id: *id,
        sensor: row.sensor.clone(),
        host: row.host.to_string(),
        window_start: row.start.to_string(),
        window_end: row.end.to_string(),
        window_size_s: seconds(row.span_ns),
        schema_version: row.schema_version,
        features,
        prediction: None,
    }
}

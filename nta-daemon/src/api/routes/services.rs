//! `/api/services`: what services had of the traffic of a time.

use axum::extract::State;
use nta_common::packet::proto;
use serde::Serialize;

use crate::api::extract::{Json, Query, parameters};
use crate::api::page::Period;
use crate::api::whose::WhoseQuery;
use crate::api::{ApiError, ApiState};
use crate::json::protocol_name;
use crate::store::{Range, ServiceTotals, service_steps};

/// What services had of the traffic of a time.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct ServicesJson {
    /// Each service, that with the most bytes first.
    #[schema(max_items = 1000)]
    items: Vec<ServiceJson>,
    /// Flows of all services that began.
    flows: i64,
    /// Packets of all services.
    packets: i64,
    /// Frame bytes of all services.
    bytes: i64,
    /// The begin of the time: that of its first five minutes; null where it is open.
    #[schema(required, format = DateTime)]
    from: Option<String>,
    /// The end of the time: that of its last five minutes; null where it is open.
    #[schema(required, format = DateTime)]
    to: Option<String>,
}

/// What a service had.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct ServiceJson {
    /// `service_name` of the flows; `other tcp` is what nothing names, by protocol.
    service: String,
    /// Flows that began.
    flows: i64,
    /// Packets of both directions.
    packets: i64,
    /// Frame bytes of both directions.
    bytes: i64,
}

impl From<ServiceTotals> for ServiceJson {
    fn from(totals: ServiceTotals) -> Self {
        let ServiceTotals { name, proto, flows, packets, bytes } = totals;
        let service = match (name.is_empty(), proto) {
            (false, _) => name,
            (true, proto::TCP | proto::UDP | proto::UDP_LITE | proto::SCTP) => {
                format!("other {}", protocol_name(proto))
            }
            (true, proto) => protocol_name(proto),
        };
        Self { service, flows, packets, bytes }
    }
}

parameters! {
    /// Which services.
    pub(in crate::api) struct ServicesQuery {
        ..whose: WhoseQuery,
        ..period: Period,
    }
}

/// What services had of the traffic, exactly: packets count in the five minutes in which they were counted, whatever their flow's length.
///
/// Without `from` and `to` it is all that is kept. A time is widened to whole five minutes; the answer says to which. A flow's service is
/// what its content says, else what its port is registered for; until its content is seen it is the port that names it.
#[utoipa::path(
    get,
    path = "/api/services",
    operation_id = "list_services",
    tag = "flows",
    params(ServicesQuery),
    responses((status = 200, description = "The services.", body = ServicesJson))
)]
pub(in crate::api) async fn list(
    State(state): State<ApiState>,
    Query(ServicesQuery { whose, period }): Query<ServicesQuery>,
) -> Result<Json<ServicesJson>, ApiError> {
    let scope = state.scope(whose).await?;
    let range = service_steps(Range { from: period.from, to: period.to });
    let services = state.store.services(range, &scope.whose).await?;
    let total = |of: fn(&ServiceTotals) -> i64| services.iter().map(of).fold(0, i64::saturating_add);
    Ok(Json(ServicesJson {
        flows: total(|service| service.flows),
        packets: total(|service| service.packets),
        bytes: total(|service| service.bytes),
        from: range.from.map(|time| time.to_string()),
        to: range.to.map(|time| time.to_string()),
        items: services.into_iter().map(ServiceJson::from).collect(),
    }))
}

//! How many requests there were and how long each took until its answer began, by route: the path as the router has it, never as a
//! client writes it.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

/// Upper bounds of the times in seconds.
const BOUNDS: [f64; 11] = [0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 2.5, 10.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Route {
    route: String,
    method: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Answer {
    route: String,
    method: &'static str,
    code: u16,
}

/// Shared by all requests.
pub(super) struct Requests {
    pub(super) took: Family<Route, Histogram, fn() -> Histogram>,
    pub(super) answered: Family<Answer, Counter>,
}

impl Default for Requests {
    fn default() -> Self {
        let new: fn() -> Histogram = || Histogram::new(BOUNDS);
        Self { took: Family::new_with_constructor(new), answered: Family::default() }
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests").finish_non_exhaustive()
    }
}

/// The layer around all routes. Its labels are bounded: by the routes that there are, by the methods that HTTP has, and by the codes
/// that are answered.
pub(super) async fn measure(State(requests): State<Arc<Requests>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let method = match request.method().as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    };
    let began = Instant::now();
    let response = next.run(request).await;
    let took = began.elapsed().as_secs_f64();
    requests.took.get_or_create(&Route { route: route.clone(), method }).observe(took);
    requests.answered.get_or_create(&Answer { route, method, code: response.status().as_u16() }).inc();
    response
}

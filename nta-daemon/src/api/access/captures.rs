//! Which requests are about captures: what is in one comes from anywhere, it is of no interface that a scope could name. And which are
//! about the interfaces that they name.

use axum::extract::Query;
use axum::http::Uri;

use crate::store::capture_of_sensor;

/// Captures, what is made of them, and packets that may lie in any of them.
const PATHS: [&str; 10] = [
    "/upload",
    "/api/upload",
    "/api/captures",
    "/analysis",
    "/report",
    "/reports",
    "/api/analysis/score",
    "/api/analysis/predict",
    "/api/analysis/list-files",
    "/api/analysis/download",
];
/// What the path of an alert's packets ends with.
const PACKETS: &str = "/evidence.pcap";

/// Requests whose handlers look at the interfaces that they name, and answer about those of the scope alone: what else is watched
/// does not matter to them.
const NAMING: [&str; 5] = [
    "/api/control/capture/start",
    "/api/control/capture/stop",
    "/api/control/capture/status",
    "/api/analysis/start-tcpdump",
    "/api/analysis/stop-tcpdump",
];

/// Whether a scope is judged against what a request names, and not against what is watched.
pub(super) fn names_interfaces(uri: &Uri) -> bool {
    NAMING.contains(&uri.path().trim_end_matches('/'))
}

/// Whether what a request asks for is of captures.
pub(super) fn is_of_captures(uri: &Uri) -> bool {
    let path = uri.path().trim_end_matches('/');
    let is_at = |known: &str| path.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let names =
        |(name, value): &(String, String)| name == "capture" || name == "sensor" && capture_of_sensor(value).is_some();
    let query = Query::<Vec<(String, String)>>::try_from_uri(uri);
    PATHS.iter().any(|known| is_at(known))
        || path.ends_with(PACKETS)
        || query.is_ok_and(|Query(all)| all.iter().any(names))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captures_are_asked_for_by_path_and_by_filter_however_it_is_written() {
        let sensor = format!("/api/flows?sensor=capture-{:032x}", 7);
        for uri in [
            "/upload",
            "/api/upload/",
            "/api/captures/7/file",
            "/report/7",
            "/analysis/7",
            "/api/analysis/download/7.csv",
            "/api/alerts/7/evidence.pcap",
            "/api/flows?host=192.0.2.1&%63apture=7",
            sensor.as_str(),
        ] {
            assert!(is_of_captures(&uri.parse().expect("a URI")), "{uri}");
        }
        for uri in [
            "/api/flows",
            "/api/alerts/7/evidence",
            "/api/flows?sensor=capture-box",
            "/stats",
            "/api/analysis/stop-tcpdump",
            "/reporting",
        ] {
            assert!(!is_of_captures(&uri.parse().expect("a URI")), "{uri}");
        }
    }
}

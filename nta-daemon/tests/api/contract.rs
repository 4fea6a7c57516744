//! The HTTP contract, row for row, held against the OpenAPI document in both directions.
//!
//! Where the rows come from: the tables of the project's HTTP contract (`API.md`, five tables), with a line for each method and path
//! that a row names. A route that is not in it is agreed on first, then added here. The role is the one of the contract: `–` is
//! `public`, V `viewer`, O `operator`, A `admin`.

use std::collections::BTreeMap;

use crate::app::App;

const CONTRACT: &str = "
    # Health and control
    GET /health public
    GET /api/status viewer
    GET /api/control/status viewer
    GET /api/control/config viewer
    GET /api/control/ping viewer
    GET /api/control/logs operator
    POST /api/control/capture/start operator
    POST /api/control/capture/stop operator
    GET /api/control/capture/status viewer
    GET /api/jobs viewer
    GET /api/jobs/{id} viewer
    POST /api/jobs/{id}/cancel operator
    GET /api/audit admin
    POST /api/control/reload admin
    GET /api/tokens admin
    POST /api/tokens admin
    DELETE /api/tokens/{id} admin
    POST /api/session viewer
    DELETE /api/session viewer
    GET /metrics public

    # Windows and features
    GET /api/metrics viewer
    GET /api/metrics/{id} viewer
    GET /api/metrics/summary viewer
    POST /api/metrics/compute operator
    GET /api/features viewer
    GET /api/last10 viewer
    GET /api/alltraffic viewer
    GET /api/flows viewer
    GET /api/hosts viewer
    GET /api/hosts/{ip} viewer

    # Anomalies and alerts
    GET /api/anomalies viewer
    GET /api/anomalies/by-type viewer
    GET /api/anomalies/top viewer
    GET /api/anomalies/summary viewer
    GET /api/anomalies/window/{id} viewer
    POST /api/anomalies/detect operator
    GET /api/explain viewer
    GET /api/alerts viewer
    GET /api/alerts/{id} viewer
    PATCH /api/alerts/{id} operator
    POST /api/alerts/resolve operator
    POST /api/alerts/acknowledge operator
    POST /api/alerts/reopen operator
    GET /api/alerts/{id}/evidence viewer
    GET /api/alerts/{id}/evidence.pcap viewer
    GET /api/alerts/{id}/alert.html viewer
    GET /api/mutes viewer
    POST /api/mutes operator
    DELETE /api/mutes/{id} operator
    GET /api/stream viewer
    GET /api/events viewer

    # Baselines and models
    GET /api/baselines viewer
    GET /api/baselines/{type} viewer
    GET /api/baselines/stats viewer
    POST /api/baselines/generate operator
    PUT /api/baselines/{type} operator
    POST /api/train admin
    GET /api/models viewer
    POST /api/models/{id}/activate admin

    # Capture files
    POST /upload operator
    POST /api/upload operator
    HEAD /api/upload/{file_id} operator
    PATCH /api/upload/{file_id} operator
    GET /api/captures viewer
    GET /api/captures/{file_id} viewer
    DELETE /api/captures/{file_id} admin
    GET /analysis/{file_id} operator
    GET /report/{file_id} viewer
    GET /reports/{file_id} viewer
    GET /stats viewer
    POST /api/analysis/start-tcpdump operator
    POST /api/analysis/stop-tcpdump operator
    POST /api/analysis/score operator
    POST /api/analysis/predict operator
    GET /api/analysis/list-files viewer
    GET /api/analysis/download/{filename} viewer
    GET /api/export viewer

    # Sensors and pages
    POST /ingest sensor
    GET /dashboard viewer
    GET /docs viewer
    GET /api/webhooks admin
    POST /api/webhooks/{name}/test admin
    GET /api/webhooks/dead admin
    POST /api/webhooks/dead/{id}/retry admin
    GET /api/sensors viewer
    GET /api/sensors/{id} viewer
    PUT /api/sensors/{id}/settings admin
    POST /graphql viewer
    GET /api public
    GET / public

    # Named in its introduction
    GET /openapi.json public
    # Parts of rows: the scripts and styles of /docs and of the dashboard, and its pages
    GET /docs/{file} viewer
    GET /dashboard/{page} viewer
    GET /dashboard/{page}/{name} viewer
    GET /dashboard/assets/{file} viewer
";

/// Rows that belong to later work: they may be missing.
const LATER: &[(&str, &str)] = &[];

/// What there is beyond the contract, and why.
const BEYOND: &[(&str, &str)] = &[
    ("GET /api/alerts/counts", "the first screen counts what it does not list"),
    ("GET /api/services", "what services had of a time, from sums that are kept"),
    ("DELETE /api/sensors/{id}", "a gateway that was taken down would be silent for ever"),
    ("GET /api/captures/{file_id}/file", "who records packets takes them away; the contract has no path for the bytes"),
];

/// Where the role is another one than the contract's, and why.
const OTHER_ROLES: &[(&str, &str, &str)] = &[
    ("GET /docs", "public", "it shows /openapi.json, which is public, and a browser that opens it shows no token yet"),
    ("GET /docs/{file}", "public", "as /docs"),
    ("GET /dashboard", "public", "the page holds no data, and a browser without a token has to be asked for one"),
    ("GET /dashboard/{page}", "public", "as /dashboard"),
    ("GET /dashboard/{page}/{name}", "public", "as /dashboard"),
    ("GET /dashboard/assets/{file}", "public", "as /dashboard"),
];

/// A path without the names of its parameters, which are ours to choose.
fn without_names(row: &str) -> String {
    let parts = row.split('/').map(|part| if part.starts_with('{') { "{}" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn each_row_of_the_contract_is_in_the_document_and_the_other_way_round() {
    let mut contract = BTreeMap::new();
    for line in CONTRACT.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (row, role) = line.rsplit_once(' ').expect("method, path, role");
        assert!(contract.insert(without_names(row), (row, role)).is_none(), "{row} twice");
    }
    for row in LATER.iter().map(|(row, _)| row).chain(OTHER_ROLES.iter().map(|(row, ..)| row)) {
        assert!(contract.contains_key(&without_names(row)), "{row} is no row of the contract");
    }
    let document = App::with(0, 0).await.json("/openapi.json").await;
    let mut described = BTreeMap::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("methods") {
            let row = format!("{} {path}", method.to_uppercase());
            described.insert(without_names(&row), (row, operation["x-role"].as_str().expect("a role").to_owned()));
        }
    }
    for (key, (row, role)) in &contract {
        let is_later = LATER.iter().any(|(later, _)| later == row);
        let Some((_, here)) = described.get(key) else {
            assert!(is_later, "{row} of the contract is not in the document");
            continue;
        };
        let expected = OTHER_ROLES.iter().find(|(other, ..)| other == row).map_or(*role, |(_, other, _)| other);
        assert_eq!(here, expected, "the role of {row}");
    }
    for (key, (row, _)) in &described {
        let is_beyond = BEYOND.iter().any(|(beyond, _)| beyond == row);
        assert!(
            contract.contains_key(key) != is_beyond,
            "{row} is in the contract or said to be beyond it, and not both"
        );
    }
}

//! Links of the OpenAPI document: which answer names what a further request takes, so that a client can walk from one to the next.

use utoipa::openapi::link::Link;
use utoipa::openapi::{OpenApi, RefOr, Response};

use super::openapi::operations_mut;

/// Where a value that an answer or its request names leads: from these operations, with these statuses, to these; as which parameter.
struct Walk {
    from: &'static [&'static str],
    statuses: &'static [&'static str],
    to: &'static [&'static str],
    parameter: &'static str,
    value: &'static str,
}

const ID: &str = "$response.body#/id";
const FIRST_ID: &str = "$response.body#/items/0/id";
const ALERT: &[&str] = &["get_alert", "get_evidence", "get_evidence_packets", "get_alert_page", "change_alert"];

const WALKS: &[Walk] = &[
    Walk {
        from: &["upload_capture", "upload_capture_root", "upload_part"],
        statuses: &["200", "201"],
        to: &["get_capture", "get_analysis", "get_report", "delete_capture"],
        parameter: "file_id",
        value: "$response.body#/file_id",
    },
    Walk {
        from: &["upload_capture", "upload_capture_root"],
        statuses: &["201"],
        to: &["get_upload_offset", "upload_part"],
        parameter: "file_id",
        value: "$response.body#/file_id",
    },
    Walk {
        from: &["upload_capture", "upload_capture_root"],
        statuses: &["200", "201"],
        to: &["get_job"],
        parameter: "id",
        value: "$response.body#/job",
    },
    Walk {
        from: &["list_captures"],
        statuses: &["200"],
        to: &["get_capture", "get_analysis", "get_report"],
        parameter: "file_id",
        value: "$response.body#/items/0/file_id",
    },
    Walk {
        from: &["get_analysis"],
        statuses: &["200"],
        to: &["get_report"],
        parameter: "file_id",
        value: "$response.body#/file_id",
    },
    Walk {
        from: &["score_capture"],
        statuses: &["200"],
        to: &["download_result"],
        parameter: "filename",
        value: "$response.body#/scored/name",
    },
    Walk {
        from: &["predict"],
        statuses: &["200"],
        to: &["download_result"],
        parameter: "filename",
        value: "$response.body#/file/name",
    },
    Walk {
        from: &["list_results"],
        statuses: &["200"],
        to: &["download_result"],
        parameter: "filename",
        value: "$response.body#/items/0/name",
    },
    Walk { from: &["list_alerts"], statuses: &["200"], to: ALERT, parameter: "id", value: FIRST_ID },
    Walk {
        from: &["list_windows"],
        statuses: &["200"],
        to: &["get_window", "list_anomalies_of_window"],
        parameter: "id",
        value: FIRST_ID,
    },
    Walk {
        from: &["list_hosts"],
        statuses: &["200"],
        to: &["get_host"],
        parameter: "ip",
        value: "$response.body#/items/0/address",
    },
    Walk {
        from: &["list_hosts"],
        statuses: &["200"],
        to: &["explain", "find_flows"],
        parameter: "host",
        value: "$response.body#/items/0/address",
    },
    Walk { from: &["list_jobs"], statuses: &["200"], to: &["get_job", "cancel_job"], parameter: "id", value: FIRST_ID },
    Walk { from: &["list_mutes"], statuses: &["200"], to: &["delete_mute"], parameter: "id", value: FIRST_ID },
    Walk { from: &["create_mute"], statuses: &["201"], to: &["delete_mute"], parameter: "id", value: ID },
    Walk { from: &["create_token"], statuses: &["201"], to: &["revoke_token"], parameter: "id", value: ID },
    Walk {
        from: &["list_webhooks"],
        statuses: &["200"],
        to: &["test_webhook"],
        parameter: "name",
        value: "$response.body#/items/0/name",
    },
    Walk {
        from: &["list_dead_letters"],
        statuses: &["200"],
        to: &["retry_dead_letter"],
        parameter: "id",
        value: FIRST_ID,
    },
];

/// Writes them into the answers that they begin at.
pub(super) fn add(document: &mut OpenApi) {
    for (_, operation) in document.paths.paths.values_mut().flat_map(operations_mut) {
        let id = operation.operation_id.clone().unwrap_or_default();
        if let Some(RefOr::T(response)) = operation.responses.responses.get_mut("202")
            && is_job(response)
        {
            response.links.extend(["get_job", "cancel_job"].map(|to| link(to, "id", ID)));
        }
        for walk in WALKS.iter().filter(|walk| walk.from.contains(&id.as_str())) {
            for status in walk.statuses {
                let Some(RefOr::T(response)) = operation.responses.responses.get_mut(*status) else { continue };
                response.links.extend(walk.to.iter().map(|to| link(to, walk.parameter, walk.value)));
            }
        }
    }
}

fn link(to: &str, parameter: &str, value: &str) -> (String, RefOr<Link>) {
    (to.to_owned(), RefOr::T(Link::builder().operation_id(to).parameter(parameter, value).build()))
}

/// Whether this answers a job that it made: each kind does so in the same way.
fn is_job(response: &Response) -> bool {
    let schemas = response.content.values().filter_map(|content| match content {
        RefOr::T(content) => content.schema.as_ref(),
        RefOr::Ref(_) => None,
    });
    schemas.into_iter().any(|schema| matches!(schema, RefOr::Ref(to) if to.ref_location.ends_with("/JobJson")))
}

//! The document is valid, and what the daemon answers is what it says.

use super::{admin, served, succeed, tools};

#[test]
fn validators_have_nothing_to_say() {
    let Some(tools) = tools("validators_have_nothing_to_say") else { return };
    let (folder, _served) = served();
    succeed(folder.path(), &tools.join("python/bin/openapi-spec-validator"), &["openapi.json"]);
    let redocly = tools.join("node/node_modules/.bin/redocly");
    // What becomes a WebSocket answers 101.
    let args = ["lint", "--format", "json", "--skip-rule", "operation-2xx-response", "openapi.json"];
    let said = succeed(folder.path(), &redocly, &args);
    let said: serde_json::Value = serde_json::from_slice(&said.stdout).expect("JSON");
    assert_eq!(said["totals"], serde_json::json!({"errors": 0, "warnings": 0, "ignored": 0}), "{said}");
}

/// Schemathesis makes requests that fit the document and such as do not. No answer may be a fault of the server, or one
/// that the document does not describe; what does not fit has to be refused. It may not demand that all that fits is
/// taken: that a cursor comes from the same list, or `from` is before `to`, no schema says. It asks with the token of an
/// administrator, and without one it has to be refused. A stream of events has no end.
#[test]
fn no_request_finds_a_fault_or_an_answer_that_is_not_described() {
    let Some(tools) = tools("no_request_finds_a_fault_or_an_answer_that_is_not_described") else { return };
    let (folder, served) = served();
    let shown = format!("Authorization: Bearer {}", admin(folder.path(), &served));
    let url = format!("http://{}/openapi.json", served.address);
    let args = ["run", &url, "--max-examples", EXAMPLES, "--seed", "1", "--exclude-checks", "positive_data_acceptance"];
    let rest = [
        "--generation-database",
        "none",
        "--continue-on-failure",
        "--warnings",
        "off",
        "--header",
        &shown,
        "--exclude-path",
        "/api/events",
    ];
    let run = succeed(folder.path(), &tools.join("python/bin/schemathesis"), &[&args[..], &rest].concat());
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    let cases = said.split(" generated").next().and_then(|text| text.split_whitespace().next_back()?.parse().ok());
    assert!(cases.is_some_and(|cases: u32| cases > 500), "{said}");
    assert_eq!(served.get("/health")["status"], "ok");
}

/// For each operation: with those that the document's bounds make, 2,000 in all at most.
const EXAMPLES: &str = "12";

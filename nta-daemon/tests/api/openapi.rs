//! The OpenAPI document: a reviewed snapshot, and rules that every generator of clients relies on.
//!
//! `UPDATE=1 cargo test -p nta-daemon --test api openapi` writes the snapshot anew.

use std::collections::HashSet;
use std::path::Path;

use serde_json::Value;

use crate::app::App;

#[tokio::test]
async fn the_document_is_the_reviewed_one() {
    let app = App::with(0, 0).await;
    let mut document = app.json("/openapi.json").await;
    document["info"]["version"] = "0.0.0".into();
    let text = format!("{document:#}\n");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api/openapi.json");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &text).expect("write the snapshot");
    }
    let reviewed = std::fs::read_to_string(&path).expect("the snapshot");
    let first = reviewed.lines().zip(text.lines()).enumerate().find(|(_, (old, new))| old != new);
    assert!(reviewed == text, "the document differs from {}: {first:?}; see the top of this file", path.display());
}

#[tokio::test]
async fn every_operation_has_a_name_of_its_own_and_every_answer_a_description() {
    let app = App::with(0, 0).await;
    let document = app.json("/openapi.json").await;
    let mut names = HashSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("methods") {
            let name = operation["operationId"].as_str().expect("a name").to_owned();
            assert!(names.insert(name.clone()), "{name} twice");
            assert!(operation["summary"].is_string() && operation["x-role"].is_string(), "{method} {path}");
            assert_eq!(operation["tags"].as_array().map(Vec::len), Some(1), "{method} {path}");
            for (status, response) in operation["responses"].as_object().expect("responses") {
                let about = response["description"].as_str().unwrap_or_default();
                assert!(!about.is_empty(), "{method} {path} {status}");
            }
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                // Of one that takes several values, each.
                let schema = parameter["schema"].get("items").unwrap_or(&parameter["schema"]);
                let is_bound = ["enum", "pattern", "format", "maximum", "maxLength", "anyOf"];
                assert!(is_bound.iter().any(|word| schema.get(word).is_some()), "{path} {parameter}");
            }
        }
    }
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    let counts = &schemas["CountsJson"];
    assert_eq!(counts["properties"]["seen"]["type"], "integer", "{counts}");
    let text = document.to_string();
    for part in text.split("\"$ref\":\"#/components/schemas/").skip(1) {
        let name = part.split('"').next().unwrap_or_default();
        assert!(schemas.contains_key(name), "{name} is referred to and not described");
    }
    let is_date = |schema: &Value| schema["format"] == "date-time";
    assert!(is_date(&schemas["FlowJson"]["properties"]["first_time"]));
}

/// Who walks the links always meets an operation that takes what it brings, and may go from a capture to its report.
#[tokio::test]
async fn each_link_leads_to_an_operation_that_takes_what_it_brings() {
    let document = App::with(0, 0).await.json("/openapi.json").await;
    let items = document["paths"].as_object().expect("paths").values();
    let operations: Vec<&Value> = items.flat_map(|item| item.as_object().expect("methods").values()).collect();
    let named = |id: &Value| operations.iter().find(|operation| operation["operationId"] == *id);
    let mut walked = Vec::new();
    for operation in &operations {
        for response in operation["responses"].as_object().expect("responses").values() {
            for link in response["links"].as_object().into_iter().flat_map(|links| links.values()) {
                let target = named(&link["operationId"]).unwrap_or_else(|| panic!("{link} leads nowhere"));
                for (name, value) in link["parameters"].as_object().expect("what it brings") {
                    let takes =
                        target["parameters"].as_array().into_iter().flatten().any(|taken| taken["name"] == *name);
                    let value = value.as_str().expect("an expression");
                    assert!(takes && value.starts_with("$response.body#/"), "{link}");
                }
                walked.push((operation["operationId"].clone(), link["operationId"].clone()));
            }
        }
    }
    for (from, to) in [
        ("upload_capture", "get_analysis"),
        ("get_analysis", "get_report"),
        ("list_alerts", "get_evidence"),
        ("compute_windows", "get_job"),
        ("create_token", "revoke_token"),
    ] {
        assert!(walked.contains(&(from.into(), to.into())), "from {from} to {to}");
    }
}

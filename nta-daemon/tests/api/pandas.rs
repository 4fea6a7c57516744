//! Every CSV that is written, as pandas reads it without an option.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::app::HOST;
use crate::uploads::{Site, scan, sqlite};

/// Reads files, a warning is a failure; says of each its rows and the kinds of its columns.
const SCRIPT: &str = "
import json, sys, warnings
import pandas
warnings.simplefilter('error')
said = {}
for path in sys.argv[1:]:
    table = pandas.read_csv(path)
    said[path] = {'rows': len(table), 'kinds': {name: kind.kind for name, kind in table.dtypes.items()}}
print(json.dumps(said))
";

/// What a file holds, a column a name.
type Columns = BTreeMap<String, Vec<Value>>;

/// A Python that has pandas: that of `cargo xtask setup`, or the system's.
fn python() -> Option<PathBuf> {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/python/bin/python");
    let has_pandas = |python: &PathBuf| {
        Command::new(python).args(["-c", "import pandas"]).output().is_ok_and(|done| done.status.success())
    };
    [kept, PathBuf::from("python3")].into_iter().find(has_pandas)
}

async fn text(site: &Site, path: &str) -> String {
    let request = Request::get(path).header(header::HOST, HOST).body(Body::empty()).expect("request");
    let response = site.router.clone().oneshot(request).await.expect("response");
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    let body = to_bytes(response.into_body(), usize::MAX).await.expect("body");
    String::from_utf8(body.to_vec()).expect("UTF-8")
}

/// All members of an object, those of its objects with its name in front.
fn flat(prefix: &str, value: &Value, members: &mut BTreeMap<String, Value>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        let name = format!("{prefix}{name}");
        flat(&format!("{name}_"), value, members);
        members.insert(name, value.clone());
    }
}

/// What a job has found.
async fn done(site: &Site, path: &str, request: &Value) -> Value {
    let headers = [("content-type", "application/json"), ("prefer", "respond-async")];
    let (_, _, job) = site.send(axum::http::Method::POST, path, &headers, Body::from(request.to_string())).await;
    let job = format!("/api/jobs/{}", job["id"].as_str().unwrap_or_else(|| panic!("{path}: {job}")));
    let over = site.until(&job, |_, job| job["ended"].is_string()).await;
    assert_eq!(over["state"], "done", "{over}");
    over["result"].clone()
}

/// Whether a column that pandas gives this kind is one of such values.
fn fits(kind: &str, values: &[Value]) -> bool {
    let all = |is: fn(&Value) -> bool| values.iter().all(is);
    match kind {
        "b" => all(Value::is_boolean),
        "i" | "u" => all(Value::is_u64) || all(Value::is_i64),
        // With empty cells, or of nothing else.
        "f" => all(|value| value.is_number() || value.is_null()),
        "O" => all(|value| !value.is_number()) && values.iter().any(|value| !value.is_null()),
        _ => false,
    }
}

#[tokio::test]
async fn pandas_reads_every_csv_without_an_option_and_with_the_right_types() {
    let Some(python) = python() else {
        println!("not run: no Python has pandas; `cargo xtask setup` installs it");
        return;
    };
    let folder = tempfile::tempdir().expect("folder");
    let site = Site::over(sqlite(folder.path()).await, folder.path(), |_| {});
    let (_, answer) = site.upload(&scan()).await;
    let file_id = answer["file_id"].as_str().expect("a name").to_owned();
    site.until(&format!("/api/captures/{file_id}"), |_, capture| capture["state"] == "analysed").await;

    // Each file with what it holds in JSON, a column a name; of scores and predictions the columns that are no numbers.
    let mut files: Vec<(String, Option<Columns>)> = Vec::new();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name).display().to_string();
        std::fs::write(&path, text).expect("written");
        path
    };
    for what in ["windows", "flows", "alerts", "features"] {
        let export = |format: &str| format!("/api/export?what={what}&format={format}&capture={file_id}&from=0");
        let csv = text(&site, &export("csv")).await;
        let names: Vec<&str> = csv.lines().next().expect("names").split(',').collect();
        let mut columns: Columns = Columns::new();
        for line in text(&site, &export("ndjson")).await.lines() {
            let item: Value = serde_json::from_str(line).expect("JSON");
            let mut members = BTreeMap::new();
            flat("", &item, &mut members);
            for name in &names {
                columns.entry((*name).to_owned()).or_default().push(members.get(*name).cloned().unwrap_or_default());
            }
        }
        assert!(columns.values().all(|values| !values.is_empty()), "{what}");
        files.push((write(&format!("{what}.csv"), &csv), Some(columns)));
    }
    let scored = done(&site, "/api/analysis/score", &json!({ "capture": file_id })).await["scored"].clone();
    let mut made = vec![scored.clone()];
    if cfg!(feature = "xgboost") {
        let predict = json!({ "scored": scored["name"] });
        made.push(done(&site, "/api/analysis/predict", &predict).await["file"].clone());
    }
    for file in &made {
        let csv = text(&site, file["path"].as_str().expect("a path")).await;
        files.push((write(file["name"].as_str().expect("a name"), &csv), None));
    }

    let paths = files.iter().map(|(path, _)| path);
    let read = Command::new(python).args(["-c", SCRIPT]).args(paths).output().expect("it runs");
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let said: Value = serde_json::from_slice(&read.stdout).expect("JSON");
    for (path, columns) in files {
        let kinds = said[&path]["kinds"].as_object().expect("columns");
        let Some(columns) = columns else {
            const TEXTS: [&str; 8] = [
                "window_start",
                "window_end",
                "host",
                "severity",
                "alerts_as_source",
                "alerts_as_destination",
                "prediction",
                "class",
            ];
            for (name, kind) in kinds {
                let is_text = TEXTS.contains(&name.as_str());
                assert!(if is_text { kind == "O" } else { kind != "O" }, "{path}: {name} is {kind}");
            }
            continue;
        };
        assert_eq!(said[&path]["rows"], columns.values().next().map_or(0, Vec::len), "{path}");
        for (name, values) in columns {
            let kind = kinds[&name].as_str().expect("a kind");
            assert!(fits(kind, &values), "{path}: {name} is {kind} of {values:?}");
        }
    }
    site.uploads.stop().await;
}

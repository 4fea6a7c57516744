//! Models that are listed, trained and activated.

use std::net::IpAddr;

use axum::http::{Method, StatusCode};
use nta_core::domain::Timestamp;
use nta_core::features::{FEATURES, SCHEMA_VERSION};
use nta_daemon::config::Config;
use nta_daemon::model_loader::{ModelHandle, Registry};
use nta_daemon::store::{FeatureRow, Store, WindowBatch};
use serde_json::{Value, json};

use crate::app::App;
use crate::postgres::Server;
use crate::uploads::{Site, scan, sqlite};

const S: u64 = 1_000_000_000;

fn items(list: &Value) -> &Vec<Value> {
    list["items"].as_array().expect("items")
}

fn of<'a>(list: &'a Value, algorithm: &str, origin: &str) -> Option<&'a Value> {
    items(list).iter().find(|item| item["algorithm"] == algorithm && item["origin"] == origin)
}

/// Feature vectors of ten hosts in so many windows of 30 s, that differ from each other as hosts do; `strange` windows at the end are
/// of other traffic.
fn features(windows: u64, strange: u64) -> Vec<FeatureRow> {
    let row = |window: u64, host: u8| {
        let is_strange = window + strange > windows;
        let varies = |place: usize| ((window * 31 + u64::from(host) * 7 + place as u64 * 13) % 23) as f64;
        let mut vector: Vec<f64> = (0..FEATURES.len()).map(|place| 5.0 + varies(place) * 0.1).collect();
        if is_strange {
            vector.iter_mut().enumerate().for_each(|(place, value)| *value = 1e6 + varies(place) * 1e4);
        }
        FeatureRow {
            start: Timestamp::from_nanos(window * 30 * S),
            end: Timestamp::from_nanos((window + 1) * 30 * S),
            span_ns: 30 * S,
            host: IpAddr::from([10, 0, 0, host]),
            schema_version: SCHEMA_VERSION,
            vector,
        }
    };
    (1..=windows).flat_map(|window| (1..=10).map(move |host| row(window, host))).collect()
}

async fn app_with(rows: Vec<FeatureRow>) -> App {
    let app = App::with(1, 1).await;
    app.batch(WindowBatch { features: rows, ..WindowBatch::default() }).await;
    app
}

#[tokio::test]
async fn the_shipped_model_is_listed_and_can_be_activated_again() {
    let app = App::with(1, 1).await;
    let list = app.json("/api/models").await;
    let Some(shipped) = of(&list, "xgboost", "shipped") else {
        eprintln!("not run: the_shipped_model_is_listed_and_can_be_activated_again: models are not built in");
        return;
    };
    assert_eq!((&shipped["is_active"], &shipped["is_valid"]), (&true.into(), &true.into()), "{shipped}");
    assert_eq!(shipped["schema"]["inputs"].as_array().map(Vec::len), Some(70));
    let shares: f64 = shipped["importance"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| one["share"].as_f64().expect("a share"))
        .sum();
    assert!((shares - 1.0).abs() < 1e-9, "{shares}");
    assert!(shipped["metrics"].as_array().is_some_and(|metrics| metrics.iter().any(|one| one["class"] == "syn_flood")));
    let id = shipped["id"].as_str().expect("an id");
    let (status, activated) = app.send(Method::POST, &format!("/api/models/{id}/activate"), &json!({})).await;
    assert_eq!((status, &activated["is_active"]), (StatusCode::OK, &true.into()), "{activated}");
    let audit = app.json("/api/audit").await;
    assert_eq!(audit["items"], json!([]), "it judges already: nothing changes");
    for (id, expected) in [("0123456789ab", 404), ("x", 400), ("..%2f..", 400)] {
        let (status, answer) = app.send(Method::POST, &format!("/api/models/{id}/activate"), &json!({})).await;
        assert_eq!(status.as_u16(), expected, "{id}: {answer}");
    }
}

async fn train(app: &App, body: &Value) -> (StatusCode, Value) {
    app.send(Method::POST, "/api/train", body).await
}

#[tokio::test]
async fn a_forest_of_the_stored_windows_judges_and_does_so_after_a_restart() {
    let app = app_with(features(120, 0)).await;
    let (status, trained) = train(&app, &json!({ "algorithm": "isolation_forest" })).await;
    assert_eq!((status, &trained["is_valid"]), (StatusCode::OK, &true.into()), "{trained}");
    assert_eq!(
        (&trained["figures"]["rows"], &trained["figures"]["rows_tried"]),
        (&960.into(), &240.into()),
        "{trained}"
    );
    assert_eq!(trained["is_active"], true);
    let list = app.json("/api/models").await;
    let forest = of(&list, "isolation_forest", "trained").expect("it is kept");
    assert_eq!((&forest["id"], &forest["is_active"]), (&trained["id"], &true.into()), "{forest}");
    assert_eq!(forest["schema"]["inputs"].as_array().map(Vec::len), Some(FEATURES.len()));
    assert_eq!((&forest["schema"]["window_s"], &forest["who"]), (&30.0.into(), &"anonymous".into()));

    // Another process with this database.
    let handle = ModelHandle::new(&Config::default());
    let registry = Registry::new(&app.store, &Config::default(), handle.clone());
    assert!(handle.current().forest.is_none(), "none is configured");
    registry.restore("").await;
    assert_eq!(handle.current().forest_id.as_deref(), trained["id"].as_str());
    // Where the configuration names another since, that holds.
    let mut config = Config::default();
    config.model.forest = "/nowhere/forest.json".into();
    let handle = ModelHandle::new(&config);
    Registry::new(&app.store, &config, handle.clone()).restore("").await;
    assert!(handle.current().forest.is_none());
    // Windows of another length make it useless, and it is said.
    let mut config = Config::default();
    config.windows.seconds = 7;
    let handle = ModelHandle::new(&config);
    let registry = Registry::new(&app.store, &config, handle.clone());
    registry.restore("").await;
    assert!(handle.current().forest.is_none());
    let id = trained["id"].as_str().expect("an id");
    let refused = registry.activate("", (id, "mira"), Timestamp::from_nanos(1)).await.expect_err("another schema");
    assert!(refused.to_string().contains("windows of 30 s"), "{refused}");
}

#[tokio::test]
async fn a_forest_that_does_not_validate_is_kept_and_not_used() {
    // Too few rows, and a time that is not like the one that is learned from.
    for (rows, why) in [(features(10, 0), "are needed"), (features(120, 24), "above its threshold")] {
        let app = app_with(rows).await;
        let (status, trained) = train(&app, &json!({ "algorithm": "isolation_forest" })).await;
        assert_eq!(
            (status, &trained["is_valid"], &trained["is_active"]),
            (StatusCode::OK, &false.into(), &false.into()),
            "{trained}"
        );
        assert!(trained["refused"].to_string().contains(why), "{trained}");
        let id = trained["id"].as_str().expect("an id");
        let (status, refused) = app.send(Method::POST, &format!("/api/models/{id}/activate"), &json!({})).await;
        assert_eq!(status, StatusCode::CONFLICT, "{refused}");
        assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains(why)), "{refused}");
        let list = app.json("/api/models").await;
        assert_eq!(of(&list, "isolation_forest", "trained").expect("it is kept")["is_active"], false);
    }
    // One that validates waits where it is told to.
    let app = app_with(features(120, 0)).await;
    let (_, trained) = train(&app, &json!({ "algorithm": "isolation_forest", "activate": false })).await;
    assert_eq!((&trained["is_valid"], &trained["is_active"]), (&true.into(), &false.into()), "{trained}");
    let id = trained["id"].as_str().expect("an id");
    let (status, activated) = app.send(Method::POST, &format!("/api/models/{id}/activate"), &json!({})).await;
    assert_eq!((status, &activated["is_active"]), (StatusCode::OK, &true.into()), "{activated}");
}

#[tokio::test]
async fn what_cannot_be_trained_is_refused_by_its_field() {
    let app = App::with(1, 1).await;
    let nobody = "file\ttype\tattacker\tvictim\tattack_start\tattack_end\n00000000000000000000000000000000\tbenign\t-\t-\t-\t-\n";
    let is_built_in = cfg!(feature = "xgboost");
    for (body, status, field) in [
        (json!({}), 400, "algorithm"),
        (json!({ "algorithm": "svm" }), 400, "algorithm"),
        (json!({ "algorithm": "xgboost" }), 400, "labels"),
        (json!({ "algorithm": "xgboost", "labels": nobody, "from": "1" }), 400, "from"),
        (json!({ "algorithm": "isolation_forest", "labels": nobody }), 400, "labels"),
        (json!({ "algorithm": "isolation_forest", "from": "yesterday" }), 400, "from"),
        (json!({ "algorithm": "isolation_forest" }), 422, "algorithm"),
        (json!({ "algorithm": "isolation_forest", "from": "1" }), 422, "from"),
        (json!({ "algorithm": "isolation_forest", "to": "1" }), 422, "to"),
        (json!({ "algorithm": "isolation_forest", "from": "2", "to": "1" }), 400, "to"),
        (json!({ "algorithm": "xgboost", "labels": "nonsense" }), 400, "labels"),
        (json!({ "algorithm": "xgboost", "labels": nobody }), 422, if is_built_in { "labels" } else { "algorithm" }),
    ] {
        let (answered, refused) = train(&app, &body).await;
        assert_eq!((answered.as_u16(), &refused["field"]), (status, &field.into()), "{body}: {refused}");
    }
}

#[tokio::test]
async fn a_label_that_is_misspelt_is_named_with_its_line_and_the_words_that_exist() {
    let app = App::with(1, 1).await;
    let header = "file\ttype\tattacker\tvictim\tattack_start\tattack_end\n";
    let id = "0".repeat(32);
    for (rows, said) in [
        (
            format!("{id}\tbenign\n{id}\tportscna\t192.0.2.1\n"),
            ["line 3", "`portscna`", "portscan", "syn_flood", "benign"],
        ),
        (format!("{id}\t\t192.0.2.1\n"), ["line 2", "'type'", "file", "type", "empty"]),
        (format!("{id}\tportscan\thost\n"), ["line 2", "'host'", "IP", "MAC", "address"]),
    ] {
        let body = json!({ "algorithm": "xgboost", "labels": format!("{header}{rows}") });
        let (status, refused) = train(&app, &body).await;
        assert_eq!((status.as_u16(), &refused["field"]), (400, &"labels".into()), "{refused}");
        let detail = refused["detail"].as_str().expect("a text");
        assert!(said.iter().all(|word| detail.contains(word)), "{said:?}: {detail}");
    }
    assert_eq!(app.json("/api/jobs").await["items"], json!([]), "no job is made of it");
}

async fn a_classifier_of_too_little(store: Store) {
    let folder = tempfile::tempdir().expect("folder");
    let site = Site::over(store, folder.path(), |_| {});
    let case = |name: &str| {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases").join(name);
        std::fs::read(path).expect("the case")
    };
    let mut ids = Vec::new();
    for bytes in [
        scan(),
        case("port_scan-quiet/input.pcap.gz"),
        case("syn_flood-quiet/input.pcap"),
        case("udp_flood-quiet/input.pcap.gz"),
    ] {
        let (_, answer) = site.upload(&bytes).await;
        ids.push(answer["file_id"].as_str().expect("a name").to_owned());
    }
    let mut labels = "file\ttype\tattacker\tvictim\tattack_start\tattack_end\n".to_owned();
    labels += &format!("{}\tportscan\t192.168.177.151\t192.168.126.204\t-\t-\n", ids[0]);
    for benign in &ids[1..] {
        labels += &format!("{benign}\tbenign\t-\t-\t-\t-\n");
    }
    let headers = [("content-type", "application/json")];
    let body = json!({ "algorithm": "xgboost", "labels": labels });
    let (status, _, answer) = site.send(Method::POST, "/api/train", &headers, body.to_string().into()).await;
    // One capture of one attack is no sound ground: either nothing can be learned, or what is learned does not validate.
    match status {
        StatusCode::UNPROCESSABLE_ENTITY => assert_eq!(answer["field"], "labels", "{answer}"),
        StatusCode::OK => {
            assert_eq!((&answer["is_valid"], &answer["is_active"]), (&false.into(), &false.into()), "{answer}");
        }
        other => panic!("{other}: {answer}"),
    }
    let (_, list) = site.get("/api/models").await;
    assert_eq!(of(&list, "xgboost", "shipped").expect("it is there")["is_active"], true, "the one before goes on");
}

#[tokio::test]
async fn a_classifier_of_too_little_does_not_judge_on_sqlite() {
    if !cfg!(feature = "xgboost") {
        eprintln!("not run: a_classifier_of_too_little_does_not_judge_on_sqlite: models are not built in");
        return;
    }
    let folder = tempfile::tempdir().expect("folder");
    a_classifier_of_too_little(sqlite(folder.path()).await).await;
}

#[tokio::test]
async fn a_classifier_of_too_little_does_not_judge_on_postgresql() {
    let Some(server) = Server::start("a_classifier_of_too_little_does_not_judge_on_postgresql") else { return };
    if !cfg!(feature = "xgboost") {
        eprintln!("not run: a_classifier_of_too_little_does_not_judge_on_postgresql: models are not built in");
        return;
    }
    a_classifier_of_too_little(server.open().await).await;
}

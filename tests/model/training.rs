//! Training: the same input gives the same model, which finds what it was trained to find in a capture that it has not
//! seen.

use nta_tests::daemon::run;
use nta_tests::not_run;
use serde_json::Value;

use super::{Trained, configuration, has_models};

#[test]
fn a_build_without_models_says_so() {
    let run = run(["train", "--labels", "/dev/null", "/"]);
    if run.stderr.contains("not built in") {
        assert_eq!((run.status, run.stderr.lines().count()), (Some(1), 1), "{run:?}");
    } else {
        not_run("a_build_without_models_says_so", "the daemon was built with XGBoost");
    }
}

#[test]
fn the_same_input_gives_the_same_model() {
    if !has_models("the_same_input_gives_the_same_model") {
        return;
    }
    let trained = Trained::new();
    assert_eq!(trained.train("again.json").status, Some(0));
    let model = trained.read("model.json");
    assert!(model == trained.read("again.json"), "two trainings differ");
    assert!(model.len() < 2_000_000, "{} bytes", model.len());
    let manifest = |name: &str| -> Value {
        let mut manifest: Value = serde_json::from_slice(&trained.read(name)).expect("a manifest");
        manifest["created"] = Value::Null;
        manifest
    };
    assert_eq!(manifest("model.manifest.json"), manifest("again.manifest.json"));
}

#[test]
fn a_scan_that_was_kept_back_is_found_with_reasons() {
    if !has_models("a_scan_that_was_kept_back_is_found_with_reasons") {
        return;
    }
    let trained = Trained::new();
    let manifest: Value = serde_json::from_slice(&trained.read("model.manifest.json")).expect("a manifest");
    let tool = manifest["recipe"]["tools_held_out"]["portscan"][0].as_str().expect("a tool kept back");
    let file = format!("{}.pcap", tool.trim_start_matches("tool"));
    let config = configuration(trained.folder.path(), &trained.path("model.json"));
    let capture = trained.path(&file);
    let args = ["replay".as_ref(), "--format".as_ref(), "json".as_ref(), "--config".as_ref(), config.as_os_str()];
    let run = run(args.into_iter().chain([capture.as_os_str()]));
    assert_eq!(run.status, Some(0), "{run:?}");
    let alerts = run.json()[0]["alerts"].as_array().expect("alerts").clone();
    let said = |alert: &&Value| alert["detectors"].as_array().is_some_and(|all| all.contains(&"xgboost".into()));
    let found = alerts.iter().find(said).unwrap_or_else(|| panic!("no alert by the model: {alerts:?}"));
    let attacker = format!("10.0.{}.66", file.trim_end_matches(".pcap"));
    assert_eq!((&found["type"], &found["source"]), (&"port_scan".into(), &attacker.as_str().into()), "{found}");
    let others = alerts.iter().filter(|alert| alert["source"] != attacker.as_str());
    assert_eq!(others.count(), 0, "{alerts:?}");
}

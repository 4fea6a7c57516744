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

/// Figures on captures that a model learned from say nothing about other networks.
#[test]
fn each_capture_is_judged_by_a_model_that_has_not_seen_its_source() {
    if !has_models("each_capture_is_judged_by_a_model_that_has_not_seen_its_source") {
        return;
    }
    let trained = Trained::new();
    let folds = trained.path("folds");
    assert_eq!(trained.train_with("model.json", &["--folds-out".as_ref(), folds.as_os_str()]).status, Some(0));
    let labels = std::fs::read_to_string(trained.path("labels.tsv")).expect("labels");
    let index = std::fs::read_to_string(folds.join("folds.tsv")).expect("an index");
    let model_of = |file: &str| {
        let row = |line: &&str| line.split('\t').next() == Some(file);
        let line = index.lines().find(row).unwrap_or_else(|| panic!("{file} is in no fold: {index}"));
        line.split('\t').nth(1).expect("a model").to_owned()
    };
    for label in labels.lines().skip(1).map(|line| line.split('\t').collect::<Vec<_>>()) {
        let manifest = folds.join(model_of(label[0])).with_extension("manifest.json");
        let manifest: Value = serde_json::from_slice(&std::fs::read(manifest).expect("a manifest")).expect("JSON");
        let seen = manifest["recipe"]["tools"]["portscan"].as_array().cloned().unwrap_or_default();
        assert!(!seen.is_empty() && !seen.contains(&label[6].into()), "{label:?}: {seen:?}");
    }

    // A capture that no fold judges is in no figure, and said to be.
    std::fs::write(trained.path("labels.tsv"), labels + "model.json\tbenign\t-\t-\t-\t-\t-\n").expect("written");
    let evaluate = || {
        let (labels, folder) = (trained.path("labels.tsv"), trained.folder.path());
        let flags =
            ["evaluate".as_ref(), "--format".as_ref(), "json".as_ref(), "--labels".as_ref(), labels.as_os_str()];
        run(flags.into_iter().chain(["--folds".as_ref(), folds.as_os_str(), folder.as_os_str()]))
    };
    let compared = evaluate();
    assert_eq!(compared.status, Some(0), "{}", compared.stderr);
    let compared = compared.json()[0].clone();
    let found = |who: &str| {
        let scans = &compared[who]["attacks"][0];
        assert_eq!((&scans["type"], &scans["captures"]), (&"portscan".into(), &5.into()), "{compared}");
        scans["found"].as_u64().expect("a number")
    };
    let [rules, model, both] = ["rules", "xgboost", "fused"].map(found);
    assert!(model > 0 && both >= rules && both >= model, "{rules} {model} {both}");
    assert_eq!((&compared["left_out"], &compared["lost"]), (&1.into(), &Value::Array(Vec::new())));

    std::fs::remove_file(folds.join(model_of("0.pcap"))).expect("removed");
    let refused = evaluate();
    assert!(refused.status == Some(2) && refused.stderr.contains(&model_of("0.pcap")), "{refused:?}");
}

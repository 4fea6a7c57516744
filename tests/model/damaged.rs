//! Models that cannot be used: one clear line that names file and reason, and the rules judge as without any model.

use std::path::Path;

use nta_tests::daemon::{Run, run};
use serde_json::Value;

use super::{Trained, configuration, has_models};

/// Makes a model unusable by `harm`, which gets model and manifest, and demands that it is refused for this reason.
fn refused(test: &str, reason: &str, harm: impl Fn(&mut Vec<u8>, &mut Vec<u8>)) {
    if !has_models(test) {
        return;
    }
    let trained = Trained::new();
    let (mut model, mut manifest) = (trained.read("model.json"), trained.read("model.manifest.json"));
    harm(&mut model, &mut manifest);
    let path = trained.path("harmed.json");
    std::fs::write(&path, model).expect("written");
    std::fs::write(trained.path("harmed.manifest.json"), manifest).expect("written");
    let check = run(["model".as_ref(), "check".as_ref(), path.as_os_str()]);
    assert!(check.is_refused(), "{check:?}");
    let name = path.display().to_string();
    assert!(check.stderr.contains(&name) && check.stderr.contains(reason), "{check:?}");

    // The rules find the scan as they do without a model, and the log says why there is none.
    let config = configuration(trained.folder.path(), &path);
    let with = replay(&trained, &config);
    assert!(with.stderr.contains(&name) && with.stderr.contains(reason), "{}", with.stderr);
    let off = trained.path("off.toml");
    std::fs::write(&off, "[model]\nenabled = false\n").expect("written");
    let without = replay(&trained, &off);
    assert!(!alerts(&without).is_empty(), "the rules find nothing");
    assert_eq!(alerts(&with), alerts(&without));
}

fn replay(trained: &Trained, config: &Path) -> Run {
    let capture = trained.path("0.pcap");
    let args = ["replay".as_ref(), "--format".as_ref(), "json".as_ref(), "--config".as_ref(), config.as_os_str()];
    let run = run(args.into_iter().chain([capture.as_os_str()]));
    assert_eq!(run.status, Some(0), "{run:?}");
    run
}

fn alerts(run: &Run) -> Vec<Value> {
    run.json()[0]["alerts"].as_array().expect("alerts").clone()
}

/// The manifest with its SHA-256 made that of the harmed model, as a forger would.
fn signed(model: &[u8], manifest: &mut Vec<u8>) {
    let folder = tempfile::TempDir::new().expect("folder");
    let path = folder.path().join("model");
    std::fs::write(&path, model).expect("written");
    let mut command = std::process::Command::new("sha256sum");
    command.arg(&path);
    let sum = String::from_utf8(nta_tests::daemon::collect(command, &[]).stdout).expect("text");
    edited(manifest, |json| json["sha256"] = sum.split_whitespace().next().expect("a sum").into());
}

fn edited(manifest: &mut Vec<u8>, edit: impl FnOnce(&mut Value)) {
    let mut json: Value = serde_json::from_slice(manifest).expect("a manifest");
    edit(&mut json);
    *manifest = serde_json::to_vec(&json).expect("JSON");
}

#[test]
fn another_schema() {
    refused("another_schema", "feature schema 999", |_, manifest| {
        edited(manifest, |json| json["schema_version"] = 999.into());
    });
}

#[test]
fn inputs_of_other_names() {
    refused("inputs_of_other_names", "of other names", |_, manifest| {
        edited(manifest, |json| json["inputs"][3] = "favourite_colour".into());
    });
}

#[test]
fn truncated() {
    refused("truncated", "SHA-256", |model, _| model.truncate(model.len() / 2));
}

#[test]
fn random_bytes() {
    let noise = |n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8;
    refused("random_bytes", "SHA-256", |model, _| *model = (0..50_000).map(noise).collect());
}

#[test]
fn one_bit_flipped() {
    refused("one_bit_flipped", "SHA-256", |model, _| {
        let middle = model.len() / 2;
        model[middle] ^= 1;
    });
}

#[test]
fn truncated_with_a_manifest_that_fits() {
    refused("truncated_with_a_manifest_that_fits", "structure is wrong", |model, manifest| {
        model.truncate(model.len() / 2);
        signed(model, manifest);
    });
}

#[test]
fn a_child_out_of_range_with_a_manifest_that_fits() {
    refused("a_child_out_of_range_with_a_manifest_that_fits", "has no child 999999", |model, manifest| {
        let text = String::from_utf8(model.clone()).expect("JSON");
        *model = text.replacen("\"left_children\":[1,", "\"left_children\":[999999,", 1).into_bytes();
        signed(model, manifest);
    });
}

#[test]
fn a_manifest_that_is_none() {
    refused("a_manifest_that_is_none", "manifest cannot be used", |_, manifest| *manifest = b"{\"format\": 1".to_vec());
}

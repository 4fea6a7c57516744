//! The shipped model and rows asked by Python's XGBoost, too.

use std::path::PathBuf;
use std::process::Command;

use nta_tests::daemon::{collect, run_with_input};
use nta_tests::{not_run, root};
use serde_json::Value;

use super::has_models;

/// Largest difference of a probability.
const TOLERANCE: f64 = 1e-5;
const ROWS: usize = 2_000;

#[test]
fn predictions_are_pythons() {
    const TEST: &str = "predictions_are_pythons";
    if !has_models(TEST) {
        return;
    }
    let Some(python) = python() else {
        return not_run(TEST, "no python3 with numpy, scipy and the XGBoost of `cargo xtask setup`");
    };
    // The shipped one: a model of the captures made here hardly needs more than one question.
    let model = root().join("nta-daemon/models/xgboost.json");
    let manifest = std::fs::read(model.with_extension("manifest.json")).expect("a manifest");
    let manifest: Value = serde_json::from_slice(&manifest).expect("a manifest");
    let inputs = manifest["inputs"].as_array().expect("inputs").len();
    // Rows all over the place, zeros among them: what the trees split by is hit from both sides.
    let mut state = 7_u64;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let exponent = (state >> 40) % 9;
        let value = (state >> 44) as f64 / f64::from(1 << 20) * 10_f64.powi(exponent as i32 - 3);
        if exponent == 0 { 0.0 } else { f64::from(value as f32) }
    };
    let rows: Vec<Vec<f64>> = (0..ROWS).map(|_| (0..inputs).map(|_| draw()).collect()).collect();
    let lines: String = rows.iter().map(|row| serde_json::to_string(row).expect("JSON") + "\n").collect();
    let own = run_with_input(["model".as_ref(), "predict".as_ref(), model.as_os_str()], lines.as_bytes());
    assert_eq!(own.status, Some(0), "{}", own.stderr);
    let mut command = python;
    command.arg(root().join("tests/tools/xgboost_predict.py")).arg(&model).arg(manifest["temperature"].to_string());
    let theirs = collect(command, lines.as_bytes());
    assert_eq!(theirs.status, Some(0), "{}", theirs.stderr);
    let (own, theirs) = (own.json(), theirs.json());
    assert_eq!((own.len(), theirs.len()), (ROWS, ROWS));
    let numbers = |row: &Value| -> Vec<f64> {
        row.as_array().expect("a row").iter().map(|p| p.as_f64().expect("a number")).collect()
    };
    let mut answers = std::collections::BTreeSet::new();
    for (number, (own, theirs)) in own.iter().zip(&theirs).enumerate() {
        let (own, theirs) = (numbers(own), numbers(theirs));
        assert_eq!(own.len(), theirs.len());
        for (a, b) in own.iter().zip(&theirs) {
            assert!((a - b).abs() <= TOLERANCE, "row {number}: {own:?}, Python says {theirs:?}");
        }
        answers.insert((own[0] * 100.0) as i64);
    }
    assert!(answers.len() > 3, "the rows hardly differ: {answers:?}");
}

/// A Python that can import the XGBoost that the daemon is linked to.
fn python() -> Option<Command> {
    let package: PathBuf = root().join(".xgboost");
    ["python3", "/usr/bin/python3"].into_iter().find_map(|program| {
        let make = || {
            let mut command = Command::new(program);
            command.env("PYTHONPATH", &package);
            command
        };
        let mut probe = make();
        let works = probe
            .args(["-c", "import numpy, scipy; from xgboost import Booster"])
            .output()
            .is_ok_and(|output| output.status.success());
        works.then(make)
    })
}

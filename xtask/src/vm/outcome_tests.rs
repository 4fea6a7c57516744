//! Tests of judging what a machine said.

use super::{CEILING, Check, Outcome, field, judge_ledger};
use crate::report::Group;

const VERIFY: &str = r#"[ { "name": "nta_xdp", "verified_insns": 5, "error": null }, { "name": "nta_tc_ingress",
    "verified_insns": 6, "error": null }, { "name": "nta_tc_egress", "verified_insns": 7, "error": null } ]"#;
const LEDGER: &str = r#"{"seen":13,"flow":11,"overflow":0,"arp":2,"non_ip":0,"sampled_out":0}"#;

fn outcome(release: &str, changes: &[(&str, &str, &str)]) -> Outcome {
    let attached = |ingress: &str, egress: &str| format!(r#"{{"ingress":"{ingress}","egress":"{egress}"}}"#);
    let mut checks = Vec::new();
    let mut add = |name: &str, detail: String| {
        let change = changes.iter().find(|change| change.0 == name);
        let (result, detail) = change.map_or(("ok", detail), |change| (change.1, change.2.to_owned()));
        checks.push(Check { name: name.to_owned(), result: result.to_owned(), detail });
    };
    add("boot", release.to_owned());
    add("verify", VERIFY.to_owned());
    for (name, ingress, egress) in
        [("auto", "tcx", "tcx"), ("xdp", "xdp", "tcx"), ("xdp-generic", "xdp-generic", "tcx"), ("tcx", "tcx", "tcx")]
    {
        add(&format!("attach-{name}"), attached(ingress, egress));
    }
    add("attach-tc", attached("tc", "tc"));
    add("parity", "3 lines equal".to_owned());
    add("live", LEDGER.to_owned());
    add("end", String::new());
    Outcome { checks, tail: "Kernel panic".to_owned(), accelerator: "tcg", seconds: 1.0 }
}

fn counts(outcome: &Outcome) -> (usize, usize, usize) {
    let group = outcome.count("x", Group::new("vm"));
    (group.passed, group.failed, group.skipped)
}

#[test]
fn a_line_of_the_console_is_read() {
    let check = Check::parse("\u{1b}[2Jnta-vm: check=boot result=ok detail=6.1.0-50-cloud-amd64\r").unwrap();
    assert_eq!((check.name.as_str(), check.result.as_str()), ("boot", "ok"));
    assert_eq!(check.detail, "6.1.0-50-cloud-amd64");
    assert_eq!(Check::parse("[    1.0] something else"), None);
}

#[test]
fn a_machine_that_says_ok_everywhere_passes() {
    let outcome = outcome("6.12.1-x", &[]);
    assert_eq!(counts(&outcome), (10, 0, 0));
    assert_eq!(outcome.verified("nta_tc_ingress"), Some(6));
    assert_eq!(outcome.hooks("xdp").as_deref(), Some("xdp/tcx"));
}

#[test]
fn what_an_old_kernel_lacks_is_no_failure_there_and_one_elsewhere() {
    let changes = [("parity", "not-run", "needs 5.18"), ("attach-tcx", "not-run", "no TCX")];
    let tc = r#"{"ingress":"tc","egress":"tc"}"#;
    let old = [
        ("attach-auto", "ok", tc),
        ("attach-xdp", "ok", r#"{"ingress":"xdp","egress":"tc"}"#),
        ("attach-xdp-generic", "ok", r#"{"ingress":"xdp-generic","egress":"tc"}"#),
    ];
    assert_eq!(counts(&outcome("5.10.0-32-x", &[&changes[..], &old].concat())), (9, 0, 1));
    assert_eq!(counts(&outcome("6.12.1-x", &changes)), (8, 2, 0));
}

#[test]
fn a_count_above_the_ceiling_and_a_refusal_fail() {
    let dear = VERIFY.replace('7', &(CEILING + 1).to_string());
    assert_eq!(counts(&outcome("6.12.1-x", &[("verify", "ok", &dear)])), (9, 1, 0));
    let refused = VERIFY.replacen("\"error\": null", "\"error\": \"too many\"", 1);
    assert_eq!(counts(&outcome("6.12.1-x", &[("verify", "ok", &refused)])), (9, 1, 0));
}

#[test]
fn a_wrong_hook_and_a_silent_machine_fail() {
    let wrong = [("attach-xdp", "ok", r#"{"ingress":"xdp-generic","egress":"tcx"}"#)];
    assert_eq!(counts(&outcome("6.12.1-x", &wrong)), (9, 1, 0));
    let mut silent = outcome("6.12.1-x", &[]);
    silent.checks.retain(|check| check.name == "boot");
    let group = silent.count("x", Group::new("vm"));
    assert_eq!((group.passed, group.failed), (0, 1));
    assert!(group.failures[0].contains("Kernel panic"), "{:?}", group.failures);
}

#[test]
fn the_ledger_has_to_balance_and_to_hold_the_pings() {
    assert_eq!(judge_ledger(LEDGER), Ok(()));
    judge_ledger(&LEDGER.replace("\"flow\":11", "\"flow\":10")).unwrap_err();
    judge_ledger(r#"{"seen":0,"flow":0}"#).unwrap_err();
    assert_eq!(field(LEDGER, "arp"), Some("2"));
    assert_eq!(field(LEDGER, "none"), None);
}

#[test]
fn each_line_of_a_test_counts_and_an_end_without_any_is_a_failure() {
    let line = |name: &str, result: &str| Check {
        name: name.to_owned(),
        result: result.to_owned(),
        detail: "left,right watched: 310 packets".to_owned(),
    };
    let mut outcome = outcome("6.1.0-x", &[]);
    let mut count = |checks: Vec<Check>| {
        outcome.checks = checks;
        let group = outcome.count_all("6.1", Group::new("paths"));
        (group.passed, group.failed)
    };
    let [boot, end] = ["boot", "end"].map(|name| line(name, "ok"));
    let path = |result| line("path", result);
    assert_eq!(count(vec![boot.clone(), path("ok"), path("ok"), end.clone()]), (2, 0));
    assert_eq!(count(vec![boot.clone(), path("ok"), path("fail"), end.clone()]), (1, 1));
    assert_eq!(count(vec![boot.clone(), path("ok")]), (1, 1));
    assert_eq!(count(vec![boot, end]), (0, 1));
}

//! Commands that only look: `run --dry-run` and `doctor`.

use nta_tests::netns::{alone, output};
use serde_json::Value;

use crate::attached::{filters, xdp};
use crate::daemon::command;
use crate::{Pair, can_run, has_tcx};

#[test]
fn a_dry_run_says_how_it_would_attach_and_leaves_nothing() {
    if !can_run("a_dry_run_says_how_it_would_attach_and_leaves_nothing", &["tc"]) {
        return;
    }
    let _alone = alone();
    let pair = Pair::new();
    for attach in ["auto", "xdp", "tc"] {
        let arguments = ["run", "--dry-run", "--interface", "v0", "--attach", attach];
        let answer = output(&mut command(&pair.inside, &arguments));
        let said = String::from_utf8_lossy(&answer.stderr);
        assert!(answer.status.success(), "{attach}: {said}");
        assert!(said.contains("attached") && said.contains("v0"), "{attach}: {said}");
        assert!(!said.contains('\u{1b}'), "colours are for terminals: {said}");
        assert_eq!((xdp(&pair.inside, "v0"), filters(&pair.inside, "v0")), (None, [0, 0]), "{attach}");
    }
}

#[test]
fn doctor_says_what_each_interface_would_take_and_probing_agrees() {
    if !can_run("doctor_says_what_each_interface_would_take_and_probing_agrees", &["tc"]) {
        return;
    }
    let _alone = alone();
    let pair = Pair::new();
    pair.inside.ip("link add m0 link v0 type macvlan");
    pair.inside.ip("addr add 198.51.100.1/24 dev v0");
    for (arguments, probed) in
        [(&["doctor", "--format", "json"][..], false), (&["doctor", "--format", "json", "--probe", "v0"], true)]
    {
        let answer = output(&mut command(&pair.inside, arguments));
        assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
        let report: Value = serde_json::from_slice(&answer.stdout).expect("JSON");
        let interfaces = report["interfaces"].as_array().expect("interfaces");
        let veth = interfaces.iter().find(|interface| interface["name"] == "v0").expect("v0");
        let hook = if has_tcx() { "tcx" } else { "tc" };
        assert_eq!((&veth["ingress"], &veth["egress"]), (&hook.into(), &hook.into()), "{veth}");
        assert!(veth["reason"].as_str().is_some_and(|reason| reason.contains("v0")), "{veth}");
        assert_eq!((&veth["probed"], &veth["watched_by"]), (&probed.into(), &Value::Null), "{veth}");
        let said = |name: &str| {
            let checks = report["checks"].as_array().expect("checks");
            let check =
                checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("{name}: {checks:?}"));
            assert!(check["ok"].is_boolean(), "{check}");
            check["detail"].as_str().expect("a sentence").to_owned()
        };
        assert!(["kernel", "BTF", "bpffs", "NAT"].iter().all(|name| !said(name).is_empty()));
        assert!(said("overlaps").starts_with("m0 lies on v0"), "{}", said("overlaps"));
        assert!(said("inside").contains("198.51.100.1/32"), "{}", said("inside"));
        assert_eq!((xdp(&pair.inside, "v0"), filters(&pair.inside, "v0")), (None, [0, 0]));
    }
    let answer = output(&mut command(&pair.inside, &["doctor", "--probe", "nowhere9"]));
    assert_eq!(answer.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&answer.stderr).contains("nowhere9"));
}

//! `explain`: why there was an alert about a host of a capture that was stored, or none.

use nta_tests::daemon::run;
use nta_tests::served::scan;

/// The scan of [`scan`] is at this time, in Unix seconds.
const AT: &str = "1000000";

#[test]
fn a_host_of_a_stored_capture_is_explained() {
    let folder = tempfile::tempdir().expect("folder");
    let (capture, database) = (folder.path().join("scan.pcap"), folder.path().join("nta.db"));
    scan(&capture);
    let url = format!("sqlite:{}", database.display());
    let stored = run(["replay", &capture.display().to_string(), "--database", &url, "--format", "json"]);
    assert!(stored.is_read(), "{}", stored.stderr);

    let explained = run(["explain", "192.0.2.1", "--at", AT, "--database", &url, "--format", "json"]);
    assert_eq!(explained.status, Some(0), "{}", explained.stderr);
    let document: serde_json::Value = serde_json::from_slice(&explained.stdout).expect("one document");
    assert_eq!(
        (&document["state"], &document["alerts"][0]["type"]),
        (&"kept".into(), &"port_scan".into()),
        "{document}"
    );
    let detectors = document["detectors"].as_array().expect("detectors");
    let scan = detectors.iter().find(|one| one["detector"] == "port_scan").expect("port_scan");
    assert_eq!(scan["state"], "reached", "{scan}");
    let [observed, threshold] =
        ["observed", "threshold"].map(|name| scan["measures"][0][name].as_f64().expect("a number"));
    assert!(observed >= threshold, "{scan}");

    let text = run(["explain", "192.0.2.1", "--at", AT, "--database", &url]);
    let said = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(said.contains("port_scan") && said.contains("reached"), "{said}");
    let later = run(["explain", "192.0.2.1", "--at", "2030-01-01T00:00:00Z", "--database", &url]);
    let said = String::from_utf8_lossy(&later.stdout).into_owned();
    assert!(later.status == Some(0) && said.contains("not kept: no window of that time has closed"), "{said}");
}

#[test]
fn what_cannot_be_explained_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let absent = folder.path().join("absent.db");
    let url = format!("sqlite:{}", absent.display());
    let refused = run(["explain", "192.0.2.1", "--at", AT, "--database", &url]);
    assert!(refused.is_refused() && refused.stderr.contains("absent.db"), "{refused:?}");
    assert!(!absent.exists(), "asking makes no database");
    for args in [["explain", "gateway", "--at", AT], ["explain", "192.0.2.1", "--at", "noon"]] {
        assert_eq!(run(args).status, Some(2), "{args:?}");
    }
}

//! `replay --serve`: a capture with a port scan in, alerts out over REST, and what an operator does about one kept.

use nta_tests::served::{Served, scan};

#[test]
fn a_scan_becomes_an_alert_that_keeps_what_an_operator_says() {
    let folder = tempfile::tempdir().expect("folder");
    let (capture, database) = (folder.path().join("scan.pcap"), folder.path().join("nta.db"));
    scan(&capture);
    let database = format!("sqlite:{}", database.display());
    let served = Served::start(&capture, &database, true);
    let alerts = served.get("/api/alerts/?type=port_scan");
    let alert = &alerts["items"][0];
    assert_eq!((&alert["source"], &alert["destination"]), (&"192.0.2.1".into(), &"198.51.100.2".into()), "{alerts}");
    assert_eq!((&alert["status"], alerts["items"].as_array().map(Vec::len)), (&"open".into(), Some(1)));
    let id = alert["id"].as_str().expect("id").to_owned();
    // Beside the rule's finding, once, there may be those of a model.
    let findings = served.get("/api/anomalies?type=port_scan");
    let findings = findings["items"].as_array().expect("items");
    assert_eq!(findings.iter().filter(|finding| finding["detector"] == "port_scan").count(), 1, "{findings:?}");
    assert_eq!(served.get("/api/anomalies/by-type")["by_type"]["port_scan"]["count"], findings.len());
    let features = served.get("/api/features?host=192.0.2.1&window_size=5");
    // Distinct counts beyond 190 are estimated, to 2.3 %.
    let ports = features["items"][0]["features"]["ports_out"].as_f64().expect("a number");
    assert!((190.0..=210.0).contains(&ports), "{features}");
    for (span, windows) in [("5", 1), ("10", 1), ("30", 1), ("180", 1)] {
        let stored = served.get(&format!("/api/metrics?span={span}"));
        assert_eq!(stored["items"].as_array().map(Vec::len), Some(windows), "{span}: {stored}");
        assert_eq!(stored["items"][0]["packets"], 400, "{span}");
    }
    let host = served.get("/api/hosts/192.0.2.1");
    assert_eq!((&host["flows_out"], &host["alerts"][0]["id"]), (&200.into(), &id.as_str().into()), "{host}");
    let status = served.get("/api/status");
    assert!(status["detection"]["alerts_raised"].as_u64().is_some_and(|raised| raised >= 1), "{status}");

    let path = format!("/api/alerts/{id}");
    let (changed, answer) =
        served.ask("PATCH", &path, "{\"status\": \"resolved\", \"note\": \"a test\", \"by\": \"mira\"}");
    assert_eq!((changed, &answer["status"]), (200, &"resolved".into()), "{answer}");
    served.stop();

    // The same capture with the same settings is answered from what is there.
    let again = Served::start(&capture, &database, false);
    let alert = again.get(&path);
    assert_eq!((&alert["status"], &alert["notes"][0]["by"]), (&"resolved".into(), &"mira".into()), "{alert}");
    for (path, count) in
        [("/api/alerts?type=port_scan", 1), ("/api/metrics?span=5", 1), ("/api/alltraffic?limit=1000", 200)]
    {
        assert_eq!(again.get(path)["items"].as_array().map(Vec::len), Some(count), "{path}");
    }
    again.stop();
}

#[test]
fn how_many_analyses_of_a_capture_are_shown_together_is_said() {
    let folder = tempfile::tempdir().expect("folder");
    let (capture, database) = (folder.path().join("scan.pcap"), folder.path().join("nta.db"));
    scan(&capture);
    let database = format!("sqlite:{}", database.display());
    let shown = |windows: usize, analyses: u64| {
        let served = Served::start(&capture, &database, true);
        assert_eq!(served.get("/api/status")["store"]["analyses_shown"], analyses);
        assert_eq!(served.get("/api/metrics?span=5")["items"].as_array().map(Vec::len), Some(windows));
        served.stop();
    };
    shown(1, 1);
    let again = ["replay", "--again", "--database", &database, capture.to_str().expect("UTF-8")];
    assert_eq!(nta_tests::daemon::run(again).status, Some(0));
    shown(2, 2);
}

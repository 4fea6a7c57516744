//! Two sensors on one database: who asks sees whose each row is, and can ask for one.

use nta_core::domain::{Mode, Timestamp};
use nta_daemon::store::{Run, WindowBatch};

use crate::app::{App, flow, window};

#[tokio::test]
async fn rows_of_two_sensors_carry_their_names_and_every_list_takes_one() {
    let app = App::with(3, 2).await;
    let run = Run {
        started: Timestamp::from_nanos(1),
        mode: Mode::Live,
        source: "eth1".to_owned(),
        version: "0".to_owned(),
        sensor: "branch".to_owned(),
        uuid: Run::new_uuid(Timestamp::from_nanos(1)),
        analysis: None,
    };
    let (writer, _task) = app.store.writer(app.store.begin_run(&run).await.expect("run"), 4);
    let flows = vec![flow(77)];
    writer.send(WindowBatch { window: Some(window(1)), flows, ..WindowBatch::default() }).await.expect("send");
    writer.flush().await.expect("flush");

    let document = app.json("/openapi.json").await;
    let mut lists = 0;
    for (path, methods) in document["paths"].as_object().expect("paths") {
        let names = |path: &serde_json::Value| -> Vec<String> {
            let all = path["get"]["parameters"].as_array().cloned().unwrap_or_default();
            all.iter().filter_map(|one| Some(one["name"].as_str()?.to_owned())).collect()
        };
        let names = names(methods);
        // What is about one window is about one sensor; baselines, the audit log, captures, their scores, its log and webhooks are the daemon's own.
        let own = [
            "/api/control/logs",
            "/api/baselines",
            "/api/audit",
            "/api/captures",
            "/api/analysis/list-files",
            "/api/webhooks/dead",
        ];
        let is_own = own.contains(&path.as_str());
        if names.iter().any(|name| name == "limit") && !path.contains('{') && !is_own {
            lists += 1;
            assert!(names.iter().any(|name| name == "sensor"), "{path}: {names:?}");
        }
    }
    assert!(lists >= 7, "{lists}");

    for (path, total, of_branch) in [
        ("/api/metrics?span=5&from=0", 4, 1),
        ("/api/flows?from=0", 3, 1),
        ("/api/alltraffic?from=0", 3, 1),
        ("/api/last10?", 3, 1),
    ] {
        let all = app.json(path).await;
        let sensors: Vec<_> = all["items"].as_array().expect("items").iter().map(|row| row["sensor"].clone()).collect();
        assert_eq!(sensors.len(), total, "{path}: {all}");
        assert_eq!(sensors.iter().filter(|name| **name == "branch").count(), of_branch, "{path}: {all}");
        assert!(sensors.iter().all(serde_json::Value::is_string), "{path}: {all}");
        let one = app.json(&format!("{path}&sensor=branch")).await;
        let items = one["items"].as_array().expect("items");
        assert!(items.len() == of_branch && items[0]["sensor"] == "branch", "{path}: {one}");
        let none = app.json(&format!("{path}&sensor=elsewhere")).await;
        assert_eq!(none["items"].as_array().map(Vec::len), Some(0), "{path}");
    }
    let hosts = app.json("/api/hosts?from=0&sensor=branch").await;
    assert!(hosts["items"].as_array().expect("items").iter().all(|host| host["sensor"] == "branch"), "{hosts}");
    let summed = app.json("/api/hosts/10.0.0.1").await;
    let own = app.json("/api/hosts/10.0.0.1?sensor=branch").await;
    assert_eq!((&summed["sensor"], &own["sensor"]), (&serde_json::Value::Null, &"branch".into()));
    assert!(summed["flows"].as_u64() > own["flows"].as_u64(), "{summed} {own}");
    assert_eq!(app.json("/api/metrics/summary?sensor=branch").await["total_windows"], 1);
    let (status, _, body) = app.get("/api/metrics?sensor=a%20b").await;
    assert_eq!(status, 400, "{}", String::from_utf8_lossy(&body));
}

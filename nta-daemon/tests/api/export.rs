//! `/api/export`: every format has every row, once.

use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode, header};
use nta_core::domain::{AlertChange, AlertKind};
use nta_daemon::export::{What, without_column};
use nta_daemon::store::{FeatureRow, WindowBatch};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use serde_json::Value;
use tower::ServiceExt as _;

use crate::alerts::{alert, emit};
use crate::app::{App, HOST, flow, parse, time};

/// Windows, flows, alerts and features, more flows than are read at a time.
async fn filled() -> App {
    let app = App::with(12, 1201).await;
    let mut tcp = flow(5000);
    (tcp.proto, tcp.originator.tcp.syn, tcp.responder.tcp.syn_ack, tcp.vlan) = (6, 1, 1, 7);
    app.write(None, vec![tcp]).await;
    let alerts = [alert(AlertKind::PortScan, 1, 1, 0.9), alert(AlertKind::SynFlood, 2, 2, 0.7)];
    emit(&app, AlertChange::Raised, &alerts).await;
    let vector = nta_core::features::FEATURES.iter().map(|_| 0.5).collect();
    let host = [192, 0, 2, 1].into();
    let schema_version = nta_core::features::SCHEMA_VERSION;
    let row = FeatureRow { start: time(5), end: time(10), span_ns: 5_000_000_000, host, schema_version, vector };
    app.batch(WindowBatch { features: vec![row], ..WindowBatch::default() }).await;
    app
}

async fn lines(app: &App, query: &str) -> Vec<Value> {
    let (status, media_type, body) = app.get(&format!("/api/export?from=0&{query}")).await;
    assert_eq!((status, media_type.as_str()), (StatusCode::OK, "application/x-ndjson"), "{query}");
    body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(parse).collect()
}

fn table(body: &[u8]) -> (Vec<String>, Vec<Vec<String>>) {
    let mut reader = csv::Reader::from_reader(body);
    let names = reader.headers().expect("names").iter().map(str::to_owned).collect();
    let rows = reader.records().map(|row| row.expect("row").iter().map(str::to_owned).collect()).collect();
    (names, rows)
}

#[tokio::test]
async fn every_row_is_in_every_format_once_and_every_field_has_a_column() {
    let app = filled().await;
    for (word, what, count) in [
        ("windows&span=5", What::Windows, 12),
        ("flows", What::Flows, 1202),
        ("alerts", What::Alerts, 2),
        ("features", What::Features, 1),
    ] {
        let items = lines(&app, &format!("what={word}&format=ndjson")).await;
        assert_eq!(items.len(), count, "{word}");
        let array = app.json(&format!("/api/export?from=0&what={word}&format=json")).await;
        assert_eq!(array, Value::from(items.clone()), "{word}");
        for item in &items {
            assert_eq!(without_column(what, item), [""; 0], "{word}: a field without a column");
        }

        let (_, media_type, body) = app.get(&format!("/api/export?from=0&what={word}&format=csv")).await;
        assert_eq!(media_type, "text/csv; charset=utf-8");
        let (names, rows) = table(&body);
        assert_eq!(rows.len(), count, "{word}");
        for (item, row) in items.iter().zip(&rows) {
            for (name, cell) in names.iter().zip(row) {
                let field = item.get(name).or_else(|| item["features"].get(name));
                let Some(field) = field.filter(|field| !field.is_null()) else { continue };
                let text = field.as_str().map_or_else(|| field.to_string(), str::to_owned);
                assert_eq!(*cell, text, "{word} {name}");
            }
        }

        let (_, media_type, body) = app.get(&format!("/api/export?from=0&what={word}&format=parquet")).await;
        assert_eq!(media_type, "application/vnd.apache.parquet");
        let file = SerializedFileReader::new(Bytes::from(body)).expect("a file of Parquet");
        let read: Vec<_> = file.get_row_iter(None).expect("rows").map(|row| row.expect("row")).collect();
        assert_eq!(read.len(), count, "{word}");
        let columns: Vec<&String> = read[0].get_column_iter().map(|(name, _)| name).collect();
        assert_eq!(columns, names.iter().collect::<Vec<_>>(), "{word}: the columns of both are the same");
    }
    let ids: Vec<_> = lines(&app, "what=flows&format=ndjson").await.iter().map(|flow| flow["id"].clone()).collect();
    let distinct: std::collections::HashSet<_> = ids.iter().map(ToString::to_string).collect();
    assert_eq!(distinct.len(), ids.len(), "no flow twice");
}

#[tokio::test]
async fn an_export_takes_the_filters_of_its_list_and_no_others() {
    let app = filled().await;
    assert_eq!(lines(&app, "what=flows&format=ndjson&proto=tcp").await.len(), 1);
    assert_eq!(lines(&app, "what=alerts&format=ndjson&type=syn_flood").await.len(), 1);
    assert_eq!(lines(&app, "what=windows&format=ndjson&span=5&to=12").await.len(), 2);
    assert_eq!(app.json("/api/export?what=alerts&from=5000&to=5001").await, Value::from([(); 0].to_vec()));
    for (query, status, field) in [
        ("what=flows&severity=high", 400, "severity"),
        ("what=alerts&port=53", 400, "port"),
        ("what=packets", 400, "what"),
        ("format=xml", 400, "format"),
        ("what=flows&limit=5", 400, "limit"),
        ("what=windows&span=7", 400, "span"),
        ("what=features&format=eve", 422, "format"),
    ] {
        let (answer, media_type, body) = app.get(&format!("/api/export?{query}")).await;
        assert_eq!((answer.as_u16(), media_type.as_str()), (status, "application/problem+json"), "{query}");
        assert_eq!(parse(&body)["field"], field, "{query}");
    }
    let (_, _, body) = app.get("/api/export?what=flows&severity=high").await;
    let detail = parse(&body)["detail"].to_string();
    assert!(detail.contains("flows") && detail.contains("host") && !detail.contains("limit"), "{detail}");
}

#[tokio::test]
async fn a_browser_saves_the_file_under_a_name() {
    let app = App::with(1, 1).await;
    let request = Request::get("/api/export?what=flows&format=eve&from=0").header(header::HOST, HOST);
    let answer = app.router.clone().oneshot(request.body(Body::empty()).expect("request")).await.expect("an answer");
    assert_eq!(answer.headers()[header::CONTENT_DISPOSITION], "attachment; filename=\"nta-flows.eve.json\"");
}

#[tokio::test]
async fn events_are_those_of_suricata() {
    let app = filled().await;
    let flows = lines(&app, "what=flows&format=eve").await;
    assert_eq!(flows.len(), 1202);
    let udp = &flows[0];
    assert_eq!((&udp["event_type"], &udp["proto"], &udp["ip_v"]), (&"flow".into(), &"UDP".into(), &4.into()));
    assert_eq!((&udp["src_ip"], &udp["src_port"]), (&"10.0.0.1".into(), &40_000.into()));
    assert_eq!((&udp["dest_ip"], &udp["dest_port"]), (&"10.0.0.2".into(), &53.into()));
    let record = &udp["flow"];
    assert_eq!((&record["pkts_toserver"], &record["bytes_toclient"]), (&4.into(), &400.into()));
    assert_eq!((&record["start"], &record["reason"]), (&"1970-01-01T00:00:00.000000+0000".into(), &"unknown".into()));
    assert!(udp["flow_id"].is_u64() && udp["community_id"].as_str().is_some_and(|id| id.starts_with("1:")), "{udp}");
    let tcp = &lines(&app, "what=flows&format=eve&proto=tcp").await[0];
    assert_eq!((&tcp["vlan"], &tcp["tcp"]["tcp_flags_tc"]), (&Value::from(vec![7]), &"12".into()), "{tcp}");

    let alerts = lines(&app, "what=alerts&format=eve").await;
    let scan = &alerts[0];
    assert_eq!((&scan["event_type"], &scan["src_ip"]), (&"alert".into(), &"192.0.2.1".into()));
    assert!(scan.get("dest_ip").is_none(), "many is no address: {scan}");
    let alert = &scan["alert"];
    assert_eq!((&alert["severity"], &alert["action"], &alert["gid"]), (&2.into(), &"allowed".into(), &1.into()));
    assert_eq!(alert["metadata"]["nta_destination"], Value::from(vec!["*"]));
    assert!(alert["signature"].as_str().is_some_and(|text| text.contains("tried 40 ports")), "{alert}");
    assert_ne!(alert["signature_id"], alerts[1]["alert"]["signature_id"]);

    let stats = lines(&app, "what=windows&format=eve&span=5").await;
    let packets: Vec<_> = stats.iter().map(|event| event["stats"]["decoder"]["pkts"].as_u64()).collect();
    let sums: Vec<_> = (1..=12_u64).map(|n| Some(n * (n + 1) / 2)).collect();
    assert_eq!(packets, sums, "counters that only grow");
}

//! What lists take: several values, severities and worse ones, addresses in other forms, and lines instead of pages.

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use nta_core::domain::{AlertChange, AlertKind, FlowRecord, Severity};
use nta_daemon::store::WindowBatch;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::alerts::{alert, emit};
use crate::app::{App, HOST, flow, group, parse, time};

/// An alert of each severity, of three kinds.
async fn with_alerts() -> App {
    let app = App::with(4, 0).await;
    let kinds = [AlertKind::PortScan, AlertKind::SynFlood, AlertKind::UdpFlood, AlertKind::PortScan];
    let mut alerts: Vec<_> = (1..=4_u8).zip(kinds).map(|(n, kind)| alert(kind, n, n.into(), 0.5)).collect();
    for (alert, severity) in alerts.iter_mut().zip(Severity::ALL) {
        alert.severity = severity;
    }
    emit(&app, AlertChange::Raised, &alerts).await;
    app
}

fn sources(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().expect("items").iter();
    items.map(|one| one["source"].as_str().expect("a source").trim_start_matches("192.0.2.").to_owned()).collect()
}

#[tokio::test]
async fn several_values_and_worse_severities_are_found() {
    let app = with_alerts().await;
    for list in ["alerts", "anomalies"] {
        for (query, expected) in [
            ("type=port_scan,udp_flood", vec!["4", "3", "1"]),
            ("type=port_scan&type=udp_flood", vec!["4", "3", "1"]),
            ("type=port_scan,port_scan", vec!["4", "1"]),
            ("severity=low,critical", vec!["4", "1"]),
            ("min_severity=high", vec!["4", "3"]),
            ("min_severity=medium&severity=low,medium", vec!["2"]),
            ("min_severity=low", vec!["4", "3", "2", "1"]),
            ("type=syn_flood,udp_flood&min_severity=high", vec!["3"]),
        ] {
            assert_eq!(sources(&app.json(&format!("/api/{list}?{query}")).await), expected, "{list} {query}");
        }
        // Page by page it is the same.
        let first = app.json(&format!("/api/{list}?type=port_scan,udp_flood&limit=2")).await;
        let cursor = first["next_cursor"].as_str().expect("more");
        let path = format!("/api/{list}?type=port_scan,udp_flood&limit=2&cursor={cursor}");
        assert_eq!(
            (sources(&first), sources(&app.json(&path).await)),
            (vec!["4".to_owned(), "3".to_owned()], vec!["1".to_owned()])
        );
        for (query, field) in [
            ("type=port_scan,", "type"),
            ("type=port_scan,nonsense", "type"),
            ("severity=low&min_severity=high", "min_severity"),
            ("min_severity=low&min_severity=high", "min_severity"),
        ] {
            let (status, _, body) = app.get(&format!("/api/{list}?{query}")).await;
            assert_eq!((status, &parse(&body)["field"]), (StatusCode::BAD_REQUEST, &field.into()), "{list} {query}");
        }
    }
    assert_eq!(app.json("/api/anomalies/by-type?type=port_scan,udp_flood").await["total"], 3);
    assert_eq!(app.json("/api/anomalies/by-type?min_severity=high&from=1").await["total"], 2);
    assert_eq!(sources(&app.json("/api/alerts?status=open,resolved&sort=score").await).len(), 4);
    assert_eq!(sources(&app.json("/api/alerts?source=::ffff:192.0.2.2").await), ["2"], "the same host");
}

#[tokio::test]
async fn an_icmp_type_is_no_port() {
    let app = App::with(0, 0).await;
    let mut echo = FlowRecord { proto: 1, ..flow(1) };
    (echo.originator.port, echo.responder.port) = (8, 0);
    let mut other = flow(2);
    other.responder.port = 8;
    app.write(None, vec![echo, other]).await;
    let ids = |page: &Value| -> Vec<String> {
        page["items"].as_array().expect("items").iter().map(|one| one["id"].as_str().expect("id").to_owned()).collect()
    };
    assert_eq!(ids(&app.json("/api/flows?from=0&port=8").await), ["0000000000000002"]);
    assert_eq!(ids(&app.json("/api/flows?from=0&port=8&host=10.0.0.1").await), ["0000000000000002"]);
    assert_eq!(ids(&app.json("/api/flows?from=0&proto=icmp").await), ["0000000000000001"]);
    assert_eq!(ids(&app.json("/api/flows?from=0&host=::ffff:10.0.0.1&proto=1").await), ["0000000000000001"]);
}

#[tokio::test]
async fn a_row_of_many_flows_says_what_it_stands_for_in_lists_and_files() {
    let app = App::with(0, 0).await;
    app.batch(WindowBatch { flows: vec![flow(1)], groups: vec![group(2)], ..WindowBatch::default() }).await;
    let page = app.json("/api/flows?from=0&sort=time").await;
    let [one, many] = [&page["items"][0], &page["items"][1]];
    assert_eq!((&one["flows"], &one["group"]), (&1.into(), &Value::Null), "{one}");
    assert!(one["community_id"].is_string() && many["community_id"].is_null(), "{many}");
    assert_eq!((&many["flows"], &many["source"]), (&5000.into(), &"0.0.0.0".into()), "{many}");
    let example =
        json!({"source": "198.51.100.7", "source_port": 1234, "destination": "10.0.0.2", "destination_port": 53});
    let of = json!({"sources": 4990, "destinations": 1, "destination_ports": 1, "examples": [example]});
    assert_eq!(many["group"], of);
    let (_, _, csv) = app.get("/api/export?what=flows&format=csv&from=0").await;
    let csv = String::from_utf8(csv).expect("text");
    assert!(csv.lines().nth(2).is_some_and(|line| line.contains(",5000,")), "{csv}");
    let (_, _, eve) = app.get("/api/export?what=flows&format=eve&from=0").await;
    let eve = String::from_utf8(eve).expect("text");
    let ids: Vec<bool> = eve.lines().map(|line| line.contains("community_id")).collect();
    assert_eq!(ids, [true, false], "{eve}");
    // The host that they share has them all, and nobody in particular is a host.
    let host = app.json("/api/hosts/10.0.0.2").await;
    assert_eq!((&host["flows"], &host["flows_in"]), (&5001.into(), &5001.into()), "{host}");
    assert_eq!(app.get("/api/hosts/0.0.0.0").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn flows_of_a_network_are_found() {
    let app = App::with(0, 0).await;
    let from_to = |id: u64, source: &str, destination: &str| {
        let mut flow = flow(id);
        flow.originator.address = source.parse().expect("an address");
        flow.responder.address = destination.parse().expect("an address");
        flow
    };
    app.write(
        None,
        vec![
            from_to(1, "192.0.2.1", "198.51.100.1"),
            from_to(2, "198.51.100.9", "192.0.2.200"),
            from_to(3, "192.0.2.3", "192.0.2.4"),
            from_to(4, "192.0.3.1", "198.51.100.1"),
            from_to(5, "2001:db8::1", "2001:db8:1::1"),
        ],
    )
    .await;
    for (host, expected) in [
        ("192.0.2.0/24", vec![1, 2, 3]),
        ("192.0.2.0/25", vec![1, 3]),
        ("192.0.0.0/16", vec![1, 2, 3, 4]),
        ("0.0.0.0/0", vec![1, 2, 3, 4]),
        ("::ffff:192.0.2.0/120", vec![1, 2, 3]),
        ("2001:db8::/48", vec![5]),
        ("::/0", vec![1, 2, 3, 4, 5]),
        ("192.0.3.1/32", vec![4]),
        ("10.0.0.0/8", vec![]),
    ] {
        for sort in ["time", "last_time"] {
            let page = app.json(&format!("/api/flows?from=0&sort={sort}&host={host}")).await;
            let ids = page["items"].as_array().expect("items").iter();
            let mut ids: Vec<u64> =
                ids.map(|one| u64::from_str_radix(one["id"].as_str().expect("id"), 16).expect("hex")).collect();
            ids.sort_unstable();
            assert_eq!(ids, expected, "{host} by {sort}");
        }
    }
    let page = app.json("/api/flows?from=0&host=192.0.2.0/24&port=53&proto=udp&limit=2&sort=time").await;
    let cursor = page["next_cursor"].as_str().expect("more");
    let rest =
        app.json(&format!("/api/flows?from=0&host=192.0.2.0/24&port=53&proto=udp&limit=2&cursor={cursor}")).await;
    assert_eq!((page["items"].as_array().map(Vec::len), rest["items"].as_array().map(Vec::len)), (Some(2), Some(1)));
    for wrong in ["192.0.2.1/24", "192.0.2.0/33", "gateway/8", "/8"] {
        let (status, _, body) = app.get(&format!("/api/flows?host={wrong}")).await;
        assert_eq!((status, &parse(&body)["field"]), (StatusCode::BAD_REQUEST, &"host".into()), "{wrong}");
    }
}

async fn lines(app: &App, path: &str, accept: &str) -> (HeaderMap, Vec<String>) {
    let request = Request::get(path).header(header::HOST, HOST).header(header::ACCEPT, accept);
    let response = app.router.clone().oneshot(request.body(Body::empty()).expect("request")).await.expect("response");
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.expect("body");
    let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let id = |line: &[u8]| parse(line)["id"].as_str().map(str::to_owned);
    (parts.headers, lines.filter_map(id).collect())
}

#[tokio::test]
async fn lines_obey_limit_sort_and_filters_and_go_on_where_they_broke_off() {
    let app = App::with(0, 1200).await;
    let mut other = FlowRecord { first: time(2), ..flow(5000) };
    other.responder.port = 443;
    app.write(None, vec![other]).await;
    let ndjson = "application/x-ndjson";
    let id = |number: u64| format!("{number:016x}");
    for path in ["/api/flows", "/api/alltraffic"] {
        let (headers, all) = lines(&app, &format!("{path}?from=0"), ndjson).await;
        assert_eq!((all.len(), headers[header::CONTENT_TYPE].as_bytes()), (1201, ndjson.as_bytes()), "{path}");
        let vary: Vec<_> =
            headers.get_all(header::VARY).iter().map(|value| value.as_bytes().to_ascii_lowercase()).collect();
        assert!(vary.contains(&b"accept".to_vec()), "{path}: {headers:?}");
        let (_, some) = lines(&app, &format!("{path}?from=0&limit=700"), ndjson).await;
        assert_eq!(some, all[..700], "{path}");
        let mut newest_first = all.clone();
        newest_first.reverse();
        assert_eq!(lines(&app, &format!("{path}?from=0&sort=-time"), ndjson).await.1, newest_first, "{path}");
        // It broke off behind the 600th line.
        let rest = lines(&app, &format!("{path}?from=0&after={}", all[599]), ndjson).await.1;
        assert_eq!(rest, all[600..], "{path}");
        let rest = lines(&app, &format!("{path}?from=0&sort=-time&after={}", newest_first[1190]), ndjson).await.1;
        assert_eq!(rest, newest_first[1191..], "{path}");
        for (query, field) in [("after=1", "after"), ("after=ffffffffffffffff", "after")] {
            let (status, _, body) = app.get(&format!("{path}?{query}")).await;
            assert_eq!((status, &parse(&body)["field"]), (StatusCode::BAD_REQUEST, &field.into()), "{path} {query}");
        }
        // Who does not take lines gets a page.
        for accept in ["application/x-ndjson;q=0, */*", "application/json, application/x-ndjson;q=0.5", "*/*"] {
            let request = Request::get(format!("{path}?from=0&limit=3")).header(header::HOST, HOST);
            let request = request.header(header::ACCEPT, accept).body(Body::empty()).expect("request");
            let response = app.router.clone().oneshot(request).await.expect("response");
            assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json", "{path} {accept}");
        }
    }
    assert_eq!(lines(&app, "/api/flows?from=0&port=443", ndjson).await.1, [id(5000)]);
    let page = app.json(&format!("/api/flows?from=0&sort=time&limit=2&after={}", id(2))).await;
    assert_eq!(page["items"][0]["id"], id(3), "a page takes it too");
}

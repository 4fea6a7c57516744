//! One grammar on every list of the document: each filter against rows that are filtered here, from all that the list has; each order,
//! pages, lines, answers that are known already, and what is refused. A list or a parameter that the table below does not know fails.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderName, Request, StatusCode, header};
use ipnet::IpNet;
use nta_core::domain::{Alert, AlertChange, AlertKey, AlertKind, FlowRecord, IdentityScope, Party, Severity};
use nta_core::features::{FEATURES, SCHEMA_VERSION};
use nta_daemon::store::{FeatureRow, Store, WindowBatch};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::alerts::{alert, emit};
use crate::app::{App, HOST, flow, parse, time, window};
use crate::postgres::Server;

type Row = Value;
type Is = Box<dyn Fn(&Row) -> bool>;

/// A value of a parameter, and which rows it is to leave.
fn case(value: &str, is: impl Fn(&Row) -> bool + 'static) -> (String, Is) {
    (value.to_owned(), Box::new(is))
}

/// Addresses at which a field of a row is within a network.
fn within(networks: &[&str], fields: &'static [&'static str]) -> impl Fn(&Row) -> bool + 'static {
    let networks: Vec<IpNet> = networks.iter().map(|network| network.parse().expect("a network")).collect();
    move |row| {
        fields.iter().filter_map(|field| row.pointer(field)?.as_str()).any(|party| {
            let party = party.parse::<IpAddr>().map(IpNet::from).or_else(|_no_host| party.parse::<IpNet>());
            party.is_ok_and(|party| networks.iter().any(|network| network.contains(&party)))
        })
    }
}

fn text<'a>(row: &'a Row, field: &str) -> Option<&'a str> {
    row[field].as_str()
}

fn one_of(field: &'static str, words: &'static [&'static str]) -> impl Fn(&Row) -> bool + 'static {
    move |row| text(row, field).is_some_and(|word| words.contains(&word))
}

fn seconds(row: &Row, field: &str) -> f64 {
    let time: jiff::Timestamp = text(row, field).expect("a time").parse().expect("RFC 3339");
    time.as_nanosecond() as f64 / 1e9
}

/// The fields in which a row has its begin and its end.
fn times(path: &str) -> [&'static str; 2] {
    match path {
        "/api/alerts" | "/api/features" => ["window_start", "window_end"],
        anomalies if anomalies.starts_with("/api/anomalies") => ["window_start", "window_end"],
        "/api/metrics" => ["start", "end"],
        "/api/audit" => ["at", "at"],
        "/api/jobs" => ["created", "created"],
        _ => ["first_time", "last_time"],
    }
}

const SEVERITIES: [&str; 4] = ["low", "medium", "high", "critical"];

/// Right values of a parameter of a list.
fn cases(path: &str, name: &str) -> Option<Vec<(String, Is)>> {
    const ENDS: &[&str] = &["/source", "/destination", "/source_nat/address", "/destination_nat/address"];
    const PARTIES: &[&str] = &["/source", "/destination"];
    let hosts = |fields: &'static [&'static str]| {
        vec![
            case("10.0.0.1", within(&["10.0.0.1/32"], fields)),
            case("::ffff:10.0.0.1", within(&["10.0.0.1/32"], fields)),
            case("10.0.0.0/30", within(&["10.0.0.0/30"], fields)),
            case("::ffff:10.0.0.0/126", within(&["10.0.0.0/30"], fields)),
            case("FE80::0001", within(&["fe80::1/128"], fields)),
            case("fe80:0:0::/64", within(&["fe80::/64"], fields)),
            case("10.0.0.1,fe80::1", within(&["10.0.0.1/32", "fe80::1/128"], fields)),
            case("10.0.0.0/31,10.0.0.0/24,192.0.2.0/25", within(&["10.0.0.0/24", "192.0.2.0/25"], fields)),
            case("0.0.0.0/0", within(&["0.0.0.0/0"], fields)),
            case("::/0", within(&["::/0", "0.0.0.0/0"], fields)),
            case("203.0.113.0/24", within(&["203.0.113.0/24"], fields)),
        ]
    };
    let [begin, end] = times(path);
    // A row is in a time when it goes on in it; what a window has ends before its end.
    let until = if matches!(end, "window_end" | "end") { Ordering::Greater } else { Ordering::Equal };
    let goes_on = move |row: &Row, from: f64| match seconds(row, end).total_cmp(&from) {
        Ordering::Greater => true,
        other => other == until,
    };
    Some(match (path, name) {
        ("/api/flows", "host") => hosts(ENDS),
        ("/api/hosts", "host") => hosts(&["/address"]),
        ("/api/features", "host") => hosts(&["/host"]),
        ("/api/alerts", "source") => {
            let mut cases = hosts(&["/source"]);
            cases.push(case("*", |row| text(row, "source") == Some("*")));
            cases.push(case("-", |row| row["source"].is_null()));
            cases.push(case("02:00:5E:10:00:01", |row| text(row, "source") == Some("02:00:5e:10:00:01")));
            cases.push(case("*,10.0.0.0/30", |row| {
                text(row, "source") == Some("*") || within(&["10.0.0.0/30"], &["/source"])(row)
            }));
            cases
        }
        ("/api/alerts", "destination") => hosts(&["/destination"]),
        ("/api/alerts", "host") => hosts(PARTIES),
        (_, "port") => {
            let is = |row: &Row, ports: &[u64]| {
                let ends = ["source_port", "destination_port"].map(|end| row[end].as_u64().unwrap_or_default());
                text(row, "protocol") != Some("icmp") && ends.iter().any(|end| ports.contains(end))
            };
            vec![
                case("443", move |row| is(row, &[443])),
                case("53,443", move |row| is(row, &[53, 443])),
                case("8", move |row| is(row, &[8])),
            ]
        }
        (_, "proto") => vec![
            case("tcp", one_of("protocol", &["tcp"])),
            case("6", one_of("protocol", &["tcp"])),
            case("tcp,1", one_of("protocol", &["tcp", "icmp"])),
        ],
        ("/api/baselines", "type") => vec![case("loss", one_of("type", &["loss"]))],
        (_, "type") => vec![
            case("port_scan", one_of("type", &["port_scan"])),
            case("port_scan,udp_flood", one_of("type", &["port_scan", "udp_flood"])),
        ],
        (_, "severity") => vec![
            case("high", one_of("severity", &["high"])),
            case("low,critical", one_of("severity", &["low", "critical"])),
        ],
        (_, "min_severity") => SEVERITIES
            .iter()
            .enumerate()
            .map(|(least, word)| {
                case(word, move |row| text(row, "severity").is_some_and(|is| SEVERITIES[least..].contains(&is)))
            })
            .collect(),
        ("/api/alerts", "status") => vec![
            case("resolved", one_of("status", &["resolved"])),
            case("open,resolved", one_of("status", &["open", "resolved"])),
        ],
        ("/api/alerts", "state") => vec![case("raised", one_of("state", &["raised"])), case("cleared", |_| false)],
        // Here none is a part of another.
        ("/api/alerts", "parts") => vec![case("true", |_| true), case("false", |row| row["folded_into"].is_null())],
        ("/api/alerts", "verdict") => {
            vec![case("benign", one_of("verdict", &["benign"])), case("none", |row| row["verdict"].is_null())]
        }
        ("/api/jobs", "state") => {
            vec![case("done", one_of("state", &["done"])), case("failed", one_of("state", &["failed"]))]
        }
        ("/api/jobs", "kind") => {
            vec![case("baselines", one_of("kind", &["baselines"])), case("train", one_of("kind", &["train"]))]
        }
        ("/api/audit", "who") => vec![case("ann", one_of("who", &["ann"])), case("nobody", |_| false)],
        ("/api/audit", "action") => vec![case("change%20alert", one_of("action", &["change alert"]))],
        (_, "sensor") => vec![case("test", one_of("sensor", &["test"])), case("elsewhere", |_| false)],
        // 600 s after 1970, in three ways of writing it.
        (_, "to") => ["600", "1970-01-01T00:10:00Z", "1970-01-01T02:10:00%2B02:00"]
            .iter()
            .map(|value| case(value, move |row| seconds(row, begin) < 600.0))
            .collect(),
        (_, "from") => ["10", "1970-01-01T00:00:10Z", "1970-01-01T02:00:10.000%2B02:00"]
            .iter()
            .map(|value| case(value, move |row| goes_on(row, 10.0)))
            .collect(),
        _ => return None,
    })
}

/// What is no value of a parameter, and what else is not held against rows here: why.
fn elsewhere(path: &str, name: &str) -> Option<&'static str> {
    Some(match (path, name) {
        (_, "limit" | "cursor" | "sort") => "pages, below",
        (_, "after") => "lines that broke off, in queries.rs",
        (_, "capture") => "rows of uploaded captures, in uploads.rs",
        ("/api/metrics", "span") | ("/api/features", "window_size") => "windows of other lengths, in hosts.rs",
        ("/api/captures" | "/api/analysis/list-files", _) => "files, in uploads.rs and results.rs",
        ("/api/baselines", "usual_from" | "usual_to") => "what is usual of a time, no filter of rows: in baselines.rs",
        ("/api/anomalies/window/{id}", "id") => "a place in the path",
        // Its rows are those that went on in the time, with sums of it: in hosts.rs.
        ("/api/hosts", "from" | "to") => "sums of a time, in hosts.rs",
        _ => return None,
    })
}

/// What no parameter takes that has a form.
const WRONG: &str = "~wrong~";

async fn get(app: &App, path: &str, headers: &[(HeaderName, &str)]) -> (StatusCode, axum::http::HeaderMap, Vec<u8>) {
    let mut request = Request::get(path).header(header::HOST, HOST);
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    let response = app.router.clone().oneshot(request.body(Body::empty()).expect("request")).await.expect("response");
    let (parts, body) = response.into_parts();
    (parts.status, parts.headers, to_bytes(body, usize::MAX).await.expect("body").to_vec())
}

async fn rows(app: &App, path: &str) -> Vec<Row> {
    app.json(path).await["items"].as_array().expect("items").clone()
}

/// All pages of a list.
async fn walk(app: &App, path: &str) -> Vec<Row> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = app.json(&format!("{path}{cursor}")).await;
        all.extend(page["items"].as_array().expect("items").iter().cloned());
        let Some(next) = page["next_cursor"].as_str() else { break all };
        cursor = format!("&cursor={next}");
    }
}

/// What a list is sorted by, as a number.
fn key(path: &str, sort: &str, row: &Row) -> f64 {
    let number = |field: &str| row[field].as_f64().unwrap_or_else(|| panic!("{path}: no {field} in {row}"));
    let sum = |fields: [&str; 2]| fields.iter().map(|field| number(field)).sum();
    let place = || SEVERITIES.iter().position(|word| text(row, "severity") == Some(*word)).expect("severity") as f64;
    match (path, sort) {
        ("/api/alerts", "time") => seconds(row, "raised_at"),
        ("/api/hosts", "bytes") => sum(["bytes_sent", "bytes_received"]),
        ("/api/hosts", "packets") => sum(["packets_sent", "packets_received"]),
        (_, "severity") => place(),
        ("/api/metrics", "bandwidth") => number("bandwidth_bps"),
        (_, "time") => seconds(row, times(path)[0]),
        (_, "last_time") => seconds(row, times(path)[1]),
        (_, "score" | "bytes" | "packets" | "flows") => number(sort),
        (_, "type") => 0.0,
        other => panic!("an order without a measure: {other:?}"),
    }
}

/// Alerts of hosts, networks, stations, many and nobody, flows of both kinds of addresses, vectors, windows, changes, jobs.
async fn fill(app: &App) {
    let host = |text: &str| Party::Host(text.parse().expect("an address"));
    let network = |text: &str, length| Party::Network(text.parse().expect("an address"), length);
    let parties = [
        (host("10.0.0.1"), Party::Many),
        (host("10.0.0.2"), host("192.0.2.9")),
        (host("fe80::1"), host("10.0.0.1")),
        (network("10.0.0.0", 30), host("fe80::2")),
        (network("10.0.0.0", 23), Party::Nobody),
        (Party::Many, network("192.0.2.0", 25)),
        (Party::Nobody, host("10.0.0.1")),
        (Party::Mac([2, 0, 0x5e, 0x10, 0, 1]), host("10.0.0.77")),
        (host("203.0.113.5"), host("203.0.113.5")),
    ];
    let kinds = [AlertKind::PortScan, AlertKind::SynFlood, AlertKind::UdpFlood];
    let one = |n: usize, (source, destination): (Party, Party)| -> Alert {
        let mut one = alert(kinds[n % 3], 1, 1 + n as u64, 0.1 * (1 + n % 9) as f64);
        one.finding.source = source;
        one.finding.destination = destination;
        one.latest = one.finding.clone();
        one.key = AlertKey::of(&one.finding);
        one.id = IdentityScope::default().alert_id(&one.key, one.finding.end);
        one.severity = Severity::ALL[n % 4];
        one
    };
    let alerts: Vec<Alert> = parties.into_iter().enumerate().map(|(n, parties)| one(n, parties)).collect();
    emit(app, AlertChange::Raised, &alerts).await;
    for (alert, change) in alerts.iter().zip([
        json!({"status": "resolved", "by": "ann"}),
        json!({"status": "acknowledged", "verdict": "benign", "by": "bob"}),
        json!({"verdict": "true_positive", "by": "ann"}),
    ]) {
        let path = format!("/api/alerts/{}", alert.id);
        assert_eq!(app.send(axum::http::Method::PATCH, &path, &change).await.0, StatusCode::OK);
    }
    let ends = ["10.0.0.1", "10.0.0.2", "10.0.0.77", "10.0.1.1", "192.0.2.9", "192.0.2.200", "fe80::1", "fe80::2"];
    let address = |n: u64| -> IpAddr { ends[n as usize % ends.len()].parse().expect("an address") };
    let record = |n: u64| {
        let mut record = FlowRecord { proto: [6, 17, 1][n as usize % 3], ..flow(n) };
        (record.originator.address, record.responder.address) = (address(n), address(n / 8 + 3 * n));
        record.responder.port = [443, 53, 8][n as usize % 3];
        record.originator.sent.bytes = n * 7919 % 1000;
        (record.first, record.last) = (time(n * 20), time(n * 20 + n % 5 * 400));
        if n.is_multiple_of(7) {
            record.originator.translated = Some("203.0.113.5:6000".parse().expect("an address"));
        }
        record
    };
    app.write(None, (1..=40).map(record).collect()).await;
    let vector = |n: u64| FeatureRow {
        start: time(n / 4 * 5),
        end: time(n / 4 * 5 + 5),
        span_ns: 5_000_000_000,
        host: address(n),
        schema_version: SCHEMA_VERSION,
        vector: vec![n as f64; FEATURES.len()],
    };
    app.batch(WindowBatch { features: (0..32).map(vector).collect(), ..WindowBatch::default() }).await;
    for id in 1..=6 {
        app.write(Some(window(id)), vec![]).await;
    }
    // There are no windows of 30 s to learn from: these jobs fail.
    for (path, expected) in [
        ("/api/baselines/generate", StatusCode::UNPROCESSABLE_ENTITY),
        ("/api/baselines/generate", StatusCode::UNPROCESSABLE_ENTITY),
        ("/api/metrics/compute", StatusCode::OK),
    ] {
        assert_eq!(app.send(axum::http::Method::POST, path, &json!({})).await.0, expected, "{path}");
    }
}

/// How a row is told from others.
fn name(row: &Row) -> String {
    row.to_string()
}

async fn every_list(app: &App) {
    fill(app).await;
    let document = app.json("/openapi.json").await;
    let mut held = BTreeSet::new();
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        let parameters = methods["get"]["parameters"].as_array().cloned().unwrap_or_default();
        let names: Vec<&str> = parameters.iter().filter_map(|one| one["name"].as_str()).collect();
        if !names.contains(&"cursor") {
            continue;
        }
        let url = path.replace("{id}", "1");
        let open = if names.contains(&"from") { "from=0&" } else { "" };
        let all = rows(app, &format!("{url}?{open}limit=1000")).await;
        assert!(all.len() < 1000, "{path}: all on one page");
        for parameter in &parameters {
            let name = parameter["name"].as_str().expect("a name");
            // What has a form refuses what has not, by name, and says what it takes.
            if parameter["in"] == "query" && !matches!(name, "who" | "action") {
                let (status, _, body) = app.get(&format!("{url}?{name}={WRONG}")).await;
                let problem = parse(&body);
                assert_eq!((status, &problem["field"]), (StatusCode::BAD_REQUEST, &name.into()), "{path} {name}");
                let detail = problem["detail"].as_str().expect("a detail");
                assert!(detail.contains(WRONG) && detail.contains("expected"), "{path} {name}: {detail}");
            }
            let Some(cases) = cases(path, name) else {
                assert!(elsewhere(path, name).is_some(), "{path} has a parameter that nothing holds: {name}");
                continue;
            };
            for (value, is) in cases.into_iter().filter(|_| elsewhere(path, name).is_none()) {
                let open = if name == "from" { "" } else { open };
                let expected: Vec<&Row> = all.iter().filter(|row| is(row)).collect();
                let query = format!("{url}?{open}{name}={value}");
                assert_eq!(rows(app, &query).await.iter().collect::<Vec<_>>(), expected, "{query}");
                // In pages and in any other order these are the same rows.
                let met = walk(app, &format!("{query}&limit=3")).await;
                assert_eq!(met.iter().collect::<Vec<_>>(), expected, "{query} in pages");
                held.insert((path.clone(), name.to_owned()));
                *left.entry("some").or_default() += usize::from(!expected.is_empty() && expected.len() < all.len());
            }
        }
        orders(app, (path, &url, open), &parameters, &all).await;
        let (status, _, body) = app.get(&format!("{url}?colour=red")).await;
        let problem = parse(&body);
        assert_eq!((status, &problem["field"]), (StatusCode::BAD_REQUEST, &"colour".into()), "{path}");
        let detail = problem["detail"].as_str().expect("a detail");
        let in_query = parameters.iter().filter(|one| one["in"] == "query").filter_map(|one| one["name"].as_str());
        in_query.for_each(|name| assert!(detail.contains(name), "{path}: {detail}"));
        let (_, headers, _) = get(app, &url, &[]).await;
        let tag = headers[header::ETAG].to_str().expect("text").to_owned();
        let (status, _, body) = get(app, &url, &[(header::IF_NONE_MATCH, &tag)]).await;
        assert_eq!((status, body.len()), (StatusCode::NOT_MODIFIED, 0), "{path}");
    }
    // The table held something: filters that leave some rows and not all.
    assert!(held.len() > 30 && left["some"] > 80, "{} parameters, {left:?}", held.len());
}

/// Every order that the document names, in pages of three: each row once, and in that order. Lines are the same rows.
async fn orders(app: &App, (path, url, open): (&str, &str, &str), parameters: &[Value], all: &[Row]) {
    let sort = parameters.iter().find(|one| one["name"] == "sort").expect("an order");
    let mut expected: Vec<String> = all.iter().map(name).collect();
    expected.sort();
    for word in sort["schema"]["enum"].as_array().expect("words").iter().filter_map(Value::as_str) {
        let query = format!("{url}?{open}sort={word}");
        let met = walk(app, &format!("{query}&limit=3")).await;
        let mut names: Vec<String> = met.iter().map(name).collect();
        names.sort();
        assert_eq!(names, expected, "{query}: each once");
        let (field, is_descending) = word.strip_prefix('-').map_or((word, false), |field| (field, true));
        let keys: Vec<f64> = met.iter().map(|row| key(path, field, row)).collect();
        let in_order = |pair: &[f64]| if is_descending { pair[0] >= pair[1] } else { pair[0] <= pair[1] };
        assert!(keys.windows(2).all(in_order), "{query}: {keys:?}");
        let first = rows(app, &format!("{query}&limit=2")).await;
        assert_eq!(first, met[..met.len().min(2)], "{query}");
        if !matches!(path, "/api/flows" | "/api/alltraffic") {
            continue;
        }
        for (accept, limit, is_lines) in [
            ("application/x-ndjson", "", true),
            ("application/x-ndjson", "&limit=5", true),
            ("application/x-ndjson;q=0, application/json", "&limit=5", false),
        ] {
            let (_, headers, body) = get(app, &format!("{query}{limit}"), &[(header::ACCEPT, accept)]).await;
            let media_type = headers[header::CONTENT_TYPE].to_str().expect("text");
            assert_eq!(media_type.contains("ndjson"), is_lines, "{query} {accept}");
            let lines: Vec<Row> = if is_lines {
                body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(parse).collect()
            } else {
                parse(&body)["items"].as_array().expect("items").clone()
            };
            let most = if limit.is_empty() { met.len() } else { 5 };
            assert_eq!(lines, met[..most.min(met.len())], "{query}{limit} {accept}");
        }
    }
}

#[tokio::test]
async fn every_list_takes_one_grammar_on_sqlite() {
    every_list(&App::with(0, 0).await).await;
}

#[tokio::test]
async fn every_list_takes_one_grammar_on_postgresql() {
    let Some(server) = Server::start("every_list_takes_one_grammar_on_postgresql") else { return };
    let store: Store = server.open().await;
    every_list(&App::over(store).await).await;
}

//! `/api/flows`, `/api/hosts`, `/api/features` and windows of other lengths.

use axum::http::{Method, StatusCode};
use nta_core::domain::FlowRecord;
use nta_core::features::{FEATURES, SCHEMA_VERSION};
use nta_core::window::Window;
use nta_daemon::store::{FeatureRow, WindowBatch};
use serde_json::{Value, json};

use crate::app::{App, flow, parse, time, window};

fn field<'a>(page: &'a Value, name: &str) -> Vec<&'a Value> {
    page["items"].as_array().expect("items").iter().map(|item| &item[name]).collect()
}

#[tokio::test]
async fn flows_are_searched() {
    let app = App::with(0, 6).await;
    let mut other = flow(7);
    (other.originator.address, other.responder.port, other.proto) = ([10, 0, 0, 9].into(), 443, 6);
    app.write(None, vec![other]).await;
    for (query, count) in [
        ("host=10.0.0.9", 1),
        ("host=10.0.0.2", 7),
        ("port=443", 1),
        ("port=40000", 7),
        ("proto=udp", 6),
        ("proto=6&host=10.0.0.2", 1),
        ("from=1006", 2),
        ("to=1", 2),
        ("host=10.0.0.2&limit=3", 3),
    ] {
        let page = app.json(&format!("/api/flows/?{query}")).await;
        assert_eq!(page["items"].as_array().map(Vec::len), Some(count), "{query}: {page}");
    }
    for (query, name) in [("host=ten", "host"), ("port=x", "port"), ("proto=quic", "proto"), ("hosts=1", "hosts")] {
        let (status, _, body) = app.get(&format!("/api/flows?{query}")).await;
        assert_eq!((status, &parse(&body)["field"]), (StatusCode::BAD_REQUEST, &name.into()), "{query}");
    }
}

#[tokio::test]
async fn services_are_summed_over_flows_under_the_names_that_these_have() {
    let app = App::with(0, 6).await;
    let mut others = [flow(7), flow(8), flow(9), flow(10)];
    for (flow, (port, proto)) in others.iter_mut().zip([(443, 6), (3306, 6), (40_001, 6), (0, 1)]) {
        (flow.responder.port, flow.proto) = (port, proto);
    }
    others[2].last = time(5000);
    app.write(None, others.to_vec()).await;
    let services = app.json("/api/services").await;
    let row = |of: &Value| (of["service"].as_str().expect("a name").to_owned(), of["bytes"].as_u64().expect("bytes"));
    let found: Vec<_> = services["items"].as_array().expect("items").iter().map(row).collect();
    let wanted = [("dns", 4800), ("icmp", 800), ("other tcp", 800), ("https", 800), ("mysql", 800)];
    assert_eq!(found, wanted.map(|(name, bytes)| (name.to_owned(), bytes)));
    assert_eq!((&services["flows"], &services["bytes"], &services["from"]), (&10.into(), &8000.into(), &Value::Null));
    // Each flow has the name that it is summed under.
    let mut sums = std::collections::BTreeMap::<String, u64>::new();
    for flow in app.json("/api/flows?from=0").await["items"].as_array().expect("items") {
        let protocol = flow["protocol"].as_str().expect("a protocol");
        let other = if protocol == "icmp" { "icmp".to_owned() } else { format!("other {protocol}") };
        let name = flow["service_name"].as_str().map_or(other, str::to_owned);
        *sums.entry(name).or_default() += flow["bytes"].as_u64().expect("bytes");
    }
    assert_eq!(sums, found.into_iter().collect());
    let part = app.json("/api/services?from=4900&to=4999").await;
    assert_eq!((&part["items"][0]["service"], &part["bytes"]), (&"other tcp".into(), &800.into()), "{part}");
    assert_eq!(
        (&part["from"], &part["to"]),
        (&"1970-01-01T01:20:00.000000Z".into(), &"1970-01-01T01:25:00.000000Z".into())
    );
    let (status, _, body) = app.get("/api/services?host=10.0.0.1").await;
    assert_eq!((status, &parse(&body)["field"]), (StatusCode::BAD_REQUEST, &"host".into()));
}

#[tokio::test]
async fn hosts_are_summed_over_flows_and_each_has_a_profile() {
    let app = App::with(0, 4).await;
    let mut other = flow(9);
    other.originator.address = [10, 0, 0, 7].into();
    app.write(None, vec![other, FlowRecord { last: time(5000), ..flow(1) }]).await;
    let page = app.json("/api/hosts").await;
    assert_eq!(field(&page, "address"), ["10.0.0.2", "10.0.0.1", "10.0.0.7"]);
    assert_eq!((&page["items"][0]["flows_in"], &page["items"][0]["flows_out"]), (&5.into(), &0.into()));
    assert_eq!(page["items"][1]["bytes_sent"], 1600);
    assert_eq!(page["items"][0]["inside"], true, "a private address");
    let mut met = Vec::new();
    let mut path = "/api/hosts?limit=1&sort=flows".to_owned();
    for _ in 0..3 {
        let page = app.json(&path).await;
        met.extend(field(&page, "address").into_iter().map(Value::to_string));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/api/hosts?limit=1&cursor={cursor}");
    }
    assert_eq!(met, ["\"10.0.0.7\"", "\"10.0.0.1\"", "\"10.0.0.2\""]);

    let host = app.json("/api/hosts/10.0.0.2").await;
    assert_eq!((&host["flows"], &host["last_time"]), (&5.into(), &"1970-01-01T01:23:20.000000Z".into()));
    let peers: Vec<_> = host["top_peers"].as_array().expect("peers").iter().map(|p| &p["address"]).collect();
    assert_eq!(peers, ["10.0.0.1", "10.0.0.7"]);
    let port = json!({"port": 53, "protocol": "udp", "side": "own", "flows": 5, "bytes": 4000});
    assert_eq!(host["top_ports"], json!([port]));
    // What ICMP has in the place of ports is none, and a group's address is on no side.
    let mut ping = flow(10);
    (ping.proto, ping.originator.port, ping.responder.port) = (1, 8, 0);
    ping.responder.address = [224, 0, 0, 1].into();
    app.write(None, vec![ping]).await;
    assert_eq!(app.json("/api/hosts/10.0.0.1").await["top_ports"][0]["protocol"], "udp");
    assert_eq!(app.json("/api/hosts/10.0.0.1").await["top_ports"].as_array().map(Vec::len), Some(1));
    let group = app.json("/api/hosts/224.0.0.1").await;
    assert_eq!((&group["inside"], &group["top_ports"]), (&Value::Null, &json!([])));
    assert_eq!((&host["baseline"], &host["alerts"]), (&Value::Null, &json!([])));
    assert_eq!(app.get("/api/hosts/10.9.9.9").await.0, StatusCode::NOT_FOUND);
    assert_eq!(app.get("/api/hosts/localhost").await.0, StatusCode::BAD_REQUEST);
}

/// Hosts of a time are those of the flows that `/api/flows` lists for it, with the sums of these: who was silent is not among them.
#[tokio::test]
async fn hosts_of_a_time_have_the_sums_of_its_flows() {
    let app = App::with(0, 0).await;
    let record = |id: u64, [from, to]: [u8; 2], first: u64, last: u64| {
        let mut record = FlowRecord { first: time(first), last: time(last), ..flow(id) };
        record.originator.address = [10, 0, 0, from].into();
        record.responder.address = [10, 0, 0, to].into();
        record
    };
    let flows = [([1, 2], 100, 105), ([1, 3], 200, 260), ([4, 2], 100, 4000), ([3, 1], 205, 206), ([5, 6], 300, 1200)];
    let flows = (1..).zip(flows).map(|(id, (ends, first, last))| record(id, ends, first, last));
    app.write(None, flows.collect()).await;
    let list = async |query: &str| {
        let (mut met, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = app.json(&format!("/api/hosts?{query}{cursor}")).await;
            for host in page["items"].as_array().expect("items") {
                let number = |name: &str| host[name].as_u64().expect("a number");
                let address = host["address"].as_str().expect("address").trim_start_matches("10.0.0.").to_owned();
                met.push((address, [number("flows_out"), number("flows_in")], number("packets_sent")));
            }
            let Some(next) = page["next_cursor"].as_str() else { break met };
            cursor = format!("&cursor={next}");
        }
    };
    let each = flow(1).originator.sent.packets;
    let host = |address: &str, out: u64, into: u64| (address.to_owned(), [out, into], (out + into) * each);
    for (times, expected) in [
        ("from=110&to=150", vec![host("2", 0, 1), host("4", 1, 0)]),
        ("from=205&to=250", vec![host("1", 1, 1), host("2", 0, 1), host("3", 1, 1), host("4", 1, 0)]),
        ("from=270&to=280", vec![host("2", 0, 1), host("4", 1, 0)]),
        ("from=1100&to=1300", vec![host("2", 0, 1), host("4", 1, 0), host("5", 1, 0), host("6", 0, 1)]),
        ("from=5000&to=6000", vec![]),
        ("to=101", vec![host("1", 1, 0), host("2", 0, 2), host("4", 1, 0)]),
        (
            "",
            vec![host("1", 2, 1), host("2", 0, 2), host("3", 1, 1), host("4", 1, 0), host("5", 1, 0), host("6", 0, 1)],
        ),
    ] {
        let flows = app.json(&format!("/api/flows?{times}")).await;
        let sides: u64 = expected.iter().map(|(_, [out, into], _)| out + into).sum();
        assert_eq!(flows["items"].as_array().map(|flows| 2 * flows.len() as u64), Some(sides), "{times}: {flows}");
        for (sort, limit) in [("-packets", 100), ("flows", 1), ("-last_time", 2), ("bytes", 3)] {
            let mut met = list(&format!("{times}&sort={sort}&limit={limit}")).await;
            met.sort();
            assert_eq!(met, expected, "{times} {sort} {limit}");
        }
    }
    let by_packets = list("from=205&to=250&sort=-packets").await;
    assert_eq!(by_packets[0].0.len() + by_packets[1].0.len(), 2, "{by_packets:?}");
    assert!(by_packets.is_sorted_by(|a, b| a.2 >= b.2), "{by_packets:?}");
    assert_eq!(list("from=110&to=150&sensor=other").await, []);
    let profile = app.json("/api/hosts/10.0.0.1").await;
    assert_eq!((&profile["flows"], &profile["flows_looked_at"]), (&3.into(), &3.into()));
}

#[tokio::test]
async fn a_translated_address_says_which_hosts_it_stands_for() {
    let app = App::with(0, 0).await;
    let outside = "203.0.113.1:40000".parse().ok();
    let mut masqueraded = vec![flow(1), flow(2), flow(3)];
    for flow in &mut masqueraded {
        flow.originator.translated = outside;
    }
    masqueraded[2].originator.address = [10, 0, 0, 7].into();
    let mut forwarded = flow(4);
    forwarded.originator.address = [198, 51, 100, 9].into();
    forwarded.responder.translated = "203.0.113.1:8080".parse().ok();
    app.write(None, masqueraded.into_iter().chain([forwarded]).collect()).await;
    let (status, _, body) = app.get("/api/hosts/203.0.113.1").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let detail = parse(&body)["detail"].to_string();
    for host in ["10.0.0.1", "10.0.0.2", "10.0.0.7"] {
        assert!(detail.contains(host), "{detail}");
    }
    // The gateway's own traffic makes it a host, and it stands for the others all the same.
    let mut own = flow(5);
    own.originator.address = [203, 0, 113, 1].into();
    app.write(None, vec![own]).await;
    let gateway = app.json("/api/hosts/203.0.113.1").await;
    let stands_for = gateway["stands_for"].as_array().expect("hosts");
    let found: Vec<_> = stands_for.iter().map(|host| (&host["address"], &host["flows"])).collect();
    let one = Value::from(1);
    assert_eq!(found, [(&"10.0.0.1".into(), &Value::from(2)), (&"10.0.0.2".into(), &one), (&"10.0.0.7".into(), &one)]);
    assert_eq!(gateway["flows"], 1);
    assert_eq!(app.json("/api/hosts/10.0.0.1").await["stands_for"], json!([]));
}

#[tokio::test]
async fn features_are_listed_by_name() {
    let app = App::with(0, 0).await;
    let row = |host: u8, start: u64, length: u64| FeatureRow {
        start: time(start),
        end: time(start + length),
        span_ns: length * 1_000_000_000,
        host: [10, 0, 0, host].into(),
        schema_version: SCHEMA_VERSION,
        vector: (0..FEATURES.len()).map(|n| n as f64).collect(),
    };
    let features = vec![row(1, 0, 5), row(2, 0, 5), row(1, 5, 5), row(1, 0, 30)];
    app.batch(WindowBatch { features: features.clone(), ..WindowBatch::default() }).await;
    app.batch(WindowBatch { features, ..WindowBatch::default() }).await;
    let page = app.json("/api/features").await;
    assert_eq!(field(&page, "window_size_s"), [5.0, 5.0, 5.0], "those of base windows, each once");
    let newest = &page["items"][0];
    assert_eq!((&newest["host"], &newest["prediction"]), (&"10.0.0.1".into(), &Value::Null));
    assert_eq!(newest["features"].as_object().map(serde_json::Map::len), Some(FEATURES.len()));
    assert_eq!(newest["features"][FEATURES[3].name], 3.0);
    assert_eq!(field(&app.json("/api/features?window_size=30").await, "host"), ["10.0.0.1"]);
    assert_eq!(app.json("/api/features?host=10.0.0.2").await["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(app.get("/api/features?window_size=7").await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn lists_show_stored_windows_and_windows_of_other_lengths_are_made_of_base_windows() {
    // Windows 1 to 5 start at 5, 10, … 25 s.
    let app = App::with(5, 0).await;
    let page = app.json("/api/metrics?span=15").await;
    assert_eq!([field(&page, "id"), field(&page, "packets")], [[3, 1], [12, 3]]);
    assert_eq!(page["items"][0]["start"], "1970-01-01T00:00:15.000000Z");
    assert_eq!(page["items"][1]["rtt"]["mean_ms"], 30.0);
    assert_eq!(field(&app.json("/api/metrics?span=15&sort=time").await, "id"), [1, 3]);
    assert_eq!(field(&app.json("/api/metrics?span=15&from=20&to=25").await, "id"), [3]);
    // Page by page, each once.
    for sort in ["time", "-time"] {
        let first = app.json(&format!("/api/metrics?span=10&limit=1&sort={sort}")).await;
        assert_eq!(first["items"], json!([]), "a stored length that this database has none of");
        let mut ids = Vec::new();
        let mut path = format!("/api/metrics?span=15&limit=1&sort={sort}");
        loop {
            let page = app.json(&path).await;
            ids.extend(field(&page, "id").into_iter().cloned());
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            path = format!("/api/metrics?span=15&limit=1&sort={sort}&cursor={cursor}");
        }
        assert_eq!(ids, if sort == "time" { [1, 3] } else { [3, 1] });
    }
    let (status, _, body) = app.get("/api/metrics?span=15&sort=packets").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(String::from_utf8_lossy(&body).contains("5, 10, 30, 180, 3600 s"), "the refusal names what there is");
    assert_eq!(app.json("/api/metrics/2").await["packets"], 2, "an id is of a stored window");

    // Ten seconds are stored, and what lists show by default.
    let longer = [(2, 10, 20, 5), (2, 20, 30, 9), (6, 0, 30, 15)].map(|(factor, start, end, packets)| {
        (factor, Window { id: start + 1, start: time(start), end: time(end), packets, ..window(1) })
    });
    app.batch(WindowBatch { longer: longer.to_vec(), ..WindowBatch::default() }).await;
    let page = app.json("/api/metrics").await;
    assert_eq!([field(&page, "id"), field(&page, "packets")], [[7, 6], [9, 5]]);
    assert_eq!(field(&app.json("/api/metrics?sort=packets&limit=1").await, "id"), [6]);
    assert_eq!(field(&app.json("/api/metrics?sort=packets&from=10&to=20").await, "id"), [6]);
    assert_eq!(field(&app.json("/api/metrics?from=12&to=15").await, "id"), [6], "a window that reaches into the time");
    assert_eq!(field(&app.json("/api/metrics?span=30").await, "id"), [8]);
    assert_eq!(app.json("/api/metrics/summary").await["total_windows"], 5, "base windows only");
    let of_ten = app.json("/api/metrics/summary?span=10").await;
    assert_eq!((&of_ten["total_windows"], &of_ten["packets"]), (&2.into(), &14.into()));
    let (status, computed) = app.send(Method::POST, "/api/metrics/compute", &json!({"force": true})).await;
    assert_eq!((status, &computed["base_windows"]), (StatusCode::OK, &5.into()), "{computed}");
    assert_eq!((&computed["newest"]["id"], &computed["path"]), (&7.into(), &"/api/metrics?span=10".into()));
}

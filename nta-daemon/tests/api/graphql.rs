//! `POST /graphql`: the same answers as the paths, to the same roles; and queries that mean harm.

use std::num::NonZeroU32;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use axum::http::{Method, StatusCode, header};
use nta_core::domain::{AlertChange, AlertKind};
use nta_daemon::api::{ApiState, Rules, serve};
use nta_daemon::config::Config;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::access::make;
use crate::alerts::{alert, emit};
use crate::app::{App, HOST, parse};

fn on() -> Config {
    toml::from_str("[api]\ngraphql = true\n").expect("a configuration")
}

async fn app() -> App {
    let app = App::with_config(on(), 4, 30).await;
    emit(&app, AlertChange::Raised, &[alert(AlertKind::PortScan, 1, 1, 0.9), alert(AlertKind::SynFlood, 2, 2, 0.5)])
        .await;
    app
}

async fn ask(app: &App, query: &str) -> Value {
    let (status, answer) = app.send(Method::POST, "/graphql", &json!({"query": query})).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

fn error(answer: &Value) -> &str {
    answer["errors"][0]["message"].as_str().unwrap_or_else(|| panic!("no error: {answer}"))
}

#[tokio::test]
async fn it_is_off_unless_the_configuration_switches_it_on() {
    let (status, problem) =
        App::with(0, 0).await.send(Method::POST, "/graphql", &json!({"query": "{ __typename }"})).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("[api] graphql")), "{problem}");
}

#[tokio::test]
async fn what_it_answers_is_what_the_paths_answer() {
    let app = app().await;
    let answer = ask(
        &app,
        "{ flows(from: \"0\", host: [\"10.0.0.0/30\"], proto: \"udp\", limit: 2, sort: \"-bytes\") { items { id source bytes tcp { orig_syn: __typename } } next_cursor } \
           alerts(from: \"0\", type: [\"port_scan\"]) { items { id severity why { summary observed } sensor } } \
           hosts { items { address bytes_sent inside } } \
           host(ip: \"10.0.0.1\") { flows top_ports { port flows } } \
           windows(span: \"5\", from: \"0\", limit: 1) { items { id packets rtt { mean_ms } } } \
           summary { __typename } \
           baselines(sort: \"type\") { items { type state } } }",
    )
    .await;
    assert_eq!(answer["errors"], Value::Null, "{answer}");
    let data = &answer["data"];
    let flows = app.json("/api/flows?from=0&host=10.0.0.0/30&proto=udp&limit=2&sort=-bytes").await;
    for (n, flow) in data["flows"]["items"].as_array().expect("flows").iter().enumerate() {
        for field in ["id", "source", "bytes"] {
            assert_eq!(flow[field], flows["items"][n][field], "{n} {field}");
        }
    }
    assert_eq!(data["flows"]["next_cursor"], flows["next_cursor"]);
    let alerts = app.json("/api/alerts?from=0&type=port_scan").await;
    assert_eq!(data["alerts"]["items"].as_array().map(Vec::len), Some(1));
    for field in ["id", "severity", "sensor"] {
        assert_eq!(data["alerts"]["items"][0][field], alerts["items"][0][field]);
    }
    assert_eq!(data["alerts"]["items"][0]["why"]["summary"], alerts["items"][0]["why"]["summary"]);
    let hosts = app.json("/api/hosts").await;
    assert_eq!(data["hosts"]["items"][0]["bytes_sent"], hosts["items"][0]["bytes_sent"]);
    assert_eq!(data["host"]["flows"], app.json("/api/hosts/10.0.0.1").await["flows"]);
    assert_eq!(data["windows"]["items"][0]["packets"], 4, "the newest");
    assert_eq!(data["baselines"]["items"].as_array().map(Vec::len), Some(6));
    // Variables, and one operation of several.
    let several = json!({
        "query": "query a { __typename } query b($host: [String!], $limit: Int) { flows(from: \"0\", host: $host, limit: $limit) { items { id } } }",
        "operationName": "b", "variables": {"host": ["10.0.0.1"], "limit": 3},
    });
    let (_, answer) = app.send(Method::POST, "/graphql", &several).await;
    assert_eq!(answer["data"]["flows"]["items"].as_array().map(Vec::len), Some(3), "{answer}");
    // An identity is taken as it was given.
    let id = data["windows"]["items"][0]["id"].as_u64().expect("an identity");
    for window in [format!("{id}"), format!("\"{id}\"")] {
        let answer = ask(&app, &format!("{{ window(id: {window}) {{ id packets }} }}")).await;
        assert_eq!(answer["data"]["window"], json!({"id": id, "packets": 4}), "{answer}");
    }
}

/// The question that graphql-js asks by `getIntrospectionQuery()`: editors and generators of clients begin with it.
#[tokio::test]
async fn the_schema_can_be_read_by_the_tools_that_need_it() {
    let app = app().await;
    let of_types = "ofType { kind name ".repeat(9) + &"} ".repeat(9);
    let query = format!(
        "query IntrospectionQuery {{ __schema {{ description queryType {{ name kind }} mutationType {{ name kind }} \
           subscriptionType {{ name kind }} types {{ ...FullType }} directives {{ name description locations \
           args(includeDeprecated: true) {{ ...InputValue }} }} }} }} \
         fragment FullType on __Type {{ kind name description fields(includeDeprecated: true) {{ name description \
           args(includeDeprecated: true) {{ ...InputValue }} type {{ ...TypeRef }} isDeprecated deprecationReason }} \
           inputFields(includeDeprecated: true) {{ ...InputValue }} interfaces {{ ...TypeRef }} \
           enumValues(includeDeprecated: true) {{ name description isDeprecated deprecationReason }} \
           possibleTypes {{ ...TypeRef }} }} \
         fragment InputValue on __InputValue {{ name description type {{ ...TypeRef }} defaultValue isDeprecated \
           deprecationReason }} \
         fragment TypeRef on __Type {{ kind name {of_types} }}"
    );
    let answer = ask(&app, &query).await;
    assert_eq!(answer["errors"], Value::Null, "{}", answer["errors"]);
    let schema = &answer["data"]["__schema"];
    assert_eq!((&schema["mutationType"], &schema["subscriptionType"]), (&Value::Null, &Value::Null));
    let types = schema["types"].as_array().expect("types");
    let fields = |name: &str| -> Vec<&str> {
        let found = types.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("no type {name}"));
        found["fields"].as_array().expect("fields").iter().filter_map(|field| field["name"].as_str()).collect()
    };
    assert!(["alerts", "flows", "summary"].iter().all(|name| fields("Query").contains(name)), "{:?}", fields("Query"));
    // Each field is one that the document has: nothing is answered that it does not describe.
    let document = app.json("/openapi.json").await;
    for one in types.iter().filter(|one| one["kind"] == "OBJECT") {
        let name = one["name"].as_str().expect("a name");
        let described = &document["components"]["schemas"][name]["properties"];
        if let Some(described) = described.as_object() {
            let own = fields(name);
            assert!(described.keys().all(|key| own.contains(&key.as_str())), "{name}: {own:?}");
        }
    }
}

#[tokio::test]
async fn refusals_of_the_paths_are_errors_with_their_status() {
    let app = app().await;
    for (query, status, field, says) in [
        ("{ flows(host: [\"ten\"]) { limit } }", 400, Some("host"), "ten"),
        ("{ flows(limit: 1001) { limit } }", 400, Some("limit"), "1000"),
        ("{ host(ip: \"10.9.9.9\") { address } }", 404, None, "10.9.9.9"),
        ("{ host(ip: \"../tokens\") { address } }", 400, Some("ip"), "tokens"),
        ("{ window(id: \"1?x=1\") { id } }", 400, Some("id"), "1"),
        ("{ window(id: {a: 1}) { id } }", 400, Some("id"), "number of a window"),
        ("{ baseline(type: \"colour\") { type } }", 404, None, "colour"),
    ] {
        let answer = ask(&app, query).await;
        assert!(error(&answer).contains(says), "{query}: {answer}");
        let about = &answer["errors"][0]["extensions"];
        assert_eq!(about["status"], status, "{query}: {answer}");
        assert_eq!(about["field"].as_str(), field, "{query}: {answer}");
    }
    // Without its name the path would be that of the list.
    let answer = ask(&app, "{ host(ip: \"\") { address } }").await;
    assert_eq!(error(&answer), "ip: is empty");
    // What can be answered is.
    let answer = ask(&app, "{ bad: flows(host: [\"ten\"]) { limit } good: hosts { limit } }").await;
    assert_eq!((answer["data"]["good"]["limit"].as_u64(), &answer["data"]["bad"]), (Some(100), &Value::Null));
}

#[tokio::test]
async fn queries_that_mean_harm_are_refused_at_once() {
    let app = App::with_config(on(), 4, 300).await;
    let nested = |depth: usize| format!("{}{}", "{ host ".repeat(depth), "}".repeat(depth));
    let aliases = (0..10_000).map(|_| "a:id ").collect::<String>();
    // As many names as fit into a body.
    let names = (0..3000).map(|n| format!("a{n}:__typename ")).collect::<String>();
    let fewer = (0..600).map(|n| format!("a{n}:limit ")).collect::<String>();
    let often = (0..21).map(|n| format!("a{n}: hosts(limit: 1) {{ limit }} ")).collect::<String>();
    let wide = (0..200).map(|n| format!("a{n}:id ")).collect::<String>();
    let doubled: String =
        (0..30).map(|n| format!("fragment f{n} on Query {{ ...f{m} ...f{m} }} ", m = n + 1)).collect();
    // 27 times a few fields.
    let tripled: String =
        (0..3).map(|n| format!("fragment f{n} on Query {{ ...f{m} ...f{m} ...f{m} }} ", m = n + 1)).collect();
    let few = (0..30).map(|n| format!("a{n}: hosts {{ limit }} ")).collect::<String>();
    for (query, says) in [
        (nested(1000), "too deep"),
        (format!("{{ flows(host: {}) {{ limit }} }}", "[".repeat(5000)), "too deep"),
        (format!("{{ {aliases} }}"), "2000 words"),
        (format!("{{ {names} }}"), "2000 words"),
        (format!("{{ hosts {{ {fewer} }} }}"), "complex"),
        ("{ __schema { types { fields { type { fields { name } } } } } }".to_owned(), "`fields` once"),
        (format!("{{ {often} }}"), "20 fields of `Query`"),
        (format!("{{ flows(from: \"0\", limit: 300) {{ items {{ {wide} }} }} }}"), "50000 values"),
        (format!("{{ ...f0 }} {doubled} fragment f30 on Query {{ __typename }}"), "fragments"),
        (format!("{{ ...f0 }} {tripled} fragment f3 on Query {{ {few} }}"), "complex"),
        ("{ ...a } fragment a on Query { ...b } fragment b on Query { ...a }".to_owned(), "depth"),
        ("{ ...a } fragment a on Query { ...a }".to_owned(), "depth"),
        (
            "{ a: flows(limit: 1000) { limit } b: flows(limit: 1000) { limit } c: hosts { limit } }".to_owned(),
            "2000 items",
        ),
        ("mutation { resolve }".to_owned(), "utation"),
        ("subscription { alerts }".to_owned(), "ubscription"),
        ("{ tokens { items { id } } }".to_owned(), "tokens"),
        ("{ flows(colour: \"red\") { limit } }".to_owned(), "colour"),
        ("{".to_owned(), ""),
        (String::new(), ""),
    ] {
        let answer = ask(&app, &query).await;
        assert!(error(&answer).contains(says), "{says}: {}", &answer.to_string()[..answer.to_string().len().min(300)]);
        let is_of_one = ["2000 items", "20 fields of `Query`", "50000 values"].contains(&says);
        assert!(answer["data"].is_null() || is_of_one, "{says}");
    }
    // Several queries at once, and what is no query.
    for (body, status) in [
        ("[{\"query\": \"{ __typename }\"}]".to_owned(), StatusCode::BAD_REQUEST),
        ("{\"query\": 7}".to_owned(), StatusCode::BAD_REQUEST),
        ("{}".to_owned(), StatusCode::BAD_REQUEST),
        ("{\"query\": \"{ __typename }\", \"colour\": 1}".to_owned(), StatusCode::BAD_REQUEST),
        (
            format!("{{\"query\": \"{{ __typename }}\", \"operationName\": \"{}\"}}", "a".repeat(201)),
            StatusCode::BAD_REQUEST,
        ),
        (format!("{{\"query\": \"{}\"}}", " ".repeat(70_000)), StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        assert_eq!(app.send_text(Method::POST, "/graphql", &body).await.0, status, "{}", &body[..body.len().min(60)]);
    }
}

#[tokio::test]
async fn who_may_not_read_may_not_ask() {
    let app = app().await;
    let token = make(&app.store, "viewer", |_| {}).await;
    let scoped = async |interface: &str| {
        make(&app.store, "viewer", |token| token.scope = Some(vec![interface.to_owned()])).await
    };
    // All that is watched is eth0.
    let (own, foreign) = (scoped("eth0").await, scoped("eth9").await);
    app.read_tokens().await;
    let of_hosts = "{ hosts { limit } }";
    let ask = async |token: Option<&str>, query: &str| {
        let mut request =
            Request::post("/graphql").header(header::HOST, HOST).header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, token);
        }
        let body = json!({ "query": query }).to_string();
        let response =
            app.router.clone().oneshot(request.body(Body::from(body)).expect("request")).await.expect("response");
        let status = response.status();
        (status, parse(&to_bytes(response.into_body(), usize::MAX).await.expect("body")))
    };
    assert_eq!(ask(None, of_hosts).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(ask(Some("Bearer nta_wrong"), of_hosts).await.0, StatusCode::UNAUTHORIZED);
    for token in [&token, &own] {
        let (status, answer) = ask(Some(token), of_hosts).await;
        assert_eq!((status, answer["data"]["hosts"]["limit"].as_u64()), (StatusCode::OK, Some(100)), "{answer}");
    }
    // A token of other interfaces asks for nothing, and one with a scope for no capture, which may be of any interface.
    let (status, refused) = ask(Some(&foreign), of_hosts).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{refused}");
    let of_capture = format!("{{ hosts(capture: \"{:032x}\") {{ limit }} }}", 7);
    let (status, refused) = ask(Some(&own), &of_capture).await;
    assert!(status == StatusCode::OK && refused["data"]["hosts"].is_null(), "{refused}");
    assert_eq!(refused["errors"][0]["extensions"]["status"], 403, "{refused}");
}

/// One request a second, four at once, of each client of a proxy: a query counts as one, and each path that it asks as another.
#[tokio::test(flavor = "multi_thread")]
async fn the_paths_that_a_query_asks_are_counted_as_its_sender_s() {
    let app = App::with(1, 1).await;
    let trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
    let rules = Rules { requests_per_s: NonZeroU32::new(1), trusted_proxies, ..Rules::default() };
    let state = ApiState::new(app.store.clone(), app.status.subscribe()).with_config(on()).with_rules(rules);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("listener");
    let address = listener.local_addr().expect("address");
    tokio::spawn(serve(listener, state, std::future::pending()));
    let fields = (0..20).map(|n| format!("a{n}: hosts(limit: 1) {{ limit }} ")).collect::<String>();
    let body = json!({"query": format!("{{ {fields} }}")}).to_string();
    for client in ["192.0.2.1", "192.0.2.2"] {
        let request = format!(
            "POST /graphql HTTP/1.1\r\nHost: {address}\r\nX-Forwarded-For: {client}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let (status, answer) = crate::guard::ask(address, request).await;
        assert_eq!(status, 200, "{answer}");
        let refused = answer.matches("\"status\":429").count();
        let answered = answer.matches(":{\"limit\":1}").count();
        assert!(answered >= 3 && refused >= 1 && answered + refused == 20, "{client}: {answer}");
    }
}

//! A sensor ships to a server over the loopback: all arrives once, over an absence of the server, and who may not is refused.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use axum::response::IntoResponse as _;
use nta_core::domain::{AlertKind, Mode, Status, Timestamp};
use nta_daemon::api::{ApiState, router, serve};
use nta_daemon::config::Config;
use nta_daemon::sink::Standing;
use nta_daemon::sink::ship::{self, Shipping};
use nta_daemon::store::{Run, Store, StoreWriter, WindowBatch};
use serde_json::Value;
use tokio::sync::{oneshot, watch};
use tower::ServiceExt as _;

use crate::access;
use crate::alerts::alert;
use crate::app::{HOST, flow, window};
use crate::collector_trust::doctor;
use crate::fleet_seen::measured;
use crate::postgres::Server;

/// A token, without the word before it.
pub(crate) async fn make(store: &Store, role: &'static str, scope: &[&str]) -> String {
    let scope = (!scope.is_empty()).then(|| scope.iter().map(|name| (*name).to_owned()).collect());
    let shown = access::make(store, role, |token| token.scope = scope).await;
    shown.strip_prefix("Bearer ").expect("a token").to_owned()
}

/// A server that listens.
pub(crate) struct Centre {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Centre {
    pub(crate) async fn listen(store: &Store, address: &str) -> Self {
        let (_status, status) = watch::channel(Status::default());
        let state = ApiState::new(store.clone(), status);
        state.read_tokens().await.expect("tokens");
        let listener = tokio::net::TcpListener::bind(address).await.expect("listener");
        let address = listener.local_addr().expect("address");
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(serve(listener, state, async { drop(stopped.await) }));
        Self { address, stop, task }
    }

    pub(crate) async fn end(self) {
        drop(self.stop);
        self.task.await.expect("task").expect("served");
    }
}

/// A daemon of which nothing but its store can fail.
fn well(store: &Store) -> Standing {
    Standing::new(watch::channel(Status::default()).1, store.clone(), [].into())
}

/// A gateway's daemon, as far as it ships.
pub(crate) struct Gateway {
    pub(crate) store: Store,
    pub(crate) writer: StoreWriter,
    pub(crate) shipping: Shipping,
    pub(crate) stop: tokio_util::sync::CancellationToken,
    pub(crate) config: Config,
    folder: tempfile::TempDir,
}

impl Gateway {
    pub(crate) async fn begin(to: SocketAddr, token: &str, further: &str) -> Self {
        Self::named("gw1", to, token, further).await
    }

    /// With this name, and this further in its configuration.
    pub(crate) async fn named(name: &str, to: SocketAddr, token: &str, further: &str) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("token");
        std::fs::write(&file, format!("{token}\n")).expect("written");
        let ship = format!("to = \"http://{to}\"\ntoken_file = \"{}\"\n{further}", file.display());
        Self::begin_by(name, folder, &ship).await
    }

    /// One that ships by these settings.
    pub(crate) async fn begin_by(name: &str, folder: tempfile::TempDir, ship: &str) -> Self {
        let config: Config = toml::from_str(&format!("[ship]\n{ship}")).expect("a configuration");
        let url = format!("sqlite:{}", folder.path().join("nta.db").display());
        let store = Store::open(&url).await.expect("store").with_outbox(ship::outbox(&config.ship));
        let store = store.with_local_networks(config.detect.local_networks.clone());
        let started = Timestamp::from_nanos(1);
        let run = Run {
            started,
            mode: Mode::Live,
            source: "eth0".to_owned(),
            version: "0".to_owned(),
            sensor: name.to_owned(),
            uuid: Run::new_uuid(started),
            analysis: None,
        };
        let (writer, _task) = store.writer(store.begin_run(&run).await.expect("run"), 16);
        let shipping = Shipping::new(store.clone(), name.to_owned(), &config.ship);
        let stop = tokio_util::sync::CancellationToken::new();
        shipping.start(well(&store), &stop);
        Self { store, writer, shipping, stop, config, folder }
    }

    /// Ships again after it was stopped.
    pub(crate) fn go_on(&mut self) {
        self.shipping = Shipping::new(self.store.clone(), "gw1".to_owned(), &self.config.ship);
        self.stop = tokio_util::sync::CancellationToken::new();
        self.shipping.start(well(&self.store), &self.stop);
    }

    pub(crate) async fn commit(&self, windows: std::ops::RangeInclusive<u64>) {
        for id in windows {
            let batch = WindowBatch { window: Some(window(id)), flows: vec![flow(id)], ..WindowBatch::default() };
            self.writer.send(batch).await.expect("send");
        }
        self.writer.flush().await.expect("flush");
    }

    /// Waits until so many batches wait.
    pub(crate) async fn waits_with(&self, pending: u64) {
        for _ in 0..3000 {
            if self.store.outbox_state().await.expect("state").pending == pending {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{:?}, {:?}", self.store.outbox_state().await, self.shipping.state());
    }
}

pub(crate) async fn ask(
    store: &Store,
    method: Method,
    path: &str,
    token: &str,
    body: Body,
    kind: &str,
) -> (StatusCode, Value) {
    let (_status, status) = watch::channel(Status::default());
    let state = ApiState::new(store.clone(), status);
    state.read_tokens().await.expect("tokens");
    let request = Request::builder().method(method).uri(path).header(header::HOST, HOST);
    let request = request.header(header::AUTHORIZATION, format!("Bearer {token}")).header(header::CONTENT_TYPE, kind);
    let answer = router(state).oneshot(request.body(body).expect("request")).await.expect("answer");
    let status = answer.status();
    let body = to_bytes(answer.into_body(), usize::MAX).await.expect("body");
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

async fn check(store: &Store) {
    let admin = make(store, "admin", &[]).await;
    let token = make(store, "sensor", &["gw1"]).await;
    let centre = Centre::listen(store, "127.0.0.1:0").await;
    let address = centre.address;
    let gateway = Gateway::begin(address, &token, "").await;
    gateway.commit(1..=3).await;
    gateway.waits_with(0).await;
    let get = async |path: &str| ask(store, Method::GET, path, &admin, Body::empty(), "application/json").await;
    let (status, sensor) = get("/api/sensors/gw1").await;
    assert_eq!((status, &sensor["is_complete"]), (StatusCode::OK, &true.into()), "{sensor}");
    assert_eq!(sensor["completeness"], "1…3 complete, none double");
    assert_eq!((&sensor["watermark"], &sensor["spool"]["failed"]), (&3.into(), &0.into()));
    let sum: u64 = (1..=3).map(|id| window(id).packets).sum();
    assert_eq!(sensor["packets"], sum, "its packets are those that the gateway committed");
    assert_eq!(store.flow_count().await.expect("count"), 0, "flows stay with the gateway unless asked for");

    // The server is away: the gateway goes on, and it waits there.
    centre.end().await;
    gateway.commit(4..=9).await;
    gateway.waits_with(6).await;
    for _ in 0..3000 {
        if gateway.shipping.trouble().is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(gateway.shipping.trouble().is_some_and(|trouble| trouble.contains("takes nothing")));
    let centre = Centre::listen(store, &address.to_string()).await;
    gateway.waits_with(0).await;
    let (_, sensor) = get("/api/sensors/gw1").await;
    assert_eq!(sensor["completeness"], "1…9 complete, none double", "{sensor}");
    assert_eq!((gateway.shipping.trouble(), &sensor["doubles"]), (None, &0.into()));

    // What the server wants is signed, and followed from the next batch on.
    let set = r#"{"flows":true,"max_bytes_per_s":null}"#;
    let (status, answer) =
        ask(store, Method::PUT, "/api/sensors/gw1/settings", &admin, Body::from(set), "application/json").await;
    assert_eq!((status, &answer["version"]), (StatusCode::OK, &1.into()), "{answer}");
    gateway.commit(10..=10).await;
    gateway.waits_with(0).await;
    assert_eq!(gateway.shipping.state().settings, 1);
    let (_, sensor) = get("/api/sensors/gw1").await;
    assert_eq!(
        sensor["asked"],
        serde_json::json!({"version": 1, "settings": {"flows": true, "headers": null, "max_bytes_per_s": null}})
    );
    gateway.commit(11..=11).await;
    gateway.waits_with(0).await;
    let shown = store.flow_count().await.expect("count");
    assert!(
        (1..=2).contains(&shown),
        "the flow of the last window, and of the one before if it was made behind: {shown}"
    );
    measured(store, &gateway).await;
    let (_, log) = get("/api/audit?limit=1").await;
    assert_eq!(log["items"][0]["action"], "set sensor's settings", "{log}");
    gateway.stop.cancel();
    centre.end().await;
    drop(gateway.folder);
}

#[tokio::test]
async fn a_gateway_ships_all_once_over_an_absence_of_the_server_on_sqlite() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(&format!("sqlite:{}", folder.path().join("nta.db").display())).await.expect("store");
    check(&store).await;
}

#[tokio::test]
async fn a_gateway_ships_all_once_over_an_absence_of_the_server_on_postgresql() {
    let Some(server) = Server::start("a_gateway_ships_all_once_over_an_absence_of_the_server_on_postgresql") else {
        return;
    };
    let store = server.open().await;
    check(&store).await;
    store.close().await;
}

/// A server behind a proxy that takes bodies of so many bytes at most, as nginx does.
async fn behind_a_proxy(store: &Store, most: u64) -> SocketAddr {
    let (_status, status) = watch::channel(Status::default());
    let state = ApiState::new(store.clone(), status);
    state.read_tokens().await.expect("tokens");
    let proxy = move |request: Request<Body>, next: axum::middleware::Next| async move {
        let length =
            request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if length.is_none_or(|length: u64| length > most) {
            return StatusCode::PAYLOAD_TOO_LARGE.into_response();
        }
        next.run(request).await
    };
    let app = router(state).layer(axum::middleware::from_fn(proxy));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("listener");
    let address = listener.local_addr().expect("address");
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

#[tokio::test]
async fn what_a_proxy_does_not_take_goes_in_smaller_messages_or_is_set_aside() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(&format!("sqlite:{}", folder.path().join("nta.db").display())).await.expect("store");
    let (admin, token) = (make(&store, "admin", &[]).await, make(&store, "sensor", &["gw1"]).await);
    let address = behind_a_proxy(&store, 8000).await;
    let gateway = Gateway::begin(address, &token, "flows = true").await;
    gateway.commit(1..=100).await;
    let flows = (1..=2000).map(flow).collect();
    let large = WindowBatch { window: Some(window(101)), flows, ..WindowBatch::default() };
    gateway.writer.send(large).await.expect("send");
    gateway.commit(102..=110).await;
    gateway.waits_with(0).await;
    let state = gateway.store.outbox_state().await.expect("state");
    assert_eq!((state.newest, state.failed, state.acked), (110, 1, 110), "{state:?}");
    let (_, sensor) = ask(&store, Method::GET, "/api/sensors/gw1", &admin, Body::empty(), "application/json").await;
    assert_eq!(
        (&sensor["watermark"], &sensor["lost"], &sensor["is_complete"]),
        (&110.into(), &1.into(), &false.into())
    );
    let all = (1..=110).filter(|id| *id != 101);
    assert_eq!(sensor["packets"], all.map(|id| window(id).packets).sum::<u64>());
    gateway.stop.cancel();
}

#[tokio::test]
async fn a_gateway_that_was_taken_down_is_forgotten_and_one_that_ships_is_not() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(&format!("sqlite:{}", folder.path().join("nta.db").display())).await.expect("store");
    let (admin, viewer) = (make(&store, "admin", &[]).await, make(&store, "viewer", &[]).await);
    let token = make(&store, "sensor", &[]).await;
    let delete = async |token: &str| {
        ask(&store, Method::DELETE, "/api/sensors/gw1", token, Body::empty(), "application/json").await
    };
    assert_eq!(delete(&admin).await.0, StatusCode::NOT_FOUND);
    let centre = Centre::listen(&store, "127.0.0.1:0").await;
    let gateway = Gateway::begin(centre.address, &token, "").await;
    gateway.commit(1..=1).await;
    let alerts = vec![alert(AlertKind::PortScan, 9, 2, 0.7)];
    let batch = WindowBatch { window: Some(window(2)), alerts, ..WindowBatch::default() };
    gateway.writer.send(batch).await.expect("send");
    gateway.writer.flush().await.expect("flush");
    gateway.waits_with(0).await;
    let get = async |path: &str| ask(&store, Method::GET, path, &admin, Body::empty(), "application/json").await;
    let (status, problem) = delete(&admin).await;
    assert_eq!(status, StatusCode::CONFLICT, "{problem}");
    gateway.stop.cancel();
    centre.end().await;
    // As if it had been heard of for the last time long ago: its newest message, with a clock of then.
    let state = gateway.store.outbox_state().await.expect("state");
    let epoch = store.shipped(None, 1).await.expect("shipped")[0].epoch.clone();
    let about = nta_daemon::store::About::default();
    let head = nta_daemon::store::Head { sensor: "gw1".to_owned(), epoch, sent: Timestamp::from_nanos(1), about };
    let heartbeat = gateway.store.shipment(state.newest + 1, 1, head, &state).await.expect("a message");
    nta_daemon::api::ingest(&store, &[heartbeat], Timestamp::from_nanos(1), None).await.expect("stored");
    store.set_sensor_settings("gw1", "{}").await.expect("set");
    assert_eq!(get("/api/alerts?from=0&state=raised").await.1["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(delete(&viewer).await.0, StatusCode::FORBIDDEN);
    assert_eq!(delete(&admin).await.0, StatusCode::NO_CONTENT);
    assert_eq!(get("/api/sensors/gw1").await.0, StatusCode::NOT_FOUND);
    // What went on at its end does not go on for ever.
    let (_, alerts) = get("/api/alerts?from=0").await;
    assert_eq!(
        (&alerts["items"][0]["state"], &alerts["items"][0]["clear_reason"]),
        (&"cleared".into(), &"interrupted".into())
    );
    let (_, page) = get("/api/audit?action=forget%20sensor").await;
    assert_eq!(
        (&page["items"][0]["target"], &page["items"][0]["before"]["watermark"]),
        (&"gw1".into(), &2.into()),
        "{page}"
    );
    assert_eq!(store.window_count().await.expect("count"), 2, "what it has shipped stays");
    assert_eq!(store.sensor_settings("gw1").await.expect("settings").version, 0);
}

#[tokio::test]
async fn who_may_not_ship_is_refused_and_a_sensor_reads_nothing() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(&format!("sqlite:{}", folder.path().join("nta.db").display())).await.expect("store");
    let operator = make(&store, "operator", &[]).await;
    let other = make(&store, "sensor", &["gw2"]).await;
    let kind = ship::CONTENT_TYPE;
    let post = async |token: &str, body: &[u8], kind: &str| {
        ask(&store, Method::POST, "/ingest", token, Body::from(body.to_vec()), kind).await
    };
    assert_eq!(post(&operator, b"", kind).await.0, StatusCode::FORBIDDEN);
    assert_eq!(post("nta_made-up", b"", kind).await.0, StatusCode::UNAUTHORIZED);
    let (status, problem) = post(&other, b"", "text/plain").await;
    assert_eq!((status, &problem["field"]), (StatusCode::UNSUPPORTED_MEDIA_TYPE, &"Content-Type".into()), "{problem}");
    let (status, problem) = post(&other, b"ntaship9 and more", kind).await;
    assert!(
        status == StatusCode::UNSUPPORTED_MEDIA_TYPE && problem["detail"].to_string().contains("ntaship9"),
        "{problem}"
    );
    let of_another = br#"{"sensor": "gw1", "epoch": "1", "sequence": 1, "packets": []}"#;
    assert_eq!(post(&other, of_another, "application/json").await.0, StatusCode::FORBIDDEN);
    // Before it ships anything `doctor` says whether the token is for it.
    let centre = Centre::listen(&store, "127.0.0.1:0").await;
    let file = folder.path().join("token");
    std::fs::write(&file, format!("{other}\n")).expect("written");
    for (name, is_well, said) in [("gw2", true, "takes messages of gw2"), ("gw1", false, "403")] {
        let config = folder.path().join("nta.toml");
        let to = centre.address;
        let text =
            format!("[sensor]\nname = \"{name}\"\n[ship]\nto = \"http://{to}\"\ntoken_file = \"{}\"\n", file.display());
        std::fs::write(&config, text).expect("written");
        let (found, detail) = tokio::task::spawn_blocking(move || doctor(&config)).await.expect("it ends");
        assert!(found == is_well && detail.contains(said), "{detail}");
    }
    centre.end().await;
    assert!(store.shipped(None, 10).await.expect("shipped").is_empty(), "nothing is shipped by asking");
    for path in ["/api/alerts", "/api/sensors", "/api/status", "/api/flows"] {
        let (status, _) = ask(&store, Method::GET, path, &other, Body::empty(), "application/json").await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
    }
    // The message of another sensor than the token is for.
    let centre = Centre::listen(&store, "127.0.0.1:0").await;
    let gateway = Gateway::begin(centre.address, &other, "").await;
    gateway.commit(1..=2).await;
    for _ in 0..3000 {
        if gateway.shipping.state().failures > 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let state = gateway.shipping.state();
    assert!(state.last_error.is_some_and(|(_, error)| error.contains("403")), "it says why");
    gateway.waits_with(2).await;
    assert!(store.shipped(None, 10).await.expect("shipped").is_empty(), "nothing of it is stored");
    gateway.stop.cancel();
    centre.end().await;
}

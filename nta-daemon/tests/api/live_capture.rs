//! `/api/control/capture/…`: orders to a supervisor that the test plays. `tests/kernel_live` has the real one.

use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use nta_common::{Counter, LedgerSlot};
use nta_core::domain::{Interface, Ledger, Mode, NicCounts, Status};
use nta_daemon::api::{ApiState, router};
use nta_daemon::capture::control::{
    Asked, CaptureError, CaptureHandle, CaptureState, Captured, Changed, Ended, Orders, Started, Wish,
};
use nta_daemon::source::SourceError;
use nta_daemon::store::{NewToken, Store};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::access::{ask, make};
use crate::app::{App, status, time};
use crate::postgres::Server;

const START: &str = "/api/control/capture/start";
const STOP: &str = "/api/control/capture/stop";

/// A live daemon's API on a store, with the end of its supervisor.
fn live(store: &Store) -> (axum::Router, ApiState, Orders, watch::Sender<Status>) {
    let patterns = ["eth*", "!eth9"].map(|text| text.parse().expect("a pattern"));
    let (handle, orders) = CaptureHandle::new(&patterns);
    let mut live = status(1);
    live.mode = Mode::Live;
    let mut counts = LedgerSlot { seen_bytes: 9000, ..LedgerSlot::default() };
    (0..90).for_each(|_| counts.bump(Counter::Seen));
    live.ledger = Ledger { interfaces: vec![Interface { name: "eth0".to_owned(), counts }] };
    live.attachments[0].nic = NicCounts { rx_dropped: 3, ..NicCounts::default() };
    let (sender, receiver) = watch::channel(live);
    let state = ApiState::new(store.clone(), receiver).with_capture(handle);
    (router(state.clone()), state, orders, sender)
}

fn eth0(started: Option<Started>) -> CaptureState {
    let captured = Captured { interface: "eth0".to_owned(), since: time(100), before: [50, 5000], started };
    CaptureState { captured: vec![captured], ..CaptureState::default() }
}

fn asked(by: &str) -> Asked {
    Asked { by: by.to_owned(), at: time(200) }
}

/// What the supervisor answers to who asks.
type Answer = fn(&str) -> Result<CaptureState, CaptureError>;

/// Plays the supervisor: answers so many orders as this says; gives back the orders' end with what was wished.
fn supervise(orders: Orders, answers: Vec<Answer>) -> JoinHandle<(Orders, Vec<String>)> {
    thread::spawn(move || {
        let mut wishes = Vec::new();
        let mut before = eth0(None);
        for answer in answers {
            let order = loop {
                if let Some(order) = orders.wait(Duration::from_secs(1)) {
                    break order;
                }
            };
            wishes.push(match &order.wish {
                Wish::Start { interface, duration } => format!("{} starts {interface} for {duration:?}", order.by),
                Wish::Stop { interface } => format!("{} stops {interface:?}", order.by),
                Wish::Select { patterns } => format!("{} selects {patterns:?}", order.by),
            });
            let outcome = answer(&order.by).map(|after| {
                orders.publish(after.clone());
                Changed { before: std::mem::replace(&mut before, after.clone()), after }
            });
            order.answer(outcome);
        }
        (orders, wishes)
    })
}

#[tokio::test]
async fn a_replay_captures_nothing_and_says_so() {
    let app = App::with(1, 1).await;
    for (path, body) in [(START, json!({"interface": "eth0"})), (STOP, json!({}))] {
        let (status, refused) = app.send(Method::POST, path, &body).await;
        assert_eq!(status, StatusCode::CONFLICT, "{path}: {refused}");
        assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains("replay")), "{refused}");
    }
    let shown = app.json("/api/control/capture/status").await;
    assert_eq!((&shown["running"], &shown["since"], &shown["packets"]), (&false.into(), &Value::Null, &0.into()));
}

/// Start and stop with who did it, on a store of either database.
async fn changes(store: Store) {
    let operator = make(&store, "operator", |token| token.name = Some("noor".to_owned())).await;
    let admin = make(&store, "admin", |_| ()).await;
    let viewer = make(&store, "viewer", |_| ()).await;
    let (router, state, orders, status) = live(&store);
    state.read_tokens().await.expect("the store answers");
    let post = async |path: &str, body: Value| ask(&router, Method::POST, path, Some(&operator), &body).await;
    for (body, field) in [
        (json!({}), "interface"),
        (json!({"interface": "eth0", "duration": 0}), "duration"),
        (json!({"interface": "eth0", "duration": 1e9}), "duration"),
        (json!({"interface": "eth0", "by": "mira"}), "by"),
    ] {
        let (status, _, refused) = post(START, body.clone()).await;
        assert_eq!((status.as_u16(), &refused["field"]), (400, &field.into()), "{body}: {refused}");
    }
    let (refused, ..) = ask(&router, Method::POST, STOP, Some(&viewer), &json!({})).await;
    assert_eq!(refused, StatusCode::FORBIDDEN);

    orders.publish(eth0(None));
    let supervisor = supervise(
        orders,
        vec![
            |_| Err(CaptureError::Running { interface: "eth0".to_owned(), since: time(100) }),
            |by| {
                Ok(CaptureState {
                    stopped: vec![(None, asked(by))],
                    dropped: [("eth0".to_owned(), 3)].into(),
                    ..CaptureState::default()
                })
            },
            |_| Err(CaptureError::Stopped { by: "noor".to_owned(), since: time(200) }),
            |by| Ok(eth0(Some(Started { asked: asked(by), until: Some(time(230)) }))),
        ],
    );
    let (code, _, shown) = ask(&router, Method::GET, "/api/control/capture/status", Some(&viewer), &Value::Null).await;
    assert_eq!((code, &shown["running"], &shown["packets"]), (StatusCode::OK, &true.into(), &90.into()), "{shown}");
    assert_eq!((&shown["bytes"], &shown["drops"]), (&9000.into(), &3.into()), "since the daemon was started: {shown}");
    let own = &shown["interfaces"][0];
    assert_eq!(
        (&own["packets"], &own["bytes"], &own["drops"]),
        (&40.into(), &4000.into(), &3.into()),
        "since then: {shown}"
    );
    assert_eq!(shown["after_restart"], json!(["eth*", "!eth9"]));
    let (code, _, refused) = post(START, json!({"interface": "eth0"})).await;
    assert_eq!(code, StatusCode::CONFLICT, "{refused}");
    let (code, _, stopped) = post(STOP, Value::Null).await;
    assert_eq!((code, &stopped["running"]), (StatusCode::OK, &false.into()), "{stopped}");
    assert_eq!((&stopped["stopped"][0]["by"], &stopped["stopped"][0]["interface"]), (&"noor".into(), &Value::Null));
    let totals = ["packets", "bytes", "drops"].map(|name| stopped[name].as_u64());
    assert_eq!(totals, [Some(90), Some(9000), Some(3)], "counters do not fall: {stopped}");
    let (code, _, refused) = post(STOP, json!({})).await;
    assert!(code == StatusCode::CONFLICT && refused["detail"].as_str().is_some_and(|said| said.contains("noor")));
    let (code, _, started) = post(START, json!({"interface": "eth0", "duration": 30})).await;
    assert_eq!((code, &started["interfaces"][0]["started_by"]), (StatusCode::OK, &"noor".into()), "{started}");
    assert_eq!(started["interfaces"][0]["until"], "1970-01-01T00:03:50.000000Z");
    let (_orders, wishes) = supervisor.join().expect("no panic");
    assert_eq!(
        wishes,
        ["noor starts eth0 for None", "noor stops None", "noor stops None", "noor starts eth0 for Some(30s)"]
    );

    let (_, _, log) = ask(&router, Method::GET, "/api/audit?sort=time&who=noor", Some(&admin), &Value::Null).await;
    let rows = log["items"].as_array().expect("items");
    let said: Vec<_> = rows.iter().map(|row| (row["action"].as_str(), row["target"].as_str())).collect();
    let expected = [(Some("stop capture"), Some("all interfaces")), (Some("start capture"), Some("eth0"))];
    assert_eq!(said, expected, "what was refused changed nothing: {log}");
    assert_eq!((&rows[0]["before"]["running"], &rows[0]["after"]["running"]), (&true.into(), &false.into()), "{log}");
    assert_eq!((&rows[1]["before"]["running"], &rows[1]["after"]["running"]), (&false.into(), &true.into()), "{log}");
    assert_eq!((&rows[0]["role"], &rows[0]["origin"]), (&"operator".into(), &"process".into()), "{log}");
    drop(status);
}

#[tokio::test]
async fn changes_of_the_capture_are_answered_and_audited_on_sqlite() {
    changes(App::with(0, 0).await.store.clone()).await;
}

#[tokio::test]
async fn changes_of_the_capture_are_answered_and_audited_on_postgresql() {
    let Some(server) = Server::start("changes_of_the_capture_are_answered_and_audited_on_postgresql") else { return };
    changes(server.open().await).await;
}

#[tokio::test]
async fn what_cannot_be_captured_is_refused_by_its_reason() {
    let app = App::with(0, 0).await;
    let (router, _state, orders, _status) = live(&app.store);
    let supervisor = supervise(
        orders,
        vec![
            |_| Err(CaptureError::Unknown { name: "eth7".to_owned(), there_are: "there are eth0, eth1".to_owned() }),
            |_| Err(CaptureError::Refused(SourceError::Permission { action: "attach to eth7".to_owned() })),
            |_| {
                Err(CaptureError::Refused(SourceError::Watched {
                    interface: "eth7".to_owned(),
                    by: "another".to_owned(),
                }))
            },
            |_| Err(CaptureError::Unable("eth7 is not watched: 15 interfaces are the most".to_owned())),
            |_| Err(CaptureError::Late),
        ],
    );
    for (expected, part, field) in [
        (422, "there are eth0, eth1", json!("interface")),
        (403, "CAP_BPF", json!("interface")),
        (409, "another", Value::Null),
        (422, "15 interfaces", json!("interface")),
        (503, "not carried out", Value::Null),
    ] {
        let (status, headers, refused) = ask(&router, Method::POST, START, None, &json!({"interface": "eth7"})).await;
        assert_eq!((status.as_u16(), refused.get("field").unwrap_or(&Value::Null)), (expected, &field), "{refused}");
        assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains(part)), "{part}: {refused}");
        assert_eq!(headers.contains_key("retry-after"), expected == 503, "{refused}");
    }
    drop(supervisor.join().expect("no panic"));
    let (status, _, refused) = ask(&router, Method::POST, STOP, None, &json!({})).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "nobody takes orders any more: {refused}");
}

#[tokio::test]
async fn a_scope_starts_and_stops_its_own_interfaces_alone() {
    let app = App::with(0, 0).await;
    let own = make(&app.store, "operator", |token: &mut NewToken| {
        token.scope = Some(vec!["eth0".to_owned(), "eth1".to_owned()]);
    })
    .await;
    let (router, state, orders, _status) = live(&app.store);
    state.read_tokens().await.expect("the store answers");
    orders.publish(eth0(None));
    let supervisor = supervise(
        orders,
        vec![|by| Ok(CaptureState { stopped: vec![(Some("eth0".to_owned()), asked(by))], ..CaptureState::default() })],
    );
    for (path, body, named) in [
        (START, json!({"interface": "eth2"}), "eth2"),
        (STOP, json!({"interface": "eth2"}), "eth2"),
        // What is waited for may be any interface; it is not named.
        (STOP, json!({}), "eth0, eth1 only"),
    ] {
        let (status, _, refused) = ask(&router, Method::POST, path, Some(&own), &body).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path} {body}: {refused}");
        let detail = refused["detail"].as_str().expect("a text");
        assert!(detail.contains(named) && !detail.contains("eth*"), "{refused}");
    }
    let (status, _, stopped) = ask(&router, Method::POST, STOP, Some(&own), &json!({"interface": "eth0"})).await;
    assert_eq!(status, StatusCode::OK, "{stopped}");
    let (_orders, wishes) = supervisor.join().expect("no panic");
    assert_eq!(wishes.len(), 1, "nothing else came to the supervisor: {wishes:?}");
}

/// A token is judged by what it asks for: that another interface is captured is no matter, and is not said.
#[tokio::test]
async fn a_scope_starts_its_interface_while_another_is_captured_and_learns_nothing_of_that() {
    let app = App::with(0, 0).await;
    let own = make(&app.store, "operator", |token: &mut NewToken| token.scope = Some(vec!["eth1".to_owned()])).await;
    let (router, state, orders, _status) = live(&app.store);
    state.read_tokens().await.expect("the store answers");
    orders.publish(eth0(None));
    let supervisor = supervise(
        orders,
        vec![
            |_| Err(CaptureError::Unknown { name: "eth1".to_owned(), there_are: "there are eth0, eth9".to_owned() }),
            |by| {
                let mut both = eth0(None);
                let started = Some(Started { asked: asked(by), until: None });
                both.captured.push(Captured { interface: "eth1".to_owned(), started, ..both.captured[0].clone() });
                Ok(both)
            },
        ],
    );
    let (code, _, refused) = ask(&router, Method::POST, START, Some(&own), &json!({"interface": "eth1"})).await;
    let detail = refused["detail"].as_str().expect("a text");
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY, "{refused}");
    assert!(detail.contains("eth1") && !detail.contains("eth0") && !detail.contains("eth9"), "{refused}");
    let (code, _, started) = ask(&router, Method::POST, START, Some(&own), &json!({"interface": "eth1"})).await;
    assert_eq!((code, started["interfaces"].as_array().map(Vec::len)), (StatusCode::OK, Some(1)), "{started}");
    assert_eq!(started["interfaces"][0]["interface"], "eth1", "{started}");
    let path = "/api/control/capture/status";
    let (code, _, shown) = ask(&router, Method::GET, path, Some(&own), &Value::Null).await;
    assert_eq!((code, &shown["running"], &shown["packets"]), (StatusCode::OK, &true.into(), &0.into()), "{shown}");
    assert!(!shown.to_string().contains("eth0"), "{shown}");
    let (code, _, refused) = ask(&router, Method::GET, "/api/flows", Some(&own), &Value::Null).await;
    assert_eq!(code, StatusCode::FORBIDDEN, "what is stored is of both: {refused}");
    assert!(!refused.to_string().contains("eth0"), "{refused}");
    drop(supervisor.join().expect("no panic"));
}

#[tokio::test]
async fn a_capture_that_ends_by_its_time_is_audited_and_one_that_is_stopped_is_not_twice() {
    let app = App::with(0, 0).await;
    let (router, _state, orders, _status) = live(&app.store);
    let timed: Answer = |by| Ok(eth0(Some(Started { asked: asked(by), until: Some(time(230)) })));
    let supervisor = supervise(orders, vec![timed]);
    let body = json!({"interface": "eth0", "duration": 30});
    let (code, _, started) = ask(&router, Method::POST, START, None, &body).await;
    assert_eq!(code, StatusCode::OK, "{started}");
    let (orders, _) = supervisor.join().expect("no panic");
    let log = async || ask(&router, Method::GET, "/api/audit?sort=time", None, &Value::Null).await.2;
    assert_eq!(log().await["items"].as_array().map(Vec::len), Some(1), "the start");
    let ended = Ended { interface: "eth0".to_owned(), asked: asked("anonymous") };
    orders.publish(CaptureState { ended: vec![ended], ..CaptureState::default() });
    let mut rows = log().await;
    while rows["items"].as_array().is_none_or(|rows| rows.len() < 2) {
        tokio::task::yield_now().await;
        rows = log().await;
    }
    let end = &rows["items"][1];
    assert_eq!(
        (&end["action"], &end["target"], &end["who"]),
        (&"stop capture".into(), &"eth0".into(), &"anonymous".into())
    );
    assert_eq!(end["after"]["reason"], "its time was over", "{rows}");
}

#[tokio::test]
async fn a_stop_of_nothing_is_refused() {
    let app = App::with(0, 0).await;
    let (router, _state, orders, _status) = live(&app.store);
    let supervisor = supervise(orders, vec![|_| Err(CaptureError::Nothing)]);
    let (code, _, refused) = ask(&router, Method::POST, STOP, None, &json!({})).await;
    assert_eq!(code, StatusCode::CONFLICT, "{refused}");
    assert_eq!(app.json("/api/audit").await["items"], json!([]), "nothing was changed");
    drop(supervisor.join().expect("no panic"));
}

#[tokio::test]
async fn health_says_that_capture_is_stopped_and_is_no_failure() {
    let app = App::with(0, 0).await;
    let reason = "capture stopped by request since 1970-01-01T00:03:20Z";
    app.status.send_modify(|status| status.stopped = vec![reason.to_owned()]);
    let health = app.json("/health").await;
    assert_eq!((&health["status"], &health["reasons"]), (&"degraded".into(), &json!([reason])));
    app.status.send_modify(|status| status.stopped.clear());
    assert_eq!(app.json("/health").await["status"], "ok");
}

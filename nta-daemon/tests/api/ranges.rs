//! The time range that a list takes, and lists that would read too much.

use axum::Router;
use axum::http::StatusCode;
use nta_core::domain::{FlowRecord, Mode, Timestamp};
use nta_core::window::Window;
use nta_daemon::api::{ApiState, router};
use serde_json::Value;

use crate::app::{App, flow, parse, time, window};

const LISTS: [&str; 7] = [
    "/api/metrics?span=5",
    "/api/flows",
    "/api/alltraffic",
    "/api/alerts",
    "/api/anomalies",
    "/api/anomalies/top",
    "/api/features",
];
const DAY_S: u64 = 86_400;

fn now() -> Timestamp {
    Timestamp::from_nanos(u64::try_from(jiff::Timestamp::now().as_nanosecond()).expect("after 1970"))
}

fn count(page: &Value) -> usize {
    page["items"].as_array().expect("items").len()
}

fn seconds(text: &Value) -> u64 {
    let time: jiff::Timestamp = text.as_str().expect("a time").parse().expect("RFC 3339");
    u64::try_from(time.as_second()).expect("after 1970")
}

#[tokio::test]
async fn live_a_list_takes_the_last_day_unless_asked_for_another_time_and_says_so() {
    let app = App::with(3, 3).await;
    app.status.send_modify(|status| status.mode = Mode::Live);
    // Beside the rows of 1970 some of an hour ago.
    let hour_ago = Timestamp::from_nanos(now().as_nanos() - 3_600_000_000_000).floor(5_000_000_000);
    let newer = FlowRecord { first: hour_ago, last: hour_ago.plus(1), ..flow(100) };
    app.write(Some(Window { start: hour_ago, end: hour_ago.plus(5_000_000_000), ..window(100) }), vec![newer]).await;
    for list in LISTS {
        let before = now().as_nanos() / 1_000_000_000;
        let page = app.json(list).await;
        let from = seconds(&page["from"]);
        assert!(from >= before - DAY_S && from <= before - DAY_S + 60, "{list}: {page}");
        assert_eq!(page["to"], Value::Null, "{list}");
    }
    // Windows 1 to 3 start at 5, 10 and 15 s; flows 1 to 3 go on until 1001, 1002 and 1003 s.
    for (list, expected) in [("/api/metrics?span=5", 0), ("/api/flows?", 3), ("/api/alltraffic?", 3)] {
        assert_eq!(count(&app.json(list).await), 1, "{list}");
        let page = app.json(&format!("{list}&from=0")).await;
        assert_eq!((count(&page), &page["from"]), (4, &"1970-01-01T00:00:00.000000Z".into()), "{list}");
        // An old capture in the database of a live daemon: the day before `to`.
        let page = app.json(&format!("{list}&to=86420")).await;
        assert_eq!((count(&page), seconds(&page["from"]), seconds(&page["to"])), (expected, 20, DAY_S + 20), "{list}");
    }
    // Of hosts a time is taken only if it is asked for.
    let hosts = app.json("/api/hosts").await;
    assert_eq!((&hosts["from"], &hosts["to"], &hosts["items"][0]["flows"]), (&Value::Null, &Value::Null, &4.into()));
    let hosts = app.json(&format!("/api/hosts?from={}", seconds(&hour_ago.to_string().into()))).await;
    assert_eq!((count(&hosts), &hosts["items"][0]["flows"]), (2, &1.into()), "{hosts}");
    assert_eq!(app.json("/api/metrics/summary").await["total_windows"], 4, "sums take all that is stored");
}

/// The routes over the same database, as a replay serves its capture.
fn replay(app: &App) -> Router {
    router(ApiState::new(app.store.clone(), app.status.subscribe()).with_run(app.run))
}

#[tokio::test]
async fn in_a_replay_a_list_takes_the_span_of_the_capture() {
    let mut app = App::with(4, 0).await;
    app.router = replay(&app);
    let within = FlowRecord { first: time(6), last: time(7), ..flow(1) };
    let other = FlowRecord { first: time(900), last: time(901), ..flow(2) };
    app.write(None, vec![within, other]).await;
    for list in LISTS {
        let page = app.json(list).await;
        assert_eq!((seconds(&page["from"]), seconds(&page["to"])), (5, 25), "{list}: windows 1 to 4");
    }
    assert_eq!(count(&app.json("/api/flows").await), 1, "what another capture holds is not shown");
    // A time outside of the capture is another one's.
    let page = app.json("/api/flows?from=800").await;
    assert_eq!((count(&page), &page["to"]), (1, &Value::Null));
    let page = app.json("/api/flows?to=4").await;
    assert_eq!((count(&page), seconds(&page["from"])), (0, 0));
    assert_eq!(seconds(&app.json("/api/flows?from=7").await["to"]), 25);
}

#[tokio::test]
async fn a_cursor_keeps_the_time_range_of_its_list() {
    let mut app = App::with(4, 0).await;
    app.router = replay(&app);
    app.write(None, (1..=6).map(|id| FlowRecord { first: time(5 + id), last: time(5 + id), ..flow(id) }).collect())
        .await;
    let first = app.json("/api/flows?limit=2&sort=time").await;
    let cursor = first["next_cursor"].as_str().expect("more").to_owned();
    // The capture grows while somebody reads.
    app.write(Some(window(5)), vec![]).await;
    let second = app.json(&format!("/api/flows?limit=2&cursor={cursor}")).await;
    assert_eq!((&second["from"], &second["to"]), (&first["from"], &first["to"]));
    assert_eq!(seconds(&app.json("/api/flows").await["to"]), 30);
    // What the answer says can be sent along; another range cannot.
    let (from, to) = (first["from"].as_str().expect("from"), first["to"].as_str().expect("to"));
    assert_eq!(count(&app.json(&format!("/api/flows?cursor={cursor}&from={from}&to={to}")).await), 4);
    let all = app.json("/api/flows?limit=2&from=0").await;
    let next = all["next_cursor"].as_str().expect("more");
    assert_eq!(
        count(&app.json(&format!("/api/flows?limit=2&from=0&cursor={next}")).await),
        2,
        "from the beginning of time"
    );
    let (status, _, body) = app.get(&format!("/api/flows?cursor={cursor}&from=7")).await;
    assert_eq!((status, &parse(&body)["field"]), (StatusCode::BAD_REQUEST, &"cursor".into()));
}

#[tokio::test]
async fn flows_that_reach_into_a_time_are_listed_however_long_they_go_on() {
    let app = App::with(0, 0).await;
    let flows = [
        (1, 5, 100),
        (2, 40, 45),
        (3, 48, 52),
        (4, 50, 51),
        (5, 55, 300),
        (6, 60, 61),
        (7, 5, 49),
        (8, 30, 90),
        (9, 5, 2000),
    ];
    let record = |(id, first, last)| FlowRecord { first: time(first), last: time(last), ..flow(id) };
    app.write(None, flows.map(record).to_vec()).await;
    let number = |item: &Value| u64::from_str_radix(item["id"].as_str().expect("id"), 16).expect("hexadecimal");
    for filter in ["", "&host=10.0.0.2", "&port=53", "&proto=udp", "&host=10.0.0.1&port=53&proto=udp"] {
        // Those with a packet at 50 s or later and one before 60 s.
        for (sort, expected) in [("time", [1, 9, 8, 3, 4, 5]), ("last_time", [4, 3, 8, 1, 5, 9])] {
            for (sign, descending) in [("", false), ("-", true)] {
                for limit in [1, 2, 100] {
                    let (mut met, mut cursor) = (Vec::new(), String::new());
                    loop {
                        let path = format!("/api/flows?from=50&to=60&sort={sign}{sort}&limit={limit}{filter}{cursor}");
                        let page = app.json(&path).await;
                        met.extend(page["items"].as_array().expect("items").iter().map(number));
                        let Some(next) = page["next_cursor"].as_str() else { break };
                        cursor = format!("&cursor={next}");
                    }
                    if descending {
                        met.reverse();
                    }
                    assert_eq!(met, expected, "{sign}{sort} limit={limit}{filter}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_list_that_would_read_too_much_is_refused_with_what_to_do() {
    let app = App::with(0, 0).await;
    // One protocol among many flows of a port.
    let many =
        |id: u64| FlowRecord { proto: if id == 1 { 6 } else { 17 }, first: time(id), last: time(id), ..flow(id) };
    app.write(None, (1..=25_000).map(many).collect()).await;
    for (path, expected) in [
        ("/api/flows?port=53", 200),
        ("/api/flows?port=53&proto=udp", 200),
        ("/api/flows?proto=tcp&sort=-last_time", 200),
        ("/api/flows?proto=udp&sort=-last_time", 200),
        ("/api/flows?port=53&proto=tcp", 422),
        ("/api/flows?port=53&proto=tcp&sort=last_time", 422),
        ("/api/flows?port=53&proto=tcp&to=5000", 200),
        ("/api/flows?port=53&proto=tcp&sort=time", 422),
    ] {
        let (status, media_type, body) = app.get(path).await;
        let answer = parse(&body);
        assert_eq!(status.as_u16(), expected, "{path}: {answer}");
        if expected == 422 {
            assert_eq!(media_type, "application/problem+json");
            let detail = answer["detail"].as_str().expect("a detail");
            assert!(detail.contains("20000") && detail.contains("`from`, `to`"), "{detail}");
        }
    }
    assert_eq!(count(&app.json("/api/flows?port=53&proto=tcp&to=5000").await), 1);
}

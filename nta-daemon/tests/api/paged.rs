//! Lists of windows and flows: filtered, in order, page by page and as a stream.

use std::collections::HashSet;

use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use nta_core::domain::{FlowId, FlowRecord, Load, Nesting};
use nta_core::window::{Measured, NotWhole, Window};
use nta_daemon::json::{FlowJson, WindowJson};
use serde_json::Value;
use tower::ServiceExt as _;

use crate::app::{App, HOST, flow, time, window};

#[tokio::test]
async fn windows_are_listed_filtered_sorted_and_summed() {
    let app = App::with(5, 0).await;
    let ids =
        |page: &Value| page["items"].as_array().expect("items").iter().map(|w| w["id"].as_u64()).collect::<Vec<_>>();
    let some = |ids: &[u64]| ids.iter().copied().map(Some).collect::<Vec<_>>();
    assert_eq!(ids(&app.json("/api/metrics?span=5").await), some(&[5, 4, 3, 2, 1]));
    assert_eq!(ids(&app.json("/api/metrics?span=5s&sort=bandwidth&limit=2").await), some(&[1, 2]));
    // Windows 1 to 5 start at 5, 10, … 25 s.
    assert_eq!(ids(&app.json("/api/metrics?from=15&to=1970-01-01T00:00:20Z&span=5").await), some(&[3]));
    assert_eq!(ids(&app.json("/api/metrics?span=5&from=14.5&to=20.5&sort=time").await), some(&[2, 3, 4]));

    let one: WindowJson = serde_json::from_value(app.json("/api/metrics/3").await).expect("a window");
    assert_eq!(one, WindowJson::from(&window(3)));
    assert_eq!((one.connections, one.loss_ratio, one.rtt.all.mean_ms), (3, Some(0.2), Some(30.0)));

    let summary = app.json("/api/metrics/summary").await;
    assert_eq!(summary["total_windows"], 5);
    assert_eq!(summary["time_span"]["seconds"], 25.0);
    assert_eq!(summary["time_span"]["from"], "1970-01-01T00:00:05.000000Z");
    assert_eq!(summary["bandwidth"]["mean_bps"], 15_000.0 * 8.0 / 25.0);
    assert_eq!((&summary["bandwidth"]["min_bps"], &summary["bandwidth"]["max_bps"]), (&1600.into(), &8000.into()));
    assert_eq!(summary["connections"]["total_across_windows"], 15);
    assert_eq!(summary["connections"]["mean_per_window"], 3.0);
    assert_eq!((&summary["latency"]["mean_rtt"], &summary["latency"]["max_rtt"]), (&30.0.into(), &100.0.into()));
    let none = app.json("/api/metrics/summary?from=1000").await;
    assert_eq!((&none["total_windows"], &none["bandwidth"]["mean_bps"]), (&0.into(), &Value::Null));
}

#[tokio::test]
async fn windows_say_how_long_they_were_and_what_happened_to_their_time() {
    let app = App::with(1, 0).await;
    let measured = Measured {
        span_ns: 5_000_000_000,
        length_ns: 8_000_000_000,
        outside_ns: 3_000_000,
        not_whole: Some(NotWhole::Late),
        silence_ns: 60_000_000_000,
        gap_ns: 2_500_000_000,
        not_stored_ns: 0,
        clock_step_ns: -60_000_000_000,
        wall_ahead_ns: -60_000_000_000,
        folded: 3,
    };
    app.write(Some(Window { measured, ..window(2) }), vec![]).await;
    let list = app.json("/api/metrics?span=5&sort=time").await;
    for late in [app.json("/api/metrics/2").await, list["items"][1].clone()] {
        // Two kilobytes in the eight seconds in which they were counted.
        assert_eq!((&late["span_s"], &late["bandwidth_bps"]), (&8.0.into(), &2000.0.into()), "{late}");
        assert_eq!((&late["not_whole"], &late["silence_s"]), (&"late".into(), &60.0.into()), "{late}");
        assert_eq!((&late["gap_s"], &late["clock_step_s"]), (&2.5.into(), &(-60.0).into()), "{late}");
        assert_eq!((&late["wall_ahead_s"], &late["folded"]), (&(-60.0).into(), &3.into()), "{late}");
    }
    let whole = app.json("/api/metrics/1").await;
    for field in ["not_whole", "silence_s", "gap_s", "not_stored_s", "clock_step_s", "wall_ahead_s", "folded"] {
        assert!(whole.get(field).is_none(), "{field}: {whole}");
    }
}

#[tokio::test]
async fn a_walk_through_the_pages_meets_every_item_once_while_new_ones_arrive() {
    for (sort, path) in [("time", "/api/alltraffic"), ("-time", "/api/alltraffic"), ("time", "/api/metrics?span=5")] {
        let app = App::with(25, 25).await;
        let mut met = Vec::new();
        let sign = if path.contains('?') { '&' } else { '?' };
        let mut url = format!("{path}{sign}limit=4&sort={sort}");
        for new in 100.. {
            let page = app.json(&url).await;
            assert_eq!(page["limit"], 4);
            met.extend(page["items"].as_array().expect("items").iter().map(|item| item["id"].to_string()));
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            url = format!("{path}{sign}limit=4&cursor={cursor}");
            if new < 110 {
                // A new one, and an old one that changed.
                app.write(Some(window(new)), vec![flow(new), FlowRecord { last: time(9000 + new), ..flow(3) }]).await;
            }
        }
        let unique: HashSet<_> = met.iter().collect();
        assert_eq!(unique.len(), met.len(), "{path} {sort}: nothing twice");
        let known = |id: u64| if path.contains("metrics") { id.to_string() } else { format!("\"{}\"", FlowId(id)) };
        let old = (1..=25).filter(|id| met.contains(&known(*id))).count();
        assert_eq!(old, 25, "{path} {sort}: nothing left out");
    }
}

#[tokio::test]
async fn the_last_ten_are_those_with_the_latest_packet() {
    let app = App::with(0, 30).await;
    // The last one carries another, which lies in it.
    let opened = [Load { packets: 3, bytes: 300 }, Load { packets: 1, bytes: 90 }];
    let outer = FlowRecord { last: time(9999), nesting: Nesting::within([None; 2], opened), ..flow(1) };
    let inner = FlowRecord {
        last: time(9998),
        nesting: Nesting::within([Some(outer.id), Some(FlowId(77))], Default::default()),
        ..flow(2)
    };
    app.write(None, vec![outer, inner]).await;
    let last = app.json("/api/last10").await;
    let items: Vec<FlowJson> = serde_json::from_value(last["items"].clone()).expect("flows");
    assert_eq!(items.len(), 10);
    assert_eq!(items[0].id, FlowId(1).to_string());
    let carried = items[0].carried.as_ref().expect("a tunnel");
    assert_eq!((carried.orig_packets, carried.orig_bytes, carried.resp_packets, carried.resp_bytes), (3, 300, 1, 90));
    assert_eq!(items[0].tunnel_parents, None);
    let parents = [outer.id, FlowId(77)].map(|id| id.to_string());
    assert_eq!((items[1].tunnel_parents.as_deref(), &items[1].carried), (Some(&parents[..]), &None));
    assert_eq!((&items[2].tunnel_parents, &items[2].carried), (&None, &None));
    assert_eq!(items[2], FlowJson::from(&flow(30)));
    assert_eq!((last["limit"].as_u64(), &last["next_cursor"]), (Some(10), &Value::Null));
}

#[tokio::test]
async fn ndjson_streams_all_flows() {
    let app = App::with(0, 1234).await;
    let request = Request::get("/api/alltraffic/")
        .header(header::HOST, HOST)
        .header(header::ACCEPT, "text/html;q=0.1, application/x-ndjson");
    let response = app.router.clone().oneshot(request.body(Body::empty()).expect("request")).await.expect("response");
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/x-ndjson");
    let body = to_bytes(response.into_body(), usize::MAX).await.expect("body");
    let flows: Vec<FlowJson> = body
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).expect("a flow a line"))
        .collect();
    assert_eq!(flows.iter().map(|f| &f.id).collect::<HashSet<_>>().len(), 1234);
    assert_eq!(flows.len(), 1234);
}

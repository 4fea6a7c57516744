//! Packets that come as records, by `POST /ingest`.

use std::fs::OpenOptions;
use std::io::{Cursor, Write as _};

use axum::body::Body;
use axum::http::{Method, StatusCode};
use nta_capture::CaptureReader;
use nta_common::packet::{Packet, icmp_code, proto};
use nta_common::{Family, SliceReader, parse};
use serde_json::{Value, json};

use super::{Site, case, sqlite};

/// The IP packets of a capture as a client would write them.
fn records(capture: Vec<u8>) -> Vec<Value> {
    let mut reader = CaptureReader::from_read("x".to_owned(), Box::new(Cursor::new(capture))).expect("a capture");
    let mut records = Vec::new();
    let mut packet = Packet::default();
    while let Some(frame) = reader.next_frame() {
        let Ok(family) = parse(&SliceReader::new(frame.data, frame.wire_len), &mut packet) else { continue };
        let addresses: [std::net::IpAddr; 2] = match family {
            Family::V4 => [packet.src4, packet.dst4].map(|address| std::net::Ipv4Addr::from(address).into()),
            Family::V6 => [packet.src6, packet.dst6]
                .map(|[high, low]| std::net::Ipv6Addr::from(u128::from(high) << 64 | u128::from(low)).into()),
        };
        let second = match packet.proto {
            proto::ICMP | proto::ICMPV6 => icmp_code(packet.proto, packet.src_port, packet.dst_port).into(),
            _ => packet.dst_port,
        };
        let mut record = json!({
            "time": format!("{}.{:09}", frame.time_ns / 1_000_000_000, frame.time_ns % 1_000_000_000),
            "source": addresses[0], "destination": addresses[1], "protocol": packet.proto,
            "source_port": packet.src_port, "destination_port": second, "length": frame.wire_len,
        });
        if packet.proto == proto::TCP {
            record["tcp_flags"] = packet.tcp_flags.into();
            record["payload_length"] = packet.payload_len.into();
        }
        records.push(record);
    }
    records
}

async fn post(site: &Site, message: &Value) -> (StatusCode, Value) {
    let headers = [("content-type", "application/json")];
    let (status, _, answer) = site.send(Method::POST, "/ingest", &headers, Body::from(message.to_string())).await;
    (status, answer)
}

fn message(sequence: u64, packets: &[Value], last: bool) -> Value {
    json!({ "sensor": "tap-1", "epoch": "2026-11-30", "sequence": sequence, "packets": packets, "last": last })
}

/// What is known of the flows of a capture: ends, state, history, packets and bytes of each direction.
async fn flows(site: &Site, file_id: &Value, count: &Value) -> Vec<String> {
    let id = file_id.as_str().expect("a capture");
    let path = format!("/api/flows?capture={id}&limit=1000");
    let is_all = |page: &Value| page["items"].as_array().map(|items| items.len() as u64) == count.as_u64();
    let page = site.until(&path, |_, page| is_all(page)).await;
    let items = page["items"].as_array().expect("flows");
    let ends = ["protocol", "source", "source_port", "destination", "destination_port", "conn_state", "history"];
    let counts =
        ["packets", "bytes", "ip_bytes", "payload_bytes"].map(|of| ["orig", "resp"].map(|who| format!("{who}_{of}")));
    let known: Vec<String> = ends.iter().map(|end| (*end).to_owned()).chain(counts.into_iter().flatten()).collect();
    let shown = |flow: &Value| known.iter().map(|field| flow[field].to_string()).collect::<Vec<_>>().join(" ");
    let mut shown: Vec<_> = items.iter().map(shown).collect();
    shown.sort();
    shown
}

/// Threats of a report without the links, which name its capture.
fn threats(report: &Value) -> Vec<Value> {
    let known = ["type", "severity", "source", "destination", "score", "from", "to", "summary", "technique"];
    let threats = report["threats"].as_array().expect("threats");
    threats.iter().map(|threat| json!(known.map(|field| &threat[field]))).collect()
}

#[tokio::test]
async fn packets_as_records_are_counted_as_their_capture_is() {
    for name in ["ftp-over-ipv6", "port_scan-hit"] {
        let folder = tempfile::tempdir().expect("folder");
        let site = Site::over(sqlite(folder.path()).await, folder.path(), |_| {});
        let capture = case(name);
        let (_, uploaded) = site.upload(&capture).await;
        let expected = site.report(&uploaded).await;
        let records = records(capture);
        let parts: Vec<_> = records.chunks(40).collect();
        let mut file_id = Value::Null;
        for (index, part) in parts.iter().enumerate() {
            let (status, answer) = post(&site, &message(index as u64 + 1, part, index + 1 == parts.len())).await;
            assert_eq!((status, &answer["watermark"]), (StatusCode::OK, &(index + 1).into()), "{answer}");
            file_id = answer["file_id"].clone();
        }
        let path = format!("/report/{}", file_id.as_str().expect("a capture"));
        let report = site.until(&path, |status, _| status == StatusCode::OK).await;
        assert_eq!(report["totals"]["packets"], records.len(), "{report}");
        let [theirs, ours] = [&expected, &report].map(|report| &report["totals"]);
        assert_eq!([&ours["bytes"], &ours["flows"]], [&theirs["bytes"], &theirs["flows"]], "{name}: {ours} {theirs}");
        let (ours, theirs) =
            (flows(&site, &file_id, &ours["flows"]).await, flows(&site, &uploaded["file_id"], &theirs["flows"]).await);
        assert!(ours.len() > 1 && !ours[0].contains("null null null"), "{ours:?}");
        assert_eq!(ours, theirs, "{name}");
        let [ours, theirs] = [&report, &expected].map(threats);
        assert_eq!(ours, theirs, "{name}");
    }
}

#[tokio::test]
async fn a_message_is_taken_once_in_its_order_and_over_a_restart() {
    let folder = tempfile::tempdir().expect("folder");
    let store = sqlite(folder.path()).await;
    let site = Site::over(store.clone(), folder.path(), |_| {});
    let records = records(case("port_scan-hit"));
    let (first, rest) = records.split_at(30);
    let (second, third) = rest.split_at(30);
    let (status, answer) = post(&site, &message(2, second, false)).await;
    assert_eq!((status, &answer["stored"], &answer["watermark"]), (StatusCode::OK, &0.into(), &0.into()), "{answer}");
    assert_eq!(answer["missing"], json!([{ "first": 1, "last": 1 }]));
    // What cannot be is named, and nothing of its message is counted.
    let mut wrong = first.to_vec();
    wrong[7]["length"] = 40.into();
    let (status, problem) = post(&site, &message(1, &wrong, false)).await;
    assert_eq!((status, &problem["field"]), (StatusCode::BAD_REQUEST, &"packets[7].length".into()), "{problem}");
    let (_, answer) = post(&site, &message(1, first, false)).await;
    assert_eq!((&answer["stored"], &answer["watermark"]), (&1.into(), &1.into()), "{answer}");
    let file_id = answer["file_id"].as_str().expect("a capture").to_owned();
    let (_, again) = post(&site, &message(1, second, false)).await;
    assert_eq!(
        (&again["stored"], &again["doubles"], &again["watermark"]),
        (&0.into(), &1.into(), &1.into()),
        "{again}"
    );
    site.uploads.stop().await;
    drop(site);
    // A message that was written and not noted before a kill is sent again.
    let path = folder.path().join("captures").join(&file_id);
    OpenOptions::new().append(true).open(path).expect("the capture").write_all(&[7; 1000]).expect("written");
    let site = Site::over(store, folder.path(), |_| {});
    let (_, answer) = post(&site, &message(2, second, false)).await;
    assert_eq!((&answer["watermark"], answer["file_id"].as_str()), (&2.into(), Some(&*file_id)), "{answer}");
    let (_, answer) = post(&site, &message(3, third, true)).await;
    assert_eq!((&answer["watermark"], answer["file_id"].as_str()), (&3.into(), Some(&*file_id)), "{answer}");
    let report = site.until(&format!("/report/{file_id}"), |status, _| status == StatusCode::OK).await;
    assert_eq!(
        (&report["totals"]["packets"], &report["read"]["end"]),
        (&records.len().into(), &"complete".into()),
        "{report}"
    );
    let bytes: u64 = records.iter().map(|record| record["length"].as_u64().expect("a length")).sum();
    assert_eq!(report["totals"]["bytes"], bytes);
    // Windows of before the restart are not counted beside those of after it.
    let path = format!("/api/metrics/summary?capture={file_id}");
    let summary = site.until(&path, |_, summary| summary["packets"].as_u64() >= Some(records.len() as u64)).await;
    assert_eq!(summary["packets"], records.len(), "{summary}");
}

//! What is written, read back.

use std::collections::HashSet;

use ::parquet::file::reader::{FileReader as _, SerializedFileReader};
use ::parquet::record::RowAccessor as _;
use nta_core::domain::AlertKind;
use serde_json::json;

use super::*;

fn windows(count: u64) -> impl Iterator<Item = Value> {
    (0..count).map(|n| {
        let start = format!("2026-01-31T12:00:00.{n:06}Z");
        json!({ "id": n, "start": start, "packets": u64::MAX, "rtt": { "mean_ms": n % 2 == 0 }, "not_whole": "a\"b,c\nd" })
    })
}

#[test]
fn parquet_leaves_group_by_group_and_reads_back() {
    let mut encoder = Encoder::new(What::Windows, Format::Parquet).expect("encoder");
    let (mut file, mut pieces) = (Vec::new(), 0);
    for window in windows(40_000) {
        encoder.item(&window).expect("row");
        let piece = encoder.take();
        pieces += u32::from(!piece.is_empty());
        file.extend(piece);
    }
    assert_eq!(pieces, 2, "what is behind a full group does not wait for the end");
    file.extend(encoder.end().expect("end"));
    let reader = SerializedFileReader::new(axum::body::Bytes::from(file)).expect("a file of Parquet");
    assert_eq!((reader.num_row_groups(), reader.metadata().file_metadata().num_rows()), (3, 40_000));
    let rows: Vec<_> = reader.get_row_iter(None).expect("rows").map(|row| row.expect("row")).collect();
    let names: Vec<String> = rows[0].get_column_iter().map(|(name, _)| name.clone()).collect();
    let at = |name: &str| names.iter().position(|known| known == name).expect(name);
    for (place, row) in rows.iter().enumerate() {
        assert_eq!(row.get_long(at("id")).expect("id"), place as i64);
        let start = 1_769_860_800_000_000 + place as i64;
        assert_eq!(row.get_timestamp_micros(at("start")).expect("start"), start);
    }
    assert_eq!(rows[0].get_long(at("packets")).expect("packets"), i64::MAX, "more than it holds is the most it holds");
    assert!(rows[0].get_double(at("rtt_mean_ms")).is_err(), "what is no number is null");
}

#[test]
fn csv_quotes_what_needs_it_and_has_its_names_without_rows_too() {
    let none = Encoder::new(What::Windows, Format::Csv).expect("encoder").end().expect("end");
    let mut encoder = Encoder::new(What::Windows, Format::Csv).expect("encoder");
    windows(2).for_each(|window| encoder.item(&window).expect("row"));
    let text = encoder.end().expect("end");
    let mut reader = ::csv::Reader::from_reader(text.as_slice());
    let names = reader.headers().expect("names").clone();
    let place = names.iter().position(|name| name == "not_whole").expect("a column");
    let rows: Vec<_> = reader.records().map(|row| row.expect("row")).collect();
    assert_eq!((rows.len(), &rows[1][place]), (2, "a\"b,c\nd"));
    assert!(text.starts_with(&none) && none.ends_with(b"\n"), "{}", String::from_utf8_lossy(&none));
}

#[test]
fn json_is_one_array_and_features_are_no_event() {
    let mut encoder = Encoder::new(What::Flows, Format::Json).expect("encoder");
    (1..3).for_each(|n| encoder.item(&json!({ "n": n })).expect("item"));
    let text: Value = serde_json::from_slice(&encoder.end().expect("end")).expect("JSON");
    assert_eq!(text, json!([{ "n": 1 }, { "n": 2 }]));
    let none = Encoder::new(What::Flows, Format::Json).expect("encoder").end().expect("end");
    assert_eq!(serde_json::from_slice::<Value>(&none).expect("JSON"), json!([]));
    assert!(matches!(Encoder::new(What::Features, Format::Eve), Err(ExportError::NoEvent)));
}

#[test]
fn every_kind_of_alert_has_a_signature_of_its_own() {
    let ids: HashSet<u32> = AlertKind::ALL.iter().map(|kind| eve::signature_id(kind.word())).collect();
    assert_eq!(ids.len(), AlertKind::ALL.len());
    assert!(ids.iter().all(|id| (1_000_000..2_000_000).contains(id)), "the numbers for a site's own");
}

#[test]
fn statistics_grow_from_window_to_window() {
    let mut writer = eve::Writer::default();
    let window = |end: u8| {
        json!({ "start": format!("2026-01-31T12:00:{:02}Z", end - 5), "end": format!("2026-01-31T12:00:{end:02}Z"),
            "packets": 7, "skipped": { "ipv4_malformed": 2, "arp": 5 }, "protocols": [{ "number": 17, "packets": 5 }] })
    };
    let stats: Vec<Value> = [5, 10].into_iter().filter_map(|end| writer.stats(&window(end))).collect();
    assert_eq!(stats[1]["timestamp"], "2026-01-31T12:00:10.000000+0000");
    let seen = |place: usize| {
        let stats = &stats[place]["stats"];
        [&stats["uptime"], &stats["decoder"]["pkts"], &stats["decoder"]["udp"], &stats["decoder"]["invalid"]]
            .map(Value::as_u64)
    };
    assert_eq!([seen(0), seen(1)], [[5, 7, 5, 2], [10, 14, 10, 4]].map(|row| row.map(Some)));
}

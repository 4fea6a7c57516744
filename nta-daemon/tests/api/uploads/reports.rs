//! What reports say: of captures that are not whole, over time, and about DNS.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::StatusCode;
use serde_json::Value;

use super::{Site, case, pcap, sqlite};

#[tokio::test]
async fn a_capture_that_is_not_whole_has_a_report_that_says_so() {
    let folder = tempfile::tempdir().expect("folder");
    let site = Site::over(sqlite(folder.path()).await, folder.path(), |_| {});
    let whole = pcap(1, 1000);
    let mut corrupt = whole.clone();
    // The length of the 501st record.
    corrupt[24 + 500 * 58 + 8..][..4].fill(0xff);
    let odd = [&pcap(1, 4)[..24 + 2 * 58], &{
        let mut frame = pcap(1, 1)[24..].to_vec();
        frame[16 + 26..16 + 30].copy_from_slice(&[224, 0, 0, 1]);
        frame
    }]
    .concat();
    for (bytes, end, packets, analysed) in [
        (&whole[..whole.len() - 7], "cut_off", 999, 999),
        (&corrupt[..], "corrupt", 500, 500),
        (&pcap(147, 50)[..], "complete", 50, 0),
        (&whole[..20], "unreadable", 0, 0),
        (&odd[..], "complete", 3, 3),
    ] {
        let (status, answer) = site.upload(bytes).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        let report = site.report(&answer).await;
        let read = &report["read"];
        assert_eq!((&read["end"], &read["packets"]), (&end.into(), &packets.into()), "{read}");
        assert_eq!(read["analysed_packets"], analysed, "{read}");
        assert_eq!(read["detail"].is_null(), end == "complete", "{read}");
        let skipped: u64 = read["skipped"].as_object().expect("reasons").values().filter_map(Value::as_u64).sum();
        assert_eq!(skipped, packets - analysed, "{read}");
        let path = answer["capture"].as_str().expect("a path");
        let capture = site.until(path, |_, capture| capture["state"] == "analysed").await;
        let problem = capture["problem"].as_str().unwrap_or_default();
        assert!(if end == "complete" { problem.is_empty() } else { problem.starts_with(end) }, "{capture}");
        let unusual = &report["unusual_packets"];
        if bytes == odd {
            assert_eq!(
                (&unusual[0]["kind"], &unusual[0]["frames"][0]["number"]),
                (&"impossible_source".into(), &3.into())
            );
            assert_eq!(unusual[0]["wireshark"], "frame.number in {3}");
        } else {
            assert_eq!(unusual, &serde_json::json!([]));
        }
    }
    site.uploads.stop().await;
}

/// Bytes of a bundled capture of Ethernet frames by steps of five seconds: of each IP protocol, and of DNS. Read here from the bytes.
fn bytes_by_step(pcap: &[u8]) -> [BTreeMap<(String, u64), u64>; 2] {
    let number = |at: usize| u32::from_le_bytes(pcap[at..at + 4].try_into().expect("four bytes"));
    assert!([0xa1b2_c3d4, 0xa1b2_3c4d].contains(&number(0)) && number(20) == 1, "little-endian pcap of Ethernet");
    let (mut protocols, mut dns, mut at) = (BTreeMap::new(), BTreeMap::new(), 24);
    while at < pcap.len() {
        let (step, captured, length) = (u64::from(number(at)) / 5, number(at + 8) as usize, u64::from(number(at + 12)));
        let frame = &pcap[at + 16..][..captured];
        let (protocol, ports) = match (frame[12], frame[13]) {
            (8, 0) => (frame[14 + 9], 14 + usize::from(frame[14] & 15) * 4),
            // Behind hop-by-hop options, as reports of multicast listeners have them.
            (0x86, 0xdd) if frame[14 + 6] == 0 => (frame[54], 62 + usize::from(frame[55]) * 8),
            (0x86, 0xdd) => (frame[14 + 6], 14 + 40),
            _ => (0, 0),
        };
        let name = match protocol {
            6 => "tcp",
            17 => "udp",
            1 => "icmp",
            58 => "ipv6-icmp",
            _ => "",
        };
        if !name.is_empty() {
            *protocols.entry((name.to_owned(), step)).or_default() += length;
        }
        if [6, 17].contains(&protocol) && [0, 2].iter().any(|port| frame[ports + port..][..2] == [0, 53]) {
            *dns.entry(("domain".to_owned(), step)).or_default() += length;
        }
        at += 16 + captured;
    }
    [protocols, dns]
}

/// Windows are judged behind the flows, on a thread of their own: what is of one time is in one step all the same.
#[tokio::test]
async fn bytes_over_time_are_those_of_the_packets_of_each_step() {
    let folder = tempfile::tempdir().expect("folder");
    let site = Site::over(sqlite(folder.path()).await, folder.path(), |_| {});
    let capture = case("demo");
    let (_, answer) = site.upload(&capture).await;
    let over_time = site.report(&answer).await["over_time"].clone();
    assert_eq!(over_time["step_s"], 5.0, "190 seconds are few steps");
    let start: jiff::Timestamp = over_time["start"].as_str().expect("a time").parse().expect("a time");
    let first = start.as_second() as u64 / 5;
    for (kind, expected) in ["protocols", "services"].into_iter().zip(bytes_by_step(&capture)) {
        let names: BTreeSet<&str> = expected.keys().map(|(name, _)| name.as_str()).collect();
        let mut said = BTreeMap::new();
        for series in over_time[kind].as_array().expect("series") {
            let name = series["name"].as_str().expect("a name");
            for (step, bytes) in series["bytes"].as_array().expect("bytes").iter().enumerate() {
                let bytes = bytes.as_u64().filter(|bytes| *bytes > 0 && names.contains(name));
                said.extend(bytes.map(|bytes| ((name.to_owned(), first + step as u64), bytes)));
            }
        }
        assert_eq!(said, expected, "{kind}");
    }
    site.uploads.stop().await;
}

/// As many as `tshark -Y dns -T fields -e dns.flags.response -e dns.qry.type -e dns.flags.rcode` lists.
#[tokio::test]
async fn a_report_says_what_was_asked_of_dns() {
    let folder = tempfile::tempdir().expect("folder");
    let site = Site::over(sqlite(folder.path()).await, folder.path(), |_| {});
    let (_, answer) = site.upload(&case("demo")).await;
    let report = site.report(&answer).await;
    let dns = &report["dns"];
    assert_eq!((&dns["queries"], &dns["responses"], &dns["malformed"]), (&196.into(), &196.into(), &0.into()), "{dns}");
    assert_eq!(dns["types"], serde_json::json!({ "A": 125, "AAAA": 71 }), "{dns}");
    assert_eq!(dns["codes"], serde_json::json!({ "NOERROR": 196 }), "{dns}");
    let name = dns["names"][0]["name"].as_str().expect("a name").to_owned();
    let path = format!("/report/{}", answer["file_id"].as_str().expect("a name"));
    let html = site.page(&path).await;
    assert!(html.contains("DNS over UDP") && html.contains(&name), "{html}");
    // Who speaks none has no such part.
    let (_, answer) = site.upload(&case("syn_flood-hit")).await;
    assert!(site.report(&answer).await["dns"].is_null());
    site.uploads.stop().await;
}

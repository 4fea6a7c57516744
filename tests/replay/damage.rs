//! Captures that are not whole: what can be read is analysed, and what is wrong is said, in the exit status as well.

use std::fs;

use nta_tests::daemon::{Run, run};
use nta_tests::packet::{ethernet, ipv4, udp};
use nta_tests::pcap::{ETHERNET, Frame, pcap, pcapng};
use serde_json::Value;
use tempfile::TempDir;

/// Frames of 71 bytes.
fn frames() -> Vec<Frame> {
    let frame = |second| Frame::at(second, ethernet(0x0800, &ipv4(17, &[], 0, &udp(&[0; 29]))));
    (1..=5).map(frame).collect()
}

fn replay(bytes: &[u8]) -> (Run, Value) {
    let folder = TempDir::new().expect("folder");
    let path = folder.path().join("input");
    fs::write(&path, bytes).expect("write");
    let run = run(["replay".as_ref(), "--format".as_ref(), "json".as_ref(), path.as_os_str()]);
    assert!(run.is_read(), "{run:?}");
    let document = run.json().remove(0);
    (run, document)
}

/// Everything up to the cut is analysed, and the cut is said twice: to people and to programs.
fn check(bytes: &[u8], packets: u64, end: &str) {
    let (run, document) = replay(bytes);
    assert_eq!(document["packets"], packets, "{document}");
    assert_eq!(document["ledger"]["total"]["flow"], packets, "{document}");
    let capture = &document["captures"][0];
    assert_eq!((&capture["packets"], &capture["end"]), (&packets.into(), &end.into()), "{document}");
    // capinfos and tcpdump do not end with 0 either; 2 would be a file that is no capture.
    assert_eq!(run.status, Some(if end == "complete" { 0 } else { 3 }), "{run:?}");
    if end == "complete" {
        assert!(run.stderr.is_empty() && capture["detail"].is_null(), "{run:?}");
        return;
    }
    assert!(capture["detail"].as_str().is_some_and(|detail| detail.starts_with("at byte ")), "{document}");
    assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
    assert!(run.stderr.contains(end) && run.stderr.contains(&format!("packets={packets}")), "{run:?}");
    assert!(!run.stderr.contains('\x1b'), "no colours for a file: {run:?}");
}

#[test]
fn a_pcap_cut_anywhere() {
    let whole = pcap(ETHERNET, &frames());
    let record = (whole.len() - 24) / 5;
    check(&whole, 5, "complete");
    for cut in [1, 10, 71, 72, 80, record - 1] {
        check(&whole[..whole.len() - cut], 4, "cut_off");
    }
    check(&whole[..whole.len() - record], 4, "complete");
    check(&whole[..24 + 1], 0, "cut_off");
    check(&whole[..24], 0, "complete");
}

#[test]
fn a_pcapng_cut_anywhere() {
    let whole = pcapng(&frames());
    check(&whole, 5, "complete");
    for cut in [1, 4, 50, 103] {
        check(&whole[..whole.len() - cut], 4, "cut_off");
    }
}

#[test]
fn a_record_that_claims_too_much() {
    let mut bytes = pcap(ETHERNET, &frames());
    let second = 24 + (bytes.len() - 24) / 5;
    bytes[second + 8..second + 12].fill(0xff);
    check(&bytes, 1, "corrupt");
}

/// No frame is longer than 1 GiB: a record that says so is damaged, is counted as 1 GiB, and both are said.
#[test]
fn a_length_on_the_wire_that_cannot_be() {
    let frames: Vec<Frame> = frames()
        .into_iter()
        .enumerate()
        .map(|(n, frame)| Frame { wire_len: if n == 1 { 0xf400_0000 } else { frame.wire_len }, ..frame })
        .collect();
    let others: u64 = frames.iter().map(|frame| u64::from(frame.wire_len)).sum::<u64>() - 0xf400_0000;
    for bytes in [pcap(ETHERNET, &frames), pcapng(&frames)] {
        let (run, document) = replay(&bytes);
        assert_eq!((run.status, &document["captures"][0]["lengths_clamped"]), (Some(0), &1.into()), "{document}");
        assert_eq!(document["bytes"], others + (1 << 30), "{document}");
        let folder = TempDir::new().expect("folder");
        let path = folder.path().join("input");
        fs::write(&path, &bytes).expect("write");
        let text = run_text(&path);
        assert!(text.contains("1 packet with a damaged length on the wire"), "{text}");
    }
}

fn run_text(path: &std::path::Path) -> String {
    let run = run(["replay".as_ref(), path.as_os_str()]);
    String::from_utf8_lossy(&run.stdout).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_compressed_capture_cut_in_the_stream() {
    // Frames that do not compress, so that half the stream holds about half of them.
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let frame = |second| {
        let payload: Vec<u8> = (0..1400).map(|_| noise()).collect();
        Frame::at(second, ethernet(0x0800, &ipv4(17, &[], 0, &udp(&payload))))
    };
    let frames: Vec<Frame> = (1..=500).map(frame).collect();
    let whole = zstd::encode_all(&pcap(ETHERNET, &frames)[..], 3).expect("zstd");
    let (run, document) = replay(&whole[..whole.len() / 2]);
    let packets = document["packets"].as_u64().expect("packets");
    assert!((100..=250).contains(&packets), "{document}");
    assert_eq!(document["captures"][0]["end"], "cut_off", "{run:?}");
}

#[test]
fn no_frames_are_no_error() {
    let (_, document) = replay(&pcap(ETHERNET, &[]));
    assert_eq!(document["packets"], 0);
    assert!(document["first_time"].is_null() && document["windows"] == serde_json::json!([]), "{document}");
}

/// A frame is 60 bytes or so and a window a thousand: time stamps alone must not make hundreds of times as much out of a
/// capture, however few frames it has, and in whichever direction its time goes. The sums stay exact.
#[test]
fn frames_far_apart_in_time_do_not_make_a_window_each() {
    for (frames, goes_back) in [(600, false), (12_000, false), (12_000, true)] {
        let time = |n| 1 + 1_000 * if goes_back { frames - n } else { n };
        let frame = |n| Frame::at(time(n), ethernet(0x0800, &ipv4(17, &[], 0, &udp(&[0; 29]))));
        let bytes = pcap(ETHERNET, &(0..frames).map(frame).collect::<Vec<_>>());
        let folder = TempDir::new().expect("folder");
        let path = folder.path().join("input");
        fs::write(&path, &bytes).expect("write");
        let run = run(["replay".as_ref(), "--format".as_ref(), "jsonl".as_ref(), path.as_os_str()]);
        assert_eq!(run.status, Some(0));
        let lines = run.json();
        let summary = lines.last().expect("a summary");
        let windows: Vec<&Value> = lines.iter().filter(|line| line["type"] == "window").collect();
        let (silent, others): (Vec<&Value>, Vec<&Value>) = windows.iter().partition(|window| window["packets"] == 0);
        // Some of each kind are free; beyond them a capture pays for its windows by its packets.
        let paid = frames as usize / 16;
        let (most_silent, most) = (1_000 + paid, 10_700 + paid);
        assert!(silent.len() <= most_silent && others.len() <= most, "{} and {}", silent.len(), others.len());
        let sum = |name: &str| windows.iter().map(|window| window[name].as_u64().unwrap_or(0)).sum::<u64>();
        assert_eq!((sum("packets"), &summary["ledger"]["total"]["seen"]), (frames, &frames.into()));
        // Between two frames 199 windows are silent, of which 12 would be reported.
        let left_out = if goes_back { 0 } else { 12 * (others.len() - 1) - silent.len() };
        assert_eq!(summary["windows_left_out"], left_out, "{summary}");
        assert_eq!(summary["windows_folded"], sum("folded"), "{summary}");
        assert_eq!(run.stderr.contains("almost empty windows"), sum("folded") > 0, "it is said: {}", run.stderr);
        // Each frame but those that open a window is in one of another time.
        let folded = if goes_back { sum("late_packets") } else { sum("folded") / 200 };
        assert_eq!(folded, frames - others.len() as u64, "{} windows", others.len());
        let written: usize = windows.iter().map(|window| window.to_string().len()).sum();
        assert!(written < 2_500 * windows.len(), "{written} bytes of {}", bytes.len());
        let time = |window: &Value, field: &str| {
            let time = window[field].as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
            time.expect("a time").as_second() as f64
        };
        // A window that is left out is in the silence of the next one.
        for pair in windows.windows(2).filter(|_| !goes_back) {
            let silence_s = pair[1]["silence_s"].as_f64().unwrap_or(0.0);
            assert!((time(pair[1], "start") - time(pair[0], "end") - silence_s).abs() < 1.0, "{pair:?}");
        }
    }
}

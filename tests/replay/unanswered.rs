//! SYNs that nobody answers are sent again, and that is no loss of packets.

use std::fs;

use nta_tests::daemon::run;
use nta_tests::packet::{ethernet, ipv4, tcp};
use nta_tests::pcap::{ETHERNET, Frame, pcap};
use serde_json::Value;
use tempfile::TempDir;

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
/// Where the ports, the numbers and the addresses of an IPv4 frame are.
const IP: usize = 14;
const TCP: usize = IP + 20;

/// A segment of 192.0.2.1:40000 to this port of 198.51.100.2, or back.
fn segment(port: u16, is_answer: bool, flags: u8, [seq, ack]: [u32; 2], payload: &[u8]) -> Vec<u8> {
    let mut frame = ethernet(0x0800, &ipv4(6, &[], 0, &tcp(flags, &[], payload)));
    frame[TCP + 2..TCP + 4].copy_from_slice(&port.to_be_bytes());
    frame[TCP + 4..TCP + 8].copy_from_slice(&seq.to_be_bytes());
    frame[TCP + 8..TCP + 12].copy_from_slice(&ack.to_be_bytes());
    if is_answer {
        let (from, to) = (frame[IP + 12..IP + 16].to_vec(), frame[IP + 16..IP + 20].to_vec());
        frame[IP + 12..IP + 20].copy_from_slice(&[to, from].concat());
        let (from, to) = (frame[TCP..TCP + 2].to_vec(), frame[TCP + 2..TCP + 4].to_vec());
        frame[TCP..TCP + 4].copy_from_slice(&[to, from].concat());
    }
    frame
}

/// Sixty ports, each asked three times as a system does: after one second, and after three.
fn scan() -> Vec<Frame> {
    let mut frames = Vec::new();
    for port in 1..=60_u16 {
        for second in [0, 1, 3] {
            let time_ns = (100 + second) * 1_000_000_000 + u64::from(port) * 1_000_000;
            let data = segment(port, false, SYN, [u32::from(port) * 1_000, 0], &[]);
            frames.push(Frame { time_ns, wire_len: data.len() as u32, data });
        }
    }
    frames.sort_by_key(|frame| frame.time_ns);
    frames
}

fn replay(frames: &[Frame]) -> Value {
    let folder = TempDir::new().expect("folder");
    let path = folder.path().join("input.pcap");
    fs::write(&path, pcap(ETHERNET, frames)).expect("written");
    let run = run(["replay".as_ref(), "--format".as_ref(), "json".as_ref(), path.as_os_str()]);
    assert_eq!(run.status, Some(0), "{run:?}");
    run.json().remove(0)
}

#[test]
fn a_scans_retries_are_no_loss() {
    let document = replay(&scan());
    let tcp = &document["report"]["tcp"];
    assert_eq!(
        (&tcp["unanswered_syns"], &tcp["syn_retries"], &tcp["loss_ratio"]),
        (&60.into(), &120.into(), &0.0.into())
    );
    for window in document["windows"].as_array().expect("windows") {
        assert!(window["loss_ratio"].as_f64().is_none_or(|loss| loss == 0.0), "{window}");
    }
    let alerts = document["alerts"].as_array().expect("alerts");
    assert!(alerts.iter().any(|alert| alert["type"] == "port_scan"), "{alerts:?}");
    assert!(!alerts.iter().any(|alert| alert["type"] == "packet_loss"), "{alerts:?}");
}

/// The same retries in a conversation are: the SYN or its answer was lost.
#[test]
fn what_is_answered_in_the_end_was_lost() {
    let mut frames = vec![
        (100_000, segment(80, false, SYN, [1_000, 0], &[])),
        (101_000, segment(80, false, SYN, [1_000, 0], &[])),
        (101_020, segment(80, true, SYN | ACK, [9_000, 1_001], &[])),
        (101_040, segment(80, false, ACK, [1_001, 9_001], &[])),
        (101_050, segment(80, false, ACK, [1_001, 9_001], b"question")),
        (101_400, segment(80, false, ACK, [1_001, 9_001], b"question")),
        (101_420, segment(80, true, ACK, [9_001, 1_009], &[])),
    ];
    let frame = |(ms, data): (u64, Vec<u8>)| Frame { time_ns: ms * 1_000_000, wire_len: data.len() as u32, data };
    let document = replay(&frames.drain(..).map(frame).collect::<Vec<_>>());
    let tcp = &document["report"]["tcp"];
    assert_eq!((&tcp["unanswered_syns"], &tcp["syn_retries"]), (&0.into(), &1.into()));
    // The SYN and the question, of seven packets.
    let loss = tcp["loss_ratio"].as_f64().expect("a ratio");
    assert!((loss - 2.0 / 7.0).abs() < 1e-9, "{tcp}");
}

/// What the text says of these.
fn text(frames: &[Frame]) -> String {
    let folder = TempDir::new().expect("folder");
    let path = folder.path().join("input.pcap");
    fs::write(&path, pcap(ETHERNET, frames)).expect("written");
    let run = run(["replay".as_ref(), path.as_os_str()]);
    assert!(run.is_read(), "{}", run.stderr);
    String::from_utf8(run.stdout).expect("text")
}

/// A connection's first segments from one side: the SYN, if it is seen, and twelve with payload.
fn one_side(port: u16, with_syn: bool) -> Vec<Frame> {
    let numbers = |n: u32| if n == 0 { [1_000, 0] } else { [1_001 + (n - 1) * 4, 5_000] };
    let of = |n: u32| match n {
        0 => segment(port, false, SYN, numbers(n), &[]),
        _ => segment(port, false, ACK, numbers(n), b"data"),
    };
    let at = |n: u32| (100_000 + u64::from(n) * 10) * 1_000_000 + u64::from(port);
    let frame = |n| {
        let data = of(n);
        Frame { time_ns: at(n), wire_len: data.len() as u32, data }
    };
    (u32::from(!with_syn)..=12).map(frame).collect()
}

#[test]
fn what_is_seen_from_the_middle_or_from_one_side_is_not_called_unanswered() {
    let middle = text(&(1..=3).flat_map(|port| one_side(port, false)).collect::<Vec<_>>());
    assert!(middle.contains("3 connections not seen from the start"), "{middle}");
    assert!(!middle.contains("unanswered"), "{middle}");

    let attempts = (50..=53).flat_map(|port| one_side(port, true).into_iter().take(1));
    let conversations = (1..=3).flat_map(|port| one_side(port, true));
    let mut frames: Vec<Frame> = attempts.chain(conversations).collect();
    frames.sort_by_key(|frame| frame.time_ns);
    let half = text(&frames);
    assert!(
        half.contains("4 connection attempts seen from one side")
            && half.contains("3 connections without the answers")
            && !half.contains("unanswered"),
        "{half}"
    );
    assert!(!half.contains("not seen from the start"), "{half}");

    // Where others are answered, silence is one.
    let answer = |port: u16, n: u32| {
        let data = segment(port, true, ACK, [5_000, 1_001 + n * 4], &[]);
        Frame { time_ns: (100_000 + u64::from(n) * 10) * 1_000_000 + 5_000, wire_len: data.len() as u32, data }
    };
    frames.extend((1..=3).flat_map(|port| (1..=12).map(move |n| answer(port, n))));
    frames.sort_by_key(|frame| frame.time_ns);
    let whole = text(&frames);
    assert!(whole.contains("4 unanswered connection attempts"), "{whole}");
}

//! What a replay needs does not grow with its capture, nor with how many there are: the JSON document leaves as it is made,
//! and a capture that was read leaves neither buffer nor descriptor. Nor does the document grow much faster than its capture.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};

use nta_tests::daemon::daemon;
use nta_tests::packet::{ethernet, ipv4, udp};
use nta_tests::pcap::{ETHERNET, Frame, pcap};
use serde_json::Value;

/// What more of windows may cost, as a part of the bytes of their JSON: what is usual in more hours of the week.
const MOST: u64 = 4;
/// What one more byte of a capture may cost in bytes of JSON, however its packets lie in time (docs/REPLAY.md).
const MOST_OF_A_BYTE: usize = 5;
/// What one more capture may cost, in KiB: less than the smallest buffer that one is read with.
const MOST_OF_A_CAPTURE: u64 = 8;

/// Windows of some packets each, one every five seconds.
fn capture(windows: u64) -> Vec<u8> {
    let frame = ethernet(0x0800, &ipv4(17, &[], 0, &udp(&[7; 32])));
    let at = |window: u64, second: u64| Frame::at(1_700_000_000 + window * 5 + second, frame.clone());
    let frames: Vec<Frame> =
        (0..windows).flat_map(|window| (0..4).map(move |second| (window, second))).map(|(w, s)| at(w, s)).collect();
    pcap(ETHERNET, &frames)
}

/// So many windows of two small packets of new hosts each, with a window of silence between two of them.
fn sparse(windows: u32) -> Vec<u8> {
    let frame = |number: u32| {
        let mut data = ethernet(0x0800, &ipv4(17, &[], 0, &udp(&[7; 8])));
        data[26..30].copy_from_slice(&(0x0a00_0000 + number * 2).to_be_bytes());
        data[30..34].copy_from_slice(&(0x0a00_0001 + number * 2).to_be_bytes());
        Frame::at(1_700_000_000 + u64::from(number / 2) * 10 + u64::from(number % 2), data)
    };
    pcap(ETHERNET, &(0..windows * 2).map(frame).collect::<Vec<_>>())
}

#[test]
fn a_sparse_capture_makes_a_document_of_a_few_times_its_bytes() {
    let folder = tempfile::tempdir().expect("folder");
    let replay = |windows| {
        let (path, bytes) = (folder.path().join("sparse.pcap"), sparse(windows));
        fs::write(&path, &bytes).expect("capture");
        (bytes.len(), document(&path).0)
    };
    // Behind the windows that every capture may have.
    let ((bytes, text), (more_bytes, more_text)) = (replay(13_000), replay(33_000));
    let (grown, most) = (more_text.len() - text.len(), (more_bytes - bytes) * MOST_OF_A_BYTE);
    assert!(grown < most, "{grown} bytes of JSON for {} of the capture", more_bytes - bytes);
    let parsed: Value = serde_json::from_slice(&more_text).expect("one document");
    let windows = parsed["windows"].as_array().expect("windows");
    let sum = |field: &str| windows.iter().map(|window| window[field].as_u64().unwrap_or(0)).sum::<u64>();
    assert_eq!((sum("packets"), &parsed["packets"]), (66_000, &66_000.into()), "every packet is in a window");
    assert_eq!(parsed["windows_folded"], sum("folded"), "what was folded is said");
    assert!(sum("folded") > 0);
}

/// The document of one capture of so many windows.
fn long(windows: u64) -> (Vec<u8>, u64) {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("long.pcap");
    fs::write(&path, capture(windows)).expect("capture");
    document(&path)
}

/// The document of so many captures of two packets each, one behind the other, read with few descriptors.
fn many(captures: u64) -> (Vec<u8>, u64) {
    let folder = tempfile::tempdir().expect("folder");
    let frame = ethernet(0x0800, &ipv4(17, &[], 0, &udp(&[7; 32])));
    for number in 0..captures {
        let frames = [0, 1].map(|second| Frame::at(1_700_000_000 + number * 2 + second, frame.clone()));
        fs::write(folder.path().join(format!("{number:05}.pcap")), pcap(ETHERNET, &frames)).expect("capture");
    }
    document(folder.path())
}

/// Reads the document as it comes; answers it with the most memory, in KiB, that the daemon had meanwhile.
fn document(path: &Path) -> (Vec<u8>, u64) {
    let mut child = Command::new("sh")
        .args(["-c", "ulimit -n 256; exec \"$0\" \"$@\""])
        .arg(daemon())
        .args(["replay", "--format", "json"])
        .arg(path)
        .env_remove("NTA_DATABASE")
        .env_remove("NTA_CONFIG")
        .env_remove("NTA_WINDOW")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the daemon starts");
    let status = format!("/proc/{}/status", child.id());
    let mut out = child.stdout.take().expect("piped");
    let (mut text, mut piece, mut most) = (Vec::new(), vec![0; 64 * 1024], 0);
    loop {
        // Until it has written all, it waits for this reader: the mark is read while it lives.
        let read = out.read(&mut piece).expect("read");
        let lines = fs::read_to_string(&status).unwrap_or_default();
        let mark = lines.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
        most = most.max(mark.unwrap_or(0));
        if read == 0 {
            break;
        }
        text.extend_from_slice(&piece[..read]);
    }
    assert!(child.wait().expect("wait").success());
    (text, most)
}

#[test]
fn a_long_capture_needs_no_more_memory_than_a_short_one() {
    let (short, little) = long(3_000);
    let (long, more) = long(13_000);
    let parsed: Value = serde_json::from_slice(&long).expect("one document");
    let windows = parsed["windows"].as_array().expect("windows");
    assert_eq!((windows.len(), &parsed["packets"]), (13_000, &52_000.into()));
    let grown = (long.len() - short.len()) as u64 / 1024;
    assert!(grown > 16 * 1024, "a document of {grown} KiB more proves nothing");
    let cost = more.saturating_sub(little);
    assert!(little > 0 && cost < grown / MOST, "{little} KiB, then {more} KiB, for {grown} KiB of JSON");
}

#[test]
fn many_captures_need_hardly_more_memory_than_few_and_no_more_descriptors() {
    let (_, little) = many(200);
    let (document, more) = many(1_500);
    let parsed: Value = serde_json::from_slice(&document).expect("one document");
    let captures = parsed["captures"].as_array().expect("captures");
    assert!(captures.iter().all(|capture| capture["packets"] == 2 && capture["end"] == "complete"));
    assert_eq!((captures.len(), &parsed["packets"]), (1_500, &3_000.into()));
    let cost = more.saturating_sub(little);
    assert!(little > 0 && cost < 1_300 * MOST_OF_A_CAPTURE, "{little} KiB, then {more} KiB");
}

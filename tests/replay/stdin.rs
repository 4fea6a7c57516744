//! A capture on standard input, in every wrapping, gives what the file gives.

use std::fs;
use std::io::Write as _;

use nta_tests::cases;
use nta_tests::daemon::{Run, run, run_with_input};
use nta_tests::packet::{ethernet, ipv4, ipv6, tcp, udp};
use nta_tests::pcap::{ETHERNET, Frame, pcap, pcapng};
use serde_json::Value;

/// The lines of a run without what differs between files and runs, sorted: flows that end together have no order.
fn lines(run: &Run) -> Vec<Value> {
    assert_eq!(run.status, Some(0), "{run:?}");
    let mut lines = run.json();
    for line in lines.iter_mut().filter(|line| line["type"] == "summary") {
        for own in ["captures", "elapsed_s"] {
            line[own].take();
        }
        line["ledger"]["interfaces"].take();
    }
    lines.sort_by_key(Value::to_string);
    lines
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).expect("gzip");
    gzip.finish().expect("gzip")
}

fn zst(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).expect("zstd")
}

#[test]
fn every_format_and_wrapping_gives_the_same() {
    let packets = [
        ethernet(0x0800, &ipv4(6, &[], 0, &tcp(0x02, &[], &[]))),
        ethernet(0x86dd, &ipv6(17, &udp(b"question"))),
        ethernet(0x0806, &[0; 28]),
    ];
    let frames: Vec<Frame> = (1..).zip(packets).map(|(second, packet)| Frame::at(second * 7, packet)).collect();
    let (pcap, pcapng) = (pcap(ETHERNET, &frames), pcapng(&frames));
    let replay = |input: &[u8]| lines(&run_with_input(["replay", "--format", "jsonl", "-"], input));
    let expected = replay(&pcap);
    assert_eq!(expected.len(), 2 + 4 + 1, "two flows, four windows, one of them empty, a summary: {expected:?}");
    assert!(expected.iter().any(|line| line["type"] == "summary" && line["packets"] == 3), "{expected:?}");
    for input in [&pcapng, &gzip(&pcap), &gzip(&pcapng), &zst(&pcap), &zst(&pcapng)] {
        assert_eq!(replay(input), expected);
    }
}

#[test]
fn a_bundled_capture_reads_the_same_from_a_pipe() {
    let path = cases().join("demo/input.pcap");
    let args = ["replay", "--format", "jsonl"];
    let from_file = lines(&run(args.iter().map(AsRef::as_ref).chain([path.as_os_str()])));
    let bytes = fs::read(&path).expect("demo");
    for input in [&bytes, &gzip(&bytes), &zst(&bytes)] {
        assert_eq!(lines(&run_with_input(args.into_iter().chain(["-"]), input)), from_file);
    }
}

#[test]
fn a_cut_pipe_is_reported_as_one() {
    let bytes = pcap(ETHERNET, &[Frame::at(1, vec![0; 60]), Frame::at(2, vec![0; 60])]);
    let run = run_with_input(["replay", "--format", "json", "-"], &bytes[..bytes.len() - 9]);
    let document = run.json().remove(0);
    assert_eq!((&document["packets"], &document["captures"][0]["end"]), (&1.into(), &"cut_off".into()));
}

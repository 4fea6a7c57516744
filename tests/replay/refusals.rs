//! What is no input: status 2, one line on standard error that names file and reason, nothing on standard output.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use nta_tests::daemon::run;
use nta_tests::packet::{ethernet, ipv4, udp};
use nta_tests::pcap::{ETHERNET, Frame, PRISM, pcap};
use nta_tests::{cases, root};
use tempfile::TempDir;

/// Replays a file that holds these bytes and demands a refusal that says so.
fn refused(name: &str, bytes: &[u8], reason: &str) {
    let folder = TempDir::new().expect("folder");
    let path = folder.path().join(name);
    fs::write(&path, bytes).expect("write");
    path_refused(&path, reason);
}

fn path_refused(path: &Path, reason: &str) {
    for format in ["text", "json", "jsonl"] {
        let run = run(["replay".as_ref(), "--format".as_ref(), format.as_ref(), path.as_os_str()]);
        assert!(run.is_refused(), "{run:?}");
        assert!(run.stderr.contains(&path.display().to_string()) && run.stderr.contains(reason), "{run:?}");
    }
}

#[test]
fn an_empty_filter() {
    let demo = cases().join("wrong-clock/input.pcap");
    for filter in ["", " "] {
        let run = run(["replay".as_ref(), "--filter".as_ref(), filter.as_ref(), demo.as_os_str()]);
        assert!(run.is_refused() && run.stderr.contains("--filter is empty"), "{run:?}");
    }
}

#[test]
fn a_missing_file() {
    path_refused(&root().join("missing.pcap"), "no such file");
}

#[test]
fn what_cannot_be_said_changes_no_status_and_stops_nothing() {
    let folder = TempDir::new().expect("folder");
    let path = folder.path().join("scan.pcap");
    nta_tests::served::scan(&path);
    for (path, status) in [(path.clone(), 0), (folder.path().join("missing.pcap"), 2)] {
        let full = fs::File::options().write(true).open("/dev/full").expect("a device that is always full");
        let mut command = Command::new(nta_tests::daemon::daemon());
        let ended = command.args(["--log", "debug", "replay"]).arg(&path).stdout(Stdio::null()).stderr(full).status();
        assert_eq!(ended.expect("it starts").code(), Some(status), "{path:?}");
    }
    let mut served = nta_tests::served::Served::start(&path, "sqlite::memory:", true);
    served.close_log();
    for _ in 0..3 {
        // Each is a line of the log.
        served.signal("-HUP");
        assert_eq!(served.get("/health")["status"], "ok");
    }
    served.stop();
}

#[test]
fn a_text_file() {
    path_refused(&cases().join("demo/README.md"), "not a capture file");
}

#[test]
fn a_folder_of_folders() {
    path_refused(&cases(), "no capture in this folder");
}

#[test]
fn an_empty_file() {
    refused("empty.pcap", &[], "empty file");
}

#[test]
fn garbage() {
    let garbage: Vec<u8> = (0..10_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    refused("garbage.pcap", &garbage, "not a capture file");
}

#[test]
fn a_file_that_ends_in_its_header() {
    refused("header.pcap", &pcap(ETHERNET, &[])[..20], "cut off in the file header");
}

#[test]
fn a_compressed_file_that_holds_no_capture() {
    refused("text.pcap.zst", &zstd::encode_all(&b"no capture"[..], 3).expect("zstd"), "not a capture file");
}

#[test]
fn a_name_with_a_line_feed_stays_on_one_line() {
    let run = run(["replay", "two\nlines.pcap"]);
    assert!(run.is_refused(), "{run:?}");
}

#[test]
fn a_link_type_that_nothing_reads() {
    let frames = [Frame::at(1, vec![0; 40]), Frame::at(2, vec![0; 40])];
    let reason = "no frame can be analysed: 2 of link type 119 (IEEE802_11_PRISM)";
    refused("wlan.pcap", &pcap(PRISM, &frames), reason);
}

#[test]
fn a_good_capture_beside_a_missing_one() {
    let folder = TempDir::new().expect("folder");
    let good = folder.path().join("good.pcap");
    let frame = ethernet(0x0800, &ipv4(17, &[], 0, &udp(b"x")));
    fs::write(&good, pcap(ETHERNET, &[Frame::at(1, frame)])).expect("write");
    let missing = folder.path().join("missing.pcap");
    let run = run(["replay".as_ref(), good.as_os_str(), missing.as_os_str()]);
    assert!(run.is_refused() && run.stderr.contains("missing.pcap: no such file"), "{run:?}");
}

#[test]
fn standard_input_twice() {
    let run = run(["replay", "-", "-"]);
    assert!(run.is_refused() && run.stderr.contains("standard input can be read only once"), "{run:?}");
}

#[test]
fn nothing_on_standard_input() {
    let run = run(["replay", "-"]);
    assert!(run.is_refused() && run.stderr.contains("standard input: empty file"), "{run:?}");
}

#[test]
fn windows_out_of_range() {
    for seconds in ["0", "301", "99999999999"] {
        let run = run(["replay", "--window", seconds, "-"]);
        assert!(run.is_refused() && run.stderr.contains("windows.seconds"), "{run:?}");
    }
}

#[test]
fn flags_that_cannot_be_read() {
    let flags = [["--window", "x"], ["--window", "-1"], ["--speed", "0"], ["--speed", "fast"], ["--engine", "warp"]];
    for [flag, value] in flags {
        let run = run(["replay", &format!("{flag}={value}"), "-"]);
        assert_eq!((run.status, run.stdout.len()), (Some(2), 0), "{run:?}");
        let first = run.stderr.lines().next().unwrap_or_default();
        assert!(first.contains(flag) && first.contains(value), "{run:?}");
    }
}

#[test]
fn flags_that_would_change_nothing() {
    let flags: [(&[&str], &str); 8] = [
        (&["--hash", "--format", "zeek"], "--hash needs --format"),
        (&["--output", "logs"], "--output needs --format zeek, csv, eve or ipfix"),
        (&["--plot", "always", "--format", "json"], "--plot needs --format text"),
        (&["--listen", "127.0.0.1:5001"], "--listen needs --serve"),
        (&["--again"], "--again needs --database"),
        (&["--again", "--database", "sqlite::memory:"], "--again needs files"),
        (&["--events"], "--events needs --format jsonl"),
        (&["--features", "--format", "text"], "--features needs --format jsonl"),
    ];
    for (flags, reason) in flags {
        let run = run(["replay"].iter().chain(flags).chain(&["-"]));
        assert!(run.is_refused() && run.stderr.contains(reason), "{flags:?}: {run:?}");
    }
}

#[test]
fn configurations_that_cannot_be_used() {
    let folder = TempDir::new().expect("folder");
    let missing = folder.path().join("missing.toml");
    let config = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("write");
        path
    };
    let unknown = config("unknown.toml", "[windows]\nseconds = 5\nsecond = 6\n");
    let syntax = config("syntax.toml", "[windows\n");
    let value = config("value.toml", "[windows]\nseconds = 0\n");
    let bad = [
        (missing, "missing.toml: No such file"),
        (unknown, "unknown.toml:3: there is no `second` in [windows]; did you mean `seconds`?"),
        (syntax, "syntax.toml:1: unclosed table"),
        (value, "windows.seconds is 0"),
    ];
    for (path, reason) in bad {
        let run = run(["replay".as_ref(), "--config".as_ref(), path.as_os_str(), "-".as_ref()]);
        assert!(run.is_refused() && run.stderr.contains(reason), "{run:?}");
    }
}

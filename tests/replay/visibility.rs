//! What a capture point shows: SYNs that come last, packets that come twice, one direction only.

use nta_tests::daemon::{Run, run};
use nta_tests::root;
use serde_json::Value;

fn replayed(case: &str, file: &str, format: &str) -> Run {
    let path = root().join("tests/cases").join(case).join(file);
    let run = run(["replay".as_ref(), "--format".as_ref(), format.as_ref(), path.as_os_str()]);
    assert_eq!(run.status, Some(0), "{}", run.stderr);
    run
}

/// What a program cannot know it does not deny.
#[test]
fn half_of_a_tap_with_short_connections_is_said_though_nothing_is_concluded() {
    let path = root().join("tests/cases/tap-two-sections/input.pcapng");
    let half = |format: &str| {
        let filter = ["--filter", "src net 192.0.2.0/24"].map(std::ffi::OsStr::new);
        let format = ["replay", "--format", format].map(std::ffi::OsStr::new);
        let run = run([&format[..], &filter[..], &[path.as_os_str()]].concat());
        assert_eq!(run.status, Some(0), "{}", run.stderr);
        run
    };
    let document = half("json").json().remove(0);
    assert_eq!(document["visibility"]["one_sided"], Value::Null, "{}", document["visibility"]);
    let text = String::from_utf8(half("text").stdout).expect("text");
    assert!(text.contains("60 of 60 TCP connections show one side alone (SH, SHR)"), "{text}");
}

fn document(case: &str, file: &str) -> Value {
    replayed(case, file, "json").json().remove(0)
}

fn sum(document: &Value, name: &str) -> u64 {
    let windows = document["windows"].as_array().expect("windows");
    windows.iter().map(|window| window[name].as_u64().expect("a count")).sum()
}

#[test]
fn a_syn_behind_its_connections_end_opens_none_and_is_not_lost() {
    let document = document("syn-comes-last", "input.pcap");
    assert_eq!(document["flows"], 12);
    assert_eq!((sum(&document, "retransmissions"), sum(&document, "out_of_order")), (0, 12));
}

#[test]
fn copies_of_a_mirror_port_are_counted_apart() {
    let document = document("mirror-twice", "input.pcap.gz");
    // Of the nine packets of each of 40 connections, SYN, SYN-ACK, two with data and two FINs: an ACK alone has no number here.
    assert_eq!((sum(&document, "duplicates"), &document["duplicates"]), (240, &Value::from(240)));
    assert_eq!((sum(&document, "retransmissions"), sum(&document, "syn_retries")), (0, 0));
    let text = String::from_utf8(replayed("mirror-twice", "input.pcap.gz", "text").stdout).expect("text");
    assert!(text.contains("240 TCP segments passed twice"), "{text}");
}

#[test]
fn one_direction_is_noticed_and_said() {
    let document = document("one-way-download", "input.pcap.gz");
    let visibility = &document["visibility"];
    assert_eq!((&visibility["one_sided"], &visibility["udp"]["answered"]), (&Value::from(true), &Value::from(0.0)));
    assert_eq!(visibility["tcp"]["answered"], Value::Null);
    let text = String::from_utf8(replayed("one-way-download", "input.pcap.gz", "text").stdout).expect("text");
    assert!(text.contains("one-sided UDP"), "{text}");
    let both = self::document("mirror-twice", "input.pcap.gz");
    assert_eq!(both["visibility"]["one_sided"], false, "{}", both["visibility"]);
}

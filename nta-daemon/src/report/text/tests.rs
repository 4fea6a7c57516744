//! The page as it is written, of summaries made up.

use std::collections::BTreeMap;
use std::net::IpAddr;

use unicode_width::UnicodeWidthStr as _;

use super::*;
use crate::report::Tally;
use nta_core::domain::{AlertId, AlertKey, AlertKind, AlertState, Basis, ClearReason, Finding, Measure, Opinion};

const S: u64 = 1_000_000_000;

fn at(second: u64) -> Timestamp {
    Timestamp::from_nanos((1_700_000_000 + second) * S)
}

fn alert(first: Timestamp, source: Party, destination: Party, sentence: &str) -> Alert {
    let finding = Finding {
        detector: "dns_tunnel",
        basis: Basis::Rule,
        kind: AlertKind::DnsTunnel,
        source,
        destination,
        port: Some(53),
        start: first,
        end: at(30),
        measure: Measure { name: "names", unit: "1", observed: 10.0, expected: None, threshold: 5.0 },
        score: 0.9,
        summary: sentence.to_owned(),
        facts: Vec::new(),
        contributors: Vec::new(),
        crowd: None,
        seen: None,
    };
    Alert {
        seen: None,
        id: AlertId(1),
        key: AlertKey::of(&finding),
        state: AlertState::Cleared,
        severity: Severity::High,
        first,
        last: at(30),
        raised: at(30),
        cleared: Some(at(30)),
        clear_reason: Some(ClearReason::RunEnded),
        windows: 1,
        merged: 0,
        detectors: vec!["dns_tunnel"],
        opinions: vec![Opinion::of(&finding)],
        latest: finding.clone(),
        finding,
    }
}

fn summary(packets: u64) -> Summary {
    Summary {
        engine: "user",
        packets,
        bytes: packets * 100,
        times: (packets > 0).then(|| (at(2), at(12))),
        ..Summary::default()
    }
}

fn shown(summary: &Summary, alerts: &[Alert], width: usize) -> String {
    let mut page = Page::new(Look { width, colour: false, plot: false });
    write(&mut page, &Report::new(summary, &Tally::default(), 18), summary, alerts, 0);
    page.text()
}

#[test]
fn an_alert_does_not_begin_before_the_capture_does_nor_end_behind_it() {
    let host = |last| Party::Host(IpAddr::from([192, 0, 2, last]));
    let text = shown(&summary(5), &[alert(at(0), host(1), host(2), "It did.")], 100);
    assert!(text.contains("  high dns_tunnel 2023-11-14 22:13:22.000000 to 22:13:32.000000\n"), "{text}");
    assert!(text.contains("    192.0.2.1 > 192.0.2.2 port 53\n    It did.\n"), "{text}");
    let many = shown(&summary(5), &[alert(at(5), Party::Many, host(2), "They did.")], 100);
    assert!(many.contains("many hosts > 192.0.2.2 port 53"), "{many}");
    let nobody = shown(&summary(5), &[alert(at(5), Party::Nobody, host(2), "It was.")], 100);
    assert!(nobody.contains("\n    192.0.2.2 port 53\n"), "{nobody}");
}

#[test]
fn names_from_the_network_are_shown_and_not_obeyed() {
    let text = shown(&summary(5), &[alert(at(5), Party::Many, Party::Many, "asks for \u{1b}]0;x\u{7}.example")], 100);
    assert!(text.contains(r"asks for \u{1b}]0;x\u{7}.example"), "{text}");
    assert!(!text.contains('\u{1b}'));
}

#[test]
fn nothing_is_said_to_be_nothing() {
    let empty = shown(&summary(0), &[], 100);
    assert!(empty.contains("packets   none\n") && empty.contains("nothing to look at"), "{empty}");
    let quiet = shown(&summary(5), &[], 100);
    assert!(quiet.contains("alerts    nothing unusual: 18 detectors looked at 0 windows\n"), "{quiet}");
}

#[test]
fn everything_that_is_skipped_has_a_reason() {
    let mut of = summary(20);
    of.skipped_link_types = BTreeMap::from([("link type 119 (IEEE802_11_PRISM)".to_owned(), 3)]);
    (of.wrong_times, of.duplicates) = (2, 1);
    let file = |end| FileSummary {
        number: 0,
        name: "x.pcap".to_owned(),
        format: "pcap".to_owned(),
        frames: 20,
        lengths_clamped: 0,
        end,
        about: About { dropped: Some(7), ..About::default() },
        bytes: Some(2_000),
        sha256: None,
    };
    of.files = vec![file(End::CutOff { at_byte: 12_345, detail: "the file ends".to_owned() })];
    let same =
        |name: &str| FileSummary { name: name.to_owned(), sha256: Some("5d8f".to_owned()), ..file(End::Complete) };
    of.files.extend(["y.pcap", "copy of y.pcap"].map(same));
    let text = shown(&of, &[], 100);
    for wanted in [
        "  1 capture counted again: copy of y.pcap has the same bytes as y.pcap\n",
        "skipped\n  x.pcap: cut off at byte 12,345: the file ends; the 20 packets before are analysed\n",
        "  3 packets of link type 119 (IEEE802_11_PRISM), which is not analysed\n",
        "  21 packets were dropped while the capture was made",
        "  2 packets had wrong time stamps",
        "  1 TCP segment passed twice",
    ] {
        assert!(text.contains(wanted), "{wanted}\n{text}");
    }
    for width in 40..=200 {
        let text = shown(&of, &[alert(at(2), Party::Many, Party::Nobody, &"word ".repeat(60))], width);
        assert!(text.lines().all(|line| line.width() <= width), "{width}\n{text}");
    }
}

#[test]
fn a_rate_of_a_few_packets_over_years_is_left_out() {
    let years = Summary { times: Some((at(0), at(5 * 365 * 86_400))), ..summary(600) };
    let text = shown(&years, &[], 100);
    assert!(text.contains("packets   600, mean length 100 bytes\n"), "{text}");
    assert!(!text.contains("bit/s"), "{text}");
    let text = shown(&summary(600), &[], 100);
    assert!(text.contains("packets   600, 60.0 packets/s, mean length 100 bytes\n"), "{text}");
}

#[test]
fn who_opens_tunnels_is_not_told_to() {
    for (opens, said) in [(false, "capture.tunnels = true opens them"), (true, "what they carry could not be read")] {
        let mut report = Report::new(&summary(5), &Tally::default(), 18).with_tunnels_opened(opens);
        report.tunnels_closed = BTreeMap::from([("GRE", 5)]);
        let mut page = Page::new(Look { width: 200, colour: false, plot: false });
        write(&mut page, &report, &summary(5), &[], 0);
        let text = page.text();
        assert!(text.contains("(GRE 5)") && text.contains(said), "{text}");
        assert_eq!(text.contains("capture.tunnels"), !opens, "{text}");
    }
}

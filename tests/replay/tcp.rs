//! TCP counters of every capture of the collection's `tcp` folder against tshark's: retransmissions, segments out of
//! order, duplicate ACKs, zero windows, and the round trip of the handshake. docs/TCP.md explains each method.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use nta_tests::capture_list::{ABSENT, captures, of_folder};
use nta_tests::daemon::{collect, run};
use nta_tests::{installed, not_run, pool};
use serde_json::Value;

/// What is counted, by our name and by tshark's column in the collection's summary.
const COUNTS: [(&str, &str); 4] = [
    ("retransmissions", "retrans"),
    ("out_of_order", "out_of_order"),
    ("duplicate_acks", "dup_ack"),
    ("zero_windows", "zero_window"),
];
/// The same in the order of [`COUNTS`].
type Counts = [u64; COUNTS.len()];

/// Where tshark says something else (its counts), and why. It may not grow: docs/notes/TCP.md has the packets.
const DIFFERENT: &[(&str, Counts, &str)] = &[
    ("tcp/chrissanders_nowebaccess2.pcapng", [2, 0, 0, 0], CUT),
    ("tcp/suricata-verify/tcp-split-handshake-01-4whs/split-handshake-4whs.pcap", [1, 0, 0, 0], CUT),
    ("tcp/tcpflow/bug2.pcap", [5, 0, 0, 0], CUT),
    ("tcp/tcpflow/bug3.pcap", [12, 1, 0, 0], CUT),
    ("tcp/zeek/retransmit-timeout.pcapng", [1, 0, 0, 0], "idle for five minutes: two flows"),
    ("tcp/suricata-verify/tcp-fastopen-10-syn-data-ignore/input.pcap", [20, 0, 1, 0], SYN),
    ("tcp/tcpflow/test5-lines-randomized.pcap", [5, 0, 0, 0], SYN),
    ("tcp/tcpflow/test5-lines-randomized2.pcap", [2, 0, 0, 0], "a direction begins with its first segment"),
    (
        "tcp/suricata-verify/tcp-split-handshake-02-5whs/split-handshake-5whs.pcap",
        [0; 4],
        "the last acknowledgment number outlives the cut",
    ),
    ("tcp/arkime_wireshark-retrans.pcap", [47, 1, 27, 0], TWICE),
    ("tcp/chrissanders_nowebaccess3.pcapng", [2, 0, 0, 0], TWICE),
    ("tcp/ppa_hauntedbrowser.pcap", [11, 0, 15, 0], TWICE),
    ("tcp/sgr_tcp_analysis.pcapng", [3, 0, 3, 0], TWICE),
    ("tcp/suricata-verify/eve-overlap-payload-01/tcp-overlap.pcap", [1, 0, 1, 0], TWICE),
    ("tcp/suricata-verify/eve-overlap-payload-04-partial-overlap/tcp-overlap2.pcap", [1, 0, 1, 0], TWICE),
    ("tcp/zeek/ctu-64702-888.pcap", [3, 2, 4, 0], TWICE),
    ("tcp/zeek/ssh-dups.pcap", [166, 0, 114, 0], TWICE),
];
const TWICE: &str = "the same datagram twice within a moment, which is no retransmission here";
const CUT: &str = "a new connection by Zeek's rules, the same stream for tshark";
const SYN: &str = "a SYN with another number begins the sequence anew";

/// Handshakes agree within this part, or within [`ROUND_TRIP_MS`].
const ROUND_TRIP_PART: f64 = 0.05;
const ROUND_TRIP_MS: f64 = 1.0;

/// Captures with streams whose round trip tshark measures otherwise, how many, and why. It may not grow either.
const FAR: &[(&str, usize, &str)] = &[
    ("tcp/arkime_wireshark-retrans.pcap", 1, "tshark's begins with the SYN's last copy"),
    ("tcp/chrissanders_nowebaccess2.pcapng", 1, NO_SYN_ACK),
    ("tcp/chrissanders_tcp_refuseconnection.pcapng", 1, NO_SYN_ACK),
    ("tcp/dpkt_nb6-http.pcap", 1, "inside a tunnel, which is one flow here"),
    ("tcp/flags/esnet_two_way_all_flags.pcap", 64, NO_SYN_ACK),
    ("tcp/pcapplusplus_one_tcp_rst.pcap", 1, NO_SYN_ACK),
    ("tcp/pcapplusplus_unidirectional_tcp_stream_with_missing_packet.pcap", 1, NO_SYN_ACK),
    ("tcp/ppa_double-vision.pcap", 1, NO_SYN_ACK),
    ("tcp/ppa_hauntedbrowser.pcap", 3, NO_SYN_ACK),
    ("tcp/suricata-verify/bug-8629-async-oneside/input.pcap", 1, NO_SYN_ACK),
    (
        "tcp/suricata-verify/stream-async/http/stream-async-6063-cli-01/http-request-header-async-cli.pcap",
        1,
        NO_SYN_ACK,
    ),
    ("tcp/zeek/syn-then-ack-then-rst.pcap", 1, NO_SYN_ACK),
    ("tcp/zeek/syn-then-stuff-then-rst.pcap", 1, NO_SYN_ACK),
    ("tcp/zeek/rst-inject-rae.pcap", 1, "tshark's ends at a forged RST, here at the ACK"),
    ("tcp/suricata-verify/tcp-fastopen-07/tcp_fastopen_segmentation.pcap", 1, "tshark's ends at the responder's data"),
    ("tcp/suricata-verify/tcp-fastopen-10-syn-data-ignore/input.pcap", 1, DATA),
    ("tcp/suricata-verify/tcp-fastopen-11-reject-syn-data/tlpw-tcp-tfo-data-on-syn-nack.pcap", 1, DATA),
    ("tcp/zeek/payload-synack.pcap", 1, DATA),
    ("tcp/zeek/fin_retransmission.pcap", 1, "the handshake ends with a FIN"),
    ("tcp/zeek/handshake-reorder.pcap", 1, "the SYN comes after its answer"),
    ("tcp/ppa_wrongdissector.dmp", 3, "all of the handshake has one time; 0 is no round trip for tshark"),
    ("tcp/tcpflow/bug8.pcap", 1, "8,915,240 microseconds in a record's header, which overflow in tshark"),
];
const NO_SYN_ACK: &str = "no SYN-ACK: tshark takes the first segment with ACK, of either side";
const DATA: &str = "SYN or SYN-ACK carry data that is not acknowledged, or is";

/// What `replay` says of a capture.
struct Ours {
    counts: Counts,
    /// Milliseconds by endpoints, of every flow with a whole handshake.
    handshakes: BTreeMap<Endpoints, Vec<f64>>,
}

/// Both endpoints as text, the lower first.
type Endpoints = [String; 2];

#[test]
fn counts_are_those_of_tshark() {
    const NAME: &str = "counts_are_those_of_tshark";
    let Some(folder) = captures() else { return not_run(NAME, ABSENT) };
    let paths = tcp(&folder);
    let theirs = summary(&folder);
    let ours = pool::map(&paths, |path| ours(&folder.join(path)));
    let (mut wrong, mut same) = (Vec::new(), [0; COUNTS.len()]);
    for (path, ours) in paths.iter().zip(&ours) {
        let theirs = theirs.get(path).unwrap_or_else(|| panic!("{path} is not in the summary"));
        for (same, (mine, their)) in same.iter_mut().zip(ours.counts.iter().zip(theirs)) {
            *same += u64::from(mine == their);
        }
        println!("{path}: {:?} {theirs:?}", ours.counts);
        let known = DIFFERENT.iter().find(|(different, ..)| different == path);
        let as_known = match known {
            Some((_, known, _)) => known == theirs && ours.counts != *theirs,
            None => ours.counts == *theirs,
        };
        if !as_known {
            wrong.push(format!("{path}: {:?}, tshark {theirs:?}, known {known:?}", ours.counts));
        }
    }
    println!("{} captures, the same for {:?}: {same:?}", paths.len(), COUNTS.map(|(name, _)| name));
    assert!(wrong.is_empty(), "{} captures:\n{}", wrong.len(), wrong.join("\n"));
    assert!(!paths.is_empty());
}

#[test]
fn handshakes_take_as_long_as_tshark_says() {
    const NAME: &str = "handshakes_take_as_long_as_tshark_says";
    let Some(folder) = captures() else { return not_run(NAME, ABSENT) };
    if !installed("tshark") {
        return not_run(NAME, "tshark is not installed");
    }
    let paths = tcp(&folder);
    let compared = pool::map(&paths, |path| {
        let file = folder.join(path);
        let mine = ours(&file).handshakes;
        let is_far = |(ends, their): &(&Endpoints, &f64)| {
            !mine.get(*ends).is_some_and(|all| all.iter().any(|ms| near(*ms, **their)))
        };
        let theirs = initial_round_trips(&file);
        let far: Vec<_> = theirs.iter().filter(is_far).collect();
        for (ends, their) in &far {
            println!("{path} {ends:?}: {:?} ms, tshark {their} ms", mine.get(*ends));
        }
        (theirs.len(), far.len())
    });
    let streams: usize = compared.iter().map(|(streams, _)| streams).sum();
    let far = paths.iter().zip(&compared).filter(|(_, (_, far))| *far > 0);
    let far: BTreeMap<&str, usize> = far.map(|(path, (_, far))| (path.as_str(), *far)).collect();
    let captures = compared.iter().filter(|(streams, _)| *streams > 0).count();
    println!("{streams} streams with a round trip in {captures} captures; differ: {far:#?}");
    assert!(streams > 50, "{streams} streams");
    let known = FAR.iter().filter(|(known, ..)| paths.iter().any(|path| path == known));
    assert_eq!(far, known.map(|(path, streams, _)| (*path, *streams)).collect());
}

fn near(mine: f64, their: f64) -> bool {
    (mine - their).abs() <= (ROUND_TRIP_PART * their).max(ROUND_TRIP_MS)
}

/// The captures of the folder `tcp`.
fn tcp(folder: &Path) -> Vec<String> {
    of_folder(folder, "tcp")
}

/// tshark's counts by capture.
fn summary(folder: &Path) -> BTreeMap<String, Counts> {
    let text = fs::read_to_string(folder.join("expected/tshark/summary.tsv")).expect("summary.tsv");
    let mut rows = text.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let head = rows.next().expect("a head");
    let columns = COUNTS.map(|(_, theirs)| head.iter().position(|column| *column == theirs).expect("the column"));
    // A capture that tshark could not read has no counts.
    let count = |row: &[&str], column: usize| row.get(column).and_then(|cell| cell.parse().ok()).unwrap_or(0);
    rows.map(|row| (row[0].to_owned(), columns.map(|column| count(&row, column)))).collect()
}

fn ours(capture: &Path) -> Ours {
    let run = run(["replay".as_ref(), "--format".as_ref(), "jsonl".as_ref(), capture.as_os_str()]);
    assert!(run.is_read() || run.is_refused(), "{}: {}", capture.display(), run.stderr);
    let mut ours = Ours { counts: Counts::default(), handshakes: BTreeMap::new() };
    for flow in run.json().iter().filter(|line| line["type"] == "flow" && line["tcp"].is_object()) {
        let tcp = &flow["tcp"];
        for (sum, (name, _)) in ours.counts.iter_mut().zip(COUNTS) {
            let count = |side: &str| tcp[side][name].as_u64().expect("a count");
            *sum += count("orig") + count("resp");
        }
        let [there, back] = ["resp_rtt_ms", "orig_rtt_ms"].map(|name| tcp["handshake"][name].as_f64());
        if let (Some(there), Some(back)) = (there, back) {
            let end = |side: &str| format!("{} {}", text(&flow[side]), flow[format!("{side}_port")]);
            let ends = ordered([end("source"), end("destination")]);
            ours.handshakes.entry(ends).or_default().push(there + back);
        }
    }
    ours
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

fn ordered(mut ends: Endpoints) -> Endpoints {
    ends.sort();
    ends
}

/// tshark's round trip of the handshake in milliseconds, of each pair of endpoints the first.
fn initial_round_trips(capture: &Path) -> BTreeMap<Endpoints, f64> {
    const FIELDS: [&str; 7] =
        ["ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "tcp.srcport", "tcp.dstport", "tcp.analysis.initial_rtt"];
    let mut command = Command::new("tshark");
    command.args(["-n", "-T", "fields", "-E", "occurrence=l", "-Y", "tcp.analysis.initial_rtt"]);
    command.args(FIELDS.iter().flat_map(|field| ["-e", field])).arg("-r").arg(capture);
    let mut round_trips = BTreeMap::new();
    for line in String::from_utf8_lossy(&collect(command, &[]).stdout).lines() {
        let cells: Vec<&str> = line.split('\t').collect();
        let [src4, dst4, src6, dst6, src_port, dst_port, seconds] = cells[..] else { continue };
        let end = |v4: &str, v6: &str, port: &str| format!("{}{} {port}", v4, if v4.is_empty() { v6 } else { "" });
        let ends = ordered([end(src4, src6, src_port), end(dst4, dst6, dst_port)]);
        if let Ok(seconds) = seconds.parse::<f64>() {
            round_trips.entry(ends).or_insert(seconds * 1000.0);
        }
    }
    round_trips
}

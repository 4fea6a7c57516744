//! Captures of the collection: read to its end without panic or hang, counted as capinfos counts it, and every
//! packet found again in the ledger and in a window.

use std::collections::BTreeMap;

use nta_tests::capture_list::{ABSENT, captures, rows};
use nta_tests::conversations::Volume;
use nta_tests::daemon::{Run, run};
use nta_tests::tshark::capinfos;
use nta_tests::{installed, not_run, pool};
use serde_json::Value;

/// What became of a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Analysed; so many frames read, of whatever link type, and so many bytes, where that is said of all frames.
    Read(u64, Option<u64>),
    /// Refused because all of its frames, so many, are of link types that nothing reads.
    LinkType(u64),
    /// Refused as no capture.
    Refused,
}

/// Where capinfos says something else, and why.
const DIFFERENT: &[(&str, Outcome, Option<u64>, &str)] = &[
    ("parsing/dnscap/dns.pcap.lz4", Outcome::Refused, Some(133), "lz4 is not unpacked here, and the refusal says so"),
    (
        "parsing/gopacket/pcapgo/tests/be/test901.pcapng",
        Outcome::Read(1, None),
        None,
        "the second section is of version 2.0: capinfos gives the file up, here the first section counts",
    ),
    (
        "parsing/gopacket/pcapgo/tests/le/test901.pcapng",
        Outcome::Read(1, None),
        None,
        "the same in the other byte order",
    ),
    (
        "parsing/libpcap/linktype-reserved-field-not-zero.pcap",
        Outcome::Read(0, None),
        None,
        "reserved bits of the link type are set; there is no frame that it could matter for",
    ),
    (
        "benign/nfstream/fuzz-2021-06-07-c6c72a0a56.pcap",
        Outcome::Read(1, None),
        Some(1),
        "a frame of 4,093,509,168 bytes on the wire by its damaged record: counted as one of 1 GiB",
    ),
    ("parsing/ndpi/fuzz-2021-06-07-c6c72a0a56.pcap", Outcome::Read(1, None), Some(1), "the same file"),
];

#[test]
fn captures_are_counted_as_capinfos_does() {
    const NAME: &str = "captures_are_counted_as_capinfos_does";
    let Some(folder) = captures() else { return not_run(NAME, ABSENT) };
    let rows = rows(&folder);
    let paths: Vec<String> = rows.iter().map(|(path, _)| path.clone()).collect();
    let replay = |path: &String| {
        let file = folder.join(path);
        let run = run(["replay".as_ref(), "--format".as_ref(), "json".as_ref(), file.as_os_str()]);
        outcome(&run).map_err(|what| format!("{path}: {what}"))
    };
    let outcomes = pool::map(&paths, replay);
    let mut wrong: Vec<String> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err().cloned()).collect();
    let ours: BTreeMap<&String, Outcome> =
        paths.iter().zip(outcomes).filter_map(|(path, outcome)| Some((path, outcome.ok()?))).collect();
    let count = |wanted: fn(&Outcome) -> bool| ours.values().filter(|outcome| wanted(outcome)).count();
    let read = count(|outcome| matches!(outcome, Outcome::Read(..)));
    let link = count(|outcome| matches!(outcome, Outcome::LinkType(_)));
    println!("{} captures: {read} analysed, {link} of other link types, {} in all", paths.len(), ours.len());
    if installed("capinfos") {
        let batches: Vec<&[String]> = paths.chunks(250).collect();
        let theirs: BTreeMap<String, Volume> =
            pool::map(&batches, |batch| capinfos(&folder, batch)).into_iter().flatten().collect();
        for (path, manifest) in &rows {
            let Some(outcome) = ours.get(path) else { continue };
            // capinfos knows fewer link types than there are and gives a file with another up; the manifest counted it.
            let by_manifest = manifest.filter(|_| matches!(outcome, Outcome::LinkType(_)));
            let by_manifest = by_manifest.map(|packets| Volume { packets, bytes: 0 });
            wrong.extend(disagreement(path, *outcome, theirs.get(path).copied().or(by_manifest)));
        }
    } else {
        not_run(NAME, "capinfos is not installed: no counts were compared");
    }
    assert!(wrong.is_empty(), "{} captures:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(ours.len(), paths.len());
}

fn disagreement(path: &str, ours: Outcome, theirs: Option<Volume>) -> Option<String> {
    let agrees = if let Some((_, known, known_theirs, _)) = DIFFERENT.iter().find(|(name, ..)| *name == path) {
        let packets = theirs.map(|theirs| theirs.packets);
        packets == *known_theirs
            && match (ours, *known) {
                (Outcome::Read(frames, _), Outcome::Read(known, _)) => frames == known,
                (ours, known) => ours == known,
            }
    } else {
        match (ours, theirs) {
            (Outcome::Read(frames, bytes), Some(theirs)) => {
                frames == theirs.packets && bytes.is_none_or(|bytes| bytes == theirs.bytes)
            }
            (Outcome::LinkType(frames), Some(theirs)) => frames == theirs.packets,
            (Outcome::Refused, None) => true,
            _ => false,
        }
    };
    (!agrees).then(|| format!("{path}: {ours:?}, capinfos {theirs:?}"))
}

/// What a run says, if it does not contradict itself.
fn outcome(run: &Run) -> Result<Outcome, String> {
    if run.is_refused() {
        return refusal(&run.stderr);
    }
    if !run.is_read() {
        return Err(format!("status {:?}: {}", run.status, run.stderr));
    }
    let document = run.json().remove(0);
    let frames = number(&document["packets"]);
    let skipped: u64 = link_types(&document["skipped"]).sum();
    let ledger = &document["ledger"];
    let seen = number(&ledger["total"]["seen"]);
    let windows = document["windows"].as_array().map_or(&[][..], Vec::as_slice);
    let in_windows: u64 = windows.iter().map(|window| number(&window["packets"])).sum();
    let bytes_in_windows: u64 = windows.iter().map(|window| number(&window["bytes"])).sum();
    // A file that ends early is said, and so is one whose packets are all stamped beyond 2262 (`dhcp_big_endian.pcapng`: the year 151,991).
    let is_cut = document["captures"][0]["end"] != "complete";
    let is_timeless = frames > 0 && number(&document["wrong_times"]) == frames;
    let demands = [
        (ledger["balanced"] == true, "the ledger does not balance"),
        (seen == frames - skipped, "a frame is not in the ledger"),
        (seen == in_windows, "a packet is in no window, or in two"),
        (number(&ledger["total"]["seen_bytes"]) == bytes_in_windows, "a byte is in no window, or in two"),
        (number(&document["captures"][0]["packets"]) == frames, "the file and the sum of files differ"),
        (run.stderr.lines().count() == usize::from(is_cut) + usize::from(is_timeless), "warnings"),
    ];
    match demands.iter().find(|(kept, _)| !kept) {
        Some((_, broken)) => Err(format!("{broken}: {document} {}", run.stderr)),
        None => Ok(Outcome::Read(frames, (skipped == 0).then(|| number(&document["bytes"])))),
    }
}

/// Frames by link type that is not analysed.
fn link_types(skipped: &Value) -> impl Iterator<Item = u64> {
    let reasons = skipped.as_object().into_iter().flatten();
    reasons.filter(|(reason, _)| reason.starts_with("link type ")).map(|(_, count)| number(count))
}

/// `…: no frame can be analysed: 3 of link type 119 (…), 1 of link type 3 (…); supported are …`
fn refusal(line: &str) -> Result<Outcome, String> {
    let Some((_, kinds)) = line.split_once(": no frame can be analysed: ") else { return Ok(Outcome::Refused) };
    let kinds = kinds.split_once("; supported are ").map_or(kinds, |(kinds, _)| kinds);
    let mut frames = 0;
    for kind in kinds.split(", ") {
        let words: Vec<&str> = kind.split(' ').collect();
        let [count, "of", "link", "type", number, ..] = words[..] else { return Err(line.to_owned()) };
        if SUPPORTED.contains(&number) {
            return Err(format!("link type {number} is supported: {line}"));
        }
        frames += count.parse::<u64>().map_err(|error| format!("{error}: {line}"))?;
    }
    Ok(Outcome::LinkType(frames))
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

/// Null, Ethernet, PPP, FDDI, raw IP (three numbers), PPP in HDLC, Cisco HDLC, 802.11 with and without radiotap, loopback,
/// cooked, IPv4, IPv6, cooked v2.
const SUPPORTED: [&str; 16] =
    ["0", "1", "9", "10", "12", "14", "101", "50", "104", "105", "127", "108", "113", "228", "229", "276"];

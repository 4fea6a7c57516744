//! Time in captures as they come: a wrong clock, the directions of a TAP, the files of a ring buffer. Both engines say the same,
//! and what is right is what the packets are, in order.

use std::fs;
use std::path::{Path, PathBuf};

use nta_tests::cases;
use nta_tests::daemon::run;
use nta_tests::packet::{ethernet, ipv4, udp};
use nta_tests::pcap::{ETHERNET, Frame, pcap};
use nta_tests::served::Served;
use serde_json::Value;

/// The kernel engine needs the rights to load the program.
pub(crate) const ENGINES: &[&str] = if cfg!(feature = "kernel") { &["user", "kernel"] } else { &["user"] };

/// What a replay says: flows and windows without their order, and the summary.
struct Said {
    flows: Vec<Value>,
    windows: Vec<Value>,
    alerts: Vec<Value>,
    summary: Value,
}

fn replay(engine: &str, paths: &[PathBuf]) -> Said {
    let arguments = ["replay", "--format", "jsonl", "--engine", engine].map(AsRef::as_ref);
    let run = run(arguments.into_iter().chain(paths.iter().map(|path| path.as_os_str())));
    assert_eq!(run.status, Some(0), "{paths:?}: {run:?}");
    let mut lines = run.json();
    let summary = lines.pop().expect("a summary");
    assert_eq!(summary["ledger"]["balanced"], true, "{summary}");
    // Identities are those of the captures, and these differ.
    lines.iter_mut().filter(|line| line["type"] == "flow").for_each(|line| drop(line["id"].take()));
    lines.sort_by_key(Value::to_string);
    let of = |kind: &str| lines.iter().filter(|line| line["type"] == kind).cloned().collect();
    Said { flows: of("flow"), windows: of("window"), alerts: of("alert"), summary }
}

/// A pcap's header and its records, each with its second.
fn records(file: &[u8]) -> (&[u8], Vec<(u32, &[u8])>) {
    let (header, mut rest) = file.split_at(24);
    let mut records = Vec::new();
    while rest.len() >= 16 {
        let field = |at: usize| u32::from_le_bytes([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]);
        let (record, after) = rest.split_at(16 + field(8) as usize);
        records.push((field(0), record));
        rest = after;
    }
    (header, records)
}

/// A second each from 3.5 s behind a multiple of all lengths on, with a silence, to 76.5 s.
#[test]
fn windows_of_every_length_agree_about_their_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, database) = (folder.path().join("input.pcap"), folder.path().join("nta.db"));
    let begin = 1_800_000_000 / 3_600 * 3_600;
    let frame = |s: u64| Frame { time_ns: (begin + s) * 1_000_000_000 + 500_000_000, ..Frame::at(0, datagram()) };
    fs::write(&path, pcap(ETHERNET, &(3..=76).filter(|s| !(22..44).contains(s)).map(frame).collect::<Vec<_>>()))
        .expect("written");
    let served = Served::start(&path, &format!("sqlite:{}", database.display()), true);
    let seconds = |window: &Value, field: &str| window[field].as_f64().unwrap_or(0.0);
    for span in [5_u64, 10, 15, 30, 60, 180, 3_600] {
        let page = served.get(&format!("/api/metrics?span={span}&sort=time&limit=100"));
        let windows = page["items"].as_array().expect("windows");
        let count = 77_u64.div_ceil(span) as usize;
        assert_eq!(windows.len(), count, "{span}: {page}");
        let time = |window: &Value, field: &str| {
            window[field].as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok()).expect("a time").as_second()
                - begin as i64
        };
        for (n, window) in windows.iter().enumerate() {
            let (start, end) = (time(window, "start"), time(window, "end"));
            assert_eq!(start, (n as u64 * span) as i64, "{span}: {window}");
            // The last one ends with the last frame.
            let last = n + 1 == count;
            assert_eq!(end, if last { 76 } else { ((n as u64 + 1) * span) as i64 }, "{span}: {window}");
            let length = if last { 76.5 } else { end as f64 } - start as f64;
            let (span_s, gap_s) = (seconds(window, "span_s"), seconds(window, "gap_s"));
            assert!((span_s + gap_s - length).abs() < 1e-6, "{span}: {window}");
            assert!((gap_s - if n == 0 { 3.5 } else { 0.0 }).abs() < 1e-6, "{span}: {window}");
            let not_whole = [(n == 0).then_some("run_began"), last.then_some("run_ended")];
            let not_whole = not_whole.into_iter().flatten().next_back();
            assert_eq!(window["not_whole"].as_str(), not_whole, "{span}: {window}");
            let rate = seconds(window, "packets") / span_s.max(1.0);
            assert!((seconds(window, "packets_per_s") - rate).abs() < 1e-6, "{span}: {window}");
        }
    }
    served.stop();
}

fn datagram() -> Vec<u8> {
    ethernet(0x0800, &ipv4(17, &[], 0, &udp(b"a datagram")))
}

fn write(folder: &Path, name: &str, parts: &[&[u8]]) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, parts.concat()).expect("written");
    path
}

fn gunzip(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path).expect("a capture");
    std::io::copy(&mut flate2::read::GzDecoder::new(file), &mut bytes).expect("gzip");
    bytes
}

#[test]
fn a_packet_of_2061_is_counted_with_its_neighbours() {
    let folder = tempfile::tempdir().expect("a folder");
    let wrong = cases().join("wrong-clock/input.pcap");
    let bytes = fs::read(&wrong).expect("a capture");
    let (header, all) = records(&bytes);
    // The control: the same packet at the time of the one before it.
    let at = all.iter().position(|(second, _)| *second > 2_000_000_000).expect("a wrong stamp");
    let mended = [&all[at - 1].1[..8], &all[at].1[8..]].concat();
    let parts: Vec<&[u8]> = all.iter().map(|(_, record)| *record).collect();
    let right =
        write(folder.path(), "right.pcap", &[header, &parts[..at].concat(), &mended, &parts[at + 1..].concat()]);
    for engine in ENGINES {
        let said = replay(engine, std::slice::from_ref(&wrong));
        assert_eq!((&said.summary["flows"], &said.summary["wrong_times"]), (&41.into(), &1.into()), "{}", said.summary);
        let control = replay(engine, std::slice::from_ref(&right));
        assert_eq!((said.flows, said.windows), (control.flows, control.windows), "{engine}");
        assert_eq!(control.summary["wrong_times"], 0);
    }
}

#[test]
fn packets_without_a_time_are_counted_and_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let bytes = fs::read(cases().join("wrong-clock/input.pcap")).expect("a capture");
    let (header, all) = records(&bytes);
    let block = |kind: u32, body: Vec<u8>| {
        let length = (body.len() as u32 + 12).to_le_bytes();
        [&kind.to_le_bytes()[..], &length, &body, &length].concat()
    };
    let section = block(0x0a0d_0d0a, [&0x1a2b_3c4d_u32.to_le_bytes()[..], &[1, 0, 0, 0], &[0xff; 8]].concat());
    let interface = block(1, [&header[20..22], &[0; 6]].concat());
    let packets = (0_u64..).zip(&all[..20]).flat_map(|(i, (_, record))| {
        let ticks = u64::MAX - i;
        let high_and_low = [((ticks >> 32) as u32).to_le_bytes(), (ticks as u32).to_le_bytes()].concat();
        let padding = vec![0; record.len().wrapping_neg() % 4];
        block(6, [&[0; 4][..], &high_and_low, &record[8..], &padding].concat())
    });
    let packets: Vec<u8> = packets.collect();
    let path = write(folder.path(), "no-time.pcapng", &[&section, &interface, &packets]);
    for engine in ENGINES {
        let arguments = ["replay", "--format", "jsonl", "--engine", engine].map(AsRef::as_ref);
        let run = run(arguments.into_iter().chain([path.as_os_str()]));
        assert_eq!(run.status, Some(3), "{run:?}");
        let lines = run.json();
        let summary = lines.last().expect("a summary");
        assert_eq!((&summary["packets"], &summary["wrong_times"]), (&20.into(), &20.into()), "{engine}: {summary}");
        assert_eq!(summary["ledger"]["total"]["seen"], 20, "{engine}: {summary}");
        assert!(lines.iter().any(|line| line["type"] == "window"), "{engine}: {lines:?}");
        assert!(run.stderr.contains("no packet has a time"), "{engine}: {run:?}");
    }
}

/// The sections of a pcapng file, which begins with a little-endian one.
fn sections(file: &[u8]) -> Vec<&[u8]> {
    let (mut starts, mut at) = (Vec::new(), 0);
    while at < file.len() {
        if file[at..].starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]) {
            starts.push(at);
        }
        at += u32::from_le_bytes([file[at + 4], file[at + 5], file[at + 6], file[at + 7]]) as usize;
    }
    starts.push(file.len());
    starts.windows(2).map(|ends| &file[ends[0]..ends[1]]).collect()
}

#[test]
fn the_directions_of_a_tap_are_put_together_from_files_and_from_sections() {
    let folder = tempfile::tempdir().expect("a folder");
    let both = cases().join("tap-two-sections/input.pcapng");
    let bytes = fs::read(&both).expect("a capture");
    let sections = sections(&bytes);
    assert_eq!(sections.len(), 2);
    let [a, b] = [("rx.pcapng", sections[0]), ("tx.pcapng", sections[1])]
        .map(|(name, section)| write(folder.path(), name, &[section]));
    for engine in ENGINES {
        let said = replay(engine, std::slice::from_ref(&both));
        assert_eq!(said.summary["flows"], 210, "{}", said.summary);
        let whole = |flow: &&Value| flow["conn_state"] == "SF" && flow["history"] == "ShADdFf";
        assert_eq!(said.flows.iter().filter(whole).count(), 60, "{engine}");
        assert_eq!((said.summary["late_packets"].clone(), said.windows.len()), (0.into(), 60), "{engine}");
        for paths in [&[a.clone(), b.clone()][..], &[b.clone(), a.clone()], &[folder.path().to_owned()]] {
            let apart = replay(engine, paths);
            assert_eq!((&apart.flows, &apart.windows), (&said.flows, &said.windows), "{engine}: {paths:?}");
            assert_eq!(apart.summary["captures"].as_array().map(Vec::len), Some(2));
            let counted = |summary: &Value| summary["ledger"]["interfaces"][0]["name"].as_str().map(str::to_owned);
            assert_eq!(
                counted(&apart.summary).as_deref(),
                Some("2 captures"),
                "none of them counted all: {}",
                apart.summary
            );
            assert_eq!(counted(&said.summary), both.to_str().map(str::to_owned), "{}", said.summary);
        }
    }
}

#[test]
fn the_files_of_a_ring_buffer_are_put_in_order_by_their_first_packets() {
    let folder = tempfile::tempdir().expect("a folder");
    let bytes = gunzip(&cases().join("ring-buffer/input.pcap.gz"));
    let (header, all) = records(&bytes);
    let whole = write(folder.path(), "whole.pcap", &[&bytes]);
    let ring = folder.path().join("ring");
    fs::create_dir(&ring).expect("a folder");
    let first = all[0].0;
    let minute = |minute: u32| -> Vec<&[u8]> {
        all.iter().filter(|(second, _)| (second - first) / 60 == minute).map(|(_, record)| *record).collect()
    };
    let mut files: Vec<PathBuf> = (0..12)
        .map(|number| write(&ring, &format!("ring_{}.pcap", number + 1), &[header, &minute(number).concat()]))
        .collect();
    // As a shell orders them: 10 comes before 2.
    files.sort();
    write(&ring, "ring.log", &[b"no capture"]);
    for engine in ENGINES {
        let expected = replay(engine, std::slice::from_ref(&whole));
        let scans: Vec<&Value> = expected.alerts.iter().filter(|line| line["alert"]["type"] == "port_scan").collect();
        assert!(matches!(scans[..], [scan] if scan["alert"]["source"] == "203.0.113.66"), "{engine}: {scans:?}");
        for paths in [&files[..], std::slice::from_ref(&ring)] {
            let said = replay(engine, paths);
            assert_eq!((&said.flows, &said.windows), (&expected.flows, &expected.windows), "{engine}: {paths:?}");
            assert_eq!(said.alerts.len(), expected.alerts.len(), "{engine}: {paths:?}");
        }
    }
}

#[test]
fn a_folder_without_a_capture_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "notes.txt", &[b"no capture"]);
    let run = run(["replay".as_ref(), folder.path().as_os_str()]);
    assert!(run.is_refused() && run.stderr.contains("no capture in this folder"), "{run:?}");
}

#[test]
fn what_a_pipe_does_not_put_in_order_is_said() {
    let path = cases().join("pcapng-sections/input.pcapng");
    let of_file = run(["replay", "--format", "json"].map(AsRef::as_ref).into_iter().chain([path.as_os_str()]));
    let bytes = fs::read(&path).expect("a capture");
    let of_pipe = nta_tests::daemon::run_with_input(["replay", "--format", "json", "-"], &bytes);
    let [of_file, of_pipe] = [of_file, of_pipe].map(|run| run.json().remove(0));
    assert_eq!(of_file["out_of_order"], 0);
    assert!(of_pipe["out_of_order"].as_u64().is_some_and(|packets| packets > 0), "{}", of_pipe["out_of_order"]);
    assert_eq!(of_pipe["packets"], of_file["packets"]);
    let text = nta_tests::daemon::run_with_input(["replay", "-"], &bytes);
    assert!(String::from_utf8_lossy(&text.stdout).contains("through the pipe behind later ones"), "{text:?}");
}

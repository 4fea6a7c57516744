//! One thread or two give the same.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::json::{FlowJson, WindowJson};
use crate::pipeline::{PipelineEvent, Sink};
use crate::source::EventSettings;
use crate::source::replay::UserEngine;
use nta_capture::CaptureReader;
use nta_common::TunnelPorts;
use nta_core::domain::{Alert, AlertState, ClearReason, FlowId, FlowRecord};
use nta_core::window::{DEFAULT_WINDOW_NS, NotWhole, Snapshot};

/// What comes out of a replay, as JSON lines.
#[derive(Default)]
struct Lines(Vec<String>);

impl Sink for Lines {
    fn take(&mut self, number: u64, event: &PipelineEvent<'_>) {
        let flow = |flow: &FlowRecord| serde_json::to_string(&FlowJson::from(flow)).expect("a flow is JSON");
        let line = match *event {
            PipelineEvent::Flow { flow: record, .. } | PipelineEvent::FlowGone(record) => flow(record),
            PipelineEvent::FlowEnded(update) => flow(&FlowRecord::of(update)),
            PipelineEvent::Closing(end) => format!("closing {end}"),
            PipelineEvent::Packet(event) => format!("{event:?}"),
            PipelineEvent::Window(snapshot) => {
                serde_json::to_string(&WindowJson::from(&snapshot.window)).expect("a window is JSON")
            }
            PipelineEvent::Alert(change, alert) => format!("{change:?} {alert:?}"),
            PipelineEvent::Judged(snapshot) => format!("judged {:?}", snapshot.span),
            PipelineEvent::Closed(status) => {
                format!("{:?}", (status.flows_active, status.late_packets, &status.ledger))
            }
        };
        self.0.push(line);
        assert_eq!(number, self.0.len() as u64, "no number is missing");
    }
}

fn run(paths: &[PathBuf], max_flows: u32, read_ahead: ReadAhead, looks: u64) -> (Vec<String>, Option<Summary>) {
    run_of(paths, None, (max_flows, read_ahead, looks))
}

fn run_of(
    paths: &[PathBuf],
    stream: Option<CaptureReader>,
    (max_flows, read_ahead, looks): (u32, ReadAhead, u64),
) -> (Vec<String>, Option<Summary>) {
    let mut left = looks;
    let mut progress = |_: u64, _: Option<u64>| {
        left = left.saturating_sub(1); // it is told of the end as well
        left > 0
    };
    let mut replay = Replay {
        paths: paths.to_vec(),
        stream,
        look: None,
        speed: Speed::Max,
        window_ns: DEFAULT_WINDOW_NS,
        detect: DetectConfig::default(),
        baseline: BaselineConfig::default(),
        models: Models::default(),
        baselines: None,
        read_ahead,
        selection: Selection::default(),
        tunnels: Some(TunnelPorts::default()),
        again: 0,
        progress: &mut progress,
    };
    let mut lines = Lines::default();
    let mut engine = UserEngine::new("test", [max_flows; 2], Some(TunnelPorts::default()), EventSettings::default());
    match replay.run(&mut engine, Status::default(), &mut Fanout::new(vec![&mut lines])) {
        Ok(summary) => {
            lines.0.push(format!("{:?}", Summary { elapsed: Duration::ZERO, ..summary.clone() }));
            (lines.0, Some(summary))
        }
        Err(error) => {
            lines.0.push(error.to_string());
            (lines.0, None)
        }
    }
}

/// With and without the second thread, with room for all flows and for few; how many lines it gave.
#[track_caller]
fn same(paths: &[PathBuf]) -> usize {
    let mut count = 0;
    for max_flows in [16, 65_536] {
        let [(alone, _), (ahead, _)] =
            [ReadAhead::Never, ReadAhead::Always].map(|read_ahead| run(paths, max_flows, read_ahead, u64::MAX));
        assert!(alone == ahead, "{paths:?}, {max_flows} flows: {:?}", differing(&alone, &ahead));
        count += alone.len();
    }
    count
}

fn differing<'a>(alone: &'a [String], ahead: &'a [String]) -> Option<(&'a String, &'a String)> {
    alone.iter().zip(ahead).find(|(a, b)| a != b)
}

/// A capture as it is, compressed, and cut off.
fn wrappings(path: &Path, folder: &Path) -> Vec<PathBuf> {
    let bytes = fs::read(path).expect("a capture");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&bytes).expect("gzip");
    let made = [
        ("gz", gzip.finish().expect("gzip")),
        ("zst", zstd::encode_all(bytes.as_slice(), 1).expect("zstd")),
        ("cut", bytes[..bytes.len() - bytes.len().min(7)].to_vec()),
    ];
    let mut paths = vec![path.to_owned()];
    for (name, bytes) in made {
        let path = folder.join(name);
        fs::write(&path, bytes).expect("written");
        paths.push(path);
    }
    paths
}

/// A capture of this many packets, 7 ms apart, of 5,000 flows; every 100th comes 6 s late.
fn many(packets: u32) -> Vec<u8> {
    let mut file = [0xa1b2_c3d4_u32, 4 << 16 | 2, 0, 0, 65_535, 1].map(u32::to_le_bytes).concat();
    for i in 0..packets {
        let ms = 10_000 + u64::from(i) * 7 - if i % 100 == 0 { 6_000 } else { 0 };
        let [_, _, high, low] = (i * 7 % 5_000).to_be_bytes();
        let mut frame = vec![0; 12];
        frame.extend([8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 198, 51, high, low]);
        frame.extend([3, 0xe8, 0, 53, 0, 8, 0, 0]);
        let len = frame.len() as u32;
        file.extend([(ms / 1000) as u32, (ms % 1000 * 1000) as u32, len, len].map(u32::to_le_bytes).concat());
        file.extend(frame);
    }
    file
}

#[test]
fn bundled_captures_give_the_same_with_a_second_thread() {
    let folder = tempfile::tempdir().expect("a folder");
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases");
    let cases = fs::read_dir(cases).expect("cases").map(|entry| entry.expect("a case").path());
    let inputs = |case: PathBuf| ["input.pcap", "input.pcapng"].map(|name| case.join(name));
    let inputs: Vec<PathBuf> = cases.flat_map(inputs).filter(|path| path.is_file()).collect();
    assert!(inputs.len() >= 4, "{inputs:?}");
    for input in &inputs {
        for path in wrappings(input, folder.path()) {
            assert!(same(&[path]) > 2, "no lines: {input:?}");
        }
    }
    same(&inputs);
}

#[test]
fn a_capture_that_comes_as_a_stream_gives_what_its_file_gives() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("many");
    fs::write(&path, many(8_000)).expect("written");
    for path in wrappings(&path, folder.path()) {
        let (of_file, _) = run(std::slice::from_ref(&path), 65_536, ReadAhead::Always, u64::MAX);
        for read_ahead in [ReadAhead::Never, ReadAhead::Always] {
            let file = fs::File::open(&path).expect("a file");
            let stream = CaptureReader::from_read("a stream".to_owned(), Box::new(file)).expect("a capture");
            let (of_stream, summary) = run_of(&[], Some(stream), (65_536, read_ahead, u64::MAX));
            let [of_file, of_stream] = [&of_file, &of_stream].map(|lines| &lines[..lines.len() - 1]);
            assert!(of_file == of_stream, "{path:?}: {:?}", differing(of_file, of_stream));
            assert_eq!(summary.expect("replayed").packets, if path.ends_with("cut") { 7_999 } else { 8_000 });
        }
    }
}

#[test]
fn of_a_stream_whose_link_type_is_not_read_the_summary_says_so() {
    let mut file = many(20);
    file[20] = 147; // LINKTYPE_USER0
    let read = || Box::new(std::io::Cursor::new(file.clone()));
    let stream = CaptureReader::from_read("a stream".to_owned(), read()).expect("a capture");
    let (_, summary) = run_of(&[], Some(stream), (16, ReadAhead::Never, u64::MAX));
    let summary = summary.expect("no error");
    assert_eq!((summary.packets, summary.skipped_link_types.values().sum::<u64>()), (20, 20), "{summary:?}");
}

#[test]
fn many_batches_late_packets_and_a_full_table_give_the_same_with_a_second_thread() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("many");
    fs::write(&path, many(8_000)).expect("written");
    let paths = wrappings(&path, folder.path());
    for path in &paths {
        same(std::slice::from_ref(path));
    }
    let (_, summary) = run(&paths[..1], 16, ReadAhead::Always, u64::MAX);
    let summary = summary.expect("replayed");
    assert_eq!((summary.packets, summary.late_packets), (8_000, 79));
    assert!(summary.ledger.total().get(nta_common::Counter::Overflow) > 0, "{summary:?}");
}

/// Times that a run emits, in their order: of windows, and of alerts as they are raised and cleared.
#[derive(Default)]
struct Times {
    flows: Vec<FlowId>,
    windows: Vec<(Timestamp, Timestamp, u64, Option<NotWhole>)>,
    alerts: BTreeMap<u64, Alert>,
}

impl Sink for Times {
    fn take(&mut self, _number: u64, event: &PipelineEvent<'_>) {
        match *event {
            PipelineEvent::Flow { update, flow } if update.ended.is_some() => self.flows.push(flow.id),
            PipelineEvent::FlowEnded(update) => self.flows.push(update.flow.id),
            PipelineEvent::Window(Snapshot { window, .. }) => {
                self.windows.push((window.start, window.end, window.length_ns(), window.measured.not_whole));
            }
            PipelineEvent::Alert(_change, alert) => drop(self.alerts.insert(alert.id.0, alert.clone())),
            _ => {}
        }
    }
}

fn times(paths: &[PathBuf]) -> (Times, Summary) {
    let mut replay = Replay {
        paths: paths.to_vec(),
        stream: None,
        look: None,
        speed: Speed::Max,
        window_ns: DEFAULT_WINDOW_NS,
        detect: DetectConfig::default(),
        baseline: BaselineConfig::default(),
        models: Models::default(),
        baselines: None,
        read_ahead: ReadAhead::Never,
        selection: Selection::default(),
        tunnels: Some(TunnelPorts::default()),
        again: 0,
        progress: &mut |_, _| true,
    };
    let mut times = Times::default();
    let mut engine = UserEngine::new("test", [1 << 20; 2], Some(TunnelPorts::default()), EventSettings::default());
    let summary = replay.run(&mut engine, Status::default(), &mut Fanout::new(vec![&mut times])).expect("a capture");
    (times, summary)
}

#[test]
fn what_is_open_at_the_end_of_a_capture_is_closed_with_it_and_nothing_is_later() {
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases/port-scan/input.pcap.gz");
    let case = if case.exists() { case } else { case.with_file_name("input.pcap") };
    let (emitted, summary) = times(&[case]);
    let (_, last) = summary.times.expect("frames");
    assert!(!emitted.alerts.is_empty());
    for alert in emitted.alerts.values() {
        assert_eq!(alert.state, AlertState::Cleared, "{alert:?}");
        assert!(alert.raised <= last.plus(1) && alert.cleared.is_some_and(|at| at <= last.plus(1)), "{alert:?}");
    }
    assert!(emitted.alerts.values().any(|alert| alert.clear_reason == Some(ClearReason::RunEnded)));
    for (start, end, _, _) in &emitted.windows {
        assert!(start < end && *end <= last.plus(1), "{start} to {end}, and the last frame came at {last}");
    }
    assert_eq!(emitted.windows.last().and_then(|(.., not_whole)| *not_whole), Some(NotWhole::RunEnded));
}

#[test]
fn the_same_capture_twice_in_one_replay_shares_no_flow() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("many.pcap");
    fs::write(&file, many(2_000)).expect("write");
    let (once, _) = times(std::slice::from_ref(&file));
    let (again, _) = times(std::slice::from_ref(&file));
    assert_eq!(once.flows, again.flows, "an analysis gives the same identities every time");
    let (twice, summary) = times(&[file.clone(), file]);
    assert_eq!(twice.flows.len() as u64, summary.flows);
    let distinct: std::collections::HashSet<_> = twice.flows.iter().collect();
    assert_eq!(distinct.len(), twice.flows.len());
}

#[test]
fn link_types_that_are_not_analysed_are_told_the_same_with_a_second_thread() {
    let folder = tempfile::tempdir().expect("a folder");
    let [ethernet, other] = ["ethernet", "other"].map(|name| folder.path().join(name));
    let mut bytes = many(3_000);
    fs::write(&ethernet, &bytes).expect("written");
    bytes[20..24].copy_from_slice(&147_u32.to_le_bytes()); // USER0
    fs::write(&other, &bytes).expect("written");
    same(&[other.clone(), ethernet.clone()]);
    let (lines, _) = run(&[ethernet, other], 16, ReadAhead::Always, u64::MAX);
    assert!(lines.last().expect("lines").contains("no frame can be analysed"), "{lines:?}");
}

#[test]
fn what_is_stopped_has_told_every_packet_that_it_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("many");
    fs::write(&path, many(20_000)).expect("written");
    for read_ahead in [ReadAhead::Never, ReadAhead::Always] {
        let (_, summary) = run(std::slice::from_ref(&path), 16, read_ahead, 2);
        let summary = summary.expect("replayed");
        assert_eq!(summary.packets, summary.ledger.total().get(nta_common::Counter::Seen), "{read_ahead:?}");
        assert!((1..20_000).contains(&summary.packets), "{summary:?}");
        assert_eq!(summary.files.len(), 1, "{summary:?}");
    }
}

#[test]
fn the_collection_gives_the_same_with_a_second_thread() {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/captures");
    let folder = std::env::var_os("NTA_CAPTURES").map_or_else(beside, PathBuf::from);
    let Ok(manifest) = fs::read_to_string(folder.join("MANIFEST.tsv")) else {
        println!("not run: the_collection_gives_the_same_with_a_second_thread: no captures in {folder:?}");
        return;
    };
    let paths = manifest.lines().skip(1).filter_map(|row| row.split('\t').next()).map(|name| folder.join(name));
    let small = |path: &PathBuf| fs::metadata(path).is_ok_and(|file| file.len() <= LARGEST);
    let paths: Vec<PathBuf> = paths.filter(small).step_by(EVERY).collect();
    assert!(paths.len() > 100, "{paths:?}");
    for path in paths {
        same(&[path]);
    }
}

/// Of the collection: the largest capture, and every how many-th, so that a debug build takes seconds.
const LARGEST: u64 = 256 << 10;
const EVERY: usize = 8;

//! A signal ends what is under way: what was read until then is analysed, and printed whole.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nta_tests::daemon::daemon;
use nta_tests::netns::wait_for;
use nta_tests::packet::{ethernet, ipv4, tcp, udp};
use nta_tests::pcap::{ETHERNET, Frame, pcap};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(60);
const SYN: u8 = 0x02;
/// More bytes than a pipe holds, so that who has written them knows that they are read.
const PIPED: u64 = 100;
const FILE_BEFORE_GAP: u64 = 40;
const HEADER: &str = "file\ttype\tattacker\tvictim\tattack_start\tattack_end\ttool\n";

#[test]
fn a_signal_ends_a_replay_with_what_was_read_in_every_format() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("gap.pcap");
    // The replay waits a minute for the frame behind the gap, which is the last one it reads.
    let times = (0..FILE_BEFORE_GAP).map(|_| 1_000_000).chain((1..=10).map(|second| 1_000_060 + second));
    let frames: Vec<Frame> = times.map(|second| Frame::at(second, big())).collect();
    fs::write(&file, pcap(ETHERNET, &frames)).expect("capture");
    for format in ["text", "json", "jsonl", "zeek"] {
        for (is_pipe, signal) in [(false, "INT"), (false, "TERM"), (true, "INT"), (true, "TERM")] {
            let mut command = command(["replay", "--speed", "1", "--format", format].as_slice());
            let (child, packets) = if is_pipe {
                let mut child = started(command.arg("-").stdin(Stdio::piped()));
                let frames: Vec<Frame> = (0..PIPED).map(|_| Frame::at(1_000_000, big())).collect();
                let pipe = child.0.stdin.as_mut().expect("piped");
                pipe.write_all(&pcap(ETHERNET, &frames)).expect("the daemon reads");
                (child, PIPED)
            } else {
                (started(command.arg(&file)), FILE_BEFORE_GAP + 1)
            };
            child.signal(signal);
            let case = format!("{format}, pipe {is_pipe}, SIG{signal}");
            let (status, out) = child.ended(&case);
            assert_eq!(status, Some(3), "{case}: {out}");
            check(format, &out, packets, &case);
        }
    }
}

#[test]
fn a_pipe_through_which_nothing_comes_ends_at_a_signal_too() {
    let mut child = started(command(&["replay", "--format", "json", "-"]).stdin(Stdio::piped()));
    child.signal("TERM");
    let pipe = child.0.stdin.take();
    let (status, out) = child.ended("nothing came");
    drop(pipe);
    assert_eq!(status, Some(3));
    check("json", &out, 0, "nothing came");
}

#[test]
fn with_a_pace_each_window_is_printed_when_it_closes() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("paced.pcap");
    // Behind the second window nothing is due for a minute.
    let frames: Vec<Frame> = [1_000_000, 1_000_005, 1_000_010, 1_020_000].map(|second| Frame::at(second, big())).into();
    fs::write(&file, pcap(ETHERNET, &frames)).expect("capture");
    let mut child = started(command(&["replay", "--speed", "100", "--window", "5", "--format", "jsonl"]).arg(&file));
    let out = child.0.stdout.take().expect("piped");

    let windows = BufReader::new(out).lines().map_while(Result::ok).filter(|line| line.contains("\"window\""));
    assert_eq!(windows.take(2).count(), 2);
    assert!(child.0.try_wait().expect("a child's status").is_none(), "they came before the end");
}

#[test]
fn a_second_signal_ends_what_the_first_cannot() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("flows.pcap");
    // Their lines are more than a pipe holds, and nobody reads it.
    let flow = |port: u16| {
        let mut segment = tcp(SYN, &[], &[]);
        segment[0..2].copy_from_slice(&port.to_be_bytes());
        Frame::at(1, ethernet(0x0800, &ipv4(6, &[], 0, &segment)))
    };
    fs::write(&file, pcap(ETHERNET, &(1..=1000).map(flow).collect::<Vec<_>>())).expect("capture");
    let mut child = started(command(&["replay", "--format", "jsonl"]).arg(&file).stdin(Stdio::null()));
    let status = wait_for("the end", SOON, || {
        child.signal("TERM");
        child.0.try_wait().expect("a child's status")
    });
    assert_eq!(status.code(), Some(143));
}

#[test]
fn evaluate_and_train_end_at_a_signal_and_say_what_there_is() {
    let folder = tempfile::tempdir().expect("folder");
    let (labels, model) = (folder.path().join("labels.tsv"), folder.path().join("model.json"));
    let captures = folder.path().join("captures");
    fs::create_dir(&captures).expect("folder");
    // Nobody writes into it: it is waited for until the signal comes.
    assert!(Command::new("mkfifo").arg(captures.join("a.pcap")).status().expect("mkfifo").success());
    fs::write(captures.join("b.pcap"), pcap(ETHERNET, &[Frame::at(1, big())])).expect("capture");
    let row = |file: &str| format!("{file}\tbenign\t-\t-\t-\t-\t-\n");
    fs::write(&labels, HEADER.to_owned() + &row("a.pcap") + &row("b.pcap")).expect("labels");
    let commands: [(&[&str], &str); 3] = [
        (&["evaluate", "--format", "json"], "stopped"),
        (&["train"], "stopped: no model is written"),
        (&["train", "--algorithm", "isolation_forest"], "stopped: no model is written"),
    ];
    for (args, says) in commands {
        if args.len() == 1 && !has_models() {
            continue;
        }
        let mut command = command(args);
        command.arg("--labels").arg(&labels).arg(&captures).stdin(Stdio::null()).stderr(Stdio::piped());
        if args[0] == "train" {
            command.arg("--out").arg(&model);
        }
        let mut child = started(&mut command);
        child.signal("TERM");
        let mut said = String::new();
        let mut errors = child.0.stderr.take().expect("piped");
        let (status, out) = child.ended(args[0]);
        errors.read_to_string(&mut said).expect("text");
        assert_eq!(status, Some(3), "{args:?}: {said}");
        assert!(said.contains(says), "{args:?}: {said}");
        assert!(out.is_empty() || serde_json::from_str::<Value>(&out).is_ok(), "{args:?}: {out}");
        assert!(!model.exists());
    }
}

/// Whether this build learns classes.
fn has_models() -> bool {
    let out = Command::new(daemon()).args(["train", "--labels", "/nonexistent", "/tmp"]).output().expect("it starts");
    out.status.code() == Some(2)
}

/// What was printed is whole, and counts what was read.
fn check(format: &str, out: &str, packets: u64, case: &str) {
    match format {
        "text" => {
            assert!(out.contains("stopped"), "{case}: {out}");
            let line = out.lines().find(|line| line.trim_start().starts_with("packets")).expect("a line of packets");
            assert!(
                line.split_whitespace().any(|word| word.trim_end_matches(',') == packets.to_string()),
                "{case}: {line}"
            );
        }
        "zeek" => {
            assert!(out.lines().last().is_some_and(|line| line.starts_with("#close")), "{case}: {out}");
            let flows = out.lines().filter(|line| !line.starts_with('#'));
            let columns = flows.map(|line| line.split('\t').nth(16).and_then(|count| count.parse::<u64>().ok()));
            assert_eq!(columns.flatten().sum::<u64>(), packets, "{case}: {out}");
        }
        _ => {
            let lines = out.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
            let lines: Vec<Value> = lines.collect();
            let summary = lines.last().unwrap_or_else(|| panic!("{case}: nothing was printed"));
            let windows: Vec<&Value> = if format == "json" {
                summary["windows"].as_array().expect("windows").iter().collect()
            } else {
                lines.iter().filter(|line| line["type"] == "window").collect()
            };
            let counted: u64 = windows.iter().filter_map(|window| window["packets"].as_u64()).sum();
            let capture = &summary["captures"][0];
            assert_eq!((summary["packets"].as_u64(), counted), (Some(packets), packets), "{case}: {summary}");
            assert_eq!((&capture["end"], capture["packets"].as_u64()), (&"stopped".into(), Some(packets)), "{case}");
        }
    }
}

fn big() -> Vec<u8> {
    ethernet(0x0800, &ipv4(17, &[], 0, &udp(&[0; 1400])))
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(daemon());
    command.args(args).stdout(Stdio::piped()).stderr(Stdio::null());
    for variable in ["NTA_ENGINE", "NTA_SPEED", "NTA_WINDOW", "NTA_DATABASE", "NTA_CONFIG", "NTA_LOG"] {
        command.env_remove(variable);
    }
    command
}

/// Starts it, and waits until it catches both signals.
fn started(command: &mut Command) -> Started {
    let mut started = Started(command.spawn().expect("the daemon starts"));
    let status = format!("/proc/{}/status", started.0.id());
    wait_for("the signals to be caught", SOON, || {
        if started.0.try_wait().expect("a child's status").is_some() {
            return Some(());
        }
        let caught = fs::read_to_string(Path::new(&status)).ok()?;
        let mask = caught.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
        let mask = u64::from_str_radix(mask.trim(), 16).ok()?;
        let has = |signal: u32| mask & (1 << (signal - 1)) != 0;
        (has(2) && has(15)).then_some(())
    });
    started
}

/// A child that ends with the test.
struct Started(Child);

impl Started {
    fn signal(&self, name: &str) {
        let id = self.0.id().to_string();
        let _ended = Command::new("kill").args([&format!("-{name}"), &id]).status().expect("kill");
    }

    /// Its status, and what it printed.
    fn ended(mut self, case: &str) -> (Option<i32>, String) {
        let mut out = self.0.stdout.take().expect("piped");
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            out.read_to_string(&mut text).map(|_| text)
        });
        let status = wait_for(case, SOON, || self.0.try_wait().expect("a child's status"));
        (status.code(), reader.join().expect("a reader").expect("text"))
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _waited = self.0.wait();
    }
}

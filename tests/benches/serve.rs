//! What the daemon's answers cost while it captures: captures that are uploaded, readers of events that wait, lists that are
//! asked for a hundred times a second over a large database, and `/health` under a flood.
//!
//! Run by `cargo xtask bench serve`, which builds the daemon as it is released, fills the database and names both in `NTA_DAEMON` and
//! `NTA_DATABASE`, and the mixed capture in `NTA_MIXED`. `NTA_BENCH_CASES` names the parts. Called with `--inside PART PID` it is the
//! client, in the namespace in which the daemon listens on loopback.

#![expect(clippy::print_stdout, reason = "the bench's result")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use nta_tests::netns::{End, Namespace, run, silent, veth, wait_for};
use nta_tests::packet::{ethernet, ipv4, tcp, udp};
use nta_tests::pcap::{ETHERNET, Frame, pcap};
use nta_tests::process::Process;
use serde_json::Value;

const LISTEN: &str = "127.0.0.1:5000";
/// Readers of events that wait, and for how long they do before memory is read.
const READERS: usize = 10_000;
const IDLE: Duration = Duration::from_secs(10);
/// Requests a second, of all lists together, and for how long.
const RATE: u64 = 100;
const LOAD: Duration = Duration::from_secs(60);
/// Connections that take them: an answer that is late does not hold up the next request, whose time counts from when it was due.
const CONNECTIONS: usize = 32;
/// The large upload: the mixed capture so many times, one after the other.
const TIMES: u32 = 4;
/// A flood: how long, different packets of each sender, and how often `/health` is asked meanwhile.
const FLOOD: Duration = Duration::from_secs(60);
const FLOOD_PACKETS: u32 = 500_000;
const ASK_EVERY: Duration = Duration::from_millis(100);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--inside", "uploads", pid] => uploads(pid),
        ["--inside", "readers", pid] => readers(pid),
        ["--inside", "load", _] => load(),
        ["--inside", "flood", pid] => flood(pid),
        _ => {
            let cases = std::env::var("NTA_BENCH_CASES").unwrap_or_else(|_| "uploads,readers,load,flood".to_owned());
            let parts = cases.split(',').filter(|part| ["uploads", "readers", "load", "flood"].contains(part));
            parts.for_each(beside_a_capture);
        }
    }
}

/// Starts a daemon that captures what passes a veth pair, some thousand packets a second or a flood, asks it, and holds its ledger
/// against the interface.
fn beside_a_capture(part: &str) {
    let (inside, peer) = (Namespace::new("in"), Namespace::new("out"));
    let [a, b] = [(&inside, "v0", "10.77.1.1", "fd77:1::1"), (&peer, "y0", "10.77.1.2", "fd77:1::2")]
        .map(|(namespace, interface, v4, v6)| End { namespace, interface, v4, v6 });
    veth([a, b]);
    silent(&inside, "v0");
    let folder = tempfile::tempdir().expect("a folder");
    let database = match std::env::var("NTA_DATABASE") {
        Ok(database) if part == "load" => database,
        _ => format!("sqlite:{}", folder.path().join("nta.db").display()),
    };
    let config = folder.path().join("nta.toml");
    fs::write(&config, CONFIG).expect("a configuration");
    let mut command = inside.command("sh");
    command.args(MANY_FILES).arg(std::env::var_os("NTA_DAEMON").expect("NTA_DAEMON names the daemon"));
    command.args(["run", "--interface", "v0", "--database", &database, "--config"]).arg(&config);
    let mut daemon = Process::start(&mut command, folder.path(), "daemon.log");
    wait_for("the daemon", Duration::from_secs(120), || daemon.log().contains("serving url").then_some(()));
    let before = inside.packets("v0");
    let senders: Vec<Process> = match part {
        "flood" => [0, 1].map(|number| flooder(&peer, folder.path(), number)).into(),
        _ => iperf(&inside, &peer, folder.path()).into(),
    };

    let mut client = inside.command("sh");
    client.args(MANY_FILES).arg(std::env::current_exe().expect("this program"));
    let asked = client.args(["--inside", part, &daemon.id().to_string()]).status().expect("the client starts");

    for mut sender in senders {
        sender.stop("TERM", Duration::from_secs(10));
    }
    sleep(Duration::from_secs(1));
    let passed: u64 = inside.packets("v0").iter().zip(before).map(|(after, before)| after - before).sum();
    let status: Value =
        serde_json::from_str(&inside.shell(&format!("curl -s http://{LISTEN}/api/status"))).expect("JSON");
    let ledger = &status["ledger"];
    println!("serve {part}: {passed} packets passed meanwhile; ledger {ledger}");
    let ended = daemon.stop("TERM", Duration::from_secs(60));
    if part == "flood" {
        // What SQLite takes longer for than there is time waits on disk for the next start, and the status says so.
        println!("serve flood: ended with {ended}");
        let log = daemon.log();
        let waits = |line: &&str| line.contains("wait on disk") || line.contains("lost") || line.contains("ERROR");
        log.lines().filter(waits).for_each(|line| println!("serve flood: {line}"));
    } else {
        assert!(ended.success(), "{}", daemon.log());
    }
    assert!(asked.success(), "{}", daemon.log());
}

/// Some thousand packets a second.
fn iperf(inside: &Namespace, peer: &Namespace, folder: &Path) -> [Process; 2] {
    let server = Process::start(inside.command("iperf3").args(["-s", "-1", "--forceflush"]), folder, "server.log");
    wait_for("the receiver", Duration::from_secs(10), || server.log().contains("listening").then_some(()));
    let mut sender = peer.command("iperf3");
    sender.args(["-c", "10.77.1.1", "-u", "-b", "20M", "-l", "500", "-t", "600"]);
    [Process::start(&mut sender, folder, "sender.log"), server]
}

/// Sends as fast as one processor can: of made-up sources half SYN, a quarter UDP to all ports, a quarter DNS queries of different names,
/// each of which is an event.
fn flooder(peer: &Namespace, folder: &Path, number: u32) -> Process {
    let frame = |n: u32| {
        let mixed = (n + number * FLOOD_PACKETS).wrapping_mul(0x9e37_79b1);
        let [a, b, c, d] = mixed.to_be_bytes();
        let mut packet = match n % 4 {
            0 | 1 => ipv4(6, &[], 0, &tcp(0x02, &[], &[])),
            2 => ipv4(17, &[], 0, &udp(b"12345678")),
            _ => {
                let mut query = vec![a, b, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 8];
                query.extend(format!("{mixed:08x}").bytes());
                query.extend([3, b'n', b'e', b't', 0, 0, 1, 0, 1]);
                ipv4(17, &[], 0, &udp(&query))
            }
        };
        packet[12..16].copy_from_slice(&[100 + a % 64, b, c, d]);
        packet[16..20].copy_from_slice(&[10, 77, 1, 1]);
        let port = match n % 4 {
            0 | 1 => 80,
            2 => u16::from_be_bytes([c, d]),
            _ => 53,
        };
        packet[22..24].copy_from_slice(&port.to_be_bytes());
        Frame::at(1, ethernet(0x0800, &packet))
    };
    let file = folder.join(format!("flood-{number}.pcap"));
    fs::write(&file, pcap(ETHERNET, &(0..FLOOD_PACKETS).map(frame).collect::<Vec<_>>())).expect("a capture");
    let mut sender = peer.command("tcpreplay");
    sender.args(["-q", "-i", "y0", "--preload-pcap", "--topspeed", "--loop", "0"]).arg(file);
    Process::start(&mut sender, folder, &format!("flood-{number}.log"))
}

/// Starts a program with as many open files as this user may have.
const MANY_FILES: [&str; 2] = ["-c", "ulimit -Sn \"$(ulimit -Hn)\"; exec \"$0\" \"$@\""];

const CONFIG: &str = r"
[api]
connections = 14000
stream_readers = 10000
[store]
max_windows = 100000000
max_flows = 100000000
keep_days = 0
[uploads]
max_bytes = 2147483648
quota_bytes = 8589934592
";

/// The mixed capture and one of 1 GiB: from the last byte to the report, and what memory grew by.
fn uploads(pid: &str) {
    let Some(mixed) = std::env::var_os("NTA_MIXED").map(PathBuf::from) else {
        println!("not run: serve uploads: NTA_MIXED names no capture");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let large = folder.path().join("large.pcap");
    repeat(&mixed, &large);
    for capture in [&mixed, &large] {
        let bytes = fs::metadata(capture).expect("the capture").len();
        let before = resident(pid, "VmRSS");
        fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("the peak is set back");
        let mut file = fs::File::open(capture).expect("the capture");
        let begin = Instant::now();
        let mut connection = TcpStream::connect(LISTEN).expect("a connection");
        write!(
            connection,
            "POST /api/upload?name=bench.pcap HTTP/1.1\r\nHost: {LISTEN}\r\nContent-Type: application/octet-stream\r\n"
        )
        .expect("sent");
        write!(connection, "Content-Length: {bytes}\r\nConnection: close\r\n\r\n").expect("sent");
        std::io::copy(&mut file, &mut connection).expect("sent");
        let last = Instant::now();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).expect("an answer");
        let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
        let body: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer:.300}"));
        let id = body["file_id"].as_str().unwrap_or_else(|| panic!("{body}"));
        let report = wait_for("the report", Duration::from_secs(120), || {
            let (status, report) = get(&format!("/report/{id}"));
            (status == 200).then_some(report)
        });
        let (took, grown) = (last.elapsed(), resident(pid, "VmHWM").saturating_sub(before));
        println!(
            "serve uploads: {:.0} MB in {:.2} s, report of {} bytes {:.3} s after the last byte, {:.1} MiB more memory at most",
            bytes as f64 / 1e6,
            (last - begin).as_secs_f64(),
            report.len(),
            took.as_secs_f64(),
            grown as f64 / 1024.0,
        );
    }
}

/// Readers that wait: what each takes.
fn readers(pid: &str) {
    let before = resident(pid, "VmRSS");
    let mut held = Vec::new();
    for _ in 0..READERS {
        let mut connection = TcpStream::connect(LISTEN).expect("a connection");
        // Of what hardly ever happens: they wait.
        write!(connection, "GET /api/events?types=alert HTTP/1.1\r\nHost: {LISTEN}\r\n\r\n").expect("sent");
        held.push(connection);
    }
    let mut told = 0;
    for connection in &mut held {
        connection.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
        let mut head = [0; 12];
        told += usize::from(connection.read_exact(&mut head).is_ok() && head.ends_with(b"200"));
    }
    sleep(IDLE);
    let grown = resident(pid, "VmRSS").saturating_sub(before);
    println!(
        "serve readers: {told} of {READERS} wait, {:.1} MB more memory ({:.1} KB each) beside {:.1} MB",
        grown as f64 * 1024.0 / 1e6,
        grown as f64 * 1.024 / told.max(1) as f64,
        before as f64 * 1024.0 / 1e6,
    );
}

/// What is asked for in turn, and whether it sums up.
const LISTS: [(&str, bool); 8] = [
    ("/api/alerts", false),
    ("/api/features?window_size=5", false),
    ("/api/flows?host=10.0.0.7", false),
    ("/api/flows", false),
    ("/api/metrics", false),
    ("/api/hosts", false),
    ("/api/metrics/summary", true),
    ("/api/anomalies/summary", true),
];

/// A hundred requests a second: the time from when each was due to its last byte.
fn load() {
    let next = Arc::new(AtomicU64::new(0));
    let times: Arc<Mutex<BTreeMap<usize, Vec<Duration>>>> = Arc::default();
    let (begin, all) = (Instant::now(), RATE * LOAD.as_secs());
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (next, times) = (Arc::clone(&next), Arc::clone(&times));
            thread::spawn(move || {
                let mut connection = BufReader::new(TcpStream::connect(LISTEN).expect("a connection"));
                loop {
                    let n = next.fetch_add(1, Relaxed);
                    if n >= all {
                        return;
                    }
                    let due = begin
                        + Duration::from_secs(1) * u32::try_from(n).expect("few") / u32::try_from(RATE).expect("few");
                    sleep(due.saturating_duration_since(Instant::now()));
                    let list = n as usize % LISTS.len();
                    write!(connection.get_mut(), "GET {} HTTP/1.1\r\nHost: {LISTEN}\r\n\r\n", LISTS[list].0)
                        .expect("sent");
                    let status = answered(&mut connection);
                    assert_eq!(status, 200, "{}", LISTS[list].0);
                    times.lock().expect("unpoisoned").entry(list).or_default().push(due.elapsed());
                }
            })
        })
        .collect();
    for client in clients {
        client.join().expect("a client");
    }
    for (list, times) in times.lock().expect("unpoisoned").iter_mut() {
        times.sort_unstable();
        let of = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        let (path, sums_up) = LISTS[*list];
        let kind = if sums_up { "sums up" } else { "list" };
        println!(
            "serve load: {path} ({kind}): p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms of {}",
            of(0.5),
            of(0.99),
            of(1.0),
            times.len()
        );
    }
}

/// Asks `/health` as a monitor does, each time by a connection of its own, while the flood goes on.
fn flood(pid: &str) {
    let before = resident(pid, "VmRSS");
    let (begin, mut times, mut statuses) = (Instant::now(), Vec::new(), BTreeMap::new());
    while begin.elapsed() < FLOOD {
        let asked = Instant::now();
        let mut connection = BufReader::new(TcpStream::connect(LISTEN).expect("a connection"));
        write!(connection.get_mut(), "GET /health HTTP/1.1\r\nHost: {LISTEN}\r\n\r\n").expect("sent");
        *statuses.entry(answered(&mut connection)).or_insert(0) += 1;
        times.push(asked.elapsed());
        sleep(ASK_EVERY.saturating_sub(asked.elapsed()));
    }
    times.sort_unstable();
    let of = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    let late = times.iter().filter(|time| time.as_millis() > 100).count();
    println!(
        "serve flood: /health p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms, max {:.1} ms of {}, {late} later than 100 ms; statuses {statuses:?}",
        of(0.5),
        of(0.95),
        of(0.99),
        of(1.0),
        times.len()
    );
    println!("serve flood: {} KiB resident before, {} at most", before, resident(pid, "VmHWM"));
    let (_, alerts) = get("/api/alerts?limit=100");
    let alerts: Value = serde_json::from_str(&alerts).expect("JSON");
    let mut kinds: BTreeMap<&str, u32> = BTreeMap::new();
    for alert in alerts["items"].as_array().expect("a list") {
        *kinds.entry(alert["type"].as_str().unwrap_or_default()).or_default() += 1;
    }
    println!("serve flood: alerts {kinds:?}");
}

/// Reads an answer to its end; its status.
fn answered(connection: &mut BufReader<TcpStream>) -> u16 {
    let (mut line, mut status, mut length, mut chunked) = (String::new(), 0, 0, false);
    loop {
        line.clear();
        connection.read_line(&mut line).expect("a head");
        let lower = line.to_ascii_lowercase();
        if let Some(rest) = lower.strip_prefix("http/1.1 ") {
            status = rest.get(..3).and_then(|code| code.parse().ok()).unwrap_or(0);
        } else if let Some(rest) = lower.strip_prefix("content-length:") {
            length = rest.trim().parse().expect("a length");
        } else if lower.starts_with("transfer-encoding:") {
            chunked = true;
        } else if line == "\r\n" {
            break;
        }
        assert!(!line.is_empty(), "the connection was closed");
    }
    while chunked {
        line.clear();
        connection.read_line(&mut line).expect("a chunk");
        let size = u64::from_str_radix(line.trim(), 16).expect("a chunk's size");
        skip(connection, size + 2);
        chunked = size > 0;
    }
    skip(connection, length);
    status
}

fn skip(connection: &mut BufReader<TcpStream>, bytes: u64) {
    let skipped = std::io::copy(&mut connection.take(bytes), &mut std::io::sink()).expect("a body");
    assert_eq!(skipped, bytes, "the connection was closed");
}

/// Status and body.
fn get(path: &str) -> (u16, String) {
    let mut curl = Command::new("curl");
    let answer = curl.args(["-s", "-w", "\n%{http_code}", &format!("http://{LISTEN}{path}")]).stderr(Stdio::null());
    let text = run(answer);
    let (body, status) = text.trim_end().rsplit_once('\n').unwrap_or_default();
    (status.parse().unwrap_or(0), body.to_owned())
}

/// A line of what the system says about a process' memory, in KiB.
fn resident(pid: &str, line: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the daemon runs");
    let value = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
    value.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok()).expect("a number")
}

/// The capture several times, each behind the one before.
fn repeat(from: &Path, to: &Path) {
    let bytes = fs::read(from).expect("the capture");
    let (head, records) = bytes.split_at(24);
    assert_eq!(head[..4], [0xd4, 0xc3, 0xb2, 0xa1], "a pcap of microseconds, little-endian");
    let number = |at: usize| u32::from_le_bytes(records[at..at + 4].try_into().expect("four bytes"));
    let mut starts = Vec::new();
    let mut at = 0;
    while at + 16 <= records.len() {
        starts.push(at);
        at += 16 + number(at + 8) as usize;
    }
    let span = number(*starts.last().expect("a packet")) - number(0) + 1;
    let mut file = std::io::BufWriter::new(fs::File::create(to).expect("a file"));
    file.write_all(head).expect("written");
    for time in 0..TIMES {
        let mut copy = records.to_vec();
        for start in &starts {
            let second = number(*start) + time * span;
            copy[*start..start + 4].copy_from_slice(&second.to_le_bytes());
        }
        file.write_all(&copy).expect("written");
    }
}

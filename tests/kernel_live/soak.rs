//! A daemon for a long time, with all that happens to one at once: `cargo xtask soak` runs this.

use std::fs::File;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use nta_tests::netns::{Namespace, alone, output};
use nta_tests::postgres::Postgres;
use plotters::prelude::*;
use serde_json::Value;

use crate::clock::{Clock, faketime};
use crate::daemon::{self, Daemon, number};
use crate::{Pair, can_run, traffic};

const SAMPLE_EVERY: Duration = Duration::from_secs(5);
/// What a soak lasts where nothing is said.
const MINUTES: u64 = 10;
/// Memory may not grow by more than this from the second third to the last one: what is kept for a while is kept by then.
const MAX_GROWTH_MB: f64 = 40.0;
/// Descriptors that may be open at the end beyond those of the second third: connections come and go.
const MAX_MORE_DESCRIPTORS: f64 = 32.0;

/// Half-open connections from addresses that are nobody's, as fast as one socket sends, for some seconds.
const FLOOD: &str = r#"
import os, socket, struct, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
end, sent = time.time() + float(sys.argv[1]), 0
to = socket.inet_aton("10.77.1.1")
while time.time() < end:
    for _ in range(100):
        r = os.urandom(8)
        ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, 6, 0, bytes([198, 18]) + r[:2], to)
        tcp = struct.pack(">HHIIBBHHH", 1024 + (r[2] << 7), 80, r[3], 0, 0x50, 2, 65535, 0, 0)
        s.sendto(ip + tcp, ("10.77.1.1", 0))
    sent += 100
print(sent)
"#;

/// One look at the daemon.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    at_s: f64,
    rss_mb: f64,
    descriptors: f64,
    threads: f64,
    flows: f64,
    map_fill_percent: f64,
    seen: f64,
    database_mb: f64,
    health_ms: f64,
}

impl Sample {
    const NAMES: [&'static str; 9] =
        ["at_s", "rss_mb", "descriptors", "threads", "flows", "map_fill_percent", "seen", "database_mb", "health_ms"];

    const fn values(&self) -> [f64; 9] {
        [
            self.at_s,
            self.rss_mb,
            self.descriptors,
            self.threads,
            self.flows,
            self.map_fill_percent,
            self.seen,
            self.database_mb,
            self.health_ms,
        ]
    }
}

#[test]
#[ignore = "lasts for minutes or hours: cargo xtask soak"]
fn soak() {
    const TEST: &str = "soak";
    if !can_run(TEST, &["ping", "python3", "curl", "iperf3", "nmap"]) || !Postgres::can_run(TEST) {
        return;
    }
    let _alone = alone();
    let minutes = std::env::var("NTA_SOAK_MINUTES").ok().and_then(|text| text.parse().ok()).unwrap_or(MINUTES);
    let out = std::env::var_os("NTA_SOAK_OUT").map_or_else(|| nta_tests::root().join("target/soak"), PathBuf::from);
    std::fs::create_dir_all(&out).expect("a folder for what is measured");
    let folder = tempfile::tempdir().expect("a folder");
    let (pair, database) = (Pair::silent(), Postgres::start());
    let clock = Clock { file: folder.path().join("clock") };
    clock.set(0);
    let mut command = pair.inside.command("env");
    command.current_dir(folder.path()); // the spool of a server's database lies there
    match faketime() {
        Some(library) => drop(command.args(clock.environment(&library))),
        None => println!("not run: {TEST}: clock steps: libfaketime is not installed"),
    }
    command.arg(daemon::binary()).args(["run", "--interface", "v*", "--window", "2", "--database", &database.url()]);
    let mut daemon = Daemon::start_command(&pair.inside, folder.path(), &mut command);
    let _servers = traffic::Servers::start(&pair.inside, folder.path());

    let (ends, floods, failed) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let began = Instant::now();
    let (stored, mut database) = (database.folder().to_owned(), database);
    let samples = thread::scope(|scope| {
        let (pair, floods, clock) = (&pair, &floods, &clock);
        let failed = &failed;
        every(
            scope,
            &ends,
            3,
            Box::new(|_| {
                // A server that is still at the test before refuses the next one, where processors are busy.
                let round = || traffic::everything(&pair.peer, "10.77.1.1", "fd77:1::1", 20);
                if catch_unwind(AssertUnwindSafe(round)).is_err() {
                    failed.fetch_add(1, Ordering::Relaxed);
                }
            }),
        );
        every(
            scope,
            &ends,
            45,
            Box::new(|round| match round % 2 {
                0 => ignored(&pair.peer, &["nmap", "-n", "-Pn", "-sS", "-T4", "-p", "1-2000", "10.77.1.1"]),
                _ => {
                    let flood = output(pair.peer.command("python3").args(["-c", FLOOD, "8"]));
                    let sent = String::from_utf8_lossy(&flood.stdout).trim().parse::<u64>().unwrap_or(0);
                    floods.fetch_add(sent, Ordering::Relaxed);
                }
            }),
        );
        every(
            scope,
            &ends,
            1,
            Box::new(|_| {
                for path in ["metrics", "alerts?limit=50", "flows?limit=100", "hosts", "status", "anomalies"] {
                    let url = format!("http://127.0.0.1:5000/api/{path}");
                    ignored(&pair.inside, &["curl", "-s", "-m", "10", "-o", "/dev/null", &url]);
                }
            }),
        );
        // Readers of the stream, one of which goes away in the middle of things.
        every(
            scope,
            &ends,
            1,
            Box::new(|_| {
                let url = "http://127.0.0.1:5000/api/stream";
                ignored(&pair.inside, &["curl", "-s", "-N", "-m", "30", "-o", "/dev/null", url]);
            }),
        );
        every(
            scope,
            &ends,
            17,
            Box::new(|round| {
                let change = if round % 2 == 0 { "link add v5 type veth peer name y5" } else { "link del v5" };
                pair.inside.ip(change);
            }),
        );
        every(scope, &ends, 61, Box::new(|round| clock.set([0, 3600, -1800, 5][round % 4])));
        let database = &mut database;
        every(
            scope,
            &ends,
            90,
            Box::new(move |round| {
                if round > 0 {
                    database.kill();
                    thread::sleep(Duration::from_secs(10));
                    database.keep_up();
                }
            }),
        );
        let mut samples = Vec::new();
        let mut table = File::create(out.join("samples.csv")).expect("a table");
        writeln!(table, "{}", Sample::NAMES.join(",")).expect("its head");
        while began.elapsed() < Duration::from_secs(minutes * 60) {
            thread::sleep(SAMPLE_EVERY);
            assert!(daemon.process.ended().is_none(), "the daemon ended: {}", daemon.process.log());
            if let Some(sample) = sample(&daemon, &stored, began) {
                writeln!(table, "{}", sample.values().map(|value| format!("{value:.3}")).join(",")).expect("a row");
                samples.push(sample);
            }
        }
        ends.store(true, Ordering::Relaxed);
        samples
    });
    draw(&out, &samples);
    judge(&samples);
    let log = daemon.process.log();
    assert!(!log.contains("panicked"), "{log}");
    let status = daemon.status();
    assert_eq!(status["ledger"]["balanced"], true, "{}", status["ledger"]);
    let last = samples.last().copied().unwrap_or_default();
    println!(
        "{} minutes: {} packets, {} of floods, {} rounds of traffic cut short; {:.0} MB resident, {:.0} descriptors, at the end; plots in {}",
        minutes,
        last.seen,
        floods.load(Ordering::Relaxed),
        failed.load(Ordering::Relaxed),
        last.rss_mb,
        last.descriptors,
        out.display()
    );
    for kind in ["port_scan", "syn_flood"] {
        assert!(!daemon.all(&format!("/api/alerts?type={kind}&from=0")).is_empty(), "no alert of a {kind}");
    }
    assert!(daemon.stop().success(), "{}", daemon.process.log());
}

/// Does something every so many seconds until the end, with how often it was done.
fn every<'scope>(
    scope: &'scope Scope<'scope, '_>,
    ends: &'scope AtomicBool,
    pause_s: u64,
    mut act: Box<dyn FnMut(usize) + Send + 'scope>,
) {
    scope.spawn(move || {
        for round in 0.. {
            act(round);
            for _ in 0..pause_s * 10 {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                thread::sleep(Duration::from_millis(100));
            }
        }
    });
}

/// Runs a program to its end, which may be any.
fn ignored(namespace: &Namespace, line: &[&str]) {
    let _ended = output(namespace.command(line[0]).args(&line[1..]));
}

/// `None` while the daemon does not answer in time; how long it took is in the next one.
fn sample(daemon: &Daemon<'_>, stored: &Path, began: Instant) -> Option<Sample> {
    let pid = daemon.process.id();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().find_map(|word| word.parse::<f64>().ok())
    };
    let asked = Instant::now();
    daemon.answers("/health");
    let health_ms = asked.elapsed().as_secs_f64() * 1e3;
    let answer = daemon.try_get("/api/status")?;
    let fill = |map: &Value| {
        let most = map["max_entries"].as_f64().filter(|most| *most > 0.0)?;
        Some(map["entries"].as_f64()? / most * 100.0)
    };
    let fills = answer["maps"].as_array().into_iter().flatten().filter_map(fill);
    let database = output(std::process::Command::new("du").args(["-sk"]).arg(stored));
    let kilobytes = String::from_utf8_lossy(&database.stdout).split_whitespace().next()?.parse::<f64>().ok()?;
    Some(Sample {
        at_s: began.elapsed().as_secs_f64(),
        rss_mb: field("VmRSS:")? / 1024.0,
        descriptors: std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as f64,
        threads: field("Threads:")?,
        flows: answer["flows_active"].as_f64().unwrap_or_default(),
        map_fill_percent: fills.fold(0.0, f64::max),
        seen: number(&answer["ledger"]["total"]["seen"]) as f64,
        database_mb: kilobytes / 1024.0,
        health_ms,
    })
}

/// What grows without an end shows in the last third.
fn judge(samples: &[Sample]) {
    let third = samples.len() / 3;
    assert!(third > 0, "the daemon answered too seldom: {} samples", samples.len());
    let most = |samples: &[Sample], value: fn(&Sample) -> f64| samples.iter().map(value).fold(0.0, f64::max);
    let (second, last) = (&samples[third..2 * third], &samples[2 * third..]);
    let memory = [most(second, |s| s.rss_mb), most(last, |s| s.rss_mb)];
    assert!(memory[1] <= memory[0] + MAX_GROWTH_MB, "memory grows: {memory:?} MB");
    let descriptors = [most(second, |s| s.descriptors), most(last, |s| s.descriptors)];
    assert!(descriptors[1] <= descriptors[0] + MAX_MORE_DESCRIPTORS, "descriptors grow: {descriptors:?}");
}

/// Each measure over time.
fn draw(out: &Path, samples: &[Sample]) {
    let picture = out.join("soak.svg");
    let area = SVGBackend::new(&picture, (1000, 1100)).into_drawing_area();
    area.fill(&WHITE).expect("a background");
    let end = samples.last().map_or(1.0, |sample| sample.at_s / 60.0);
    for (at, (part, name)) in area.split_evenly((4, 2)).iter().zip(&Sample::NAMES[1..]).enumerate() {
        let values: Vec<(f64, f64)> = samples.iter().map(|s| (s.at_s / 60.0, s.values()[at + 1])).collect();
        let most = values.iter().map(|(_, value)| *value).fold(1.0, f64::max) * 1.05;
        let mut chart = ChartBuilder::on(part);
        chart.caption(name, ("sans-serif", 16)).margin(12).x_label_area_size(28).y_label_area_size(64);
        let mut chart = chart.build_cartesian_2d(0.0..end, 0.0..most).expect("axes");
        chart.configure_mesh().x_desc("minutes").light_line_style(TRANSPARENT).draw().expect("a mesh");
        chart.draw_series(LineSeries::new(values, &BLUE)).expect("a line");
    }
    area.present().expect("the picture");
}

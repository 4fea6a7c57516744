//! Round trips of windows: minimum, quantiles and maximum of one set of samples, for clients, servers and both, in order in
//! every window of every capture; and against tshark's, side by side.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fmt, fs};

use nta_tests::capture_list::{ABSENT, all, captures, of_folder};
use nta_tests::daemon::{collect, run};
use nta_tests::{installed, not_run, pool, root};
use serde_json::Value;

/// Numbers of a window's round trips in the order in which they must lie.
const ORDER: [&str; 5] = ["min_ms", "p50_ms", "p95_ms", "p99_ms", "max_ms"];
/// Error of a number by the histogram: a factor of two, and below its first edge that edge.
const FACTOR: f64 = 2.0;
const FIRST_EDGE_MS: f64 = 0.128;
/// The longest windows: most captures are one.
const LONG_WINDOW_S: &str = "300";

#[test]
fn numbers_of_every_window_are_in_order() {
    let mut files = cases();
    match captures() {
        Some(folder) => files.extend(all(&folder).iter().map(|path| folder.join(path))),
        None => not_run("numbers_of_every_window_are_in_order: the collection", ABSENT),
    }
    let checked = pool::map(&files, |file| {
        let windows = replayed(file, &[]);
        let with_samples: Vec<&Value> = windows.iter().filter(|window| count(&window["rtt"]) > 0).collect();
        let wrong: Vec<String> = with_samples.iter().filter_map(|window| disorder(&window["rtt"])).collect();
        (with_samples.len(), wrong.first().map(|reason| format!("{}: {reason}", file.display())))
    });
    let windows: usize = checked.iter().map(|(windows, _)| windows).sum();
    let with = checked.iter().filter(|(windows, _)| *windows > 0).count();
    println!("{windows} windows with round trips in {with} of {} captures", files.len());
    let wrong: Vec<&String> = checked.iter().filter_map(|(_, wrong)| wrong.as_ref()).collect();
    assert!(wrong.is_empty(), "{} captures: {wrong:#?}", wrong.len());
    assert!(with > 10, "{with} captures");
}

/// Captures whose streams have no timestamps give a sample for each half of a handshake and no other, so that tshark has the
/// same ones, and each number is the same sample's. With timestamps the samples are others: those are printed.
#[test]
fn numbers_of_both_sides_are_those_of_tshark() {
    const NAME: &str = "numbers_of_both_sides_are_those_of_tshark";
    let Some(folder) = captures() else { return not_run(NAME, ABSENT) };
    if !installed("tshark") {
        return not_run(NAME, "tshark is not installed");
    }
    let paths = of_folder(&folder, "tcp");
    let compared = pool::map(&paths, |path| {
        let file = folder.join(path);
        let theirs = Theirs::of(&file);
        let windows = replayed(&file, &["--window", LONG_WINDOW_S]);
        let with_samples: Vec<&Value> = windows.iter().filter(|window| count(&window["rtt"]) > 0).collect();
        let [ours] = with_samples[..] else { return None };
        Some((theirs, ours["rtt"].clone()))
    });
    let (mut same, mut with_timestamps) = (Errors::default(), Errors::default());
    let (mut far, mut other_samples) = (Vec::new(), Vec::new());
    println!("capture, side: samples, tshark's; minimum, quantiles, maximum in ms, tshark's");
    for (path, (theirs, ours)) in paths.iter().zip(&compared).filter_map(|(path, both)| Some((path, both.as_ref()?))) {
        for (side, exact) in [("client", &theirs.client), ("server", &theirs.server), ("all", &theirs.both())] {
            let mine = if side == "all" { ours } else { &ours[side] };
            if exact.handshakes.is_empty() || count(mine) == 0 {
                continue;
            }
            let samples = if theirs.has_timestamps { &exact.all } else { &exact.handshakes };
            let expected = QUANTILES.map(|q| nearest_rank(samples, q));
            let found = ORDER.map(|name| mine[name].as_f64().expect("a number"));
            println!("{path} {side}: {} {}; {found:.3?} {expected:.3?}", count(mine), samples.len());
            if theirs.has_timestamps {
                with_timestamps.add(found, expected);
            } else if count(mine) != samples.len() as u64 {
                other_samples.push(format!("{path} {side}: {} samples, tshark {}", count(mine), samples.len()));
            } else {
                same.add(found, expected);
                if !found.iter().zip(expected).all(|(found, expected)| near(*found, expected)) {
                    far.push(format!("{path} {side}: {found:?}, tshark {expected:?}"));
                }
            }
        }
    }
    println!("{} of other samples: {other_samples:#?}", other_samples.len());
    println!("The same samples:\n{same}\nWith timestamps, of other samples:\n{with_timestamps}");
    assert!(same.0[0].len() > 50, "{} sides", same.0[0].len());
    assert!(far.is_empty(), "{far:#?}");
}

/// Which quantiles [`ORDER`] names.
const QUANTILES: [f64; 5] = [0.0, 0.5, 0.95, 0.99, 1.0];

/// The smallest of sorted samples that at least this part of them does not exceed.
fn nearest_rank(samples: &[f64], q: f64) -> f64 {
    let part = |(before, _): &(usize, &f64)| (before + 1) as f64 / samples.len() as f64 >= q - 1e-12;
    *samples.iter().enumerate().find(part).expect("all of them are the whole").1
}

/// Relative errors of each number of [`ORDER`].
#[derive(Default)]
struct Errors([Vec<f64>; 5]);

impl Errors {
    fn add(&mut self, found: [f64; 5], expected: [f64; 5]) {
        for ((errors, found), expected) in self.0.iter_mut().zip(found).zip(expected) {
            errors.push((found - expected).abs() / expected.max(0.001));
        }
    }
}

/// A table: median, 95 %, and most.
impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, errors) in ORDER.iter().zip(&self.0) {
            let mut errors = errors.clone();
            errors.sort_by(f64::total_cmp);
            let [median, most_of_them, most] = [0.5, 0.95, 1.0].map(|q| 100.0 * nearest_rank(&errors, q));
            writeln!(f, "| `{name}` | {} | {median:.1} % | {most_of_them:.1} % | {most:.1} % |", errors.len())?;
        }
        Ok(())
    }
}

fn near(found: f64, expected: f64) -> bool {
    (found - expected).abs() < FIRST_EDGE_MS || (1.0 / FACTOR..=FACTOR).contains(&(found / expected))
}

/// Bundled captures.
fn cases() -> Vec<PathBuf> {
    let folders = fs::read_dir(root().join("tests/cases")).expect("tests/cases");
    let inputs = folders.map(|folder| folder.expect("a folder").path()).filter(|path| path.is_dir());
    let files =
        inputs.flat_map(|folder| fs::read_dir(folder).expect("a case").map(|file| file.expect("a file").path()));
    files.filter(|file| file.to_string_lossy().contains(".pcap")).collect()
}

/// The windows that `replay` makes of a capture.
fn replayed(capture: &Path, options: &[&str]) -> Vec<Value> {
    let mut arguments = vec!["replay".as_ref(), "--format".as_ref(), "jsonl".as_ref()];
    arguments.extend(options.iter().map(std::ffi::OsStr::new));
    arguments.push(capture.as_os_str());
    let run = run(arguments);
    assert!(run.is_read() || run.is_refused(), "{}: {}", capture.display(), run.stderr);
    run.json().into_iter().filter(|line| line["type"] == "window").collect()
}

fn count(rtt: &Value) -> u64 {
    rtt["samples"].as_u64().expect("a count")
}

/// What is wrong with the numbers of a window.
fn disorder(rtt: &Value) -> Option<String> {
    let sides = [rtt, &rtt["client"], &rtt["server"]];
    let out_of_order = sides.iter().any(|side| {
        let numbers: Vec<f64> = ORDER.iter().filter_map(|name| side[name].as_f64()).collect();
        let expected = if count(side) > 0 { ORDER.len() } else { 0 };
        numbers.len() != expected || !numbers.is_sorted()
    });
    // A quantile of all lies between those of the sides that have samples.
    let between = ["p50_ms", "p95_ms", "p99_ms"].iter().all(|name| {
        let of_sides: Vec<f64> = sides[1..].iter().filter_map(|side| side[name].as_f64()).collect();
        let all = rtt[name].as_f64();
        all.is_none_or(|all| of_sides.iter().any(|side| *side <= all) && of_sides.iter().any(|side| *side >= all))
    });
    let adds_up = count(rtt) == count(sides[1]) + count(sides[2]);
    (out_of_order || !between || !adds_up).then(|| rtt.to_string())
}

/// tshark's round trips of a capture in milliseconds, sorted.
#[derive(Default)]
struct Theirs {
    client: Side,
    server: Side,
    has_timestamps: bool,
}

#[derive(Default)]
struct Side {
    /// Of a handshake's half.
    handshakes: Vec<f64>,
    /// `tcp.analysis.ack_rtt` of every segment.
    all: Vec<f64>,
}

impl Theirs {
    fn both(&self) -> Side {
        let of = |samples: fn(&Side) -> &[f64]| {
            let mut both = [samples(&self.client), samples(&self.server)].concat();
            both.sort_by(f64::total_cmp);
            both
        };
        Side { handshakes: of(|side| &side.handshakes), all: of(|side| &side.all) }
    }

    fn of(capture: &Path) -> Self {
        const FIELDS: [&str; 7] = [
            "tcp.stream",
            "tcp.srcport",
            "tcp.flags.syn",
            "tcp.flags.ack",
            "tcp.analysis.ack_rtt",
            "tcp.options.timestamp.tsval",
            "tcp.len",
        ];
        let mut command = Command::new("tshark");
        command.args(["-n", "-T", "fields", "-E", "occurrence=l", "-Y", "tcp"]);
        command.args(FIELDS.iter().flat_map(|field| ["-e", field])).arg("-r").arg(capture);
        let mut theirs = Self::default();
        // The client's port of a stream, and which halves of its handshake were seen.
        let mut streams: BTreeMap<String, (String, bool, bool)> = BTreeMap::new();
        for line in String::from_utf8_lossy(&collect(command, &[]).stdout).lines() {
            let [stream, port, syn, ack, rtt, tsval, _] = line.split('\t').collect::<Vec<_>>()[..] else { continue };
            theirs.has_timestamps |= !tsval.is_empty();
            let set = |flag: &str| matches!(flag, "1" | "True");
            if set(syn) && !set(ack) {
                streams.entry(stream.to_owned()).or_insert_with(|| (port.to_owned(), false, false));
            }
            let Some((client, answered, done)) = streams.get_mut(stream) else { continue };
            let Ok(seconds) = rtt.parse::<f64>() else { continue };
            let from_client = client == port;
            let side = if from_client { &mut theirs.client } else { &mut theirs.server };
            side.all.push(seconds * 1000.0);
            if !from_client && set(syn) && !std::mem::replace(answered, true) {
                side.handshakes.push(seconds * 1000.0);
            }
            if from_client && *answered && !std::mem::replace(done, true) {
                side.handshakes.push(seconds * 1000.0);
            }
        }
        for side in [&mut theirs.client, &mut theirs.server] {
            side.handshakes.sort_by(f64::total_cmp);
            side.all.sort_by(f64::total_cmp);
        }
        theirs
    }
}

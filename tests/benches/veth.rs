//! TCP throughput over a veth pair with our program and without, interleaved, so that a machine whose speed drifts
//! favours none. Medians, and the median ratio of neighbouring runs.
//!
//! Run by `cargo xtask bench veth`, which builds the bench object and the daemon and names them in `NTA_BENCH_OBJECT`
//! and `NTA_DAEMON`. Called with `--hold INTERFACE MODE` it attaches the empty program and holds it until its
//! standard input ends: that is how the yardstick gets into the namespace.

#![expect(clippy::print_stdout, reason = "the bench's result")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::parent_id;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use aya::EbpfLoader;
use aya::programs::links::LinkOrder;
use aya::programs::tc::TcAttachOptions;
use aya::programs::xdp::XdpMode;
use aya::programs::{SchedClassifier, TcAttachType, Xdp};
use nta_tests::netns::{Namespace, output, run, wait_for};
use serde_json::Value;

/// Runs of each variant, if `NTA_BENCH_ROUNDS` says nothing else.
const ROUNDS: usize = 7;
/// Seconds of one run, and how many of them at its beginning do not count.
const SECONDS: &str = "3";
const SLOW_START: &str = "1";
/// The receiver's interface, where programs are attached, and its address.
const INTERFACE: &str = "veth-in";
const RECEIVER: &str = "10.77.0.1";
/// Where the daemon says that it is there.
const LISTEN: &str = "127.0.0.1:5000";
const READY: Duration = Duration::from_secs(60);
/// What the holder of an empty program says as soon as it is attached.
const HELD: &str = "held";

/// A way to receive, and the one that it is measured against: a row before it where there is one.
struct Variant {
    name: &'static str,
    what: What,
    /// Connections at once.
    streams: &'static str,
    against: Option<usize>,
}

/// What is attached at the receiver.
enum What {
    Nothing,
    Empty(&'static str),
    Daemon(&'static str),
}

impl Variant {
    const fn one(name: &'static str, what: What, against: Option<usize>) -> Self {
        Self { name, what, streams: "1", against }
    }

    const fn four(name: &'static str, what: What, against: Option<usize>) -> Self {
        Self { name, what, streams: "4", against }
    }
}

/// The empty program at TCX tells what of its row's loss is the kernel's. One connection leaves the receiver's processor
/// idle for two thirds of the time, so that waking it decides; four keep both processors busy.
const VARIANTS: [Variant; 10] = [
    Variant::one("none", What::Nothing, None),
    Variant::one("empty-tcx", What::Empty("tcx"), Some(0)),
    Variant::one("tcx", What::Daemon("tcx"), Some(0)),
    Variant::four("none, 4 streams", What::Nothing, None),
    Variant::four("empty-tcx, 4", What::Empty("tcx"), Some(3)),
    Variant::four("tcx, 4", What::Daemon("tcx"), Some(3)),
    Variant::one("empty-xdp", What::Empty("xdp"), None),
    Variant::one("xdp", What::Daemon("xdp"), Some(6)),
    Variant::one("empty-xdp-generic", What::Empty("xdp-generic"), None),
    Variant::one("xdp-generic", What::Daemon("xdp-generic"), Some(8)),
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    if let ["--hold", interface, mode] = words[..] {
        return hold(interface, mode);
    }
    let (Ok(_), Ok(daemon)) = (std::env::var("NTA_BENCH_OBJECT"), std::env::var("NTA_DAEMON")) else {
        println!("not run: veth bench: NTA_BENCH_OBJECT or NTA_DAEMON is not set, use `cargo xtask bench veth`");
        return;
    };
    let rounds = std::env::var("NTA_BENCH_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(ROUNDS);
    let samples = measure(&daemon, rounds);
    let json = words.contains(&"--json");
    if !json {
        println!("{:<18} {:>10} {:>8}", "receiver", "Gbit/s", "ratio");
    }
    for (variant, mine) in VARIANTS.iter().zip(&samples) {
        let gbits = median(mine.clone());
        let ratios = variant.against.map(|other| mine.iter().zip(&samples[other]).map(|(a, b)| a / b).collect());
        let (ratio, name) = (ratios.map(median), variant.name);
        if json {
            let ratio = ratio.map_or("null".to_owned(), |ratio| format!("{ratio:.3}"));
            println!(r#"{{"bench":"veth","receiver":"{name}","rounds":{rounds},"gbit_s":{gbits:.2},"ratio":{ratio}}}"#);
        } else {
            println!("{name:<18} {gbits:>10.2} {:>8}", ratio.map_or(String::new(), |ratio| format!("{ratio:.3}")));
        }
    }
}

/// Gbit/s of every run, by variant.
fn measure(daemon: &str, rounds: usize) -> Vec<Vec<f64>> {
    let (receiver, sender) = (Namespace::new("receiver"), Namespace::new("sender"));
    receiver.ip(&format!("link add {INTERFACE} type veth peer name veth-out netns {}", sender.name()));
    receiver.ip(&format!("address add {RECEIVER}/24 dev {INTERFACE}"));
    sender.ip("address add 10.77.0.2/24 dev veth-out");
    receiver.ip(&format!("link set {INTERFACE} up"));
    sender.ip("link set veth-out up");
    let _server = Held::start(receiver.command("iperf3").args(["-s", "-B", RECEIVER]));
    wait_for("iperf3", READY, || {
        output(sender.command("iperf3").args(["-c", RECEIVER, "-t", "1"])).status.success().then_some(())
    });
    let folder = tempfile::tempdir().expect("a folder for databases");
    let mut samples = vec![Vec::new(); VARIANTS.len()];
    let parent = parent_id();
    for round in 0..rounds {
        for (variant, samples) in VARIANTS.iter().zip(&mut samples) {
            assert_eq!(parent_id(), parent, "whoever started this bench has ended");
            let _held = match variant.what {
                What::Nothing => None,
                What::Empty(mode) => Some(hold_in(&receiver, mode)),
                What::Daemon(mode) => {
                    let database = format!("sqlite:{}/{round}-{mode}.db", folder.path().display());
                    Some(daemon_in(&receiver, daemon, mode, &database))
                }
            };
            let gbits = throughput(&sender, variant.streams);
            eprintln!("round {}, {}: {gbits:.2} Gbit/s", round + 1, variant.name);
            samples.push(gbits);
        }
    }
    samples
}

/// Gbit/s that the receiver got in one run.
fn throughput(sender: &Namespace, streams: &str) -> f64 {
    let args = ["-c", RECEIVER, "-P", streams, "-t", SECONDS, "-O", SLOW_START, "-J"];
    let text = run(sender.command("iperf3").args(args));
    let report: Value = serde_json::from_str(&text).expect("iperf3's report");
    report["end"]["sum_received"]["bits_per_second"].as_f64().expect("bits per second") / 1e9
}

fn daemon_in(namespace: &Namespace, daemon: &str, mode: &str, database: &str) -> Held {
    let mut command = namespace.command(daemon);
    command.args(["run", "--interface", INTERFACE, "--attach", mode, "--listen", LISTEN, "--database", database]);
    let held = Held::start(&mut command);
    let health = format!("http://{LISTEN}/health");
    wait_for("a healthy daemon", READY, || {
        let answer = output(namespace.command("curl").args(["-s", "-f", "-o", "/dev/null", &health]));
        answer.status.success().then_some(())
    });
    held
}

fn hold_in(namespace: &Namespace, mode: &str) -> Held {
    let this = std::env::current_exe().expect("this program's path");
    let mut command = namespace.command(this.to_str().expect("a path in UTF-8"));
    let mut held = Held::spawn(command.args(["--hold", INTERFACE, mode]).stdout(Stdio::piped()));
    let mut said = String::new();
    BufReader::new(held.0.stdout.take().expect("a pipe")).read_line(&mut said).expect("what it says");
    assert_eq!(said.trim(), HELD, "the empty program");
    held
}

/// Attaches the empty program here, and holds it until standard input ends.
fn hold(interface: &str, mode: &str) {
    let object = std::env::var_os("NTA_BENCH_OBJECT").expect("the bench object's name");
    let mut ebpf = EbpfLoader::new().load_file(object).expect("the bench object loads");
    if mode == "tcx" {
        let program: &mut SchedClassifier =
            ebpf.program_mut("nta_tc_empty").expect("the empty program").try_into().expect("TC");
        program.load().expect("the verifier accepts it");
        for side in [TcAttachType::Ingress, TcAttachType::Egress] {
            let options = TcAttachOptions::TcxOrder(LinkOrder::default());
            program.attach_with_options(interface, side, options).expect("attached");
        }
    } else {
        let program: &mut Xdp = ebpf.program_mut("nta_xdp_empty").expect("the empty program").try_into().expect("XDP");
        program.load().expect("the verifier accepts it");
        let mode = if mode == "xdp" { XdpMode::Driver } else { XdpMode::Skb };
        program.attach(interface, mode).expect("attached");
    }
    println!("{HELD}");
    let _end = std::io::stdin().read_to_end(&mut Vec::new()); // an error is an end as well
}

/// A process that ends with its holder.
struct Held(Child);

impl Held {
    fn start(command: &mut Command) -> Self {
        Self::spawn(command.stdout(Stdio::null()).stderr(Stdio::null()))
    }

    fn spawn(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::piped()).spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status(); // it may be gone already
        let _ = self.0.wait();
    }
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

//! TCP throughput over a veth pair with our programs and with none or empty ones, interleaved, so that a machine whose
//! speed drifts favours none. Medians, and the median ratio of neighbouring runs with its quartiles, their mean and its error.
//!
//! The two namespaces stand for two hosts with a processor each, as a wire would connect them ([`steer`]): whatever ours
//! costs comes off the receiver's. Left to themselves, segments that `sendmsg` sends and those that an ACK lets go are received
//! on two processors and overtake one another; what is measured then is how the congestion control takes that. The rows
//! "as the system is" show it.
//!
//! Run by `cargo xtask bench veth`, which builds the bench object and the daemon and names them in `NTA_BENCH_OBJECT`
//! and `NTA_DAEMON`. Called with `--hold INTERFACE MODE` it attaches empty programs where the daemon in that mode has its
//! own, and holds them until its standard input ends: that is how the yardstick gets into the namespace.

#![expect(clippy::print_stdout, reason = "the bench's result")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::parent_id;
use std::process::{Child, Command, Stdio};
use std::thread::{available_parallelism, sleep};
use std::time::Duration;

use aya::EbpfLoader;
use aya::programs::links::LinkOrder;
use aya::programs::tc::TcAttachOptions;
use aya::programs::xdp::XdpMode;
use aya::programs::{SchedClassifier, TcAttachType, Xdp};
use nta_tests::netns::{Namespace, output, run, wait_for};
use serde_json::Value;

/// Runs of each variant, if `NTA_BENCH_ROUNDS` says nothing else.
const ROUNDS: usize = 15;
/// Seconds of one run, and how many of them at its beginning do not count.
const SECONDS: &str = "3";
const SLOW_START: &str = "1";
/// Between the attaching and the run: a daemon's start is over by then.
const SETTLE: Duration = Duration::from_secs(1);
/// The receiver's interface, where programs are attached, the sender's, and the receiver's address.
const INTERFACE: &str = "veth-in";
const SENDERS_INTERFACE: &str = "veth-out";
const RECEIVER: &str = "10.77.0.1";
/// Where the daemon says that it is there.
const LISTEN: &str = "127.0.0.1:5000";
const READY: Duration = Duration::from_secs(60);
/// What the holder of an empty program says as soon as it is attached.
const HELD: &str = "held";

/// The processors of the two hosts.
const SENDER_CPU: u32 = 0;
const RECEIVER_CPU: u32 = 1;
/// Linux' own default; a system may have another, and BBR's pacing would hide what a program costs.
const CONGESTION_CONTROL: &str = "cubic";

/// A way to receive, and the one that it is measured against: a row before it where there is one.
struct Variant {
    name: &'static str,
    what: What,
    /// Whether each host has its processor, else everything is as the system has it.
    steered: bool,
    against: Option<usize>,
}

/// What is attached at the receiver.
enum What {
    Nothing,
    Empty(&'static str),
    Daemon(&'static str),
}

impl Variant {
    const fn steered(name: &'static str, what: What, against: Option<usize>) -> Self {
        Self { name, what, steered: true, against }
    }

    const fn left(name: &'static str, what: What, against: Option<usize>) -> Self {
        Self { name, what, steered: false, against }
    }
}

const VARIANTS: [Variant; 10] = [
    Variant::steered("none", What::Nothing, None),
    Variant::steered("empty-tcx", What::Empty("tcx"), Some(0)),
    Variant::steered("tcx", What::Daemon("tcx"), Some(0)),
    Variant::steered("empty-xdp", What::Empty("xdp"), None),
    Variant::steered("xdp", What::Daemon("xdp"), Some(3)),
    Variant::steered("empty-xdp-generic", What::Empty("xdp-generic"), None),
    Variant::steered("xdp-generic", What::Daemon("xdp-generic"), Some(5)),
    Variant::left("none, as the system is", What::Nothing, None),
    Variant::left("empty-tcx, as the system is", What::Empty("tcx"), Some(7)),
    Variant::left("tcx, as the system is", What::Daemon("tcx"), Some(7)),
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
    if available_parallelism().is_ok_and(|cpus| cpus.get() < 2) {
        println!("not run: veth bench: this machine has one processor, and each of the two hosts needs its own");
        return;
    }
    let rounds = std::env::var("NTA_BENCH_ROUNDS").ok().and_then(|n| n.parse().ok());
    let rounds = rounds.filter(|rounds| *rounds > 0).unwrap_or(ROUNDS);
    let end = std::env::var("NTA_BENCH_ROWS").unwrap_or_default();
    let rows: Vec<usize> = (0..VARIANTS.len()).filter(|row| VARIANTS[*row].name.ends_with(&end)).collect();
    assert!(
        rows.iter().all(|row| VARIANTS[*row].against.is_none_or(|other| rows.contains(&other))),
        "{end}: a row's yardstick is not among these"
    );
    let samples = measure(&daemon, rounds, &rows);
    let json = words.contains(&"--json");
    if !json {
        println!(
            "{:<28} {:>8} {:>8} {:>16} {:>8} {:>15}",
            "receiver", "Gbit/s", "ratio", "middle half", "mean", "standard error"
        );
    }
    for (variant, mine) in VARIANTS.iter().zip(&samples).filter(|(_, mine)| !mine.is_empty()) {
        let [_, gbits, _] = quartiles(mine.clone());
        let ratios: Option<Vec<f64>> =
            variant.against.map(|other| mine.iter().zip(&samples[other]).map(|(a, b)| a / b).collect());
        let name = variant.name;
        if json {
            let ratio = ratios.map_or("null".to_owned(), |ratios| {
                let ([low, ratio, high], (mean, error)) = (quartiles(ratios.clone()), mean(&ratios));
                format!(r#"{ratio:.3},"ratio_low":{low:.3},"ratio_high":{high:.3},"mean":{mean:.3},"standard_error":{error:.3}"#)
            });
            println!(r#"{{"bench":"veth","receiver":"{name}","rounds":{rounds},"gbit_s":{gbits:.2},"ratio":{ratio}}}"#);
        } else {
            let ratio = ratios.map_or(String::new(), |ratios| {
                let ([low, ratio, high], (mean, error)) = (quartiles(ratios.clone()), mean(&ratios));
                format!("{ratio:>8.3} {:>16} {mean:>8.3} {error:>15.3}", format!("{low:.3}..{high:.3}"))
            });
            println!("{name:<28} {gbits:>8.2} {ratio}");
        }
    }
}

/// Gbit/s of every run, by variant; none for those that are not among the rows.
fn measure(daemon: &str, rounds: usize, rows: &[usize]) -> Vec<Vec<f64>> {
    let (receiver, sender) = (Namespace::new("receiver"), Namespace::new("sender"));
    receiver.ip(&format!("link add {INTERFACE} type veth peer name {SENDERS_INTERFACE} netns {}", sender.name()));
    receiver.ip(&format!("address add {RECEIVER}/24 dev {INTERFACE}"));
    sender.ip(&format!("address add 10.77.0.2/24 dev {SENDERS_INTERFACE}"));
    receiver.ip(&format!("link set {INTERFACE} up"));
    sender.ip(&format!("link set {SENDERS_INTERFACE} up"));
    for host in [&receiver, &sender] {
        host.sysctl("ipv4/tcp_no_metrics_save", "1"); // a connection must not begin with what the one before had learnt
    }
    let _server = Held::start(receiver.command("iperf3").args(["-s", "-B", RECEIVER]));
    wait_for("iperf3", READY, || {
        output(sender.command("iperf3").args(["-c", RECEIVER, "-t", "1"])).status.success().then_some(())
    });
    let folder = tempfile::tempdir().expect("a folder for databases");
    let mut samples = vec![Vec::new(); VARIANTS.len()];
    let parent = parent_id();
    for round in 0..rounds {
        let mut order = rows.to_vec();
        if round % 2 == 1 {
            order.reverse(); // what a run leaves behind for the next one must not favour a row
        }
        for i in order {
            assert_eq!(parent_id(), parent, "whoever started this bench has ended");
            let variant = &VARIANTS[i];
            let _held = match variant.what {
                What::Nothing => None,
                What::Empty(mode) => Some(hold_in(&receiver, mode)),
                What::Daemon(mode) => {
                    let database = format!("sqlite:{}/{round}-{i}.db", folder.path().display());
                    Some(daemon_in(&receiver, daemon, mode, &database))
                }
            };
            let threads = steer(&receiver, INTERFACE, variant.steered.then_some(RECEIVER_CPU));
            let native = matches!(variant.what, What::Empty("xdp") | What::Daemon("xdp"));
            assert_eq!(threads > 0, native, "{}: threads of NAPI, which Linux has from 5.12 on", variant.name);
            steer(&sender, SENDERS_INTERFACE, variant.steered.then_some(SENDER_CPU));
            sleep(SETTLE);
            let gbits = throughput(&sender, variant.steered);
            eprintln!("round {}, {}: {gbits:.2} Gbit/s", round + 1, variant.name);
            samples[i].push(gbits);
        }
    }
    samples
}

/// Has what a namespace's interface receives handled on one processor, or on whichever sent it. Receive packet steering does
/// so for what the stack takes; native XDP comes before it, in NAPI, which gets a thread for that. Returns how many threads.
fn steer(namespace: &Namespace, interface: &str, cpu: Option<u32>) -> usize {
    let folder = format!("/sys/class/net/{interface}");
    let (mask, threaded) = (cpu.map_or(0, |cpu| 1 << cpu), u32::from(cpu.is_some()));
    namespace.shell(&format!("echo {mask:x} > {folder}/queues/rx-0/rps_cpus"));
    // An interface that has no NAPI refuses: a veth has one while a program is attached at native XDP.
    namespace.shell(&format!("echo {threaded} > {folder}/threaded 2> /dev/null || true"));
    let threads = threads(&format!("napi/{interface}"));
    for (thread, cpu) in threads.iter().zip(cpu.iter().cycle()) {
        run(Command::new("taskset").args(["-p", "-c", &cpu.to_string(), thread]));
    }
    threads.len()
}

/// Ids of the processes whose name begins like this.
fn threads(name: &str) -> Vec<String> {
    let ids = std::fs::read_dir("/proc").expect("/proc").flatten().map(|entry| entry.file_name());
    let ids = ids.filter_map(|id| id.into_string().ok());
    ids.filter(|id| std::fs::read_to_string(format!("/proc/{id}/comm")).is_ok_and(|comm| comm.starts_with(name)))
        .collect()
}

/// Gbit/s that the receiver got in one run.
fn throughput(sender: &Namespace, steered: bool) -> f64 {
    let cpus = format!("{SENDER_CPU},{RECEIVER_CPU}");
    let mut args = vec!["-c", RECEIVER, "-t", SECONDS, "-O", SLOW_START, "-J"];
    if steered {
        args.extend(["-A", &cpus, "-C", CONGESTION_CONTROL]);
    }
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

/// Attaches empty programs here, at the hooks that the daemon in this mode uses, and holds them until standard input ends.
fn hold(interface: &str, mode: &str) {
    let object = std::env::var_os("NTA_BENCH_OBJECT").expect("the bench object's name");
    let mut ebpf = EbpfLoader::new().load_file(object).expect("the bench object loads");
    let tc: &mut SchedClassifier = ebpf.program_mut("nta_tc_empty").expect("the empty program").try_into().expect("TC");
    tc.load().expect("the verifier accepts it");
    let mut attach = |side| {
        let options = TcAttachOptions::TcxOrder(LinkOrder::default());
        tc.attach_with_options(interface, side, options).expect("attached");
    };
    attach(TcAttachType::Egress);
    if mode == "tcx" {
        attach(TcAttachType::Ingress);
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

/// Mean and its standard error.
fn mean(samples: &[f64]) -> (f64, f64) {
    let count = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / count;
    let variance = samples.iter().map(|sample| (sample - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
    (mean, (variance / count).sqrt())
}

/// Lower quartile, median, upper quartile.
fn quartiles(mut samples: Vec<f64>) -> [f64; 3] {
    samples.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| samples[quarter * (samples.len() - 1) / 4])
}

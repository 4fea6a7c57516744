//! What a packet costs in the kernel: each program against the empty one of its kind, by repeated test runs, interleaved
//! in one series so that a machine whose speed drifts does not favour either. Medians.
//!
//! Run by `cargo xtask bench kernel`, which builds the bench object and names it in `NTA_BENCH_OBJECT`.

#![expect(clippy::print_stdout, reason = "the bench's result")]

use std::time::Duration;

use aya::maps::HashMap;
use aya::programs::{ProgramError, SchedClassifier, TestRun as _, TestRunOptions, TestRunResult, Xdp};
use aya::{Ebpf, EbpfLoader};
use nta_common::{Embryo, FlowKey4, FlowKey6, FlowStats, Settings};

/// Test runs of one sample.
const REPEAT: u32 = 50_000;
/// Samples of each program.
const ROUNDS: usize = 41;
/// The same where each run makes a flow: they fit the maps, which are emptied between two samples.
const REPEAT_NEW: u32 = 20_000;
/// Entries of the maps of flows, and of those of flows of one packet, by default: IPv4. Those of IPv6 are as large here.
const DEFAULT: [u32; 2] = [46_603, 119_837];
/// The same of a program that has but one map, in as much memory.
const DEFAULT_ALONE: u32 = 69_905;
/// A map that is full after a moment.
const FEW_FLOWS: u32 = 64;
/// Settings of a 250 Hz kernel; the value does not matter for the cost.
const JIFFY_NS: u32 = 4_000_000;
const LOOPBACK: u32 = 1;

struct Case {
    name: &'static str,
    /// At XDP, and at TC if it is measured there.
    programs: [Option<&'static str>; 2],
    frame: Vec<u8>,
    /// Each run makes a flow, else the maps are full after a moment.
    is_new: bool,
    repeat: u32,
}

impl Case {
    fn new(name: &'static str, programs: [&'static str; 2], frame: Vec<u8>, is_new: bool) -> Self {
        let repeat = if is_new { REPEAT_NEW } else { REPEAT };
        Self { name, programs: programs.map(Some), frame, is_new, repeat }
    }
}

fn cases() -> Vec<Case> {
    let old = ["nta_xdp", "nta_tc_ingress"];
    let data = ["nta_xdp_data", "nta_tc_data"];
    let new = ["nta_xdp_new", "nta_tc_new"];
    let new6 = ["nta_xdp_new6", "nta_tc_new6"];
    let syn = |family| if family == 4 { tcp4_of(SYN) } else { tcp6(SYN) };
    let yardstick = Case {
        name: "yardstick",
        programs: [Some("nta_xdp_yardstick"), None],
        frame: tcp4(0, &[]),
        is_new: false,
        repeat: REPEAT,
    };
    vec![
        yardstick,
        Case::new("tcp4-existing", old, tcp4(0, &[]), false),
        Case::new("tcp4-timestamps", old, tcp4(0, &TIMESTAMPS), false),
        Case::new("tcp4-data", data, frame(0x0800, 0, &ipv4(6, &data4())), false),
        Case::new("tcp6-existing", old, tcp6(ACK), false),
        Case::new("udp4-existing", old, udp4(), false),
        Case::new("vlan-tcp4-existing", old, tcp4(1, &[]), false),
        Case::new("syn4-new", new, syn(4), true),
        Case::new("tcp4-new", new, tcp4(0, &[]), true),
        Case::new("udp4-new", new, udp4(), true),
        Case::new("syn6-new", new6, syn(6), true),
        Case::new("syn4-full-map", new, syn(4), false),
        Case::new("tcp4-full-map", new, tcp4(0, &[]), false),
        Case::new("udp4-full-map", new, udp4(), false),
        Case::new("syn6-full-map", new6, syn(6), false),
    ]
}

fn main() {
    let object = |name: &str| std::env::var_os(name).map(|path| std::fs::read(path).expect("a bench object"));
    let Some(ours) = object("NTA_BENCH_OBJECT") else {
        println!("not run: kernel bench: NTA_BENCH_OBJECT is not set, use `cargo xtask bench kernel`");
        return;
    };
    let base = object("NTA_BENCH_BASE");
    let json = std::env::args().any(|arg| arg == "--json");
    if !json {
        println!("{}", machine());
        println!("{:<5} {:<20} {:>8} {:>16} {:>16} {:>7}", "prog", "case", "ns", "ns above empty", "before", "ratio");
    }
    for (at, kind, empty) in [(0, "xdp", "nta_xdp_empty"), (1, "tc", "nta_tc_empty")] {
        for case in cases() {
            let Some(program) = case.programs[at] else { continue };
            if std::env::var("NTA_BENCH_CASES").is_ok_and(|only| !only.split(',').any(|name| name == case.name)) {
                continue;
            }
            let objects: Vec<&[u8]> = std::iter::once(&ours).chain(&base).map(Vec::as_slice).collect();
            let measured = measure(&objects, &case, program, empty);
            let Some((ns, above)) = measured[0] else { continue };
            let before = measured.get(1).copied().flatten().map(|(_, before)| before);
            let name = case.name;
            if json {
                let before = before.map(|ns| format!(r#","before":{ns:.1},"ratio":{:.3}"#, above / ns));
                let before = before.unwrap_or_default();
                println!(r#"{{"program":"{kind}","case":"{name}","ns":{ns:.1},"ns_above_empty":{above:.1}{before}}}"#);
            } else {
                let before = before.map(|ns| format!("{ns:>16.1} {:>7.2}", above / ns)).unwrap_or_default();
                println!("{kind:<5} {name:<20} {ns:>8.1} {above:>16.1} {before}");
            }
        }
    }
}

/// On what was measured: processor, what it does against attacks on itself, kernel.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let of =
        |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.split_once(": ").map(|(_, value)| value));
    let processor = of("model name").unwrap_or("unknown");
    let count = info.lines().filter(|line| line.starts_with("processor")).count();
    let weak = |name: &str| {
        let state = read(&format!("/sys/devices/system/cpu/vulnerabilities/{name}"));
        format!("{name}: {}", if state.is_empty() { "unknown" } else { state.trim() })
    };
    let against = ["spectre_v1", "spectre_v2", "retbleed", "mds"].map(weak).join("\n             ");
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("processor    {processor}, {count} of them\nmitigations  {against}\nkernel       {}\n", kernel.trim())
}

/// Of each object's program: medians of its time, and of its distance to the empty program in the same round. `None` where the object
/// has no such program.
fn measure(objects: &[&[u8]], case: &Case, program: &str, empty: &str) -> Vec<Option<(f64, f64)>> {
    let mut loaded: Vec<Option<Ebpf>> = objects.iter().map(|object| prepare(object, case, [program, empty])).collect();
    let mut samples: Vec<Vec<[f64; 2]>> = vec![Vec::new(); loaded.len()];
    for ebpf in loaded.iter_mut().flatten() {
        run(ebpf, program, case);
    }
    for _ in 0..ROUNDS {
        for (ebpf, samples) in loaded.iter_mut().zip(&mut samples) {
            if let Some(ebpf) = ebpf {
                if case.is_new {
                    empty_maps(ebpf);
                }
                let base = run(ebpf, empty, case);
                let ours = run(ebpf, program, case);
                samples.push([ours, ours - base]);
            }
        }
    }
    let medians = |samples: Vec<[f64; 2]>| {
        (!samples.is_empty()).then(|| {
            let [times, distances] = [0, 1].map(|at| median(&mut samples.iter().map(|s| s[at]).collect::<Vec<_>>()));
            (times, distances)
        })
    };
    samples.into_iter().map(medians).collect()
}

/// The maps of flows.
const MAPS: [&str; 4] = ["FLOWS4", "FLOWS6", "EMBRYOS4", "EMBRYOS6"];

fn empty_maps(ebpf: &mut Ebpf) {
    empty::<FlowKey4, FlowStats>(ebpf, MAPS[0]);
    empty::<FlowKey6, FlowStats>(ebpf, MAPS[1]);
    empty::<FlowKey4, Embryo>(ebpf, MAPS[2]);
    empty::<FlowKey6, Embryo>(ebpf, MAPS[3]);
}

fn empty<K: aya::Pod, V: aya::Pod>(ebpf: &mut Ebpf, name: &str) {
    let Some(map) = ebpf.map_mut(name) else { return };
    let mut map: HashMap<_, K, V> = HashMap::try_from(map).expect("a hash map of these");
    let keys: Vec<K> = map.keys().collect::<Result<_, _>>().expect("the map can be read");
    keys.iter().for_each(|key| map.remove(key).expect("the map can be emptied"));
}

fn prepare(object: &[u8], case: &Case, programs: [&str; 2]) -> Option<Ebpf> {
    let settings = Settings {
        interfaces: first(LOOPBACK),
        jiffy_ns: JIFFY_NS,
        events_per_second: [5000, 1000, 1000, 1000],
        ..Settings::default()
    };
    let mut loader = EbpfLoader::new();
    loader.override_global("SETTINGS", &settings, true);
    let has_embryos = object.windows(8).any(|name| name == b"EMBRYOS4");
    let [whole, embryos] = if has_embryos { DEFAULT } else { [DEFAULT_ALONE; 2] };
    for (map, entries) in MAPS.into_iter().zip([whole, whole, embryos, embryos]) {
        loader.map_max_entries(map, if case.is_new { entries } else { FEW_FLOWS });
    }
    let mut ebpf = loader.load(object).expect("the bench object loads");
    programs.iter().all(|name| ebpf.program(name).is_some()).then_some(())?;
    for name in programs {
        load(&mut ebpf, name);
    }
    Some(ebpf)
}

const fn first(interface: u32) -> [u32; nta_common::limits::MAX_INTERFACES] {
    let mut interfaces = [0; nta_common::limits::MAX_INTERFACES];
    interfaces[0] = interface;
    interfaces
}

fn load(ebpf: &mut Ebpf, name: &str) {
    let program = ebpf.program_mut(name).expect("a program of the bench object");
    let loaded: Result<(), ProgramError> = match <&mut Xdp>::try_from(&mut *program) {
        Ok(program) => program.load(),
        Err(_) => <&mut SchedClassifier>::try_from(program).expect("XDP or TC").load(),
    };
    loaded.expect("the verifier accepts it");
}

fn run(ebpf: &Ebpf, name: &str, case: &Case) -> f64 {
    let options = TestRunOptions { data_in: Some(&case.frame), repeat: case.repeat, ..TestRunOptions::new() };
    let program = ebpf.program(name).expect("a loaded program");
    let result: TestRunResult = match <&Xdp>::try_from(program) {
        Ok(program) => program.test_run(options),
        Err(_) => <&SchedClassifier>::try_from(program).expect("XDP or TC").test_run(options),
    }
    .expect("a test run");
    nanos(result.duration)
}

fn nanos(duration: Duration) -> f64 {
    duration.as_nanos() as f64
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Two no-operations and a timestamp option (RFC 7323).
const TIMESTAMPS: [u8; 12] = [1, 1, 8, 10, 0, 0, 0, 7, 0, 0, 0, 8];

fn frame(ether_type: u16, tags: usize, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2; 12];
    for _ in 0..tags {
        frame.extend([0x81, 0, 0, 100]);
    }
    frame.extend(ether_type.to_be_bytes());
    frame.extend(payload);
    frame.resize(frame.len().max(60), 0);
    frame
}

fn ipv4(proto: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend((20 + payload.len() as u16).to_be_bytes());
    packet.extend([0, 0, 0x40, 0, 64, proto, 0, 0, 192, 0, 2, 1, 198, 51, 100, 2]);
    packet.extend(payload);
    packet
}

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

fn tcp(flags: u8, options: &[u8]) -> Vec<u8> {
    let mut segment = vec![0x9c, 0x40, 1, 187, 0, 0, 0, 1, 0, 0, 0, 1];
    segment.extend([((20 + options.len()) / 4 * 16) as u8, flags, 1, 0xf5, 0, 0, 0, 0]);
    segment.extend(options);
    segment
}

/// A segment with the payload by which the bench's program counts its sequence number up.
fn data4() -> Vec<u8> {
    let mut segment = tcp(ACK, &[]);
    segment.resize(segment.len() + 1_000, 0);
    segment
}

fn tcp4(tags: usize, options: &[u8]) -> Vec<u8> {
    frame(0x0800, tags, &ipv4(6, &tcp(ACK, options)))
}

fn tcp4_of(flags: u8) -> Vec<u8> {
    frame(0x0800, 0, &ipv4(6, &tcp(flags, &[])))
}

fn udp4() -> Vec<u8> {
    frame(0x0800, 0, &ipv4(17, &[0x9c, 0x40, 0, 53, 0, 20, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]))
}

fn tcp6(flags: u8) -> Vec<u8> {
    let segment = tcp(flags, &[]);
    let mut packet = vec![0x60, 0, 0, 0, 0, segment.len() as u8, 6, 64];
    packet.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    packet.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    packet.extend(segment);
    frame(0x86dd, 0, &packet)
}

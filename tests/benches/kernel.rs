//! What a packet costs in the kernel: each program against the empty one of its kind, by repeated test runs, interleaved
//! in one series so that a machine whose speed drifts does not favour either. Medians.
//!
//! Run by `cargo xtask bench kernel`, which builds the bench object and names it in `NTA_BENCH_OBJECT`.

#![expect(clippy::print_stdout, reason = "the bench's result")]

use std::time::Duration;

use aya::programs::{ProgramError, SchedClassifier, TestRun as _, TestRunOptions, TestRunResult, Xdp};
use aya::{Ebpf, EbpfLoader};
use nta_common::Settings;

/// Test runs of one sample.
const REPEAT: u32 = 200_000;
/// Samples of each program.
const ROUNDS: usize = 15;
/// Flows that fit the maps, so that every run of a sample can make a new one.
const FLOWS: u32 = 4_000_000;
/// A map that is full after a moment.
const FEW_FLOWS: u32 = 64;
/// Settings of a 250 Hz kernel; the value does not matter for the cost.
const JIFFY_NS: u32 = 4_000_000;
const LOOPBACK: u32 = 1;

struct Case {
    name: &'static str,
    program: &'static str,
    frame: Vec<u8>,
    max_flows: u32,
}

fn main() {
    let Some(path) = std::env::var_os("NTA_BENCH_OBJECT") else {
        println!("not run: kernel bench: NTA_BENCH_OBJECT is not set, use `cargo xtask bench kernel`");
        return;
    };
    let object = std::fs::read(&path).expect("the bench object");
    let json = std::env::args().any(|arg| arg == "--json");
    let cases = |new: &'static str, data: &'static str, old: &'static str| {
        vec![
            Case { name: "tcp4-existing", program: old, frame: tcp4(0, &[]), max_flows: FEW_FLOWS },
            Case { name: "tcp4-timestamps", program: old, frame: tcp4(0, &TIMESTAMPS), max_flows: FEW_FLOWS },
            Case {
                name: "tcp4-data",
                program: data,
                frame: frame(0x0800, 0, &ipv4(6, &data4())),
                max_flows: FEW_FLOWS,
            },
            Case { name: "tcp4-new", program: new, frame: tcp4(0, &[]), max_flows: FLOWS },
            Case { name: "tcp6-existing", program: old, frame: tcp6(), max_flows: FEW_FLOWS },
            Case { name: "udp4-existing", program: old, frame: udp4(), max_flows: FEW_FLOWS },
            Case { name: "vlan-tcp4-existing", program: old, frame: tcp4(1, &[]), max_flows: FEW_FLOWS },
            Case { name: "tcp4-full-map", program: new, frame: tcp4(0, &[]), max_flows: FEW_FLOWS },
        ]
    };
    if !json {
        println!("{:<5} {:<20} {:>8} {:>16}", "prog", "case", "ns", "ns above empty");
    }
    for (kind, empty, cases) in [
        ("xdp", "nta_xdp_empty", cases("nta_xdp_new", "nta_xdp_data", "nta_xdp")),
        ("tc", "nta_tc_empty", cases("nta_tc_new", "nta_tc_data", "nta_tc_ingress")),
    ] {
        for case in cases {
            if std::env::var("NTA_BENCH_CASES").is_ok_and(|only| !only.split(',').any(|name| name == case.name)) {
                continue;
            }
            let (ns, above) = measure(&object, &case, empty);
            if json {
                let name = case.name;
                println!(r#"{{"program":"{kind}","case":"{name}","ns":{ns:.1},"ns_above_empty":{above:.1}}}"#);
            } else {
                println!("{kind:<5} {:<20} {ns:>8.1} {above:>16.1}", case.name);
            }
        }
    }
}

/// Medians of the program's time, and of its distance to the empty program in the same round.
fn measure(object: &[u8], case: &Case, empty: &str) -> (f64, f64) {
    let settings = Settings {
        interfaces: first(LOOPBACK),
        jiffy_ns: JIFFY_NS,
        events_per_second: [5000, 1000, 1000, 1000],
        ..Settings::default()
    };
    let mut ebpf = EbpfLoader::new()
        .override_global("SETTINGS", &settings, true)
        .map_max_entries("FLOWS4", case.max_flows)
        .map_max_entries("FLOWS6", case.max_flows)
        .load(object)
        .expect("the bench object loads");
    let mut times = Vec::new();
    let mut distances = Vec::new();
    load(&mut ebpf, empty);
    load(&mut ebpf, case.program);
    run(&ebpf, case.program, &case.frame);
    for _ in 0..ROUNDS {
        let base = run(&ebpf, empty, &case.frame);
        let ours = run(&ebpf, case.program, &case.frame);
        times.push(ours);
        distances.push(ours - base);
    }
    (median(&mut times), median(&mut distances))
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

fn run(ebpf: &Ebpf, name: &str, frame: &[u8]) -> f64 {
    let options = TestRunOptions { data_in: Some(frame), repeat: REPEAT, ..TestRunOptions::new() };
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

fn tcp(options: &[u8]) -> Vec<u8> {
    let mut segment = vec![0x9c, 0x40, 1, 187, 0, 0, 0, 1, 0, 0, 0, 1];
    segment.extend([((20 + options.len()) / 4 * 16) as u8, 0x10, 1, 0xf5, 0, 0, 0, 0]);
    segment.extend(options);
    segment
}

/// A segment with the payload by which the bench's program counts its sequence number up.
fn data4() -> Vec<u8> {
    let mut segment = tcp(&[]);
    segment.resize(segment.len() + 1_000, 0);
    segment
}

fn tcp4(tags: usize, options: &[u8]) -> Vec<u8> {
    frame(0x0800, tags, &ipv4(6, &tcp(options)))
}

fn udp4() -> Vec<u8> {
    frame(0x0800, 0, &ipv4(17, &[0x9c, 0x40, 0, 53, 0, 20, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]))
}

fn tcp6() -> Vec<u8> {
    let segment = tcp(&[]);
    let mut packet = vec![0x60, 0, 0, 0, 0, segment.len() as u8, 6, 64];
    packet.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    packet.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    packet.extend(segment);
    frame(0x86dd, 0, &packet)
}

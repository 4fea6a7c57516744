//! How long it takes to read the flow maps: 100,000 flows, all new, then all changed, then none changed; medians over
//! sources that were made anew. Needs root.
//!
//! Run by `cargo xtask bench drain`.
#![expect(clippy::print_stdout, reason = "the bench's result")]

use std::time::Instant;

use nta_daemon::source::replay::{Engine as _, KernelEngine};
use nta_daemon::source::{EventSettings, FlowSource as _};

const FLOWS: u32 = 100_000;
/// Holds 100,000 IPv4 flows and some.
const MAP_MEMORY_MIB: u64 = 96;
const ROUNDS: usize = 9;

fn main() {
    let json = std::env::args().any(|arg| arg == "--json");
    let mut ms = [const { Vec::new() }; 3];
    let mut flows = [0; 3];
    for _ in 0..ROUNDS {
        let mut engine = match KernelEngine::new("bench", MAP_MEMORY_MIB, None, EventSettings::default()) {
            Ok(engine) => engine,
            Err(error) => return println!("not run: drain bench: {error}"),
        };
        for case in 0..3 {
            if case < 2 {
                send(&mut engine);
            }
            let mut changed = 0_u32;
            let began = Instant::now();
            engine.drain(&mut |_| changed += 1).expect("the maps can be read");
            ms[case].push(began.elapsed().as_secs_f64() * 1000.0);
            flows[case] = changed;
        }
    }
    for ((case, ms), flows) in ["new", "changed", "unchanged"].into_iter().zip(ms).zip(flows) {
        let ms = median(ms);
        if json {
            println!(r#"{{"bench":"drain","case":"{case}","flows":{FLOWS},"updates":{flows},"ms":{ms:.2}}}"#);
        } else {
            println!("drain {case:<10} {FLOWS:>7} flows {flows:>7} updates {ms:>8.2} ms");
        }
    }
}

/// A packet of every flow.
fn send(engine: &mut KernelEngine) {
    let mut frame = vec![2; 12];
    frame.extend([8, 0, 0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 0, 198, 51, 100, 2]);
    frame.extend([0x9c, 0x40, 1, 187, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0xf5, 0, 0, 0, 0]);
    for n in 0..FLOWS {
        frame[26..30].copy_from_slice(&(0x0a00_0000 + n).to_be_bytes());
        engine.inject(1_000_000_000, 60, &frame).expect("the program runs");
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

//! How long it takes to read the flow maps: 100,000 flows, all new, then all changed, then none changed. Needs root.
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
    let mut engine = match KernelEngine::new("bench", MAP_MEMORY_MIB, false, EventSettings::default()) {
        Ok(engine) => engine,
        Err(error) => return println!("not run: drain bench: {error}"),
    };
    let drain = |engine: &mut KernelEngine| {
        let mut changed = 0_u32;
        let began = Instant::now();
        engine.drain(&mut |_| changed += 1).expect("the maps can be read");
        (began.elapsed().as_secs_f64() * 1000.0, changed)
    };
    send(&mut engine);
    let (new_ms, new) = drain(&mut engine);
    let (mut changed_ms, mut unchanged_ms) = (Vec::new(), Vec::new());
    let mut changed = 0;
    for _ in 0..ROUNDS {
        send(&mut engine);
        let (ms, count) = drain(&mut engine);
        changed_ms.push(ms);
        changed = count;
        unchanged_ms.push(drain(&mut engine).0);
    }
    for (case, ms, flows) in
        [("new", new_ms, new), ("changed", median(changed_ms), changed), ("unchanged", median(unchanged_ms), FLOWS)]
    {
        if json {
            println!(r#"{{"bench":"drain","case":"{case}","flows":{flows},"ms":{ms:.2}}}"#);
        } else {
            println!("drain {case:<10} {flows:>7} flows {ms:>8.2} ms");
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

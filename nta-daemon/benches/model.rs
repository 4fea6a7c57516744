//! What a model costs: loading it with every check, 10,000 rows judged at once, one row judged, one row's reasons. The
//! model is made here, of as many trees as a shipped one has. Needs the feature `xgboost`, and no rights.
//!
//! Run by `cargo xtask bench model`.
#![expect(clippy::print_stdout, reason = "the bench's result")]

use std::time::Instant;

use nta_core::model::{self, Class, Classifier, INPUTS, Input, Library as _, Manifest, Settings};
use nta_daemon::xgboost::{BUILT_IN, Xgboost};

const CLASSES: [&str; 12] = [
    "benign",
    "port_scan",
    "ssh_brute_force",
    "slowloris",
    "dns_tunnel",
    "syn_flood",
    "syn_flood_victim",
    "udp_flood",
    "udp_flood_victim",
    "icmp_flood",
    "icmp_flood_victim",
    "amplification_victim",
];
const ROWS: usize = 10_000;
const ROUNDS: usize = 15;

fn main() {
    let json = std::env::args().any(|arg| arg == "--json");
    if !BUILT_IN {
        println!("not run: support for models is not built in");
        return;
    }
    let rows = rows();
    let trained = match train(&rows) {
        Ok(trained) => trained,
        Err(error) => return println!("not run: {error}"),
    };
    let classes = CLASSES.map(|name| Class { name: name.to_owned(), threshold: 0.6, support: 0.6 });
    let manifest =
        serde_json::to_vec(&Manifest::new(&trained, classes.to_vec(), Xgboost.version())).unwrap_or_default();
    let load = || Classifier::load(&Xgboost, "bench", &manifest, &trained);
    let Ok(classifier) = load() else { return println!("not run: the model is refused") };
    let kib = trained.len() as f64 / 1024.0;
    let line = |step: &str, once: &mut dyn FnMut(usize)| {
        let mut times: Vec<f64> = (0..ROUNDS).map(|round| ms(|| once(round))).collect();
        times.sort_unstable_by(f64::total_cmp);
        let (median, longest) = (times[ROUNDS / 2], times[ROUNDS - 1]);
        if json {
            println!(
                r#"{{"bench":"model","step":"{step}","model_kib":{kib:.0},"ms":{median:.3},"longest_ms":{longest:.3}}}"#
            );
        } else {
            println!("model {step:<10} ({kib:.0} KiB) {median:>9.3} ms, longest {longest:.3} ms");
        }
    };
    line("load", &mut |_| drop(load()));
    line("10000 rows", &mut |_| drop(classifier.judge(&rows)));
    line("256 rows", &mut |round| drop(classifier.judge(&rows[round * 256..][..256])));
    line("1 row", &mut |round| drop(classifier.judge(&rows[round..=round])));
    line("reasons", &mut |round| drop(classifier.reasons(&rows[round..=round], &[1], 4)));
}

fn ms(work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    began.elapsed().as_secs_f64() * 1000.0
}

/// Rows of noise around a middle that depends on the class, so that trees grow to their full depth.
fn rows() -> Vec<Input> {
    let mut state = 1_u64;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let middle = |row: usize, input: usize| ((row % CLASSES.len()) * (input + 3) % 7) as f32 / 7.0;
    (0..ROWS).map(|row| std::array::from_fn::<f32, INPUTS, _>(|input| middle(row, input) + 2.0 * draw())).collect()
}

fn train(rows: &[Input]) -> Result<Vec<u8>, model::Refusal> {
    let labels: Vec<u16> = (0..rows.len()).map(|row| (row % CLASSES.len()) as u16).collect();
    let settings = [
        ("objective", "multi:softprob".to_owned()),
        ("num_class", CLASSES.len().to_string()),
        ("tree_method", "hist".to_owned()),
        ("max_depth", "5".to_owned()),
        ("nthread", "1".to_owned()),
    ];
    let settings = Settings { parameters: settings.to_vec(), rounds: 24 };
    Xgboost.train(rows, &labels, &vec![1.0; rows.len()], &settings, &mut |_| ())
}

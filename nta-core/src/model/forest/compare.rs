//! The forest held against scikit-learn's on the data sets of `tests/forest`.

use std::io::Read as _;

use serde_json::Value;

use super::{Params, train};

/// Largest difference of the mean areas under the ROC curve.
const TOLERANCE: f64 = 0.01;
/// Seeds of ours: with scikit-learn's 100, the means of areas that differ by 0.02 are good to 0.004.
const SEEDS: u64 = 40;
/// Rows with a label behind the values, as `tests/tools/isolation_forest.py` wrote them.
const SETS: [(&str, &[u8]); 3] = [
    ("clusters", include_bytes!("../../../../tests/forest/clusters.csv.gz")),
    ("moons", include_bytes!("../../../../tests/forest/moons.csv.gz")),
    ("breast_cancer", include_bytes!("../../../../tests/forest/breast_cancer.csv.gz")),
];

#[test]
fn areas_under_the_curve_and_scores_are_scikit_learns() {
    let expected: Value = serde_json::from_str(include_str!("../../../../tests/forest/expected.json")).expect("JSON");
    for (name, set) in SETS {
        let (rows, is_outlier) = read(set);
        let (mut area, mut mean) = (0.0, vec![0.0; rows.len()]);
        for seed in 0..SEEDS {
            let forest = train(&rows, &Params { seed, ..Params::default() }).expect("a forest");
            let scores = forest.scores(&rows).expect("scores");
            area += auc(&scores, &is_outlier) / SEEDS as f64;
            mean.iter_mut().zip(&scores).for_each(|(mean, score)| *mean += score / SEEDS as f64);
        }
        let theirs = &expected[name];
        let areas: Vec<f64> = theirs["auc"].as_array().expect("areas").iter().filter_map(Value::as_f64).collect();
        let their_area = areas.iter().sum::<f64>() / areas.len() as f64;
        assert!((area - their_area).abs() < TOLERANCE, "{name}: area {area:.4}, scikit-learn's {their_area:.4}");
        for (word, of) in [("usual", false), ("outliers", true)] {
            let scores: Vec<f64> = mean.iter().zip(&is_outlier).filter(|(_, is)| **is == of).map(|(m, _)| *m).collect();
            let (own, their) = (scores.iter().sum::<f64>() / scores.len() as f64, number(&theirs["mean_score"][word]));
            assert!((own - their).abs() < TOLERANCE, "{name}, {word}: score {own:.4}, scikit-learn's {their:.4}");
        }
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

/// Rows, and which of them are outliers.
fn read(set: &[u8]) -> (Vec<Vec<f64>>, Vec<bool>) {
    let mut text = String::new();
    flate2::read::GzDecoder::new(set).read_to_string(&mut text).expect("gzip");
    let line = |line: &str| {
        let mut row: Vec<f64> = line.split(',').map(|value| value.parse().expect("a number")).collect();
        let label = row.pop().expect("a label");
        (row, label > 0.5)
    };
    text.lines().map(line).unzip()
}

/// Area under the ROC curve: how often an outlier scores higher than an ordinary row, ties half.
fn auc(scores: &[f64], is_outlier: &[bool]) -> f64 {
    let of = |which: bool| scores.iter().zip(is_outlier).filter(move |(_, is)| **is == which).map(|(score, _)| *score);
    let wins: f64 = of(true)
        .map(|outlier| {
            of(false)
                .map(|usual| match outlier.total_cmp(&usual) {
                    std::cmp::Ordering::Greater => 1.0,
                    std::cmp::Ordering::Equal => 0.5,
                    std::cmp::Ordering::Less => 0.0,
                })
                .sum::<f64>()
        })
        .sum();
    wins / (of(true).count() * of(false).count()) as f64
}

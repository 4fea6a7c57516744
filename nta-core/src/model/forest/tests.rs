//! What a forest says, and what becomes of files that hold none.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};

use super::file::sealed;
use super::tree::{expected_cuts, max_depth};
use super::{IsolationForest, Manifest, Params, RowError, Schema, train};

fn schema() -> Schema {
    Schema { version: 1, features: ["a", "b", "c"].map(str::to_owned).into(), window_s: 30 }
}

/// Rows around the origin, of which the third value is always 7.
fn rows(count: usize) -> Vec<[f64; 3]> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(5);
    (0..count).map(|_| [random.random::<f64>(), random.random::<f64>() * 1e6, 7.0]).collect()
}

fn small() -> IsolationForest {
    let params = Params { trees: 5, samples: 16, ..Params::default() };
    train(&rows(200), &params).expect("a forest")
}

fn saved(forest: &IsolationForest) -> String {
    forest.to_json(forest.manifest(schema(), "a test")).expect("JSON")
}

fn load(text: &[u8]) -> Result<(IsolationForest, Manifest), String> {
    IsolationForest::from_json(text, &schema()).map_err(|refusal| refusal.to_string())
}

/// The average path length of the paper: 2 H(n-1) - 2 (n-1)/n with H(i) = ln i + 0.5772156649.
#[test]
fn expected_cuts_are_the_papers() {
    for (rows, expected) in [(0, 0.0), (1, 0.0), (2, 1.0), (3, 1.207_392_357), (256, 10.244_770_920)] {
        assert!((expected_cuts(rows) - expected).abs() < 1e-8, "{rows}: {}", expected_cuts(rows));
    }
    assert_eq!([1, 2, 3, 4, 5, 256, 257].map(max_depth), [0, 1, 2, 2, 3, 8, 9]);
}

#[test]
fn what_is_far_from_the_rest_scores_higher_and_its_feature_is_named() {
    let params = Params { quantile: 0.98, ..Params::default() };
    let forest = train(&rows(2_000), &params).expect("a forest");
    let inside = forest.explain(&[0.5, 5e5, 7.0]).expect("a score");
    let far = forest.explain(&[0.5, 5e7, 7.0]).expect("a score");
    assert!(inside.score < 0.5 && far.score > 0.6, "{} {}", inside.score, far.score);
    assert!(inside.score < forest.threshold() && far.score > forest.threshold(), "{}", forest.threshold());
    assert_eq!(far.top(1)[0].0, 1, "{far:?}");
    assert_eq!(far.contributions[2].to_bits(), 0.0_f64.to_bits(), "a feature that never differs is never cut");
}

#[test]
fn contributions_add_up_to_what_makes_the_score() {
    let forest = train(&rows(500), &Params::default()).expect("a forest");
    for row in [[0.5, 5e5, 7.0], [9.0, -3.0, 7.0], [0.0, 1e6, 0.0]] {
        let verdict = forest.explain(&row).expect("a verdict");
        let saved: f64 = verdict.contributions.iter().sum();
        let cuts = expected_cuts(256) - saved;
        assert!(((-cuts / expected_cuts(256)).exp2() - verdict.score).abs() < 1e-12);
        assert!((forest.score(&row).expect("a score") - verdict.score).abs() < 1e-12);
    }
}

#[test]
fn the_same_seed_gives_the_same_forest_and_another_another() {
    let train = |seed| train(&rows(300), &Params { seed, ..Params::default() }).expect("a forest");
    assert_eq!(saved(&train(3)), saved(&train(3)));
    assert_ne!(saved(&train(3)), saved(&train(4)));
}

#[test]
fn the_threshold_leaves_its_share_of_the_training_rows_above() {
    let rows = rows(1_000);
    let params = Params { quantile: 0.98, ..Params::default() };
    let forest = train(&rows, &params).expect("a forest");
    let scores = forest.scores(&rows).expect("scores");
    let above = scores.iter().filter(|score| **score > forest.threshold()).count();
    assert!((15..=20).contains(&above), "{above} of 1,000 above");
}

#[test]
fn rows_that_are_no_rows_are_refused_and_the_infinite_is_very_large() {
    let forest = small();
    assert_eq!(forest.score(&[1.0, f64::NAN, 1.0]), Err(RowError::NotANumber { index: 1 }));
    assert_eq!(forest.score(&[1.0]), Err(RowError::Width { found: 1, expected: 3 }));
    let [infinite, large] = [f64::INFINITY, 1e300].map(|value| forest.score(&[0.5, value, 7.0]).expect("a score"));
    assert_eq!(infinite.to_bits(), large.to_bits());

    let default = Params::default();
    assert_eq!(train(&[[1.0, f64::NAN]; 3], &default), Err(RowError::NotANumber { index: 1 }));
    assert_eq!(train(&[[1.0]], &default), Err(RowError::TooFew(1)));
    assert_eq!(train(&[vec![1.0], vec![1.0, 2.0]], &default), Err(RowError::Width { found: 2, expected: 1 }));
    let infinite = train(&[[1.0], [f64::INFINITY], [f64::NEG_INFINITY]], &default).expect("a forest");
    assert!(infinite.score(&[0.0]).expect("a score").is_finite());
    for params in [
        Params { trees: 0, ..default.clone() },
        Params { samples: 1, ..default.clone() },
        Params { quantile: f64::NAN, ..default },
    ] {
        assert!(matches!(train(&rows(10), &params), Err(RowError::Param { .. })), "{params:?}");
    }
}

/// Rows of which none differs from another, and rows that differ by less than a `f32` resolves.
#[test]
fn rows_that_are_all_alike_are_all_ordinary() {
    for rows in [[[1.0, 2.0], [1.0, 2.0]], [[1e9, 2.0], [1e9 + 1.0, 2.0]]] {
        let forest = train(&rows, &Params::default()).expect("a forest");
        let scores = forest.scores(&rows).expect("scores");
        assert_eq!(scores[0].to_bits(), scores[1].to_bits());
        assert!((scores[0] - 0.5).abs() < 1e-12);
    }
}

#[test]
fn a_forest_for_other_features_is_refused_by_name() {
    let text = saved(&small());
    let refused = |schema: &Schema| {
        let refusal = IsolationForest::from_json(text.as_bytes(), schema).expect_err("another schema");
        refusal.to_string()
    };
    let other = Schema { version: 2, ..schema() };
    assert_eq!(refused(&other), "trained on version 1 of the feature schema, this program has 2; train it again");
    let other = Schema { features: ["a", "x", "c"].map(str::to_owned).into(), ..schema() };
    assert!(refused(&other).contains("\"b\" where this program has \"x\""), "{}", refused(&other));
    let other = Schema { features: vec!["a".to_owned()], ..schema() };
    assert!(refused(&other).contains("3 features, this program has 1"), "{}", refused(&other));
    let other = Schema { window_s: 60, ..schema() };
    assert!(refused(&other).contains("windows of 30 s"), "{}", refused(&other));
}

#[test]
fn every_cut_off_file_and_every_changed_byte_is_refused() {
    let text = saved(&small());
    let bytes = text.trim_end().as_bytes();
    for end in 0..bytes.len() {
        assert!(load(&bytes[..end]).is_err(), "cut off at {end}");
    }
    let mut random = Xoshiro256PlusPlus::seed_from_u64(9);
    for _ in 0..20_000 {
        let mut bytes = bytes.to_vec();
        let at = random.random_range(0..bytes.len());
        let bit = 1 << random.random_range(0..8);
        bytes[at] ^= bit;
        if let Ok((read, _)) = load(&bytes) {
            // A digit of the format's number cannot change, nor the digest; what can is the space that is none.
            panic!("byte {at} changed to {:?}: {} rows", char::from(bytes[at]), read.rows());
        }
    }
    for length in [0, 1, 10, 1_000, 100_000] {
        let noise: Vec<u8> = (0..length).map(|_| random.random()).collect();
        assert!(load(&noise).is_err(), "{length} random bytes");
    }
    let nested = "[".repeat(1_000_000);
    assert!(load(nested.as_bytes()).is_err(), "a million brackets");
    assert!(load(format!("{{\"format\":1,\"sha256\":\"\",\"forest\":{nested}").as_bytes()).is_err());
}

/// Whoever makes a file by hand can seal it: what is in it is checked nevertheless.
#[test]
fn a_sealed_file_with_a_wrong_content_is_refused() {
    let forest = small();
    let file = |changed: &dyn Fn(&mut serde_json::Value)| {
        let file: serde_json::Value = serde_json::from_str(&saved(&forest)).expect("JSON");
        let mut body = file["forest"].clone();
        changed(&mut body);
        load(sealed(body.to_string()).expect("JSON").as_bytes())
    };
    assert_eq!(file(&|_| {}).expect("unchanged").0.trees.len(), 5);
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
    let tree = |text: &'static str| move |body: &mut serde_json::Value| body["trees"][1] = json(text);
    let deep = format!("[{}[16]]", "[0,1.5],".repeat(5));
    let deep: &'static str = deep.leak();
    for (text, says) in [
        ("[]", "tree 1: it ends in the middle"),
        ("[[0,1.5]]", "it ends in the middle"),
        ("[[0,1.5],[8]]", "it ends in the middle"),
        ("[[16],[1]]", "1 entries belong to no path"),
        ("[[0,1.5],[8],[8],[0,1.5]]", "1 entries belong to no path"),
        ("[[3,1.5],[8],[8]]", "feature 3, there are 3"),
        ("[[0,1e300],[8],[8]]", "not finite"),
        ("[[0,1.5],[8],[9]]", "the leaves hold 17 rows, the sample had 16"),
        ("[[0,1.5],[4294967295],[4294967295]]", "the leaves hold 4294967295 rows"),
        (deep, "more than 4 cuts"),
        ("[[-1,1.5],[8],[8]]", "damaged"),
        ("[[70000,1.5],[8],[8]]", "damaged"),
        ("[[0,null],[8],[8]]", "damaged"),
        ("[[8,8,8]]", "damaged"),
        ("[[0,1.5,3],[8],[8]]", "damaged"),
    ] {
        let refused = file(&tree(text)).expect_err(text);
        assert!(refused.contains(says), "{text}: {refused}");
    }
    for (key, value, says) in [
        ("algorithm", "\"xgboost\"", "a model of kind \"xgboost\""),
        ("trees", "4", "5 trees, the manifest says 4"),
        ("trees", "4000000000", "trees is 4000000000: expected 1 to 10000"),
        ("samples", "0", "samples is 0"),
        ("samples", "17", "the leaves hold 16 rows, the sample had 17"),
        ("rows", "1", "1 rows"),
        ("rows", "3", "more than 2 cuts"),
        ("threshold", "1.5", "threshold 1.5"),
        ("quantile", "-1", "quantile is -1"),
        ("seed", "-1", "damaged"),
        ("extra", "1", "unknown field `extra`"),
    ] {
        let refused = file(&|body| body["manifest"][key] = json(value)).expect_err(key);
        assert!(refused.contains(says), "{key}: {refused}");
    }
}

/// Numbers anywhere in a sealed file changed at random: refused, or a forest that scores within its range.
#[test]
fn a_sealed_file_with_random_numbers_never_ends_badly() {
    let forest = small();
    let text = saved(&forest);
    let file: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let body = file["forest"].to_string();
    let places: Vec<usize> = body.match_indices(|c: char| c.is_ascii_digit()).map(|(at, _)| at).collect();
    let mut random = Xoshiro256PlusPlus::seed_from_u64(11);
    let (mut read, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let mut body = body.clone().into_bytes();
        for _ in 0..random.random_range(1..4) {
            body[places[random.random_range(0..places.len())]] = b"0123456789-.e[],"[random.random_range(0..16)];
        }
        let body = String::from_utf8(body).expect("ASCII");
        // What is no JSON any more cannot be sealed.
        let Ok(text) = sealed(body) else { continue };
        match load(text.as_bytes()) {
            Ok((forest, _)) => {
                read += 1;
                let score = forest.score(&[0.3, 1e5, 7.0]).expect("a score");
                assert!((0.0..=1.0).contains(&score), "{score}");
            }
            Err(_) => refused += 1,
        }
    }
    assert!(read > 100 && refused > 100, "{read} read, {refused} refused");
}

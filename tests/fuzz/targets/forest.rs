//! The isolation forest out of a file: JSON of all kinds, and trees of arbitrary entries in a file that is sealed as the program
//! seals its own. What is taken scores every row between 0 and 1.
//!
//! An input begins with a byte: even, the rest is the forest's text; odd, the rest is numbers and entries of trees, see [`text`].

#![no_main]

use libfuzzer_sys::fuzz_target;
use nta_core::model::forest::IsolationForest;
use nta_core::model::sha256;

/// Bytes of one entry: its kind, the feature, the value.
const ENTRY: usize = 6;
/// Features of the rows of forests that are made here.
const WIDTH: usize = 3;

fuzz_target!(|input: &[u8]| {
    let Some((kind, rest)) = input.split_first() else { return };
    // As it is hardly anything comes past the digest.
    let _refused = IsolationForest::known(rest);
    let text = if kind % 2 == 0 { String::from_utf8_lossy(rest).trim().to_owned() } else { text(rest) };
    let file = format!(r#"{{"format":1,"sha256":"{}","forest":{text}}}"#, sha256(text.as_bytes()));
    let (forest, manifest) = match IsolationForest::known(file.as_bytes()) {
        Ok(taken) => taken,
        Err(refusal) => return assert!(!refusal.to_string().is_empty()),
    };
    assert!((0.0..=1.0).contains(&forest.threshold()));
    let width = manifest.schema.features.len();
    for value in [0.0, 1.0, -1e9, f64::from(f32::MAX)] {
        let row = vec![value; width];
        let score = forest.score(&row).expect("a row of its width");
        let verdict = forest.explain(&row).expect("a row of its width");
        assert!((0.0..=1.0).contains(&score), "a score of {score}");
        assert!((verdict.score - score).abs() < 1e-9 && verdict.contributions.len() == width);
    }
    assert!(forest.score(&vec![0.0; width + 1]).is_err());
    // Written again it is the same.
    let again = forest.to_json(manifest).expect("it was read");
    let (again, _) = IsolationForest::known(again.as_bytes()).expect("its own text");
    assert_eq!(again.fingerprint(), forest.fingerprint());
});

/// A forest's text: trees, samples and rows, one byte each, then entries; a byte of kind 255 begins the next tree.
fn text(bytes: &[u8]) -> String {
    let Some(([trees, samples, rows], entries)) = bytes.split_first_chunk::<3>() else { return String::new() };
    let mut text = String::from("[");
    for entry in entries.chunks_exact(ENTRY) {
        let feature = usize::from(entry[1]) % (WIDTH + 1);
        let value = f32::from_le_bytes([entry[2], entry[3], entry[4], entry[5]]);
        let comma = if text.ends_with('[') { "" } else { "," };
        text += &match entry[0] {
            255 => "],[".to_owned(),
            kind if kind % 2 == 0 => format!("{comma}[{}]", u32::from(entry[1])),
            _ if value.is_finite() => format!("{comma}[{feature},{value}]"),
            _ => format!("{comma}[{feature},1e300]"),
        };
    }
    let features = ["a", "b", "c"].map(|name| format!("\"{name}\"")).join(",");
    format!(
        r#"{{"manifest":{{"algorithm":"isolation_forest","schema":{{"version":1,"features":[{features}],"window_s":30}},
        "trained_from":"","rows":{rows},"seed":1,"trees":{trees},"samples":{samples},"quantile":0.99,"threshold":0.5}},
        "trees":[{text}]]}}"#
    )
}

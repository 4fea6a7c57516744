//! The classifier out of its two files: an arbitrary manifest, and an arbitrary model under a manifest that fits it. libxgboost,
//! which follows indices without a look, is not called: what comes so far would be given to it.
//!
//! An input begins with a byte: even, the rest is the manifest; odd, the model.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nta_core::model::{Booster, Class, Classifier, Input, Library, Manifest, Refusal, Settings, importance};

/// Takes everything.
struct Credulous;

#[derive(Debug)]
struct Empty;

impl Library for Credulous {
    fn version(&self) -> &'static str {
        "fuzz"
    }

    fn load(&self, _bytes: &[u8], _classes: usize) -> Result<Box<dyn Booster>, Refusal> {
        Ok(Box::new(Empty))
    }

    fn train(
        &self,
        _rows: &[Input],
        _labels: &[u16],
        _weights: &[f32],
        _settings: &Settings,
        _progress: &mut dyn FnMut(u32),
    ) -> Result<Vec<u8>, Refusal> {
        unreachable!("nothing is trained")
    }
}

impl Booster for Empty {
    fn margins(&self, _rows: &[Input]) -> Result<Vec<f32>, Refusal> {
        unreachable!("nothing is asked")
    }

    fn contributions(&self, _rows: &[Input], _classes: &[usize]) -> Result<Vec<Vec<f32>>, Refusal> {
        unreachable!("nothing is asked")
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, rest)) = input.split_first() else { return };
    if kind % 2 == 0 {
        let loaded = Classifier::load(&Credulous, "file", rest, b"");
        return assert!(loaded.err().is_none_or(|error| error.to_string().contains("file")));
    }
    // The names of classes are those of attacks, one for each alert.
    let names = ["benign", "port_scan", "syn_flood"];
    let class = |name: &str| Class { name: name.to_owned(), threshold: 0.9, support: 0.5 };
    let manifest = Manifest::new(rest, names.map(class).into(), "fuzz");
    let manifest = serde_json::to_vec(&manifest).expect("serializable");
    match Classifier::load(&Credulous, "file", &manifest, rest) {
        Ok(classifier) => {
            assert_eq!(classifier.class(2).name, names[2]);
            let shares = importance(rest).expect("it was walked through");
            assert!(shares.iter().all(|(_, share)| *share > 0.0 && share.is_finite()), "{shares:?}");
        }
        Err(error) => assert_eq!(error.to_string().lines().count(), 1, "{error}"),
    }
});

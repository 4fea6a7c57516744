//! The manifest beside a model: what it is for, what it was made from, how well it does.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Refusal, input_names};
use crate::domain::AlertKind;
use crate::features::SCHEMA_VERSION;

/// Version of the manifest's own form.
const FORMAT: u32 = 2;
/// What the class of hosts that do nothing wrong is called.
const BENIGN: &str = "benign";
/// What the name of a class of hosts that are attacked ends with.
const VICTIM: &str = "_victim";
/// Classes that a model may have.
const MAX_CLASSES: usize = 64;

/// What a model is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this form.
    pub format: u32,
    /// What asks the model: `xgboost`.
    pub algorithm: String,
    /// SHA-256 of the model's file, as hexadecimal digits.
    pub sha256: String,
    /// Version of the features.
    pub schema_version: u32,
    /// Names of its inputs, in order.
    pub inputs: Vec<String>,
    /// Its classes, in order; the first is `benign`.
    pub classes: Vec<Class>,
    /// What margins are divided by before they become probabilities.
    pub temperature: f64,
    /// What it was made from.
    pub recipe: Recipe,
    /// How well it does on rows that it was not trained with.
    pub metrics: Vec<ClassScore>,
    /// Version of XGBoost that trained it.
    pub xgboost_version: String,
    /// Version of the daemon that trained it.
    pub nta_version: String,
    /// When it was trained.
    pub created: String,
}

/// A class of hosts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// `benign`, an alert's type, or one with `_victim` behind it.
    pub name: String,
    /// Probability from which on the answer is this class, if nobody else says so; below it, it is "unknown". No harmless
    /// host of a source that the model had not seen reached it.
    pub threshold: f64,
    /// Probability from which on it supports a rule that says the same; of harmless hosts one an hour reached it.
    pub support: f64,
}

/// What a model was made from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// SHA-256 of the label file.
    pub labels_sha256: String,
    /// Captures that it was trained with.
    pub captures: usize,
    /// Captures kept back.
    pub captures_held_out: usize,
    /// Tools of the attacks that it was trained with, by class.
    pub tools: BTreeMap<String, Vec<String>>,
    /// Tools kept back, by class.
    pub tools_held_out: BTreeMap<String, Vec<String>>,
    /// Rows that it was trained with, by class.
    pub rows: BTreeMap<String, usize>,
    /// Length of a base window in seconds.
    pub window_s: f64,
    /// Seed of the split and the training.
    pub seed: u64,
    /// XGBoost's parameters.
    pub parameters: BTreeMap<String, String>,
}

/// How well a class is recognised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassScore {
    /// The class.
    pub class: String,
    /// Rows of it that were kept back.
    pub rows: usize,
    /// Right answers / answers; null without any.
    pub precision: Option<f64>,
    /// Right answers / rows; null without any.
    pub recall: Option<f64>,
    /// Harmonic mean of both.
    pub f1: Option<f64>,
    /// Rows of it with the answer "unknown".
    pub unknown: usize,
}

/// Which part a host has in an attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AttackRole {
    /// It attacks.
    Attacker,
    /// It is attacked.
    Victim,
}

impl Class {
    /// The name of the class of such hosts; `None` for those that do nothing wrong.
    pub fn name_of(attack: Option<(AlertKind, AttackRole)>) -> String {
        match attack {
            None => BENIGN.to_owned(),
            Some((kind, AttackRole::Attacker)) => kind.word().to_owned(),
            Some((kind, AttackRole::Victim)) => format!("{}{VICTIM}", kind.word()),
        }
    }

    /// The attack, and the host's part in it; `None` for benign.
    pub fn attack(&self) -> Option<(AlertKind, AttackRole)> {
        let attacker = AlertKind::named(&self.name).map(|kind| (kind, AttackRole::Attacker));
        let victim = || Some((AlertKind::named(self.name.strip_suffix(VICTIM)?)?, AttackRole::Victim));
        attacker.or_else(victim)
    }
}

impl Manifest {
    /// One for a model of this build, with everything about the training left blank.
    pub fn new(model: &[u8], classes: Vec<Class>, library: &str) -> Self {
        Self {
            format: FORMAT,
            algorithm: "xgboost".to_owned(),
            sha256: sha256(model),
            schema_version: SCHEMA_VERSION,
            inputs: input_names().map(str::to_owned).collect(),
            classes,
            temperature: 1.0,
            recipe: Recipe::default(),
            metrics: Vec::new(),
            xgboost_version: library.to_owned(),
            nta_version: env!("CARGO_PKG_VERSION").to_owned(),
            created: String::new(),
        }
    }

    /// From its JSON, if it is for this build.
    pub(super) fn parse(json: &[u8]) -> Result<Self, Refusal> {
        let manifest: Self = serde_json::from_slice(json).map_err(|error| Refusal::Manifest(error.to_string()))?;
        if manifest.format != FORMAT || manifest.algorithm != "xgboost" {
            let (format, algorithm) = (manifest.format, manifest.algorithm);
            return Err(Refusal::Manifest(format!("form {format} for {algorithm:?}, not {FORMAT} for \"xgboost\"")));
        }
        let same = manifest.inputs.iter().map(String::as_str).eq(input_names());
        if manifest.schema_version != SCHEMA_VERSION || !same {
            let describe = |version: u32, inputs: usize| format!("{version} with {inputs} inputs");
            let found = describe(manifest.schema_version, manifest.inputs.len());
            let expected = describe(SCHEMA_VERSION, super::INPUTS);
            let found = if found == expected { format!("{found} of other names") } else { found };
            return Err(Refusal::Schema { found, expected });
        }
        manifest.check_classes().map_err(Refusal::Manifest)?;
        Ok(manifest)
    }

    fn check_classes(&self) -> Result<(), String> {
        if !(2..=MAX_CLASSES).contains(&self.classes.len()) {
            return Err(format!("{} classes, not 2 to {MAX_CLASSES}", self.classes.len()));
        }
        let others = &self.classes[1..];
        if self.classes[0].name != BENIGN {
            return Err(format!("the first class is {:?}, not {BENIGN:?}", self.classes[0].name));
        }
        if let Some(class) = others.iter().find(|class| class.attack().is_none()) {
            return Err(format!("there is no attack {:?}", class.name));
        }
        let is_sound =
            |class: &&Class| 0.0 <= class.support && class.support <= class.threshold && class.threshold <= 1.0;
        if let Some(Class { name, threshold, support }) = self.classes.iter().find(|class| !is_sound(class)) {
            return Err(format!("the thresholds of {name} are {support} and {threshold}, not 0 to 1 in this order"));
        }
        if !(0.01..=100.0).contains(&self.temperature) {
            return Err(format!("a temperature of {}", self.temperature));
        }
        Ok(())
    }
}

/// The SHA-256 of bytes as hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

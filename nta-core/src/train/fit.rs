//! From rows to a model with its manifest.

use std::collections::{BTreeMap, BTreeSet};

use super::calibrate::Answers;
use super::rows::{Table, TrainingRow};
use super::split::{FOLDS, Part, Split};
use crate::domain::AlertKind;
use crate::model::{AttackRole, Class, Classifier, Input, Library, Manifest, Recipe, Refusal, Settings};

/// Rows that a class needs to be learned.
const MIN_ROWS: usize = 10;
/// Rounds; each adds a tree a class. More make the model larger, and hardly better on tools that it has not seen.
const ROUNDS: u32 = 24;
/// A class with so many times fewer rows than the mean weighs the square root of it more, within these bounds.
const WEIGHTS: std::ops::RangeInclusive<f64> = 0.1..=10.0;

/// A model, and what is to be known about it.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The model's file.
    pub model: Vec<u8>,
    /// What stands beside it; the label file's hash and the date are yet to be filled in.
    pub manifest: Manifest,
    /// Classes with too few rows to be learned: name and rows.
    pub too_few: BTreeMap<String, usize>,
}

/// Trains with the rows of the training captures, finds temperature and thresholds on each of their parts with a model of
/// the others, and says how the model does on the captures kept back. `progress` receives rounds done and rounds in all.
///
/// # Errors
/// If there is too little to learn from, or the library fails.
pub fn fit(
    library: &dyn Library,
    table: &Table,
    split: &Split,
    seed: u64,
    progress: &mut dyn FnMut(u32, u32),
) -> Result<Trained, Refusal> {
    let part = |row: &TrainingRow| split.parts[row.source];
    let training: Vec<&TrainingRow> = table.rows.iter().filter(|row| part(row) != Part::HeldOut).collect();
    let mut counts: BTreeMap<Option<(AlertKind, AttackRole)>, usize> = BTreeMap::new();
    for row in &training {
        *counts.entry(row.attack).or_default() += 1;
    }
    let (enough, too_few): (BTreeMap<_, _>, BTreeMap<_, _>) =
        counts.into_iter().partition(|(_, rows)| *rows >= MIN_ROWS);
    // Benign is `None`, which comes first.
    let classes: Vec<_> = enough.keys().copied().collect();
    if classes.first() != Some(&None) || classes.len() < 2 {
        return Err(Refusal::Manifest(format!("benign rows and those of an attack are needed, {MIN_ROWS} of each")));
    }
    let class = |row: &TrainingRow| classes.iter().position(|class| *class == row.attack).map(|class| class as u16);
    let weights = weights(&enough.values().copied().collect::<Vec<_>>());
    let settings = settings(classes.len(), seed);
    let in_all = (FOLDS as u32 + 1) * settings.rounds;
    let mut train = |before: u32, rows: &[&TrainingRow]| {
        let known = rows.iter().filter_map(|row| Some((row.input, class(row)?)));
        let (inputs, labels): (Vec<Input>, Vec<u16>) = known.unzip();
        let weights: Vec<f32> = labels.iter().map(|label| weights[usize::from(*label)]).collect();
        library.train(&inputs, &labels, &weights, &settings, &mut |round| progress(before + round, in_all))
    };
    let mut unseen = Answers::default();
    for fold in 0..FOLDS {
        let (out, rest): (Vec<&TrainingRow>, Vec<&TrainingRow>) =
            training.iter().copied().partition(|row| part(row) == Part::Training(fold));
        if out.is_empty() || rest.is_empty() {
            continue;
        }
        let bytes = train(fold as u32 * settings.rounds, &rest)?;
        ask(library, &bytes, &classes, &out, class, &mut unseen)?;
    }
    let model = train(FOLDS as u32 * settings.rounds, &training)?;
    let temperature = unseen.temperature();
    let thresholds = unseen.thresholds(temperature, classes.len());
    let mut held_out = Answers::default();
    let back: Vec<&TrainingRow> = table.rows.iter().filter(|row| part(row) == Part::HeldOut).collect();
    ask(library, &model, &classes, &back, class, &mut held_out)?;
    let named = |(class, threshold): (&_, &f64)| Class { name: Class::name_of(*class), threshold: *threshold };
    let mut manifest = Manifest::new(&model, classes.iter().zip(&thresholds).map(named).collect(), library.version());
    manifest.temperature = temperature;
    let names: Vec<String> = classes.iter().map(|class| Class::name_of(*class)).collect();
    manifest.metrics = held_out.scores(temperature, &thresholds, &names);
    manifest.recipe = Recipe {
        seed,
        rows: names.iter().cloned().zip(enough.into_values()).collect(),
        parameters: parameters(&settings),
        ..recipe(table, split)
    };
    let too_few = too_few.into_iter().map(|(class, rows)| (Class::name_of(class), rows)).collect();
    Ok(Trained { model, manifest, too_few })
}

/// What a model says of these rows.
fn ask(
    library: &dyn Library,
    bytes: &[u8],
    classes: &[Option<(AlertKind, AttackRole)>],
    rows: &[&TrainingRow],
    class: impl Fn(&TrainingRow) -> Option<u16>,
    answers: &mut Answers,
) -> Result<(), Refusal> {
    let blank = |class: &_| Class { name: Class::name_of(*class), threshold: 0.0 };
    let manifest = Manifest::new(bytes, classes.iter().map(blank).collect(), library.version());
    let manifest = serde_json::to_vec(&manifest).map_err(|error| Refusal::Manifest(error.to_string()))?;
    // Through the same checks as any other: a model that they refuse must not leave here.
    let model = Classifier::load(library, "just trained", &manifest, bytes).map_err(|error| error.reason)?;
    let inputs: Vec<Input> = rows.iter().map(|row| row.input).collect();
    let margins = model.margins(&inputs).map_err(|error| error.reason)?;
    for (margins, row) in margins.chunks(classes.len()).zip(rows) {
        if let Some(right) = class(row) {
            answers.push(margins, right);
        }
    }
    Ok(())
}

/// A row of a rare class weighs more, though not as much more as it is rarer.
fn weights(rows: &[usize]) -> Vec<f32> {
    let mean = rows.iter().sum::<usize>() as f64 / rows.len() as f64;
    let weight = |rows: &usize| (mean / *rows as f64).sqrt().clamp(*WEIGHTS.start(), *WEIGHTS.end()) as f32;
    rows.iter().map(weight).collect()
}

/// Shallow trees and few rounds: what they learn shall hold for tools that were not among the data.
fn settings(classes: usize, seed: u64) -> Settings {
    let text = |value: &str| value.to_owned();
    let parameters = vec![
        ("objective", text("multi:softprob")),
        ("num_class", classes.to_string()),
        ("base_score", text("0.5")),
        ("tree_method", text("hist")),
        ("max_bin", text("128")),
        ("max_depth", text("5")),
        ("eta", text("0.3")),
        ("subsample", text("0.8")),
        ("colsample_bytree", text("0.6")),
        ("min_child_weight", text("1")),
        ("lambda", text("2")),
        ("seed", (seed & i32::MAX as u64).to_string()),
        ("nthread", text("1")),
    ];
    Settings { parameters, rounds: ROUNDS }
}

fn parameters(settings: &Settings) -> BTreeMap<String, String> {
    let rounds = ("rounds".to_owned(), settings.rounds.to_string());
    settings.parameters.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).chain([rounds]).collect()
}

/// Captures and tools on both sides of the split.
fn recipe(table: &Table, split: &Split) -> Recipe {
    let mut tools: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut captures = [0; 2];
    for (source, part) in table.sources.iter().zip(&split.parts) {
        captures[usize::from(*part == Part::HeldOut)] += 1;
        if *part != Part::HeldOut {
            for word in &source.words {
                tools.entry(word.clone()).or_default().extend(source.tools.iter().cloned());
            }
        }
    }
    Recipe {
        captures: captures[0],
        captures_held_out: captures[1],
        tools: tools.into_iter().map(|(word, tools)| (word, tools.into_iter().collect())).collect(),
        tools_held_out: split.tools_held_out.clone(),
        ..Recipe::default()
    }
}

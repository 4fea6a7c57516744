//! From rows to a model with its manifest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use rand::SeedableRng as _;
use rand::rngs::Xoshiro256PlusPlus;

use super::calibrate::Answers;
use super::copies::copies;
use super::folds::{FoldModel, calibrated};
use super::one_feature::one_feature;
use super::rows::Table;
use super::split::{Part, Split};
use super::unseen::Unseen;
use super::weights::weights;
use crate::domain::AlertKind;
use crate::model::{AttackRole, Class, Classifier, Input, Library, Manifest, Recipe, Refusal, Settings, derive};

/// Rows that a class needs to be learned.
const MIN_ROWS: usize = 10;
/// Rounds; each adds a tree a class.
const ROUNDS: u32 = 40;

/// A model, and what is to be known about it.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The model's file.
    pub model: Vec<u8>,
    /// What stands beside it; the label file's hash and the date are yet to be filled in.
    pub manifest: Manifest,
    /// Classes with too few rows to be learned: name and rows.
    pub too_few: BTreeMap<String, usize>,
    /// How many attacks are found by models that had not seen their source, thresholds included.
    pub unseen: Unseen,
    /// How many the best rule of one input finds that was learned from the same captures.
    pub one_feature: Unseen,
    /// The models of all folds but one.
    pub folds: Vec<FoldModel>,
}

/// Rounds done and rounds in all.
pub type Progress<'a> = dyn FnMut(u32, u32) + Send + 'a;

/// Trains with the rows of the training captures. Temperature, thresholds and figures come from each fold's answers by a
/// model of the others, and where sources are known from captures of known sources alone.
///
/// # Errors
/// If there is too little to learn from, or the library fails.
pub fn fit(
    library: &dyn Library,
    table: &Table,
    split: &Split,
    seed: u64,
    progress: &mut Progress<'_>,
) -> Result<Trained, Refusal> {
    let lessons = Lessons::new(table, split, seed)?;
    let names: Vec<String> = lessons.classes.iter().map(|class| Class::name_of(*class)).collect();
    let trainer =
        Trainer { library, lessons: &lessons, table, split, names: &names, settings: settings(names.len(), seed) };
    let (model, answers, models) = trainer.train_all(progress)?;
    let temperature = answers.temperature();
    let classes = answers.thresholds(temperature, &names);
    let mut manifest = Manifest::new(&model, classes.clone(), library.version());
    manifest.temperature = temperature;
    manifest.metrics = answers.scores(temperature, &classes);
    manifest.recipe = trainer.recipe(split, seed);
    let own_recipe = |fold| trainer.recipe(&split.without(fold), seed);
    let folds = calibrated(models, (table, split), &answers, &manifest, own_recipe);
    let unseen = Unseen::new(table, split, &answers, (&manifest, &folds));
    let one_feature = one_feature(table, split, &answers);
    Ok(Trained { model, manifest, too_few: lessons.too_few, unseen, one_feature, folds })
}

type Attack = Option<(AlertKind, AttackRole)>;

/// What is learned from: rows and their copies.
struct Lessons {
    /// Harmless is `None`, which comes first.
    classes: Vec<Attack>,
    too_few: BTreeMap<String, usize>,
    /// Of each row of the table its class, if it is learned.
    labels: Vec<Option<u16>>,
    /// Rows and copies: the row's place, and what a model is asked.
    inputs: Vec<(usize, Input)>,
}

impl Lessons {
    fn new(table: &Table, split: &Split, seed: u64) -> Result<Self, Refusal> {
        let mut counts: BTreeMap<Attack, usize> = BTreeMap::new();
        for row in table.rows.iter().filter(|row| split.parts[row.source] != Part::HeldOut) {
            *counts.entry(row.attack).or_default() += 1;
        }
        let (enough, too_few): (BTreeMap<_, _>, BTreeMap<_, _>) =
            counts.into_iter().partition(|(_, rows)| *rows >= MIN_ROWS);
        let classes: Vec<_> = enough.keys().copied().collect();
        if classes.first() != Some(&None) || classes.len() < 2 {
            let needed = format!("benign rows and those of an attack are needed, {MIN_ROWS} of each");
            return Err(Refusal::Manifest(needed));
        }
        let label = |attack: &Attack| classes.iter().position(|class| class == attack).map(|class| class as u16);
        let labels: Vec<_> = table.rows.iter().map(|row| label(&row.attack)).collect();
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut inputs = Vec::new();
        for (place, row) in table.rows.iter().enumerate() {
            if split.parts[row.source] != Part::HeldOut && labels[place].is_some() {
                let all = copies(row, &mut random).into_iter();
                inputs.extend(all.map(|features| (place, derive(features, row.seconds))));
            }
        }
        let too_few = too_few.into_iter().map(|(class, rows)| (Class::name_of(class), rows)).collect();
        Ok(Self { classes, too_few, labels, inputs })
    }

    fn rows_by_class(&self, names: &[String], is_learned: impl Fn(usize) -> bool) -> BTreeMap<String, usize> {
        let learned: BTreeSet<usize> =
            self.inputs.iter().map(|(place, _)| *place).filter(|place| is_learned(*place)).collect();
        let mut rows = vec![0; names.len()];
        for label in learned.iter().filter_map(|place| self.labels[*place]) {
            rows[usize::from(label)] += 1;
        }
        names.iter().cloned().zip(rows).collect()
    }
}

struct Trainer<'a> {
    library: &'a dyn Library,
    lessons: &'a Lessons,
    table: &'a Table,
    split: &'a Split,
    names: &'a [String],
    settings: Settings,
}

impl Trainer<'_> {
    /// The model of all training captures, what models of the others say of each fold, and those models.
    fn train_all(&self, progress: &mut Progress<'_>) -> Result<(Vec<u8>, Answers, FoldModels), Refusal> {
        let (folds, harmless) = self.judged_folds();
        let all: Vec<usize> = folds.iter().chain(&harmless).copied().collect();
        let in_all = (all.len() as u32 + 1) * self.settings.rounds;
        let done = Mutex::new((0, progress));
        let round = |_| {
            let mut done = done.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            done.0 += 1;
            let now = done.0;
            (done.1)(now, in_all);
        };
        let next = AtomicUsize::new(0);
        let trained: Mutex<BTreeMap<usize, Result<JudgedFold, Refusal>>> = Mutex::default();
        let whole: Mutex<Option<Result<Vec<u8>, Refusal>>> = Mutex::default();
        let work = || loop {
            let at = next.fetch_add(1, Relaxed);
            if at == 0 {
                let model = self.train(|_| true, &mut { round });
                *whole.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(model);
            } else if let Some(fold) = all.get(at - 1) {
                let said = self.judge_fold(*fold, &mut { round });
                trained.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(*fold, said);
            } else {
                break;
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..std::thread::available_parallelism().map_or(1, usize::from) {
                scope.spawn(work);
            }
            work();
        });
        let none = || Err(Refusal::Library("it was not trained".to_owned()));
        let whole = whole.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        let model = whole.unwrap_or_else(none)?;
        let judged: BTreeSet<usize> = self.judged(&folds).collect();
        let seconds = judged.iter().map(|source| &self.table.sources[*source]).filter(|source| source.words.is_empty());
        let harmless_hours = seconds.fold(0.0, |sum, source| sum + source.seconds) / 3600.0;
        let mut answers = Answers { judged, harmless_hours, ..Answers::default() };
        let mut models = Vec::new();
        for (fold, said) in trained.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
            let (model, said) = said?;
            models.push((fold, model));
            for (place, margins, right) in said {
                if folds.contains(&fold) {
                    answers.push(place, &margins, right);
                } else if right == 0 {
                    answers.harmless.push(margins);
                }
            }
        }
        let back = self.ask(&model, |part| part == Part::HeldOut)?;
        back.into_iter().for_each(|(place, margins, right)| answers.push(place, &margins, right));
        Ok((model, answers, models))
    }

    /// Folds that are judged by a model of the others: those of known sources, or all where none is known; and beside them those
    /// without attacks, of which more is known about what is harmless.
    fn judged_folds(&self) -> (Vec<usize>, Vec<usize>) {
        let any_known = self.table.sources.iter().any(|source| !source.origin.is_empty());
        let (mut known, mut others, mut attacked) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for (source, part) in self.table.sources.iter().zip(&self.split.parts) {
            let Part::Training(fold) = part else { continue };
            let is_known = !any_known || !source.origin.is_empty();
            if is_known { &mut known } else { &mut others }.insert(*fold);
            if !source.words.is_empty() {
                attacked.insert(*fold);
            }
        }
        // One fold alone leaves nothing to train with.
        if self.split.folds.len() < 2 {
            return (Vec::new(), Vec::new());
        }
        let harmless = others.into_iter().filter(|fold| !known.contains(fold) && !attacked.contains(fold)).collect();
        (known.into_iter().collect(), harmless)
    }

    /// The captures that no model that judges them has seen.
    fn judged(&self, folds: &[usize]) -> impl Iterator<Item = usize> {
        let is_judged = |part: &Part| match part {
            Part::Training(fold) => folds.contains(fold),
            Part::HeldOut => true,
        };
        self.split.parts.iter().enumerate().filter(move |(_, part)| is_judged(part)).map(|(source, _)| source)
    }

    /// What a model of the captures that are not kept back is made from.
    fn recipe(&self, split: &Split, seed: u64) -> Recipe {
        let is_learned = |place: usize| split.parts[self.table.rows[place].source] != Part::HeldOut;
        Recipe {
            seed,
            rows: self.lessons.rows_by_class(self.names, is_learned),
            parameters: parameters(&self.settings),
            ..recipe(self.table, split)
        }
    }

    fn judge_fold(&self, fold: usize, round: &mut dyn FnMut(u32)) -> Result<JudgedFold, Refusal> {
        let model = self.train(|part| part != Part::Training(fold), round)?;
        let said = self.ask(&model, |part| part == Part::Training(fold))?;
        Ok((model, said))
    }

    fn train(&self, with: impl Fn(Part) -> bool, round: &mut dyn FnMut(u32)) -> Result<Vec<u8>, Refusal> {
        let source = |place: usize| self.table.rows[place].source;
        let chosen = self.lessons.inputs.iter().filter(|(place, _)| with(self.split.parts[source(*place)]));
        let known = chosen.filter_map(|(place, input)| Some((*place, *input, self.lessons.labels[*place]?)));
        let (mut inputs, mut labels, mut rows) = (Vec::new(), Vec::new(), Vec::new());
        for (place, input, label) in known {
            inputs.push(input);
            labels.push(label);
            rows.push((source(place), label));
        }
        self.library.train(&inputs, &labels, &weights(&rows), &self.settings, round)
    }

    /// What a model says of the rows of these captures, with the right answers.
    fn ask(&self, model: &[u8], of: impl Fn(Part) -> bool) -> Result<FoldAnswers, Refusal> {
        let rows = self.table.rows.iter().zip(&self.lessons.labels).enumerate();
        let rows = rows.filter(|(_, (row, _))| of(self.split.parts[row.source]));
        let rows: Vec<(usize, Input, u16)> = rows
            .filter_map(|(place, (row, label))| Some((place, derive(row.features, row.seconds), (*label)?)))
            .collect();
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let blank = |name: &String| Class { name: name.clone(), threshold: 0.0, support: 0.0 };
        let manifest = Manifest::new(model, self.names.iter().map(blank).collect(), self.library.version());
        let manifest = serde_json::to_vec(&manifest).map_err(|error| Refusal::Manifest(error.to_string()))?;
        // Through the same checks as any other: a model that they refuse must not leave here.
        let model = Classifier::load(self.library, "just trained", &manifest, model).map_err(|error| error.reason)?;
        let inputs: Vec<Input> = rows.iter().map(|(_, input, _)| *input).collect();
        let margins = model.margins(&inputs).map_err(|error| error.reason)?;
        let said = margins.chunks(self.names.len()).zip(rows);
        Ok(said.map(|(margins, (place, _, label))| (place, margins.to_vec(), label)).collect())
    }
}

/// Places in the table, margins and right answers.
type FoldAnswers = Vec<(usize, Vec<f32>, u16)>;

/// Folds, and the model of all others for each.
type FoldModels = Vec<(usize, Vec<u8>)>;

/// The model of all folds but one, and its answers for that one.
type JudgedFold = (Vec<u8>, FoldAnswers);

/// Shallow trees, none grown from a handful of rows: what they learn shall hold for sources that were not among the data.
fn settings(classes: usize, seed: u64) -> Settings {
    let text = |value: &str| value.to_owned();
    let parameters = vec![
        ("objective", text("multi:softprob")),
        ("num_class", classes.to_string()),
        ("base_score", text("0.5")),
        ("tree_method", text("hist")),
        ("max_depth", text("3")),
        ("eta", text("0.3")),
        ("min_child_weight", text("20")),
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

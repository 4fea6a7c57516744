//! From margins on captures whose source a model has not seen: the temperature that makes them probabilities, the
//! thresholds of each class, and how well it does.

use std::collections::BTreeSet;

use crate::model::{Class, ClassScore, softmax};

/// A class supports nobody below this, whatever harmless rows would allow: another one is about as likely.
const LEAST_SUPPORT: f64 = 0.5;
/// And is not said below this: there are more networks than those that harmless rows are of.
const LEAST: f64 = 0.9;
/// Highest threshold, for classes that harmless hosts are taken for with certainty.
const MOST: f64 = 0.9999;
/// The threshold of a class that no unseen source's attack was recognised as: it may support a rule and says nothing by itself.
const NEVER: f64 = 1.0;
/// A threshold stands so far above the harmless row that was likeliest, of the way that is left to 1: each source that is left
/// out of the training has rows beyond those of all others (docs/notes/MODELS.md).
const ABOVE: f64 = 0.3;
/// Beside a rule less is enough.
const ABOVE_SUPPORT: f64 = 0.05;
/// Harmless hosts in windows that may support a rule, an hour.
const FALSE_SUPPORT_PER_HOUR: f64 = 1.0;
/// Temperatures that are looked at, as powers of e.
const TEMPERATURES: std::ops::RangeInclusive<i32> = -20..=20;
const TEMPERATURE_STEP: f64 = 0.1;

/// Rows with the margins that a model gave them, and the right answers.
#[derive(Clone, Debug, Default)]
pub(super) struct Answers {
    pub(super) margins: Vec<Vec<f32>>,
    pub(super) right: Vec<u16>,
    /// Their places in the table.
    pub(super) places: Vec<usize>,
    /// Harmless rows of captures whose source is not known: they count for thresholds alone.
    pub(super) harmless: Vec<Vec<f32>>,
    /// The captures that were asked about, those without a row among them.
    pub(super) judged: BTreeSet<usize>,
    /// Length of the captures without attacks among them.
    pub(super) harmless_hours: f64,
}

impl Answers {
    /// Adds one.
    pub(super) fn push(&mut self, place: usize, margins: &[f32], right: u16) {
        self.margins.push(margins.to_vec());
        self.right.push(right);
        self.places.push(place);
    }

    /// Those that are not about these captures; `harmless_hours` is how long the others without an attack are.
    pub(super) fn without(
        &self,
        captures: &BTreeSet<usize>,
        of_row: impl Fn(usize) -> usize,
        harmless_hours: f64,
    ) -> Self {
        let mut others = Self { harmless: self.harmless.clone(), harmless_hours, ..Self::default() };
        others.judged = self.judged.difference(captures).copied().collect();
        for ((margins, right), place) in self.margins.iter().zip(&self.right).zip(&self.places) {
            if !captures.contains(&of_row(*place)) {
                others.push(*place, margins, *right);
            }
        }
        others
    }

    /// The likeliest class of each row, its probability, and the right one.
    pub(super) fn opinions(&self, temperature: f64) -> impl Iterator<Item = (usize, f64, usize)> {
        self.margins.iter().zip(&self.right).map(move |(margins, right)| {
            let (class, probability) = opinion(margins, temperature);
            (class, probability, usize::from(*right))
        })
    }

    /// The temperature under which the right answers were likeliest (log loss).
    pub(super) fn temperature(&self) -> f64 {
        let loss = |temperature: f64| -> f64 {
            let rows = self.margins.iter().zip(&self.right);
            let right = rows.map(|(margins, right)| softmax(margins, temperature).nth(usize::from(*right)));
            right.map(|p| -p.unwrap_or(0.0).max(1e-12).ln()).sum()
        };
        let candidates = TEMPERATURES.map(|step| (f64::from(step) * TEMPERATURE_STEP).exp());
        let losses = candidates.map(|temperature| (temperature, loss(temperature)));
        losses.min_by(|a, b| a.1.total_cmp(&b.1)).map_or(1.0, |(temperature, _)| temperature)
    }

    /// The classes with their thresholds: for an answer that nobody supports the probability that no harmless row reaches,
    /// for one that supports a rule that which one an hour does.
    pub(super) fn thresholds(&self, temperature: f64, names: &[String]) -> Vec<Class> {
        let allowed = (FALSE_SUPPORT_PER_HOUR * self.harmless_hours) as usize;
        let mut wrong = vec![Vec::new(); names.len()];
        let apart = self.harmless.iter().map(|margins| opinion(margins, temperature));
        let harmless = self.opinions(temperature).filter(|(_, _, right)| *right == 0).map(|(said, p, _)| (said, p));
        for (class, probability) in harmless.chain(apart) {
            wrong[class].push(probability);
        }
        let class = |(class, (name, mut wrong)): (usize, (&String, Vec<f64>))| {
            if class == 0 || self.right.is_empty() {
                // Without a likelier class a host is harmless; without answers nothing is known.
                let threshold = if class == 0 { 0.0 } else { MOST };
                return Class { name: name.clone(), threshold, support: threshold };
            }
            wrong.sort_by(|a, b| b.total_cmp(a));
            let beyond = |allowed: usize, above: f64, least: f64| {
                wrong.get(allowed).map_or(least, |p| beyond(*p, above).max(least))
            };
            let support = beyond(allowed, ABOVE_SUPPORT, LEAST_SUPPORT);
            let mut threshold = beyond(0, ABOVE, LEAST).max(support);
            if !self.opinions(temperature).any(|(said, p, right)| said == class && right == class && p >= threshold) {
                threshold = NEVER;
            }
            Class { name: name.clone(), threshold, support }
        };
        names.iter().zip(wrong).enumerate().map(class).collect()
    }

    /// How well each class is recognised with these thresholds; what is below its own counts as harmless.
    pub(super) fn scores(&self, temperature: f64, classes: &[Class]) -> Vec<ClassScore> {
        let mut recognised = vec![[0_usize; 4]; classes.len()]; // rows, recognised, rightly, unknown
        for (class, probability, right) in self.opinions(temperature) {
            let is_sure = probability >= classes[class].threshold;
            let answer = if is_sure { class } else { 0 };
            recognised[right][0] += 1;
            recognised[right][3] += usize::from(!is_sure);
            recognised[answer][1] += 1;
            recognised[answer][2] += usize::from(answer == right);
        }
        let score = |(class, [rows, recognised, right, unknown]): (&Class, [usize; 4])| {
            let share = |of: usize| (of > 0).then(|| right as f64 / of as f64);
            let (precision, recall) = (share(recognised), share(rows));
            let f1 = (rows > 0).then(|| 2.0 * right as f64 / (recognised + rows) as f64);
            ClassScore { class: class.name.clone(), rows, precision, recall, f1, unknown }
        };
        classes.iter().zip(recognised).map(score).collect()
    }
}

/// The likeliest class and its probability.
pub(super) fn opinion(margins: &[f32], temperature: f64) -> (usize, f64) {
    softmax(margins, temperature).enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or_default()
}

/// A little above a probability, rounded up to what a reader takes in.
fn beyond(probability: f64, above: f64) -> f64 {
    let above = probability + above * (1.0 - probability);
    ((above * 10_000.0).ceil() / 10_000.0).min(MOST)
}

#[cfg(test)]
mod tests {
    use super::Answers;

    fn says(margin: f32, temperature: f64) -> f64 {
        crate::model::softmax(&[0.0, margin], temperature).nth(1).expect("two classes")
    }

    #[test]
    fn margins_that_promise_too_much_are_cooled() {
        let mut answers = Answers::default();
        // Class 1 with margins for 99.9 %, right in three of four cases: it should say 75 %.
        for n in 0..400 {
            answers.push(0, &[0.0, 6.9], u16::from(n % 4 != 0));
        }
        let said = says(6.9, answers.temperature());
        assert!((said - 0.75).abs() < 0.05, "{said}");
    }

    #[test]
    fn no_harmless_row_reaches_the_threshold_and_one_an_hour_may_support() {
        let names = ["benign", "x"].map(str::to_owned);
        let mut answers = Answers { harmless_hours: 2.5, ..Answers::default() };
        // Five harmless rows that look like x, ever more surely; 100 that do not; attacks below and above them.
        [1.0, 1.5, 2.0, 2.5, 3.0].into_iter().for_each(|margin| answers.push(0, &[0.0, margin], 0));
        (0..100).for_each(|_| answers.push(0, &[3.0, 0.0], 0));
        [1.2, 2.2, 9.0, 9.0].into_iter().for_each(|margin| answers.push(0, &[0.0, margin], 1));
        let classes = answers.thresholds(1.0, &names);
        let (threshold, support) = (classes[1].threshold, classes[1].support);
        assert!(threshold > says(3.0, 1.0) && threshold < says(4.0, 1.0), "{threshold}");
        // A harmless row of a capture without a source raises the threshold as well.
        let apart = Answers { harmless: vec![vec![0.0, 5.0]], ..answers.clone() };
        assert!(apart.thresholds(1.0, &names)[1].threshold > says(5.0, 1.0));
        // Two of 2.5 hours: 3.0 and 2.5.
        assert!(support > says(2.0, 1.0) && support < says(2.5, 1.0), "{support}");
        assert_eq!((classes[0].threshold, classes[0].support), (0.0, 0.0));
        answers.right.iter_mut().for_each(|right| *right = 0);
        let never = answers.thresholds(1.0, &names)[1].threshold;
        assert!(never >= 1.0, "never recognised, never said: {never}");
        answers.right[105..].fill(1);
        let scores = answers.scores(1.0, &classes);
        assert_eq!(
            (scores[1].rows, scores[1].precision, scores[1].recall, scores[1].unknown),
            (4, Some(1.0), Some(0.5), 2)
        );
    }
}

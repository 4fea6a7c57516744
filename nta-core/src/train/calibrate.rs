//! From margins on captures that a model was not trained with: the temperature that makes them probabilities, the
//! threshold of each class, and how well it does.

use crate::model::{ClassScore, softmax};

/// Of the answers above a class' threshold, so many shall be right.
const PRECISION: f64 = 0.995;
/// Lowest threshold, whatever the training captures would allow: they have seen little of what is benign.
const LEAST: f64 = 0.9;
/// Highest threshold, for classes that are never recognised that well.
const MOST: f64 = 0.98;
/// Temperatures that are looked at, as powers of e.
const TEMPERATURES: std::ops::RangeInclusive<i32> = -20..=20;
const TEMPERATURE_STEP: f64 = 0.1;

/// Rows with the margins that a model gave them, and the right answers.
#[derive(Clone, Debug, Default)]
pub(super) struct Answers {
    pub(super) margins: Vec<Vec<f32>>,
    pub(super) right: Vec<u16>,
}

impl Answers {
    /// Adds one.
    pub(super) fn push(&mut self, margins: &[f32], right: u16) {
        self.margins.push(margins.to_vec());
        self.right.push(right);
    }

    /// The likeliest class of each row, its probability, and the right one.
    fn opinions(&self, temperature: f64) -> impl Iterator<Item = (usize, f64, usize)> {
        self.margins.iter().zip(&self.right).map(move |(margins, right)| {
            let best = softmax(margins, temperature).enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
            let (class, probability) = best.unwrap_or_default();
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

    /// For each class the lowest probability from which on its answers are right often enough.
    pub(super) fn thresholds(&self, temperature: f64, classes: usize) -> Vec<f64> {
        let opinions: Vec<_> = self.opinions(temperature).collect();
        let threshold = |class: usize| {
            if class == 0 {
                return 0.0; // without a likelier class a host is benign
            }
            let mut own: Vec<(f64, bool)> =
                opinions.iter().filter(|o| o.0 == class).map(|(_, p, right)| (*p, *right == class)).collect();
            own.sort_by(|a, b| b.0.total_cmp(&a.0));
            let (mut right, mut lowest) = (0, MOST);
            for (n, (probability, is_right)) in own.iter().enumerate() {
                right += u32::from(*is_right);
                if f64::from(right) >= PRECISION * (n + 1) as f64 {
                    lowest = *probability;
                }
            }
            // Rounded to what a reader takes in.
            (lowest.clamp(LEAST, MOST) * 1000.0).round() / 1000.0
        };
        (0..classes).map(threshold).collect()
    }

    /// How well each class is recognised with these thresholds; what is below its own counts as benign.
    pub(super) fn scores(&self, temperature: f64, thresholds: &[f64], names: &[String]) -> Vec<ClassScore> {
        let mut recognised = vec![[0_usize; 4]; names.len()]; // rows, recognised, rightly, unknown
        for (class, probability, right) in self.opinions(temperature) {
            let is_sure = probability >= thresholds[class];
            let answer = if is_sure { class } else { 0 };
            recognised[right][0] += 1;
            recognised[right][3] += usize::from(!is_sure);
            recognised[answer][1] += 1;
            recognised[answer][2] += usize::from(answer == right);
        }
        let scores = names.iter().zip(recognised);
        let score = |(class, [rows, recognised, right, unknown]): (&String, [usize; 4])| {
            let share = |of: usize| (of > 0).then(|| right as f64 / of as f64);
            let (precision, recall) = (share(recognised), share(rows));
            let f1 = (rows > 0).then(|| 2.0 * right as f64 / (recognised + rows) as f64);
            ClassScore { class: class.clone(), rows, precision, recall, f1, unknown }
        };
        scores.map(score).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Answers;

    #[test]
    fn margins_that_promise_too_much_are_cooled_and_wrong_answers_raise_the_threshold() {
        let mut answers = Answers::default();
        // Class 1 with margins for 99.9 %, right in three of four cases: it should say 75 %.
        for n in 0..400 {
            answers.push(&[0.0, 6.9], u16::from(n % 4 != 0));
        }
        let temperature = answers.temperature();
        let says = crate::model::softmax(&[0.0, 6.9], temperature).nth(1).expect("two classes");
        assert!((says - 0.75).abs() < 0.05, "{says}");
        // Sure answers that are right, beside those.
        for _ in 0..1000 {
            answers.push(&[0.0, 20.0], 1);
        }
        let sure = crate::model::softmax(&[0.0, 20.0], temperature).nth(1).expect("two classes");
        let threshold = answers.thresholds(temperature, 2)[1];
        assert!(threshold > says && threshold <= sure, "{says} {threshold} {sure}");
        let scores = answers.scores(temperature, &[0.0, threshold], &["benign".to_owned(), "x".to_owned()]);
        assert_eq!((scores[1].rows, scores[1].precision), (1300, Some(1.0)));
        assert!((scores[1].recall.expect("rows") - 1000.0 / 1300.0).abs() < 1e-9);
        assert_eq!((scores[0].rows, scores[0].unknown), (100, 100));
    }
}

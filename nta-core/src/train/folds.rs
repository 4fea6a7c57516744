//! Models that have not seen a source: one for each fold, of all others. Its thresholds come from the other folds' answers
//! as well, so that nothing about the captures that it is to judge is in it.

use std::collections::{BTreeMap, BTreeSet};

use super::calibrate::Answers;
use super::{Part, Split, Table};
use crate::model::{Manifest, Recipe, sha256};

/// The model of all folds but one.
#[derive(Clone, Debug)]
pub struct FoldModel {
    /// The fold that it has not seen, by its place in [`Split::folds`].
    pub fold: usize,
    /// The model's file.
    pub model: Vec<u8>,
    /// What stands beside it.
    pub manifest: Manifest,
    /// The captures of that fold, as labelled.
    pub captures: Vec<String>,
}

/// The folds' models with their thresholds; those of captures that are not judged are left out. `whole` is the manifest of the
/// model of all folds.
pub(super) fn calibrated(
    models: Vec<(usize, Vec<u8>)>,
    (table, split): (&Table, &Split),
    answers: &Answers,
    whole: &Manifest,
    recipe: impl Fn(usize) -> Recipe,
) -> Vec<FoldModel> {
    let mut by_fold: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (capture, part) in split.parts.iter().enumerate() {
        if let Part::Training(fold) = part
            && answers.judged.contains(&capture)
        {
            by_fold.entry(*fold).or_default().insert(capture);
        }
    }
    let names: Vec<String> = whole.classes.iter().map(|class| class.name.clone()).collect();
    let of_row = |place: usize| table.rows[place].source;
    let model = |(fold, model): (usize, Vec<u8>)| {
        let own = by_fold.get(&fold)?;
        let harmless = own.iter().map(|capture| &table.sources[*capture]).filter(|source| source.words.is_empty());
        let hours = answers.harmless_hours - harmless.fold(0.0, |sum, source| sum + source.seconds) / 3600.0;
        let others = answers.without(own, of_row, hours);
        let temperature = others.temperature();
        let manifest = Manifest {
            sha256: sha256(&model),
            classes: others.thresholds(temperature, &names),
            temperature,
            metrics: Vec::new(),
            recipe: recipe(fold),
            ..whole.clone()
        };
        let captures = own.iter().map(|capture| table.sources[*capture].file.clone()).collect();
        Some(FoldModel { fold, model, manifest, captures })
    };
    models.into_iter().filter_map(model).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Source, TrainingRow};
    use super::*;
    use crate::domain::AlertKind;
    use crate::features::FEATURES;
    use crate::model::{AttackRole, Class};

    #[test]
    fn what_a_fold_is_judged_by_comes_from_the_others() {
        let scan = Some((AlertKind::PortScan, AttackRole::Attacker));
        let source = |file: &str, is_attack: bool| Source {
            file: file.to_owned(),
            words: if is_attack { vec!["portscan".to_owned()] } else { Vec::new() },
            seconds: 3600.0,
            ..Source::default()
        };
        let row = |source, attack| TrainingRow { features: [0.0; FEATURES.len()].into(), seconds: 5.0, attack, source };
        let table = Table {
            sources: vec![source("a", true), source("b", false), source("c", true), source("d", false)],
            rows: vec![row(0, scan), row(1, None), row(2, scan), row(3, None)],
            ..Table::default()
        };
        let folds = ["x", "y"].map(str::to_owned).into();
        let parts = [0, 0, 1, 1].map(Part::Training).into();
        let split = Split { parts, folds, tools_held_out: BTreeMap::new() };
        let mut answers = Answers { judged: (0..4).collect(), harmless_hours: 2.0, ..Answers::default() };
        // The harmless host of the first fold looks much like a scanner, that of the second does not.
        for (place, margin, right) in [(0, 9.0, 1), (1, 4.0, 0), (2, 9.0, 1), (3, -4.0, 0)] {
            answers.push(place, &[0.0, margin], right);
        }
        let class = |name: &str| Class { name: name.to_owned(), threshold: 0.0, support: 0.0 };
        let whole = Manifest::new(b"", vec![class("benign"), class("port_scan")], "");
        let models = [0, 1].map(|fold| (fold, vec![fold as u8]));
        let folds = calibrated(models.into(), (&table, &split), &answers, &whole, |_| Recipe::default());
        let [first, second] = [&folds[0], &folds[1]];
        assert_eq!(
            (&first.captures, &second.captures),
            (&vec!["a".to_owned(), "b".into()], &vec!["c".to_owned(), "d".into()])
        );
        let threshold = |fold: &FoldModel| fold.manifest.classes[1].threshold;
        assert!(threshold(first) < threshold(second), "{} {}", threshold(first), threshold(second));
        assert_ne!(first.manifest.sha256, second.manifest.sha256);
    }
}

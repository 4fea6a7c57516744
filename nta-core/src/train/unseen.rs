//! Which attacks are found by models that have not seen their source: an attack is found when one window of its attacker or
//! victim says so, as surely as an alert needs.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::calibrate::{Answers, opinion};
use super::{FoldModel, Part, Split, Table};
use crate::domain::AlertKind;
use crate::evaluate::kind_of;
use crate::model::Manifest;

/// The attacks of a kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct KindFound {
    /// Captures with one.
    pub attacks: usize,
    /// Those in which it is found.
    pub found: usize,
    /// Captures in which a host is taken for it that is not.
    pub wrong: usize,
    /// Harmonic mean of precision and recall.
    pub f1: f64,
}

/// How attacks are found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Unseen {
    /// By the labels' words.
    pub kinds: BTreeMap<String, KindFound>,
    /// Mean of their F1.
    pub macro_f1: f64,
    /// Captures without attacks in which a host is taken for an attacker or a victim, and their hours.
    pub false_captures: usize,
    /// See `false_captures`.
    pub harmless_hours: f64,
}

impl Unseen {
    /// What the answers find, each by the thresholds of the fold's model that gave it; captures that were kept back by those
    /// of the whole.
    pub(super) fn new(
        table: &Table,
        split: &Split,
        answers: &Answers,
        (whole, folds): (&Manifest, &[FoldModel]),
    ) -> Self {
        let by_fold: BTreeMap<usize, &Manifest> = folds.iter().map(|fold| (fold.fold, &fold.manifest)).collect();
        let said = answers.places.iter().zip(&answers.margins).filter_map(|(place, margins)| {
            let manifest = match split.parts[table.rows[*place].source] {
                Part::Training(fold) => by_fold.get(&fold)?,
                Part::HeldOut => whole,
            };
            let (class, probability) = opinion(margins, manifest.temperature);
            let class = &manifest.classes[class];
            let (kind, _) = class.attack()?;
            (probability >= class.threshold).then_some((*place, kind))
        });
        Self::of(table, &answers.judged, said, answers.harmless_hours)
    }

    /// From the rows of the judged captures that were taken for an attack.
    pub(super) fn of(
        table: &Table,
        judged: &BTreeSet<usize>,
        said: impl Iterator<Item = (usize, AlertKind)>,
        harmless_hours: f64,
    ) -> Self {
        let (mut found, mut wrong) = (BTreeSet::new(), BTreeSet::new());
        for (place, kind) in said {
            let row = &table.rows[place];
            let is_right = row.attack.is_some_and(|(own, _)| own == kind);
            if is_right { &mut found } else { &mut wrong }.insert((row.source, kind));
        }
        let mut kinds: BTreeMap<String, KindFound> = BTreeMap::new();
        for source in judged {
            for word in &table.sources[*source].words {
                let Some(kind) = kind_of(word).filter(|kind| kind.shows_in_a_host()) else { continue };
                let entry = kinds.entry(word.clone()).or_default();
                entry.attacks += 1;
                entry.found += usize::from(found.contains(&(*source, kind)));
            }
        }
        for (word, entry) in &mut kinds {
            entry.wrong = wrong.iter().filter(|(_, kind)| kind_of(word) == Some(*kind)).count();
            entry.f1 = 2.0 * entry.found as f64 / (entry.found + entry.wrong + entry.attacks) as f64;
        }
        let macro_f1 = kinds.values().fold(0.0, |sum, kind| sum + kind.f1) / kinds.len().max(1) as f64;
        let in_harmless: BTreeSet<usize> = wrong.into_iter().map(|(source, _)| source).collect();
        let false_captures = in_harmless.iter().filter(|source| table.sources[**source].words.is_empty()).count();
        Self { kinds, macro_f1, false_captures, harmless_hours }
    }

    /// Attacks found, and all.
    pub fn total(&self) -> (usize, usize) {
        self.kinds.values().fold((0, 0), |(found, all), kind| (found + kind.found, all + kind.attacks))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Source, TrainingRow};
    use super::*;
    use crate::features::FEATURES;
    use crate::model::AttackRole;

    #[test]
    fn one_window_finds_an_attack_and_a_harmless_host_that_is_taken_for_it_is_wrong_once_a_capture() {
        let source = |word: &str| Source {
            words: if word.is_empty() { Vec::new() } else { vec![word.to_owned()] },
            ..Source::default()
        };
        let row = |source, attack| TrainingRow { features: [0.0; FEATURES.len()].into(), seconds: 5.0, attack, source };
        let flood = Some((AlertKind::SynFlood, AttackRole::Victim));
        let table = Table {
            sources: ["synflood", "synflood", "", "portscan", "arpspoof"].map(source).into(),
            // Of the second flood no row is left; of the scan one that is taken for a flood.
            rows: vec![
                row(0, flood),
                row(0, flood),
                row(2, None),
                row(2, None),
                row(3, Some((AlertKind::PortScan, AttackRole::Attacker))),
            ],
            ..Table::default()
        };
        let said = [1, 2, 3, 4].map(|place| (place, AlertKind::SynFlood));
        let unseen = Unseen::of(&table, &(0..5).collect(), said.into_iter(), 2.0);
        let flood = &unseen.kinds["synflood"];
        assert_eq!((flood.attacks, flood.found, flood.wrong), (2, 1, 2));
        // Precision 1/3, recall 1/2.
        assert!((flood.f1 - 0.4).abs() < 1e-9, "{}", flood.f1);
        assert_eq!((unseen.kinds["portscan"].found, unseen.kinds["portscan"].wrong, unseen.kinds.len()), (0, 0, 2));
        assert_eq!((unseen.total(), unseen.false_captures), ((1, 3), 1));
        assert!((unseen.macro_f1 - 0.2).abs() < 1e-9);
    }
}

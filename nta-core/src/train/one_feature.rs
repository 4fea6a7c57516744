//! The yardstick beside a model: for each kind of attack the one input, and the bound above or below which a host is taken
//! for it, that do best on the captures that the fold's model has learned from.

use std::collections::{BTreeMap, BTreeSet};

use super::calibrate::Answers;
use super::unseen::Unseen;
use super::{Part, Split, Table};
use crate::domain::AlertKind;
use crate::model::{AttackRole, INPUTS, Input, derive};

type Attack = (AlertKind, AttackRole);

/// What a capture's rows reach at most in one input.
#[derive(Clone, Copy, Debug)]
struct Reached {
    capture: usize,
    /// Of the rows that are the attack, and of all others; none is below everything.
    own: f32,
    others: f32,
}

/// A rule: a host is taken for the attack if its input, times the sign, is at least the bound.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rule {
    input: usize,
    sign: f32,
    bound: f32,
}

/// What such rules find in the captures that models were asked about: for each fold those that were learned from all other
/// captures that are learned from.
pub(super) fn one_feature(table: &Table, split: &Split, answers: &Answers) -> Unseen {
    let inputs: Vec<Input> = table.rows.iter().map(|row| derive(row.features, row.seconds)).collect();
    let attacks: BTreeSet<Attack> = table.rows.iter().filter_map(|row| row.attack).collect();
    let folds: BTreeSet<Option<usize>> = answers.judged.iter().map(|capture| fold(split.parts[*capture])).collect();
    let mut rules: BTreeMap<(Option<usize>, Attack), (f64, Rule)> = BTreeMap::new();
    for attack in attacks {
        for input in 0..INPUTS {
            for sign in [1.0, -1.0] {
                let mut reached = reached(table, &inputs, attack, (input, sign));
                reached.retain(|one| split.parts[one.capture] != Part::HeldOut);
                for fold_judged in &folds {
                    let learned = reached.iter().filter(|one| fold(split.parts[one.capture]) != *fold_judged);
                    let Some((f1, bound)) = best_bound(learned) else { continue };
                    let rule = Rule { input, sign, bound };
                    let best = rules.entry((*fold_judged, attack)).or_insert((f1, rule));
                    if f1 > best.0 {
                        *best = (f1, rule);
                    }
                }
            }
        }
    }
    let mut said = Vec::new();
    for place in &answers.places {
        let of = fold(split.parts[table.rows[*place].source]);
        for ((_, (kind, _)), (_, rule)) in rules.iter().filter(|((fold, _), _)| *fold == of) {
            if rule.sign * inputs[*place][rule.input] >= rule.bound {
                said.push((*place, *kind));
            }
        }
    }
    Unseen::of(table, &answers.judged, said.into_iter(), answers.harmless_hours)
}

/// The fold that must not be learned from; captures that were kept back are in none.
const fn fold(part: Part) -> Option<usize> {
    match part {
        Part::Training(fold) => Some(fold),
        Part::HeldOut => None,
    }
}

/// Each capture's values, largest first of either side.
fn reached(table: &Table, inputs: &[Input], attack: Attack, (input, sign): (usize, f32)) -> Vec<Reached> {
    let mut by_capture: BTreeMap<usize, Reached> = BTreeMap::new();
    for (row, values) in table.rows.iter().zip(inputs) {
        let none = Reached { capture: row.source, own: f32::NEG_INFINITY, others: f32::NEG_INFINITY };
        let one = by_capture.entry(row.source).or_insert(none);
        // A host on the other side of the same attack is no mistake.
        let side = match row.attack {
            Some(own) if own == attack => &mut one.own,
            Some((kind, _)) if kind == attack.0 => continue,
            _ => &mut one.others,
        };
        *side = side.max(sign * values[input]);
    }
    by_capture.into_values().collect()
}

/// The bound with the best F1 by captures, and that F1: found are attacks that reach it, wrong are captures of which a host does
/// that is none. It stands between the values that it divides.
fn best_bound<'a>(learned: impl Iterator<Item = &'a Reached>) -> Option<(f64, f32)> {
    let mut values: Vec<(f32, bool)> = Vec::new();
    let mut attacks = 0_usize;
    for one in learned {
        attacks += usize::from(one.own > f32::NEG_INFINITY);
        values
            .extend([(one.own, true), (one.others, false)].into_iter().filter(|(value, _)| *value > f32::NEG_INFINITY));
    }
    values.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    let (mut found, mut wrong, mut best) = (0, 0, None);
    for (at, (value, is_attack)) in values.iter().enumerate() {
        let count = if *is_attack { &mut found } else { &mut wrong };
        *count += 1;
        let below = values.get(at + 1).map_or(*value, |(next, _)| *next);
        if below >= *value && at + 1 < values.len() {
            continue;
        }
        let f1 = 2.0 * f64::from(found) / (f64::from(found + wrong) + attacks as f64);
        if found > 0 && best.is_none_or(|(f1_before, _)| f1 > f1_before) {
            best = Some((f1, f32::midpoint(*value, below)));
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reached(capture: usize, own: f32, others: f32) -> Reached {
        Reached { capture, own, others }
    }

    #[test]
    fn a_bound_stands_where_most_attacks_and_fewest_others_are_beyond_it() {
        let none = f32::NEG_INFINITY;
        let all = [
            reached(0, 9.0, 1.0),
            reached(1, 7.0, none),
            reached(2, 2.0, none),
            reached(3, none, 5.0),
            reached(4, none, 5.0),
        ];
        let (f1, bound) = best_bound(all.iter()).expect("a bound");
        // Two of three found, none wrong: between 7 and 5.
        assert!((f1 - 0.8).abs() < 1e-9 && (bound - 6.0).abs() < 1e-6, "{f1} {bound}");
        // Equal values are on one side together.
        let (f1, _) = best_bound([reached(0, 3.0, none), reached(1, none, 3.0)].iter()).expect("a bound");
        assert!((f1 - 2.0 / 3.0).abs() < 1e-9, "{f1}");
        assert_eq!(best_bound([reached(0, none, 1.0)].iter()), None, "no attack, no rule");
    }
}

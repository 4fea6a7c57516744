//! What detectors state about themselves is consistent with the registry, the documents and each other.

use std::collections::{BTreeMap, BTreeSet};

use super::{Basis, Cost, DetectConfig, FlowUse, Rates, Scope, declarations, detectors};
use crate::window::Span;

#[test]
fn a_declaration_has_a_section_a_document_and_a_name_of_its_own() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/DETECTORS.md");
    let document = std::fs::read_to_string(path).expect("docs/DETECTORS.md");
    let sections: BTreeSet<String> = DetectConfig::default().sections().iter().map(|one| one.name.to_owned()).collect();
    let mut names = BTreeSet::new();
    for declaration in declarations() {
        let name = declaration.name;
        assert!(names.insert(name), "{name} is declared twice");
        assert!(sections.contains(&format!("detect.{name}")), "{name} has no section of the configuration");
        let (heading, row) = (format!("`{name}`"), format!("| `{name}` |"));
        let is_reported = |line: &str| line.starts_with(&row) || line.starts_with('#') && line.contains(&heading);
        assert!(document.lines().any(is_reported), "{name} is not in docs/DETECTORS.md");
    }
    // What is switched on without a model is what is declared as rules, in the same order.
    let rules: Vec<_> = declarations().into_iter().filter(|declaration| declaration.basis == Basis::Rule).collect();
    let made: Vec<_> = detectors(&DetectConfig::default()).iter().map(|detector| detector.declaration()).collect();
    assert_eq!(made, rules);
}

#[test]
fn what_a_detector_declares_fits_together() {
    let mut turns: BTreeMap<u8, &str> = BTreeMap::new();
    for declaration in declarations() {
        let name = declaration.name;
        let mut spans = declaration.spans.to_vec();
        spans.dedup();
        assert!(!spans.is_empty() && spans == declaration.spans && spans.is_sorted(), "{name}: {spans:?}");
        // Only base windows have flows, and no stored window has.
        if declaration.flows != FlowUse::Unused {
            assert_eq!(declaration.spans, [Span::Base], "{name} takes flows");
            assert_eq!(declaration.scope, Scope::Hosts, "{name} takes flows");
        }
        // The API judges stored windows of 30 s.
        if declaration.scope == Scope::Network {
            assert!(declaration.judges(Span::Medium), "{name} judges the network");
        }
        // A model learned from whole windows.
        if declaration.basis == Basis::Model {
            assert_eq!(declaration.rates, Rates::Compared, "{name} is a model");
        }
        if let Cost::Long(turn) = declaration.cost {
            let other = turns.insert(turn, name);
            assert_eq!(other, None, "{name} has the same turn");
        }
    }
    assert!(turns.keys().copied().eq(1..=turns.len() as u8), "turns are numbered from 1: {turns:?}");
}

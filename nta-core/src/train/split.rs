//! Which captures a model is trained with, and which are kept back to see how it does: by tool and by scenario, never by
//! row, as the rows of a capture resemble each other.

use std::collections::{BTreeMap, BTreeSet};

use super::Source;
use crate::model::sha256;

/// Parts of the training captures, each judged by a model trained with the others, for thresholds.
pub(super) const FOLDS: u64 = 4;
/// Of an attack made by one tool only, and of benign captures, one of so many is kept back.
const ONE_OF: u64 = 4;

/// What a capture is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// To train with; the number is its fold.
    Training(u64),
    /// To see how the model does.
    HeldOut,
}

/// What each capture is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// One for each capture.
    pub parts: Vec<Part>,
    /// Tools kept back, by attack.
    pub tools_held_out: BTreeMap<String, Vec<String>>,
}

/// Keeps back the tools named, or with none named, of each attack with two tools or more one that the seed chooses.
pub fn split(sources: &[Source], seed: u64, tools: &[String]) -> Split {
    let mut by_word: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for source in sources {
        for word in &source.words {
            by_word
                .entry(word)
                .or_default()
                .extend(source.tools.iter().map(String::as_str).filter(|tool| *tool != "-"));
        }
    }
    let mut held: BTreeMap<&str, &str> = BTreeMap::new();
    for (word, known) in by_word.iter().filter(|(_, known)| tools.is_empty() && known.len() > 1) {
        if let Some(tool) = known.iter().min_by_key(|tool| draw(seed, &format!("{word} {tool}"))) {
            held.insert(word, tool);
        }
    }
    let is_held = |source: &Source| {
        let named = source.tools.iter().any(|tool| tools.contains(tool));
        let chosen = source
            .words
            .iter()
            .any(|word| held.get(word.as_str()).is_some_and(|tool| source.tools.iter().any(|own| own == tool)));
        // Classes with one tool only are split by scenario.
        let by_scenario = !source.words.iter().any(|word| held.contains_key(word.as_str()) || !tools.is_empty());
        named || chosen || by_scenario && draw(seed, &source.file).is_multiple_of(ONE_OF)
    };
    let part = |source: &Source| match is_held(source) {
        true => Part::HeldOut,
        false => Part::Training(draw(seed, &format!("fold {}", source.file)) % FOLDS),
    };
    let mut tools_held_out: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (word, known) in &by_word {
        let back = |tool: &&&str| held.get(word) == Some(*tool) || tools.iter().any(|named| named == **tool);
        let back: Vec<String> = known.iter().filter(back).map(|tool| (*tool).to_owned()).collect();
        if !back.is_empty() {
            tools_held_out.insert((*word).to_owned(), back);
        }
    }
    Split { parts: sources.iter().map(part).collect(), tools_held_out }
}

/// A number that is the same for a seed and a name everywhere and always.
fn draw(seed: u64, name: &str) -> u64 {
    u64::from_str_radix(&sha256(format!("{seed} {name}").as_bytes())[..15], 16).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(file: &str, word: &str, tool: &str) -> Source {
        let some = |text: &str| if text.is_empty() { Vec::new() } else { vec![text.to_owned()] };
        Source { file: file.to_owned(), words: some(word), tools: some(tool) }
    }

    fn sources() -> Vec<Source> {
        let scan =
            |n: usize| source(&format!("scan{n}"), "portscan", if n.is_multiple_of(2) { "nmap" } else { "masscan" });
        let benign = |n: usize| source(&format!("benign{n}"), "", "");
        (0..20).map(scan).chain((0..40).map(benign)).collect()
    }

    #[test]
    fn a_tool_is_kept_back_whole() {
        let sources = sources();
        let split = split(&sources, 1, &[]);
        let back = &split.tools_held_out["portscan"][0];
        for (source, part) in sources.iter().zip(&split.parts).filter(|(source, _)| !source.words.is_empty()) {
            assert_eq!(*part == Part::HeldOut, source.tools[0] == *back, "{source:?}");
        }
        let benign = split.parts[20..].iter().filter(|part| **part == Part::HeldOut).count();
        assert!((4..=18).contains(&benign), "{benign} of 40");
    }

    #[test]
    fn tools_can_be_named() {
        let sources = sources();
        let split = split(&sources, 1, &["nmap".to_owned()]);
        assert_eq!(split.tools_held_out["portscan"], ["nmap"]);
        assert!((0..20).all(|n| (split.parts[n] == Part::HeldOut) == n.is_multiple_of(2)));
    }
}

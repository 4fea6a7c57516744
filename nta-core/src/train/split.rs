//! Which captures a model is trained with, and which it is judged by: by where they come from and what made them, never
//! by row or file, as those of one author resemble each other.

use std::collections::{BTreeMap, BTreeSet};

use super::Source;
use crate::model::sha256;

/// Parts of the sources without attacks: there are many, and each is known by the others.
const HARMLESS_FOLDS: u64 = 4;
/// Sources and tools beyond this share folds: each costs a training.
const MAX_FOLDS: u64 = 48;

/// What a capture is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// To train with; it is judged by a model that was trained without its fold.
    Training(usize),
    /// To see how the model does.
    HeldOut,
}

/// What each capture is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// One for each capture.
    pub parts: Vec<Part>,
    /// What is in each fold.
    pub folds: Vec<String>,
    /// Tools kept back, by attack.
    pub tools_held_out: BTreeMap<String, Vec<String>>,
}

impl Split {
    /// With a fold kept back as well.
    pub(super) fn without(&self, fold: usize) -> Self {
        let mut split = self.clone();
        for part in split.parts.iter_mut().filter(|part| **part == Part::Training(fold)) {
            *part = Part::HeldOut;
        }
        split
    }
}

/// Puts each source with attacks, or each tool where the source is not known, into a fold of its own; keeps back the captures of
/// the tools named.
pub fn split(sources: &[Source], seed: u64, tools: &[String]) -> Split {
    let attacking: BTreeSet<String> =
        sources.iter().filter(|source| !source.words.is_empty()).map(|source| group(source, seed)).collect();
    let crowded = attacking.len() as u64 > MAX_FOLDS;
    let fold = |source: &Source| {
        let group = group(source, seed);
        match attacking.contains(&group) {
            true if crowded => format!("sources {}", draw(seed, &group) % MAX_FOLDS + 1),
            true => group,
            false => {
                let what = if source.origin.is_empty() { "captures" } else { "sources" };
                format!("harmless {what} {}", draw(seed, &group) % HARMLESS_FOLDS + 1)
            }
        }
    };
    let names: Vec<String> = sources.iter().map(fold).collect();
    let folds: Vec<String> = names.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect();
    let is_held = |source: &Source| source.tools.iter().any(|tool| tools.contains(tool));
    let part = |(source, name): (&Source, &String)| match folds.binary_search(name) {
        Ok(fold) if !is_held(source) => Part::Training(fold),
        _ => Part::HeldOut,
    };
    let mut tools_held_out: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources {
        for word in source.words.iter().filter(|_| is_held(source)) {
            let back = source.tools.iter().filter(|tool| tools.contains(tool)).cloned();
            tools_held_out.entry(word.clone()).or_default().extend(back);
        }
    }
    Split {
        parts: sources.iter().zip(&names).map(part).collect(),
        folds,
        tools_held_out: tools_held_out.into_iter().map(|(word, tools)| (word, tools.into_iter().collect())).collect(),
    }
}

/// What a capture must not be apart from: all of its source, or all that its tool made.
fn group(source: &Source, seed: u64) -> String {
    match (source.origin.as_str(), source.tools.first()) {
        ("", Some(tool)) => format!("tool {tool}"),
        // Nothing is known: neighbours in a folder are likely to be of one author, but every capture may be its own.
        ("", None) => format!("capture {}", draw(seed, &source.file)),
        (origin, _) => origin.to_owned(),
    }
}

/// A number that is the same for a seed and a name everywhere and always.
fn draw(seed: u64, name: &str) -> u64 {
    u64::from_str_radix(&sha256(format!("{seed} {name}").as_bytes())[..15], 16).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(file: &str, word: &str, tool: &str, origin: &str) -> Source {
        let some = |text: &str| if text.is_empty() { Vec::new() } else { vec![text.to_owned()] };
        let (words, tools) = (some(word), some(tool));
        Source { file: file.to_owned(), words, tools, origin: origin.to_owned(), seconds: 10.0 }
    }

    fn sources() -> Vec<Source> {
        let scan = |n: usize| source(&format!("scan{n}"), "portscan", ["nmap", "masscan"][n % 2], "");
        let public =
            |n: usize| source(&format!("public{n}"), ["synflood", ""][n % 2], "hping3", ["a/b", "c/d"][n / 2 % 2]);
        let benign = |n: usize| source(&format!("benign{n}"), "", "", "");
        (0..8).map(scan).chain((0..8).map(public)).chain((0..40).map(benign)).collect()
    }

    #[test]
    fn what_is_of_one_source_or_tool_is_judged_by_a_model_that_knows_none_of_it() {
        let sources = sources();
        let split = split(&sources, 1, &[]);
        assert_eq!(split.tools_held_out, BTreeMap::new());
        for (a, part_a) in sources.iter().zip(&split.parts) {
            for (b, part_b) in sources.iter().zip(&split.parts) {
                let same =
                    if a.origin.is_empty() { b.origin.is_empty() && a.tools == b.tools } else { a.origin == b.origin };
                if same && !(a.tools.is_empty() && a.origin.is_empty()) {
                    assert_eq!(part_a, part_b, "{a:?} {b:?}");
                }
            }
        }
        let named = |fold: &str| split.folds.iter().any(|name| name == fold);
        assert!(["tool nmap", "tool masscan", "a/b", "c/d"].into_iter().all(named), "{:?}", split.folds);
        assert!(split.folds.len() <= 4 + HARMLESS_FOLDS as usize);
    }

    #[test]
    fn tools_can_be_kept_back() {
        let sources = sources();
        let split = split(&sources, 1, &["nmap".to_owned()]);
        assert_eq!(split.tools_held_out["portscan"], ["nmap"]);
        assert!((0..8).all(|n| (split.parts[n] == Part::HeldOut) == n.is_multiple_of(2)));
    }
}

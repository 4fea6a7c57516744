//! `evaluate --folds`: rules, models that have not seen a capture's source, and both together, on the same captures.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::process::ExitCode;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::evaluate::{Missing, replay_all};
use super::folds::Folds;
use super::labelled::Common;
use super::{EXIT_USAGE, fail};
use crate::config::Config;
use nta_core::evaluate::{AttackScore, Judges, Label, Report, score};
use nta_core::model::Models;

/// What each of them finds.
#[derive(Debug, Serialize)]
struct Comparison {
    /// Rules alone.
    rules: Report,
    /// Models alone, each on the captures of a source that it has not seen.
    xgboost: Report,
    /// Both.
    fused: Report,
    /// Attacks that both find together and rules miss: capture and label.
    gained: Vec<[String; 2]>,
    /// Attacks that rules find and both together miss.
    lost: Vec<[String; 2]>,
    /// Labelled captures that are in no figure, as every model has learned from them.
    left_out: usize,
}

/// Who judges in a column.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Column {
    Rules,
    Xgboost,
    Fused,
}

pub(super) fn compare(
    labels: Vec<Label>,
    folds: &Folds,
    (config, common, missing): (&Config, &Common, Missing),
    stop: &CancellationToken,
) -> Result<ExitCode, ExitCode> {
    let (labels, others): (Vec<Label>, Vec<Label>) =
        labels.into_iter().partition(|label| folds.model(&label.file).is_some());
    let files = files(&labels);
    if files.is_empty() {
        return Err(fail(EXIT_USAGE, &"the folds have a model for none of the labelled captures"));
    }
    let column = |column| judged(column, (&labels, &files), folds, (config, common), stop);
    let (rules, xgboost, fused) = (column(Column::Rules), column(Column::Xgboost), column(Column::Fused));
    let comparison = Comparison {
        gained: only(&rules, &fused),
        lost: only(&fused, &rules),
        left_out: self::files(&others).len(),
        rules,
        xgboost,
        fused,
    };
    let printed = common.print(&comparison, |out| text(&comparison, out));
    // Of the three the last one stops first, and what cannot be read is so for all.
    missing.status(&comparison.fused, files.len(), stop, printed)
}

fn files(labels: &[Label]) -> Vec<&str> {
    let files: std::collections::BTreeSet<&str> = labels.iter().map(|label| label.file.as_str()).collect();
    files.into_iter().collect()
}

fn judged(
    column: Column,
    (labels, files): (&[Label], &[&str]),
    folds: &Folds,
    (config, common): (&Config, &Common),
    stop: &CancellationToken,
) -> Report {
    let mut config = config.clone();
    config.detect.isolation_forest.enabled = false;
    if column == Column::Xgboost {
        config.detect.without_rules();
    }
    let models = |file: &str| Models {
        xgboost: folds.model(file).filter(|_| column != Column::Rules).cloned(),
        ..Models::default()
    };
    let (outcomes, failed) = replay_all(files, &common.folder, (&config, &models), stop);
    let mut report = score(labels, &outcomes, failed, Judges::Naming);
    let judges: &[&str] = match column {
        Column::Rules => &["rules"],
        Column::Xgboost => &["xgboost"],
        Column::Fused => &["rules", "xgboost"],
    };
    report.judges = judges.iter().map(|judge| (*judge).to_owned()).collect();
    report
}

/// What is missed in the first and found in the second.
fn only(without: &Report, with: &Report) -> Vec<[String; 2]> {
    let by_word: BTreeMap<&str, &AttackScore> = with.attacks.iter().map(|one| (one.word.as_str(), one)).collect();
    let missed = without.attacks.iter().flat_map(|one| one.misses.iter().map(move |file| (one.word.as_str(), file)));
    let found = missed.filter(|(word, file)| by_word.get(word).is_some_and(|one| !one.misses.contains(file)));
    found.map(|(word, file)| [file.clone(), word.to_owned()]).collect()
}

fn text(comparison: &Comparison, out: &mut dyn io::Write) -> io::Result<()> {
    let mut out = io::BufWriter::new(out);
    let Comparison { rules, xgboost, fused, gained, lost, left_out } = comparison;
    let columns = [rules, xgboost, fused];
    let names = ["rules", "xgboost, source unseen", "both"].map(|name| format!("{name:>24}")).join("");
    writeln!(out, "{:<17} {:>8}{names}", "", "")?;
    let heads = format!("{:>8}{:>10}{:>6}", "found", "precision", "F1").repeat(3);
    writeln!(out, "{:<17} {:>8}{heads}", "attack", "captures")?;
    for (at, attack) in rules.attacks.iter().enumerate() {
        write!(out, "{:<17} {:>8}", attack.word, attack.captures)?;
        for report in columns {
            let one = &report.attacks[at];
            let precision = one.precision.map_or_else(|| "-".to_owned(), |share| format!("{:.1} %", share * 100.0));
            write!(out, "{:>8}{precision:>10}{:>6.3}", one.found, one.f1)?;
        }
        writeln!(out)?;
    }
    let macro_f1 = columns.map(|report| format!("{:>24.3}", report.macro_f1.unwrap_or(0.0))).join("");
    writeln!(out, "{:<17} {:>8}{macro_f1}", "macro-F1", "")?;
    let severities: std::collections::BTreeSet<&str> =
        columns.iter().flat_map(|report| report.benign.by_severity.keys()).map(String::as_str).collect();
    for severity in severities {
        let alerts = columns.map(|report| report.benign.by_severity.get(severity).map_or(0, |rate| rate.alerts));
        let alerts = alerts.map(|alerts| format!("{alerts:>24}")).join("");
        writeln!(out, "{:<26}{alerts}", format!("false alarms, {severity}"))?;
    }
    let benign = &rules.benign;
    writeln!(out, "benign: {} captures, {:.2} h, {} flows", benign.captures, benign.hours, benign.flows)?;
    for (title, attacks) in [("found by both and not by rules", gained), ("found by rules and not by both", lost)] {
        writeln!(out, "\n{title}: {}", attacks.len())?;
        for [file, word] in attacks {
            writeln!(out, "  {word}: {file}")?;
        }
    }
    if *left_out > 0 {
        writeln!(out, "\nin no figure, as every model has learned from them: {left_out} captures")?;
    }
    out.flush()
}

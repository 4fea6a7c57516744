//! `train`: a model out of labelled captures.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use tokio_util::sync::CancellationToken;

use super::folds;
use super::interrupt::Saving;
use super::labelled::{Common, bar, labels};
use super::train_forest::train_forest;
use super::{EXIT_INCOMPLETE, EXIT_USAGE, fail};
use crate::capture::clock;
use crate::config::Config;
use crate::model_loader;
use crate::train::table;
use crate::xgboost::{BUILT_IN, Xgboost};
use nta_core::model::{Refusal, forest, sha256};
use nta_core::train::{KindFound, Table, Trained, Unseen, fit, split};

/// Flags of `train`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    nta-daemon train --labels labels.tsv captures/ --out model.json\n  \
    nta-daemon train --labels labels.tsv captures/ --holdout-tools masscan,medusa --seed 7\n  \
    nta-daemon train --labels labels.tsv --folds-out folds/ captures/ && nta-daemon evaluate --labels labels.tsv --folds folds/ captures/\n  \
    nta-daemon train --labels labels.tsv --format json captures/ | jq '.metrics[] | {class, f1}'\n  \
    nta-daemon train --algorithm isolation_forest normal/ --out forest.json\n\n\
    labels.tsv is what evaluate reads; its column `source` says which captures are of one hand. The model judges when `path` of [model] names it; its manifest, with the figures,\n\
    is written beside it. An isolation forest judges when `forest` of [model] names it; without labels all captures of the\n\
    folder are taken for normal traffic, with them the stretches that are labelled benign. See docs/MODELS.md.")]
pub(super) struct Args {
    /// What is known about the captures; an isolation forest can do without.
    #[arg(long, value_name = "FILE", required_unless_present = "algorithm")]
    labels: Option<PathBuf>,
    /// File of the model; its manifest comes beside it.
    #[arg(long, value_name = "FILE", default_value = "model.json")]
    out: PathBuf,
    /// What is trained.
    #[arg(long, value_enum, default_value_t = Algorithm::Xgboost)]
    algorithm: Algorithm,
    /// Of copies and folds: the same seed and captures give the same model.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Tools whose captures are not learned from, to see how the model does on them.
    #[arg(long, value_name = "TOOL", value_delimiter = ',')]
    holdout_tools: Vec<String>,
    /// Folder for the models of all sources but one each, which `evaluate --folds` judges that one by.
    #[arg(long, value_name = "DIR")]
    folds_out: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

/// What is trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Algorithm {
    /// Gradient-boosted trees that distinguish classes of attacks.
    #[default]
    Xgboost,
    /// How unlike normal traffic a host is.
    IsolationForest,
}

pub(super) fn execute(args: &Args) -> ExitCode {
    train(args).unwrap_or_else(|refused| refused)
}

fn train(args: &Args) -> Result<ExitCode, ExitCode> {
    if args.algorithm == Algorithm::Xgboost && !BUILT_IN {
        return Err(fail(1, &Refusal::NotBuiltIn));
    }
    if args.algorithm == Algorithm::IsolationForest && !args.holdout_tools.is_empty() {
        return Err(fail(EXIT_USAGE, &"--holdout-tools has no effect with --algorithm isolation_forest"));
    }
    if args.algorithm == Algorithm::IsolationForest && args.folds_out.is_some() {
        return Err(fail(EXIT_USAGE, &"--folds-out has no effect with --algorithm isolation_forest"));
    }
    let config = args.common.config()?;
    let saving = Saving::default();
    saving.or_end(EXIT_INCOMPLETE, "stopped: no model is written").map_err(|error| fail(1, &error))?;
    match (args.algorithm, &args.labels) {
        (Algorithm::IsolationForest, labels) => {
            let manifest = train_forest(&args.common.folder, labels.as_deref(), &args.out, args.seed, &config, &saving)
                .map_err(|error| fail(EXIT_USAGE, &error))?;
            Ok(args.common.print(&manifest, |out| forest_text(&manifest, &args.out, out)))
        }
        (Algorithm::Xgboost, Some(labels)) => train_classes(args, labels, &config, &saving),
        (Algorithm::Xgboost, None) => {
            Err(fail(EXIT_USAGE, &"classes are learned from labels: name their file with --labels"))
        }
    }
}

fn forest_text(manifest: &forest::Manifest, path: &Path, out: &mut dyn io::Write) -> io::Result<()> {
    writeln!(
        out,
        "{}: {}, {} trees, threshold {:.4} ({} of the rows at or below)",
        path.display(),
        manifest.trained_from,
        manifest.trees,
        manifest.threshold,
        manifest.quantile,
    )
}

fn train_classes(args: &Args, path: &Path, config: &Config, saving: &Saving) -> Result<ExitCode, ExitCode> {
    let (labels, labelled) = labels(path)?;
    let files: std::collections::BTreeSet<&str> = labels.iter().map(|label| label.file.as_str()).collect();
    let captures = bar(files.len() as u64, "captures");
    let never = CancellationToken::new();
    let table = table(&labels, &args.common.folder, config, &never, &|| captures.inc(1));
    captures.finish_and_clear();
    for (file, reason) in &table.failed {
        tracing::warn!(file, reason, "left out");
    }
    let split = split(&table.sources, args.seed, &args.holdout_tools);
    let rounds = bar(0, "rounds");
    let fitted = fit(&Xgboost, &table, &split, args.seed, &mut |done, all| {
        rounds.set_length(all.into());
        rounds.set_position(done.into());
    });
    rounds.finish_and_clear();
    let mut trained = fitted.map_err(|error| fail(1, &error))?;
    trained.manifest.recipe.labels_sha256 = sha256(labelled.as_bytes());
    trained.manifest.recipe.window_s = config.windows.seconds as f64;
    trained.manifest.created = clock::now().to_string();
    saving.begin();
    save(&args.out, &trained).map_err(|error| fail(1, &error))?;
    if let Some(folder) = &args.folds_out {
        folds::save(folder, &table, &split, &trained).map_err(|error| fail(1, &error))?;
    }
    Ok(args.common.print(&trained.manifest, |out| text(&args.out, &table, &trained, out)))
}

/// Both files whole or not at all. In between, the manifest is not of this model, which loading finds.
fn save(path: &Path, trained: &Trained) -> Result<(), String> {
    let manifest = serde_json::to_string_pretty(&trained.manifest).map_err(|error| error.to_string())? + "\n";
    let files = [(path.to_owned(), trained.model.as_slice()), (model_loader::manifest_path(path), manifest.as_bytes())];
    let named = |path: &Path| {
        let path = path.display().to_string();
        move |error: io::Error| format!("{path}: {error}")
    };
    let beside = |path: &Path| path.with_extension("json.tmp");
    for (path, bytes) in &files {
        std::fs::write(beside(path), bytes).map_err(named(path))?;
    }
    for (path, _) in &files {
        std::fs::rename(beside(path), path).map_err(named(path))?;
    }
    Ok(())
}

/// Attacks found by models that had not seen their source, and beside them by one input.
fn unseen_text(unseen: &Unseen, one_feature: &Unseen, out: &mut dyn io::Write) -> io::Result<()> {
    writeln!(out, "\n{:<12} {:>8} {:>20}   {:>20}", "", "", "model", "one input")?;
    let heads = format!("{:>6} {:>6} {:>6}", "found", "wrong", "F1");
    writeln!(out, "{:<12} {:>8} {heads}   {heads}", "attack", "captures")?;
    let figures = |KindFound { found, wrong, f1, .. }: &KindFound| format!("{found:>6} {wrong:>6} {f1:>6.3}");
    for (word, kind) in &unseen.kinds {
        let other = one_feature.kinds.get(word).map(figures).unwrap_or_default();
        writeln!(out, "{word:<12} {:>8} {}   {other}", kind.attacks, figures(kind))?;
    }
    for (who, of) in [("model", unseen), ("one input", one_feature)] {
        let (found, attacks) = of.total();
        let Unseen { macro_f1, false_captures, harmless_hours, .. } = of;
        writeln!(
            out,
            "{who}: found {found} of {attacks}, macro-F1 {macro_f1:.3}, wrong in {false_captures} captures without an attack \
             ({harmless_hours:.1} h)"
        )?;
    }
    Ok(())
}

fn text(path: &Path, table: &Table, trained: &Trained, out: &mut dyn io::Write) -> io::Result<()> {
    let mut out = io::BufWriter::new(out);
    let Trained { model, manifest, too_few, .. } = trained;
    let recipe = &manifest.recipe;
    let rows: usize = recipe.rows.values().sum();
    writeln!(
        out,
        "{rows} rows of {} captures; {} captures kept back; {} hosts in windows left out as uncertain",
        recipe.captures, recipe.captures_held_out, table.left_out
    )?;
    for (word, tools) in &recipe.tools_held_out {
        writeln!(out, "kept back of {word}: {}", tools.join(", "))?;
    }
    writeln!(
        out,
        "\n{:<24} {:>8} {:>9} {:>8}  {:>8} {:>9} {:>8} {:>8} {:>8}",
        "class", "trained", "threshold", "support", "unseen", "precision", "recall", "F1", "unknown"
    )?;
    let share = |share: Option<f64>| share.map_or_else(|| "-".to_owned(), |share| format!("{share:.3}"));
    for (class, score) in manifest.classes.iter().zip(&manifest.metrics) {
        let trained = recipe.rows.get(&class.name).copied().unwrap_or(0);
        let [precision, recall, f1] = [score.precision, score.recall, score.f1].map(share);
        writeln!(
            out,
            "{:<24} {trained:>8} {:>9.4} {:>8.4}  {:>8} {precision:>9} {recall:>8} {f1:>8} {:>8}",
            class.name, class.threshold, class.support, score.rows, score.unknown
        )?;
    }
    unseen_text(&trained.unseen, &trained.one_feature, &mut out)?;
    for (class, rows) in too_few {
        writeln!(out, "not learned, as it has {rows} rows: {class}")?;
    }
    let kib = model.len() as f64 / 1024.0;
    writeln!(out, "\n{}: {kib:.0} KiB, SHA-256 {}", path.display(), manifest.sha256)?;
    writeln!(out, "temperature {:.2}, seed {}", manifest.temperature, recipe.seed)?;
    out.flush()
}

//! `evaluate`: detection held against labelled captures.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use clap::ValueEnum;
use tokio_util::sync::CancellationToken;

use super::compare::compare;
use super::folds::Folds;
use super::labelled::{Common, bar, labels};
use super::{EXIT_INCOMPLETE, EXIT_USAGE, fail, interrupt};
use crate::batch::{STOPPED, on_every_processor, replay_into};
use crate::config::Config;
use crate::model_loader;
use crate::pipeline::{PipelineEvent, Sink};
use crate::xgboost::BUILT_IN;
use nta_core::domain::{Alert, AlertId};
use nta_core::evaluate::{Judges, Outcome, Report, score};
use nta_core::model::{Models, Refusal};

/// Flags of `evaluate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    nta-daemon evaluate --labels labels.tsv captures/\n  \
    nta-daemon evaluate --labels labels.tsv --judges rules captures/\n  \
    nta-daemon evaluate --labels labels.tsv --folds folds/ captures/\n  \
    nta-daemon evaluate --labels labels.tsv --format json captures/ | jq '.attacks[] | {type, recall}'\n\n\
    labels.tsv, tab-separated: file type attacker victim attack_start attack_end tool; times in Unix seconds; type is\n\
    benign, portscan, sshbrute, slowloris, arpspoof, dnstunnel, synflood, udpflood, icmpflood or an alert's type; - is\n\
    unknown, * a made-up source.")]
pub(super) struct Args {
    /// What is known about the captures.
    #[arg(long, value_name = "FILE")]
    labels: PathBuf,
    /// Who takes part, so that each can be held against the labels alone. Of the isolation forest alone, which knows no
    /// attack by name, an alert of any kind about attacker or victim counts.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "all")]
    judges: Vec<JudgeKind>,
    /// What `train --folds-out` wrote: rules, models and both are compared on captures whose source the model that judges has not
    /// seen. Captures that every model has learned from are left out.
    #[arg(long, value_name = "DIR", conflicts_with = "judges")]
    folds: Option<PathBuf>,
    /// Figures are those of the captures that can be analysed; without it, one that cannot is an error.
    #[arg(long)]
    allow_missing: bool,
    #[command(flatten)]
    common: Common,
}

/// Who judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[value(rename_all = "snake_case")]
enum JudgeKind {
    /// The detectors that need no model.
    Rules,
    /// The model of labelled traffic.
    Xgboost,
    /// The model of the site's own traffic.
    IsolationForest,
    /// All of them.
    All,
}

pub(super) fn execute(args: &Args) -> ExitCode {
    evaluate(args).unwrap_or_else(|refused| refused)
}

fn evaluate(args: &Args) -> Result<ExitCode, ExitCode> {
    let mut config = args.common.config()?;
    let (labels, _) = labels(&args.labels)?;
    let missing = Missing { is_allowed: args.allow_missing };
    if let Some(folder) = &args.folds {
        if !BUILT_IN {
            return Err(fail(1, &Refusal::NotBuiltIn));
        }
        let folds = Folds::read(folder).map_err(|error| fail(EXIT_USAGE, &error))?;
        let stop = interrupt::token().map_err(|error| fail(1, &error))?;
        return compare(labels, &folds, (&config, &args.common, missing), &stop);
    }
    let mut files: Vec<&str> = labels.iter().map(|label| label.file.as_str()).collect();
    files.sort_unstable();
    files.dedup();
    let takes_part = |judge| args.judges.contains(&judge) || args.judges.contains(&JudgeKind::All);
    if !takes_part(JudgeKind::Rules) {
        config.detect.without_rules();
    }
    config.detect.isolation_forest.enabled &= takes_part(JudgeKind::IsolationForest);
    config.model.enabled &= takes_part(JudgeKind::Xgboost);
    let models = model_loader::load(&config);
    if args.judges == [JudgeKind::IsolationForest] && models.forest.is_none() {
        return Err(fail(EXIT_USAGE, &"there is no isolation forest to judge: name one as forest of [model]"));
    }
    if args.judges == [JudgeKind::Xgboost] && models.xgboost.is_none() {
        let reason = models.state.reason.as_deref().unwrap_or("none is there");
        return Err(fail(EXIT_USAGE, &format_args!("there is no model of classes to judge: {reason}")));
    }
    let stop = interrupt::token().map_err(|error| fail(1, &error))?;
    let (outcomes, failed) = replay_all(&files, &args.common.folder, (&config, &|_: &str| models.clone()), &stop);
    if stop.is_cancelled() && outcomes.is_empty() {
        return Err(fail(EXIT_INCOMPLETE, &"stopped before a capture was analysed"));
    }
    if let (true, Some((file, reason))) = (outcomes.is_empty(), failed.iter().next()) {
        let error = format!("none of the labelled captures could be analysed, such as {file}: {reason}");
        return Err(fail(EXIT_USAGE, &error));
    }
    let judges = if args.judges == [JudgeKind::IsolationForest] { Judges::Nameless } else { Judges::Naming };
    let mut report = score(&labels, &outcomes, failed, judges);
    report.judges =
        args.judges.iter().filter_map(|judge| Some(judge.to_possible_value()?.get_name().to_owned())).collect();
    let printed = args.common.print(&report, |out| text(&report, out));
    missing.status(&report, files.len(), &stop, printed)
}

/// What becomes of captures that could not be analysed.
#[derive(Clone, Copy)]
pub(super) struct Missing {
    is_allowed: bool,
}

impl Missing {
    /// How the program ends: figures of some of the captures are not those of all.
    pub(super) fn status(
        self,
        report: &Report,
        of: usize,
        stop: &CancellationToken,
        printed: ExitCode,
    ) -> Result<ExitCode, ExitCode> {
        let unread = report.failed.values().filter(|reason| *reason == STOPPED).count();
        if stop.is_cancelled() && unread > 0 && printed == ExitCode::SUCCESS {
            let analysed = of - report.failed.len();
            let error = format!("stopped: the figures are those of {analysed} of {of} labelled captures");
            return Err(fail(EXIT_INCOMPLETE, &error));
        }
        if !self.is_allowed
            && printed == ExitCode::SUCCESS
            && let Some((file, reason)) = report.failed.iter().next()
        {
            let count = report.failed.len();
            let error = format!(
                "{count} of {of} labelled captures could not be analysed and are in no figure, such as {file}: {reason} \
                 (--allow-missing leaves them out)"
            );
            return Err(fail(EXIT_USAGE, &error));
        }
        Ok(printed)
    }
}

pub(super) type Results = (Vec<Outcome>, BTreeMap<String, String>);

/// Every capture through the user engine, as many at a time as there are processors, with the models that are its.
pub(super) fn replay_all(
    files: &[&str],
    folder: &Path,
    (config, models): (&Config, &(dyn Fn(&str) -> Models + Sync)),
    stop: &CancellationToken,
) -> Results {
    let bar = bar(files.len() as u64, "captures");
    let results: Mutex<Results> = Mutex::default();
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(file) = files.get(next.fetch_add(1, Relaxed)) {
            let outcome = match stop.is_cancelled() {
                true => Err(STOPPED.to_owned()),
                false => replay(file, &folder.join(file), (config, &models(file)), stop),
            };
            let mut results = results.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            match outcome {
                Ok(outcome) => results.0.push(outcome),
                Err(reason) => drop(results.1.insert((*file).to_owned(), reason)),
            }
            bar.inc(1);
        }
    };
    on_every_processor(work);
    bar.finish_and_clear();
    let mut results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    results.0.sort_unstable_by(|a, b| a.file.cmp(&b.file));
    results
}

fn replay(
    file: &str,
    path: &Path,
    (config, models): (&Config, &Models),
    stop: &CancellationToken,
) -> Result<Outcome, String> {
    let mut alerts = Alerts::default();
    let summary = replay_into(file, path, config, models, &mut alerts, stop)?;
    Ok(Outcome {
        file: file.to_owned(),
        alerts: alerts.0.into_values().collect(),
        times: summary.times,
        flows: summary.flows,
        base_ns: config.windows.span_ns(),
    })
}

/// Every alert in its last state. Bounded by the alerting layer, which keeps no more.
#[derive(Default)]
struct Alerts(BTreeMap<AlertId, Alert>);

impl Sink for Alerts {
    fn take(&mut self, _number: u64, event: &PipelineEvent<'_>) {
        if let PipelineEvent::Alert(_change, alert) = *event {
            self.0.insert(alert.id, alert.clone());
        }
    }
}

fn text(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    let mut out = io::BufWriter::new(out);
    writeln!(
        out,
        "{:<12} {:>8} {:>6} {:>7} {:>9} {:>5} {:>13}  time to detect",
        "attack", "captures", "found", "recall", "precision", "F1", "alerts/attack"
    )?;
    for attack in &report.attacks {
        let precision = attack.precision.map_or_else(|| "-".to_owned(), |p| format!("{:.1} %", p * 100.0));
        let delay = attack
            .time_to_detect_s
            .map_or_else(String::new, |[median, longest]| format!("median {median:.1} s, longest {longest:.1} s"));
        let recall = format!("{:.1} %", attack.recall * 100.0);
        let (word, captures, found) = (&attack.word, attack.captures, attack.found);
        let f1 = format!("{:.3}", attack.f1);
        let each = attack.alerts_per_attack.map_or_else(|| "-".to_owned(), |each| format!("{each:.1}"));
        writeln!(out, "{word:<12} {captures:>8} {found:>6} {recall:>7} {precision:>9} {f1:>5} {each:>13}  {delay}")?;
    }
    if let Some(macro_f1) = report.macro_f1 {
        writeln!(out, "\nmacro-F1: {macro_f1:.3}, judges: {}", report.judges.join(", "))?;
    }
    for attack in report.attacks.iter().filter(|attack| !attack.misses.is_empty()) {
        writeln!(out, "\n{} missed in:", attack.word)?;
        for file in &attack.misses {
            writeln!(out, "  {file}")?;
        }
    }
    let benign = &report.benign;
    writeln!(out, "\nbenign: {} captures, {:.2} h, {} flows", benign.captures, benign.hours, benign.flows)?;
    for (severity, rate) in &benign.by_severity {
        let (alerts, hour, million) = (rate.alerts, rate.per_hour, rate.per_million_flows);
        writeln!(out, "  {severity:<8} {alerts:>4} alerts, {hour:.2} an hour, {million:.2} per million flows")?;
    }
    for [file, kind, severity, summary] in &benign.alerts {
        writeln!(out, "  {severity:<8} {kind:<22} {file}: {summary}")?;
    }
    if !report.not_looked_for.is_empty() {
        writeln!(out, "\nlabelled, but no detector looks for it:")?;
        for (word, rows) in &report.not_looked_for {
            writeln!(out, "  {word}: {rows}")?;
        }
    }
    if !report.failed.is_empty() {
        writeln!(out, "\nnot analysed:")?;
        for (file, reason) in &report.failed {
            writeln!(out, "  {file}: {reason}")?;
        }
    }
    out.flush()
}

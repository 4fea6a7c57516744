//! `model`: a model's file by itself. `check` is also what tries a model before the daemon loads it.

use std::io::{self, BufRead as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use super::{EXIT_USAGE, fail};
use crate::model_loader;
use nta_core::model::{Classifier, INPUTS, Input, ModelError};

/// Flags of `model`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  nta-daemon model check model.json\n  nta-daemon model predict model.json < rows.jsonl"
)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Say whether a model can be used, and what it is.
    Check {
        /// The model; its manifest lies beside it.
        file: PathBuf,
    },
    /// Print the probability of each class for each row: rows on standard input, one JSON list of the inputs a line.
    Predict {
        /// The model; its manifest lies beside it.
        file: PathBuf,
    },
}

/// Rows that are asked at once.
const BATCH: usize = 1024;

pub(super) fn execute(args: &Args) -> ExitCode {
    let (What::Check { file } | What::Predict { file }) = &args.what;
    let model = match model_loader::read(file) {
        Ok(model) => model,
        Err(error) => return fail(EXIT_USAGE, &error),
    };
    let done = match args.what {
        What::Check { .. } => describe(&model).map_err(|error| error.to_string()),
        What::Predict { .. } => predict(&model),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &error),
    }
}

fn describe(model: &Classifier) -> io::Result<()> {
    let manifest = model.manifest();
    let classes: Vec<&str> = manifest.classes.iter().map(|class| class.name.as_str()).collect();
    let (name, id, created) = (model.name(), model.id(), &manifest.created);
    writeln!(io::stdout().lock(), "{name}: model {id} of {created} for {}", classes.join(", "))
}

fn predict(model: &Classifier) -> Result<(), String> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut rows: Vec<Input> = Vec::with_capacity(BATCH);
    let mut answer = |rows: &mut Vec<Input>| -> Result<(), String> {
        let probabilities = model.probabilities(rows).map_err(|error: ModelError| error.to_string())?;
        rows.clear();
        for row in probabilities.chunks(model.manifest().classes.len()) {
            let json = serde_json::to_string(row).map_err(|error| error.to_string())?;
            writeln!(out, "{json}").map_err(|error| error.to_string())?;
        }
        Ok(())
    };
    for (number, line) in io::stdin().lock().lines().enumerate() {
        let line = line.map_err(|error| error.to_string())?;
        let row: Vec<f32> = serde_json::from_str(&line).map_err(|error| format!("row {}: {error}", number + 1))?;
        let length = row.len();
        let wrong = |_| format!("row {}: {length} numbers, not {INPUTS}", number + 1);
        rows.push(Input::try_from(row).map_err(wrong)?);
        if rows.len() == BATCH {
            answer(&mut rows)?;
        }
    }
    answer(&mut rows)
}

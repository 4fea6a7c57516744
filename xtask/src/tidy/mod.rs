//! `cargo xtask tidy`: the checks of this house that no compiler makes.
//!
//! The rules read source text, not a syntax tree: [`source`] blanks out comments and strings and marks test modules, the
//! others look for words and paths in what remains. That keeps this crate light, and is exact enough for code that
//! rustfmt has laid out.
#![expect(clippy::print_stdout, reason = "the findings are what the command is for")]

mod detectors;
mod docs;
mod layers;
mod paths;
mod source;
mod text;
mod tree;

use std::fmt;
use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use self::source::Source;
use crate::host;
use crate::report::Group;

pub(crate) const HELP: &str = "\
Checks what no compiler checks, and prints `path:line: message` for every finding:

  - every .rs file opens with `//!`, is no longer than 400 lines (from 300 a warning; inline tests do not count)
  - the edges inside nta-daemon do not know each other
  - `unsafe`, println!, clocks and unbounded channels only where they belong; `#[allow]` and `#[expect]` with a reason
  - every folder of tests/cases has a README.md and a capture
  - every detector has a heading or a row in docs/DETECTORS.md, and a hit and a quiet case with alerts.json
  - the documents name paths and links that exist, and words and flags of cargo xtask that its help has
  - no tracked file names somebody's home folder

Example:
  cargo xtask tidy";

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    message: String,
    is_warning: bool,
}

impl Finding {
    fn error(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into(), is_warning: false }
    }

    fn warning(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { is_warning: true, ..Self::error(path, line, message) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_warning { "warning: " } else { "" };
        write!(f, "{}:{}: {kind}{}", self.path, self.line, self.message)
    }
}

/// Checks the checkout.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    if let Some(arg) = args.first() {
        bail!("tidy takes no `{arg}`; see `cargo xtask tidy --help`");
    }
    let findings = findings()?;
    findings.iter().for_each(|finding| println!("{finding}"));
    let errors = findings.iter().filter(|finding| !finding.is_warning).count();
    println!("tidy: {errors} errors, {} warnings", findings.len() - errors);
    Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The same as one group of a larger run.
pub(crate) fn group() -> Result<Group> {
    let group = Group::new("tidy");
    let findings = findings()?;
    findings.iter().for_each(|finding| eprintln!("{finding}"));
    let errors = findings.iter().filter(|finding| !finding.is_warning).count();
    Ok(if errors == 0 { group.pass() } else { group.fail(&format!("{errors} findings, see above")) })
}

fn findings() -> Result<Vec<Finding>> {
    let root = host::root();
    let files = tree::files(&root)?;
    let mut findings = tree::check_cases(&files);
    let read = |path: &str| fs::read_to_string(root.join(path)).with_context(|| format!("cannot read {path}"));
    let texts = [read(detectors::DOCUMENT)?, read(detectors::README)?];
    findings.extend(detectors::check(&read(detectors::REGISTRY)?, texts.each_ref().map(String::as_str), &files));
    for file in &files {
        let bytes = match fs::read(root.join(file)) {
            Ok(bytes) => bytes,
            // Removed, but not yet from git's index; or a link that leads nowhere.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| format!("cannot read {file}")),
        };
        findings.extend(tree::check_homes(file, &bytes));
        if docs::is_document(file) {
            findings.extend(docs::check(file, &String::from_utf8_lossy(&bytes), &files, &crate::helps()));
        }
        if file.ends_with(".rs") {
            findings.extend(check_source(file, &String::from_utf8_lossy(&bytes)));
        }
    }
    findings.sort();
    Ok(findings)
}

/// All rules about one Rust file.
fn check_source(path: &str, text: &str) -> Vec<Finding> {
    let source = Source::read(path, text);
    let mut findings = text::check(&source);
    findings.extend(layers::check(&source));
    findings
}

//! Labelled captures of attacks by real tools, in networks of namespaces. `cargo xtask lab` builds and starts it.
#![expect(clippy::print_stdout, reason = "the plan and the result are the command's answer")]

mod attacks;
mod benign;
mod busy;
mod capture;
mod cleanup;
mod forwarder;
mod job;
mod labels;
mod manifest;
mod network;
mod process;
mod run;
mod scenario;
mod servers;
mod site;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use self::run::{Folders, Outcome};
use self::scenario::Scenario;

/// Scenarios side by side: mostly they sleep.
const JOBS: usize = 16;

/// The shortest time in which every load gets to say something.
const LEAST: u32 = 60;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match execute(&args) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("nta-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Makes the captures.
fn execute(args: &[String]) -> Result<ExitCode> {
    let options = Options::parse(args)?;
    let plan = options.chosen(scenario::plan(options.seed, options.longest))?;
    if options.list {
        for scenario in &plan {
            println!("{}", scenario.line());
        }
        let seconds: u32 = plan.iter().map(|scenario| scenario.seconds).sum();
        println!("{} scenarios, {seconds} s", plan.len());
        return Ok(ExitCode::SUCCESS);
    }
    if !rustix::process::geteuid().is_root() {
        bail!("the lab makes network namespaces, which needs root");
    }
    Lab::open(&options.out)?.make(&plan, options.jobs, options.seed)
}

struct Options {
    scenarios: Vec<String>,
    seed: u64,
    out: PathBuf,
    jobs: usize,
    longest: u32,
    list: bool,
}

impl Options {
    fn parse(args: &[String]) -> Result<Self> {
        let out = PathBuf::from("target/lab");
        let mut options = Self { scenarios: Vec::new(), seed: 1, out, jobs: JOBS, longest: u32::MAX, list: false };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--scenario" => options.scenarios.push(value()?.clone()),
                "--seed" => options.seed = value()?.parse().context("--seed takes a whole number")?,
                "--out" => options.out = std::path::absolute(value()?)?,
                "--jobs" => options.jobs = value()?.parse().context("--jobs takes a whole number")?,
                "--longest" => {
                    options.longest = value()?.parse().context("--longest takes a whole number of seconds")?;
                }
                "--list" => options.list = true,
                _ => bail!("lab takes no `{arg}`; see `cargo xtask lab --help`"),
            }
        }
        if options.longest < LEAST {
            bail!("--longest takes at least {LEAST} seconds");
        }
        if options.jobs == 0 {
            bail!("--jobs takes a number above 0");
        }
        Ok(options)
    }

    fn chosen(&self, plan: Vec<Scenario>) -> Result<Vec<Scenario>> {
        for name in &self.scenarios {
            if !plan.iter().any(|scenario| scenario.name.starts_with(name.as_str())) {
                bail!("there is no scenario `{name}`; `cargo xtask lab --list` has them");
            }
        }
        let is_chosen = |scenario: &Scenario| {
            self.scenarios.is_empty() || self.scenarios.iter().any(|name| scenario.name.starts_with(name.as_str()))
        };
        Ok(plan.into_iter().filter(is_chosen).collect())
    }
}

/// What was made, and what failed with the reason why, by name.
type Results = (Vec<(Scenario, Outcome)>, Vec<(String, String)>);

/// A run: where it writes to, and whether it is to stop.
struct Lab {
    out: PathBuf,
    work: PathBuf,
    stop: Arc<AtomicBool>,
}

impl Lab {
    fn open(out: &Path) -> Result<Self> {
        fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
        let leftovers = cleanup::leftovers(out);
        if leftovers > 0 {
            println!("removed {leftovers} namespaces of a run that was killed");
        }
        let work = out.join(format!("{}{}", cleanup::WORK, std::process::id()));
        servers::share(&work)?;
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            flag::register(signal, Arc::clone(&stop))?;
        }
        Ok(Self { out: out.to_owned(), work, stop })
    }

    fn make(&self, plan: &[Scenario], jobs: usize, seed: u64) -> Result<ExitCode> {
        let began = Instant::now();
        let (done, failed) = self.run_all(plan, jobs);
        let rows: Vec<_> = done.iter().flat_map(|(_, outcome)| outcome.labels.clone()).collect();
        fs::write(self.out.join("labels.tsv"), labels::table(&rows))?;
        let wall = began.elapsed().as_secs_f64();
        fs::write(self.out.join("manifest.json"), manifest::text(seed, wall, &done, &failed))?;
        let captured = done.iter().fold(0.0, |sum, (_, outcome)| sum + outcome.seconds());
        let frames: u64 = done.iter().map(|(_, outcome)| outcome.all.frames).sum();
        println!(
            "{} of {} scenarios, {captured:.0} s captured, {frames} frames, in {wall:.0} s: {}",
            done.len(),
            plan.len(),
            self.out.display()
        );
        for (name, why) in &failed {
            println!("failed: {name}: {why}");
        }
        Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Runs scenarios side by side; the results are in the order of the plan.
    fn run_all(&self, plan: &[Scenario], jobs: usize) -> Results {
        // Longest first, so that none is left over at the end.
        let mut order: Vec<usize> = (0..plan.len()).collect();
        order.sort_by_key(|&n| std::cmp::Reverse(plan[n].seconds));
        let next = AtomicUsize::new(0);
        let results: Mutex<Vec<(usize, Result<Outcome>)>> = Mutex::new(Vec::new());
        let progress = progress(plan.len());
        thread::scope(|scope| {
            for _ in 0..jobs.min(plan.len()) {
                scope.spawn(|| {
                    while !self.stop.load(Ordering::Relaxed) {
                        let Some(&number) = order.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
                        let scenario = &plan[number];
                        progress.set_message(scenario.name.clone());
                        let folders = Folders { out: &self.out, work: &self.work };
                        let result = run::run(scenario, number, &folders, &self.stop);
                        report(&progress, scenario, &result);
                        results.lock().unwrap_or_else(PoisonError::into_inner).push((number, result));
                    }
                });
            }
        });
        progress.finish_and_clear();
        let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        results.sort_by_key(|(number, _)| *number);
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        for (number, result) in results {
            let scenario = &plan[number];
            match result {
                Ok(outcome) => done.push((scenario.clone(), outcome)),
                Err(error) => failed.push((scenario.name.clone(), format!("{error:#}"))),
            }
        }
        if self.stop.load(Ordering::Relaxed) {
            failed.push(("the run".to_owned(), "stopped by a signal".to_owned()));
        }
        (done, failed)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // The next run tries again.
        let _kept = fs::remove_dir_all(&self.work);
    }
}

fn progress(scenarios: usize) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(scenarios).unwrap_or(u64::MAX));
    if let Ok(style) = ProgressStyle::with_template("{spinner} [{elapsed}] {pos} of {len} scenarios  {wide_msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// A line for each scenario that is over, also where there is no terminal.
fn report(progress: &ProgressBar, scenario: &Scenario, result: &Result<Outcome>) {
    let line = match result {
        Ok(outcome) => {
            let attacks: Vec<String> = outcome
                .labels
                .iter()
                .zip(&outcome.attacks)
                .map(|(label, span)| format!("{} {} frames", label.kind, span.frames))
                .collect();
            let missed = outcome
                .dropped
                .filter(|count| *count > 0)
                .map_or_else(String::new, |count| format!(", {count} missed"));
            format!(
                "{}: {:.0} s, {} frames{missed} {}",
                scenario.name,
                outcome.seconds(),
                outcome.all.frames,
                attacks.join(", ")
            )
        }
        Err(error) => format!("{}: FAILED: {error:#}", scenario.name),
    };
    progress.suspend(|| println!("{line}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        Options::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_name_chooses_all_that_begin_so_and_an_unknown_one_is_an_error() {
        let chosen = |line: &str| parse(line).unwrap().chosen(scenario::plan(1, u32::MAX));
        let all = chosen("--scenario portscan-nmap --scenario benign-home-1").unwrap();
        assert!(all.iter().all(|one| one.name.starts_with("portscan-nmap") || one.name == "benign-home-1"));
        assert!(all.len() > 3);
        assert!(chosen("--scenario nothing").unwrap_err().to_string().contains("`nothing`"));
    }

    #[test]
    fn wrong_options_are_named() {
        for (line, says) in [("--seed", "--seed"), ("--seed x", "--seed"), ("--jobs 0", "--jobs"), ("--fast", "--fast")]
        {
            assert!(parse(line).err().unwrap().to_string().contains(says));
        }
    }
}

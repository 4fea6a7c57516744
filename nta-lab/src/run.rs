//! One scenario from its network to its label.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

use super::attacks::Attack;
use super::benign::Load;
use super::capture::{self, Span};
use super::job::{Files, Job};
use super::labels::Label;
use super::network::Network;
use super::scenario::Scenario;
use super::servers;
use super::site::Site;

/// How long a load that begins before the capture may take to do so.
const READY: Duration = Duration::from_secs(60);

/// What was captured.
pub(crate) struct Outcome {
    pub(crate) file: String,
    pub(crate) sha256: String,
    pub(crate) all: Span,
    pub(crate) attacks: Vec<Span>,
    /// Frames that tcpdump missed; `None` when it did not say.
    pub(crate) dropped: Option<u64>,
    pub(crate) labels: Vec<Label>,
}

impl Outcome {
    /// From the first to the last frame.
    pub(crate) fn seconds(&self) -> f64 {
        self.all.last - self.all.first
    }
}

/// Where a run writes to.
pub(crate) struct Folders<'a> {
    pub(crate) out: &'a Path,
    /// Gone at the end.
    pub(crate) work: &'a Path,
}

/// Runs a scenario; `stop` ends it early, as a failure.
pub(crate) fn run(scenario: &Scenario, number: usize, folders: &Folders<'_>, stop: &AtomicBool) -> Result<Outcome> {
    let work = folders.work.join(&scenario.name);
    fs::create_dir_all(&work).with_context(|| format!("cannot create {}", work.display()))?;
    let files = Files { shared: folders.work, work: &work };
    let name = format!("{}.pcap", scenario.name);
    let file = folders.out.join(&name);
    let made = || made(scenario, number, &name, &file, &files, stop);
    // Tools lose races now and then; what fails twice is at fault.
    let again = |first: anyhow::Error| {
        if stop.load(Ordering::Relaxed) {
            Err(first)
        } else {
            made().with_context(|| format!("twice; first: {first:#}"))
        }
    };
    let outcome = made().or_else(again);
    if outcome.is_err() {
        // A capture without a label would be taken for something; it need not have come to be.
        let _absent = fs::remove_file(&file);
    }
    outcome
}

fn made(
    scenario: &Scenario,
    number: usize,
    name: &str,
    file: &Path,
    files: &Files<'_>,
    stop: &AtomicBool,
) -> Result<Outcome> {
    let times = {
        let network = Network::build(&scenario.site, number)?;
        let _servers = servers::start(&scenario.site, &network, files)?;
        let ends = scenario.attacks.iter().enumerate().filter_map(|(n, attack)| {
            let (place, line) = attack.server.as_ref()?;
            Some(Job::start(&network.place(*place), line, files, &format!("attack{n}-server.log")))
        });
        let _ends = ends.collect::<Result<Vec<_>>>()?;
        record(scenario, &network, file, files, stop)?
    };
    judge(scenario, name, file, &times, files)
}

/// Captures loads and attacks; returns when each attack began and ended, in Unix time.
fn record(
    scenario: &Scenario,
    network: &Network,
    file: &Path,
    files: &Files<'_>,
    stop: &AtomicBool,
) -> Result<Vec<[f64; 2]>> {
    let (early, late): (Vec<_>, Vec<_>) = scenario.loads.iter().enumerate().partition(|(_, load)| load.early);
    let mut loads = Vec::new();
    for (n, load) in early {
        // Of a first try.
        let _absent = fs::remove_file(files.work.join("ready"));
        let mut job = begin(n, load, network, files)?;
        ready(n, &mut job, files)?;
        loads.push(job);
    }
    let mut tcpdump = capture::start(&network.gateway(), file, files)?;
    let clock = Clock { began: Instant::now(), stop };
    for (n, load) in late {
        loads.push(begin(n, load, network, files)?);
    }
    let mut times = Vec::new();
    for (n, attack) in scenario.attacks.iter().enumerate() {
        clock.wait_until(attack.at, || Ok(false))?;
        let began = unix_now();
        let mut job = Job::start(&network.attacker(), &attack.line, files, &format!("attack{n}.log"))?;
        clock.wait_until(attack.at + attack.limit, || Ok(job.ended()?.is_some()))?;
        job.stop();
        times.push([began, unix_now()]);
    }
    clock.wait_until(scenario.seconds, || Ok(false))?;
    drop(loads);
    if let Some(status) = tcpdump.ended()? {
        bail!("tcpdump ended too early: {status}");
    }
    tcpdump.stop();
    Ok(times)
}

/// Starts a load.
fn begin(number: usize, load: &Load, network: &Network, files: &Files<'_>) -> Result<Job> {
    let script = files.work.join(format!("load{number}.sh"));
    fs::write(&script, &load.script)?;
    let line = format!("exec sh {}", script.display());
    Job::start(&network.of(load.who), &line, files, &format!("load{number}.log"))
}

/// Waits until a load that begins before the capture has made its file.
fn ready(number: usize, job: &mut Job, files: &Files<'_>) -> Result<()> {
    let deadline = Instant::now() + READY;
    while !files.work.join("ready").exists() {
        if job.ended()?.is_some() || Instant::now() > deadline {
            bail!("load {number} did not begin; it said: {}", tail(&files.work.join(format!("load{number}.log"))));
        }
        sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Looks for the attacks in the capture: what is labelled must be there.
fn judge(scenario: &Scenario, name: &str, file: &Path, times: &[[f64; 2]], files: &Files<'_>) -> Result<Outcome> {
    let all = capture::span(file, "", [0.0, f64::MAX])?.context("the capture is empty")?;
    let mut attacks = Vec::new();
    let mut labels = Vec::new();
    for (n, (attack, time)) in scenario.attacks.iter().zip(times).enumerate() {
        let found = capture::span(file, &filter(&scenario.site, attack), *time)?;
        let span = match found {
            Some(span) if span.frames >= attack.least => span,
            found => bail!(
                "{} by {} left {} frames, {} expected; it said: {}",
                attack.kind,
                attack.tool,
                found.map_or(0, |span| span.frames),
                attack.least,
                tail(&files.work.join(format!("attack{n}.log")))
            ),
        };
        labels.push(Label::of(name, attack, span));
        attacks.push(span);
    }
    if labels.is_empty() {
        labels.push(Label::benign(name, all));
    }
    let sha256 = capture::digest(file)?;
    Ok(Outcome { file: name.to_owned(), sha256, all, attacks, dropped: capture::dropped(files), labels })
}

/// The attacker's frames. On the LAN those of its card; from outside those of its address, or, made up, to the victim.
fn filter(site: &Site, attack: &Attack) -> String {
    if attack.kind == "arpspoof" {
        format!("arp and ether src {} and arp[6:2] = 2", site.attacker.mac)
    } else if !site.attacker_outside {
        format!("ip and ether src {}", site.attacker.mac)
    } else if attack.attacker == "*" {
        format!("dst host {} and not net {}.0/24", site.victim.address, site.prefix())
    } else {
        format!("src host {}", site.attacker.address)
    }
}

/// The last words of a log.
fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(4)..].join(" | ")
}

fn unix_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// The time of a scenario.
struct Clock<'a> {
    began: Instant,
    stop: &'a AtomicBool,
}

impl Clock<'_> {
    /// Until that second, or until `done`; fails when the run is to stop.
    fn wait_until(&self, second: u32, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
        let due = self.began + Duration::from_secs(u64::from(second));
        while Instant::now() < due && !done()? {
            if self.stop.load(Ordering::Relaxed) {
                bail!("stopped");
            }
            sleep(Duration::from_millis(50).min(due.saturating_duration_since(Instant::now())));
        }
        Ok(())
    }
}

//! `cargo xtask bench page`: how fast the dashboard is in Chromium over a large database, its processor throttled four times.
#![expect(clippy::print_stdout, reason = "says what is not run")]

use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::setup::{self, Need};
use crate::{daemon, host, process, run};

const LISTEN: &str = "127.0.0.1:5986";
const FLOWS: &str = "100000";
const ALERTS: &str = "10000";
const CAPTURE: &str = "tests/cases/port_scan-hit/input.pcap";
/// A replay of this capture takes less than a second.
const READY: Duration = Duration::from_secs(60);

/// A daemon that ends with the bench.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        // Both fail only for one that has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Fills a database, serves it, and lets a browser measure.
pub(super) fn bench() -> Result<ExitCode> {
    if let Some(what) = setup::ensure(&[Need::Dashboard])?.first() {
        println!("not run: bench page: {what}");
        return Ok(ExitCode::SUCCESS);
    }
    let binary = match std::env::var_os("NTA_DAEMON") {
        Some(named) => std::path::PathBuf::from(named),
        None => daemon::build(daemon::Profile::Release)?,
    };
    let folder = host::target_dir().join("bench-page");
    // Of the run before.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let file = folder.join("nta.db");
    let serve = || -> Result<Served> {
        let mut command = daemon::command(&binary);
        command.args(["replay", "--serve", "--listen", LISTEN, "--database"]);
        command.arg(format!("sqlite:{}", file.display())).arg(host::root().join(CAPTURE));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let served = Served(command.spawn().with_context(|| process::display(&command))?);
        let began = Instant::now();
        let url = format!("http://{LISTEN}/api/status");
        while !is_complete(&url)? {
            if began.elapsed() > READY {
                bail!("{LISTEN}: the daemon served nothing within {READY:?}");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(served)
    };
    drop(serve()?);
    let mut fill = Command::new("python3");
    process::run(fill.arg(host::root().join("tests/tools/multiply.py")).arg(&file).args([FLOWS, ALERTS]))?;
    let _served = serve()?;
    println!("page {FLOWS} flows, {ALERTS} alerts");
    let mut browser = Command::new("node");
    browser.arg(host::root().join("tests/browser/speed.mjs")).arg(format!("http://{LISTEN}"));
    Ok(run::exit_code(process::status(&mut browser)?))
}

fn is_complete(url: &str) -> Result<bool> {
    let answer = Command::new("curl").args(["-s", "-m", "10", url]).output().context("curl")?;
    Ok(String::from_utf8_lossy(&answer.stdout).contains(r#""state":"complete""#))
}

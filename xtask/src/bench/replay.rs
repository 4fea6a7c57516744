//! `cargo xtask bench replay`: the user engine beside softflowd, in turn, over the mixed capture.

use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{daemon, host, process};

/// Runs of each.
const ROUNDS: usize = 7;

/// Prints medians and the ratio.
pub(crate) fn bench(json: bool) -> Result<ExitCode> {
    let Some(capture) = mixed()? else {
        println!("not run: bench replay: no ../shared/captures here, and NTA_MIXED names no capture");
        return Ok(ExitCode::SUCCESS);
    };
    let binary = daemon::build(daemon::Profile::Release)?;
    let ours = || quiet(Command::new(&binary).arg("replay").arg(&capture));
    let theirs = || quiet(Command::new("softflowd").args(["-n", "127.0.0.1:9995", "-r"]).arg(&capture));
    let has_softflowd = host::find_program("softflowd").is_some();
    let (mut mine, mut peers) = (vec![ours()?], Vec::new());
    for _ in 0..ROUNDS {
        mine.push(ours()?);
        if has_softflowd {
            peers.push(theirs()?);
        }
    }
    mine.remove(0); // the first one reads the file into memory
    let ours_s = median(mine);
    if has_softflowd {
        let peer_s = median(peers);
        let ratio = ours_s / peer_s;
        if json {
            println!(
                r#"{{"bench":"replay","engine":"user","s":{ours_s:.3},"softflowd_s":{peer_s:.3},"ratio":{ratio:.2}}}"#
            );
        } else {
            println!("user engine {ours_s:.3} s, softflowd {peer_s:.3} s, ratio {ratio:.2}");
        }
    } else {
        println!("user engine {ours_s:.3} s; not run: softflowd is not installed");
    }
    Ok(ExitCode::SUCCESS)
}

/// The mixed capture: named, or made once.
pub(super) fn mixed() -> Result<Option<PathBuf>> {
    if let Some(named) = std::env::var_os("NTA_MIXED") {
        return Ok(Some(named.into()));
    }
    let recipe = host::root().join("../shared/captures/make-mixed");
    if !recipe.exists() {
        return Ok(None);
    }
    let capture = host::target_dir().join("mixed.pcap");
    if !capture.exists() {
        process::run(Command::new(&recipe).arg(&capture).stdout(Stdio::null()))?;
    }
    Ok(Some(capture))
}

fn quiet(command: &mut Command) -> Result<f64> {
    let shown = process::display(command);
    let began = Instant::now();
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().with_context(|| shown.clone())?;
    if !status.success() {
        bail!("{shown}: {status}");
    }
    Ok(began.elapsed().as_secs_f64())
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

//! tcpdump at the LAN, and what is in a capture.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::job::{Files, Job};
use super::network::LAN;
use crate::process;

/// How long tcpdump may take to start.
const DEADLINE: Duration = Duration::from_secs(20);
/// Kernel buffer in KiB: a flood while the machine is busy must not be cut.
const BUFFER: u32 = 16_384;

/// Captures all of the LAN, whole frames, until the job is stopped.
pub(crate) fn start(gateway: &str, file: &Path, files: &Files<'_>) -> Result<Job> {
    // Promiscuous, a bridge hands every frame that it carries to the host as well: also those between two stations.
    let line = format!("exec tcpdump -i {LAN} -s 0 -B {BUFFER} -Z root -w '{}'", file.display());
    let mut job = Job::start(gateway, &line, files, "tcpdump.log")?;
    let deadline = Instant::now() + DEADLINE;
    while !log(files).contains("listening on") {
        if job.ended()?.is_some() || Instant::now() > deadline {
            bail!("tcpdump did not start: {}", log(files));
        }
        sleep(Duration::from_millis(50));
    }
    Ok(job)
}

fn log(files: &Files<'_>) -> String {
    fs::read_to_string(files.work.join("tcpdump.log")).unwrap_or_default()
}

/// Frames that the kernel dropped for lack of room, as tcpdump reported at its end.
pub(crate) fn dropped(files: &Files<'_>) -> Option<u64> {
    let log = log(files);
    let line = log.lines().find(|line| line.contains("dropped by kernel"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// First and last frame of some, and how many.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Span {
    pub(crate) first: f64,
    pub(crate) last: f64,
    pub(crate) frames: u64,
}

/// The frames of a capture that a filter lets through, and that lie between two Unix times.
pub(crate) fn span(file: &Path, filter: &str, [from, to]: [f64; 2]) -> Result<Option<Span>> {
    let mut span: Option<Span> = None;
    let mut command = Command::new("tcpdump");
    command.args(["-r"]).arg(file).args(["-nn", "-tt", "-q", filter]);
    let status = process::lines(&mut command, |line| {
        let Some(time) = time(line).filter(|time| (from..=to).contains(time)) else { return };
        let found = span.get_or_insert(Span { first: time, last: time, frames: 0 });
        found.first = found.first.min(time);
        found.last = found.last.max(time);
        found.frames += 1;
    })?;
    if !status.success() {
        bail!("tcpdump cannot read {} with `{filter}`: {status}", file.display());
    }
    Ok(span)
}

/// The time that a line begins with; lines of a frame's second row begin with a space.
fn time(line: &str) -> Option<f64> {
    let (time, rest) = line.split_once(' ')?;
    (!rest.is_empty() && time.contains('.')).then(|| time.parse().ok())?
}

/// SHA-256 of a file, in hexadecimal.
pub(crate) fn digest(file: &Path) -> Result<String> {
    let mut reader = fs::File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    let mut digest = Sha256::new();
    let mut block = vec![0; 1 << 16];
    loop {
        match reader.read(&mut block)? {
            0 => break,
            count => digest.update(&block[..count]),
        }
    }
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::time;

    #[test]
    fn only_lines_of_a_frame_have_a_time() {
        assert_eq!(time("1279251277.376536 ARP, Reply 10.0.0.1"), Some(1_279_251_277.376_536));
        assert_eq!(time("reading from file a.pcap, link-type EN10MB"), None);
        assert_eq!(time("    10.0.0.1.22 > 10.0.0.2.5"), None);
    }
}

//! `cargo xtask screenshots`: the pictures of the dashboard in `docs/images`.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::{env, fs};

use anyhow::{Context, Result, bail};

use crate::daemon::{self, Profile};
use crate::report::Group;
use crate::setup::{self, Need};
use crate::{host, process};

pub(crate) const HELP: &str = "\
Builds the daemon, has it replay the bundled captures and takes every page of the dashboard in Chromium: light and dark, at a desk
(1440×900) and on a phone (360×780). The pictures go to docs/images, WebP, at most 3 MB together. What differs from run to run (the
time of day, how long the daemon is up, its memory) is the same in each, so that a second run changes little. A picture is to be
looked at before it is committed. Without Node or Chromium it says so, and changes nothing. NTA_DAEMON names a binary that is built already.

Options:
  --only PAGE   one page alone, by its name in tests/browser/screenshots.mjs

Examples:
  cargo xtask screenshots
  cargo xtask screenshots --only overview";

/// A morning in an office, with a scan, a flood and somebody who guesses passwords: a case, and the second of the first one in which it begins.
const SCENE: [(&str, u32); 4] =
    [("demo", 0), ("ssh_brute_force-hit", 27), ("port_scan-hit", 67), ("syn_flood-hit", 117)];

/// The most that all pictures may have.
const MOST_BYTES: u64 = 3_000_000;

/// Takes them.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let only = match args {
        [] => "",
        [only, page] if only == "--only" => page.as_str(),
        _ => bail!("screenshots takes `--only PAGE`; see `cargo xtask screenshots --help`"),
    };
    let group = Group::new("screenshots");
    if let Some(missing) = setup::ensure(&[Need::Dashboard])?.first() {
        let group = group.not_run(missing);
        group.print();
        return Ok(group.status());
    }
    let binary =
        env::var_os("NTA_DAEMON").map_or_else(|| daemon::build(Profile::Quick), |built| Ok(PathBuf::from(built)))?;
    let folder = host::target_dir().join("screenshots");
    let _ = fs::remove_dir_all(&folder); // of a run before
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let captures = scene(&folder)?;
    let attacked = Served::start(&binary, &folder.join("attacked.db"), &captures)?;
    let calm = Served::start(&binary, &folder.join("calm.db"), &captures[..1])?;
    let images = host::root().join("docs/images");
    fs::create_dir_all(&images).with_context(|| format!("cannot make {}", images.display()))?;
    let mut node = Command::new("node");
    node.arg(host::root().join("tests/browser/screenshots.mjs")).args([&attacked.address, &calm.address]);
    node.arg(&images).arg(only).args(&captures);
    process::run(&mut node)?;
    let group = group.conclude(&are_small(&images));
    group.print();
    Ok(group.status())
}

/// The captures of the scene, each from when on it is to be.
fn scene(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut begin = None;
    SCENE
        .iter()
        .map(|(case, second)| {
            let path = host::root().join("tests/cases").join(case).join("input.pcap");
            let mut capture = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let begin = *begin.get_or_insert(first_second(&capture)?);
            shift(&mut capture, begin + second)?;
            let to = folder.join(format!("{case}.pcap"));
            fs::write(&to, capture).with_context(|| format!("cannot write {}", to.display()))?;
            Ok(to)
        })
        .collect()
}

const FILE_HEADER: usize = 24;
const FRAME_HEADER: usize = 16;

fn first_second(capture: &[u8]) -> Result<u32> {
    if capture.first_chunk() != Some(&[0xd4, 0xc3, 0xb2, 0xa1]) {
        bail!("the scene takes classic pcap files, little-endian, with microseconds");
    }
    number(capture, FILE_HEADER).context("the capture is empty")
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

/// Moves all of a capture in time, so that it begins in this second.
fn shift(capture: &mut [u8], begin: u32) -> Result<()> {
    let by = begin.wrapping_sub(first_second(capture)?);
    let mut at = FILE_HEADER;
    while let (Some(second), Some(length)) = (number(capture, at), number(capture, at + 8)) {
        capture[at..at + 4].copy_from_slice(&second.wrapping_add(by).to_le_bytes());
        at += FRAME_HEADER + length as usize;
    }
    Ok(())
}

fn are_small(images: &Path) -> Result<()> {
    let mut bytes = 0;
    for entry in fs::read_dir(images)? {
        bytes += entry?.metadata()?.len();
    }
    if bytes > MOST_BYTES {
        bail!("{} has {bytes} bytes, more than {MOST_BYTES}", images.display());
    }
    Ok(())
}

/// A daemon that serves captures; ended with this.
struct Served {
    child: Child,
    /// `http://` with address and port.
    address: String,
}

impl Served {
    fn start(binary: &Path, database: &Path, captures: &[PathBuf]) -> Result<Self> {
        let mut command = daemon::command(binary);
        command.args(["replay", "--serve", "--listen", "127.0.0.1:0", "--database"]);
        command.arg(format!("sqlite:{}", database.display())).args(captures).env("NTA_LOG", "info");
        for variable in ["NTA_CONFIG", "NTA_LISTEN", "NTA_DATABASE", "NTA_WINDOW"] {
            command.env_remove(variable);
        }
        let mut child =
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().context("cannot start the daemon")?;
        let log = child.stderr.take().context("its log is piped")?;
        let mut served = Self { child, address: String::new() };
        let mut lines = BufReader::new(log).lines();
        let mut said = String::new();
        while let Some(Ok(line)) = lines.next() {
            if line.contains("serving what was found")
                && let Some(at) = line.find("http://")
            {
                let address = line[at..].split_whitespace().next().unwrap_or_default();
                served.address = address.trim_end_matches('"').to_owned();
                // Who writes a log that nobody reads waits.
                std::thread::spawn(move || lines.for_each(drop));
                return Ok(served);
            }
            said = line;
        }
        bail!("the daemon ended: {said}")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Both fail only for a daemon that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::{first_second, shift};

    #[test]
    fn a_capture_begins_when_it_is_asked_to_and_keeps_its_pace() {
        let mut capture = vec![0xd4, 0xc3, 0xb2, 0xa1];
        capture.resize(24, 0);
        for second in [1_000_u32, 1_007] {
            capture.extend(second.to_le_bytes());
            capture.extend([5, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 0xaa, 0xbb]);
        }
        shift(&mut capture, 50).expect("a capture");
        assert_eq!(first_second(&capture).expect("a capture"), 50);
        assert_eq!(capture[42..46], 57_u32.to_le_bytes());
        assert_eq!(capture[40..42], [0xaa, 0xbb]);
        assert!(first_second(b"no capture").is_err());
    }
}

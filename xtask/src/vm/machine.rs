//! One virtual machine, from its boot to its end or its time limit.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::{daemon, host};

/// What a machine did.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) accelerator: &'static str,
    /// Everything that came over its serial line.
    pub(super) lines: Vec<String>,
    pub(super) seconds: f64,
}

/// Of a run of the matrix; the checks take a third of it on an idle machine.
pub(super) const LIMIT: Duration = Duration::from_secs(240);
/// KVM either boots within this or not at all.
const KVM_BOOT_LIMIT: Duration = Duration::from_secs(8);
/// All that QEMU can translate but `cmpxchg16b`: with it, by QEMU 7.2, two of four boots of 6.12 ended in an oops, one
/// seen whole: a double fault right behind that instruction, before our `init`. Without it, six of six went well.
const CPU: &str = "max,-cx16";
const LINES_IN_FLIGHT: usize = 1024;
/// The first line of our own.
const BOOTED: &str = "check=boot";
/// What QEMU says where the host's KVM cannot run a guest to its end.
const KVM_GAVE_UP: &str = "KVM internal error";

/// Set once KVM has not got a kernel through boot.
static KVM_FAILED: AtomicBool = AtomicBool::new(false);

/// Boots, with KVM if that works here, else by translation.
pub(super) fn run(vmlinuz: &Path, initramfs: &Path, limit: Duration) -> Result<Ran> {
    let has_kvm = OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
    if has_kvm && !KVM_FAILED.load(Relaxed) {
        let ran = boot("kvm", vmlinuz, initramfs, [KVM_BOOT_LIMIT, limit])?;
        if ran.lines.iter().any(|line| line.contains(BOOTED)) {
            return Ok(ran);
        }
        KVM_FAILED.store(true, Relaxed);
    }
    boot("tcg", vmlinuz, initramfs, [limit, limit])
}

/// The limits are those of getting through boot, and of all.
fn boot(accelerator: &'static str, vmlinuz: &Path, initramfs: &Path, limits: [Duration; 2]) -> Result<Ran> {
    let qemu = host::find_program("qemu-system-x86_64").context("there is no qemu-system-x86_64")?;
    // Does not outlive this program, either.
    let mut command = daemon::command(&qemu);
    command.args(["-accel", accelerator, "-cpu", CPU, "-m", "1024", "-nographic", "-no-reboot", "-nic", "none"]);
    command.arg("-kernel").arg(vmlinuz).arg("-initrd").arg(initramfs);
    // Without the check a timer that comes late on a busy host is no panic at boot.
    command.args(["-append", "console=ttyS0 panic=-1 quiet no_timer_check"]);
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start QEMU")?;
    let output = lines([child.stdout.take().map(boxed), child.stderr.take().map(boxed)]);
    let mut lines: Vec<String> = Vec::new();
    let [mut limit, of_all] = limits;
    // Ends when QEMU has closed both streams, or at the limit.
    while let Ok(line) = output.recv_timeout(limit.saturating_sub(started.elapsed())) {
        if line.contains(BOOTED) {
            limit = of_all;
        }
        let gave_up = line.contains(KVM_GAVE_UP);
        lines.push(line);
        if gave_up {
            break;
        }
    }
    let _ended = child.kill();
    child.wait().context("cannot wait for QEMU")?;
    Ok(Ran { accelerator, lines, seconds: started.elapsed().as_secs_f64() })
}

fn boxed(stream: impl Read + Send + 'static) -> Box<dyn Read + Send> {
    Box::new(stream)
}

fn lines(streams: [Option<Box<dyn Read + Send>>; 2]) -> Receiver<String> {
    let (sender, receiver) = sync_channel(LINES_IN_FLIGHT);
    for stream in streams.into_iter().flatten() {
        let sender = sender.clone();
        thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            let mut bytes = Vec::new();
            while reader.read_until(b'\n', &mut bytes).is_ok_and(|count| count > 0) {
                if sender.send(String::from_utf8_lossy(&bytes).trim_end().to_owned()).is_err() {
                    break;
                }
                bytes.clear();
            }
        });
    }
    receiver
}

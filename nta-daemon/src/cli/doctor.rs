//! `doctor`: what this machine can do, and what an operator would have to change.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nta_common::TunnelPorts;
use serde::Serialize;

use super::reach::reach;
use super::{EXIT_USAGE, fail};
use crate::capture::inside::learn;
use crate::config::Config;
use crate::source::SourceError;
use crate::source::kernel::device::Device;
use crate::source::kernel::topology::Topology;
use crate::source::kernel::{
    AttachOptions, AttachedKernel, Elsewhere, Kernel, KernelOptions, ProgramInfo, detach, joins_translated,
    pinned_elsewhere, predict,
};
use nta_core::detect::Networks;

/// Flags of `doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  nta-daemon doctor\n  nta-daemon doctor --format json\n  \
    nta-daemon doctor --config /etc/nta/nta.toml    # asks the server that it ships to, too\n  \
    nta-daemon doctor --probe eth0                  # attach for a moment, to be sure\n  \
    nta-daemon doctor --detach                      # remove what an ended daemon left pinned")]
pub(super) struct Args {
    /// Output format.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Attach to this interface for a moment, to be sure; on a NIC, native XDP may reset the link. May be given several
    /// times. Without it nothing is attached and the kernel is asked.
    #[arg(long, value_name = "INTERFACE")]
    probe: Vec<String>,
    /// Remove what an ended daemon has left pinned (`capture.pin`), and do nothing else.
    #[arg(long, conflicts_with_all = ["probe", "format"])]
    detach: bool,
    /// Configuration file (TOML): whom it ships to, and where it collects from, is asked too, and nothing shipped. With --detach it
    /// names the pin path.
    #[arg(long, env = "NTA_CONFIG")]
    config: Option<PathBuf>,
    /// With --detach: where the daemon has pinned, if no configuration file names it.
    #[arg(long, value_name = "PATH", requires = "detach")]
    pin_path: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    /// To read.
    Text,
    /// One JSON document.
    Json,
}

#[derive(Serialize)]
struct Report {
    version: &'static str,
    checks: Vec<Check>,
    programs: Vec<Program>,
    interfaces: Vec<Interface>,
}

#[derive(Serialize)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) ok: bool,
    /// What was found, and what to do when it is not ok.
    pub(super) detail: String,
}

/// What the verifier and the JIT made of a program.
#[derive(Serialize)]
struct Program {
    name: &'static str,
    /// Instructions that the verifier walked; null before kernel 5.16, which does not say.
    verified_insns: Option<u32>,
    /// Size after the verifier's rewriting; null where the kernel keeps it from this process.
    translated_bytes: Option<u32>,
    /// Size of the machine code; 0 where the JIT is off.
    jit_bytes: Option<u32>,
    /// Why it did not load.
    error: Option<String>,
}

#[derive(Serialize)]
struct Interface {
    name: String,
    state: String,
    driver: Option<String>,
    mtu_bytes: u32,
    default_route: bool,
    /// Hooks that `--attach auto` takes; null when attaching fails.
    ingress: Option<String>,
    egress: Option<String>,
    reason: String,
    /// Whether that was found by attaching, or by asking the kernel.
    probed: bool,
    /// The daemon that watches it already.
    watched_by: Option<String>,
}

/// Capabilities by bit (linux/capability.h).
const CAPABILITIES: [(&str, u64); 4] =
    [("CAP_NET_ADMIN", 12), ("CAP_SYS_ADMIN", 21), ("CAP_PERFMON", 38), ("CAP_BPF", 39)];

/// Overlaps of interfaces that are named: a machine with containers has hundreds.
const MAX_SHOWN: usize = 8;

/// Oldest kernel that is tested.
const OLDEST_KERNEL: (u32, u32) = (5, 10);

pub(super) fn execute(args: &Args) -> ExitCode {
    if args.detach {
        return detach_pinned(args.pin_path.as_deref(), args.config.as_deref());
    }
    if let Some(error) = args.probe.iter().find_map(|name| Device::find(name).err()) {
        return fail(EXIT_USAGE, &error);
    }
    let reached = match args.config.as_deref().map(|file| Config::load(Some(file))).transpose() {
        Ok(config) => config.map_or(Ok(Vec::new()), |config| reach(&config)),
        Err(error) => return fail(EXIT_USAGE, &error),
    };
    let reached = match reached {
        Ok(reached) => reached,
        Err(error) => return fail(1, &error),
    };
    let is_reached = reached.iter().all(|check| check.ok);
    let mut checks = vec![kernel(), btf(), capabilities(), bpffs(), translation(), overlaps(), inside()];
    checks.extend(reached);
    let report = Report {
        version: env!("CARGO_PKG_VERSION"),
        checks,
        programs: programs(),
        interfaces: interfaces(&args.probe),
    };
    let text = match args.format {
        Format::Json => match serde_json::to_string_pretty(&report) {
            Ok(text) => text + "\n",
            Err(error) => return fail(1, &error),
        },
        Format::Text => text(&report).unwrap_or_default(),
    };
    let printed = super::print(&text);
    // A machine on which nothing can be attached is a finding, and scripts want to see it.
    let loads = report.programs.iter().all(|program| program.error.is_none());
    let attachable = report.interfaces.is_empty() || report.interfaces.iter().any(|i| i.ingress.is_some());
    if loads && attachable && is_reached { printed } else { ExitCode::from(1) }
}

fn text(report: &Report) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    writeln!(text, "nta-daemon {}", report.version)?;
    for check in &report.checks {
        writeln!(text, "{:<4} {:<13} {}", if check.ok { "ok" } else { "NO" }, check.name, check.detail)?;
    }
    for p in &report.programs {
        let size = |n: Option<u32>| n.map_or_else(|| "?".to_owned(), |n| n.to_string());
        let (insns, translated, jit) = (size(p.verified_insns), size(p.translated_bytes), size(p.jit_bytes));
        match &p.error {
            None => writeln!(text, "ok   {:<14} {insns} verified instructions, {translated} B, JIT {jit} B", p.name)?,
            Some(error) => writeln!(text, "NO   {:<14} {error}", p.name)?,
        }
    }
    for i in &report.interfaces {
        let driver = i.driver.as_deref().unwrap_or("virtual");
        let route = if i.default_route { ", default route" } else { "" };
        writeln!(text, "\n{} ({driver}, {}, MTU {}{route})", i.name, i.state, i.mtu_bytes)?;
        match (&i.ingress, &i.egress) {
            (Some(ingress), Some(egress)) if i.probed => {
                writeln!(text, "     takes      ingress {ingress}, egress {egress}")?;
            }
            (Some(ingress), Some(egress)) => writeln!(text, "     would take ingress {ingress}, egress {egress}")?,
            _ => writeln!(text, "     cannot be attached")?,
        }
        writeln!(text, "     because    {}", i.reason)?;
        if let Some(by) = &i.watched_by {
            writeln!(text, "     watched by {by}")?;
        }
    }
    Ok(text)
}

fn kernel() -> Check {
    let release = read("/proc/sys/kernel/osrelease");
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let ok = version >= OLDEST_KERNEL;
    let detail = if ok { release } else { format!("{release}: 5.10 is the oldest that is supported") };
    Check { name: "kernel", ok, detail }
}

fn btf() -> Check {
    const PATH: &str = "/sys/kernel/btf/vmlinux";
    let ok = Path::new(PATH).exists();
    let detail = if ok { PATH.to_owned() } else { format!("no {PATH}: works without, diagnostics are poorer") };
    Check { name: "BTF", ok, detail }
}

fn capabilities() -> Check {
    let status = read("/proc/self/status");
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let mask = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    let has = |name: &str| CAPABILITIES.iter().any(|(n, bit)| *n == name && mask & (1 << bit) != 0);
    let ok = has("CAP_SYS_ADMIN") || (has("CAP_BPF") && has("CAP_NET_ADMIN") && has("CAP_PERFMON"));
    let held: Vec<&str> = CAPABILITIES.iter().map(|(name, _)| *name).filter(|name| has(name)).collect();
    let held = if held.is_empty() { "none of them".to_owned() } else { held.join(", ") };
    let detail =
        if ok { held } else { format!("has {held}; live capture needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON") };
    Check { name: "capabilities", ok, detail }
}

fn bpffs() -> Check {
    let mounts = read("/proc/self/mounts");
    let mounted = mounts.lines().find(|line| line.split(' ').nth(2) == Some("bpf"));
    let place = mounted.and_then(|line| line.split(' ').nth(1));
    match place {
        Some(place) => Check { name: "bpffs", ok: true, detail: place.to_owned() },
        None => {
            let detail = "not mounted; capture.pin alone needs it (mount -t bpf bpf /sys/fs/bpf)".to_owned();
            Check { name: "bpffs", ok: true, detail }
        }
    }
}

/// Whether connections that this gateway translates are one flow where both of its sides are watched.
fn translation() -> Check {
    let (mut ok, mut detail) = match joins_translated() {
        Ok(()) => (true, "the names that connection tracking gives a connection are joined".to_owned()),
        Err(reason) => (false, format!("{reason}: with NAT watch the inside alone, else a connection counts as two")),
    };
    if has_stateless_translation(&read("/proc/modules")) {
        ok = false;
        detail += "; ip6t_NPT is loaded: prefixes that it translates pass connection tracking by, so that their connections count as \
                   two flows: watch the inside alone";
    }
    Check { name: "NAT", ok, detail }
}

/// Whether the module of `SNPT` and `DNPT` (RFC 6296) is among those that are loaded. It is while a rule uses it, in any namespace.
fn has_stateless_translation(modules: &str) -> bool {
    modules.lines().any(|line| {
        let mut words = line.split(' ');
        words.next() == Some("ip6t_NPT") && words.nth(1).is_some_and(|users| users != "0")
    })
}

/// Which interfaces share packets.
fn overlaps() -> Check {
    let shared = Topology::of(&Device::all()).overlaps;
    let more = shared.len().saturating_sub(MAX_SHOWN);
    let mut detail = shared[..shared.len() - more].join("; ");
    if more > 0 {
        let _ = write!(detail, "; and {more} more");
    }
    let detail = if detail.is_empty() {
        "no interface shares packets with another".to_owned()
    } else {
        format!("{detail}: a packet that passes several watched ones counts once")
    };
    Check { name: "overlaps", ok: true, detail }
}

/// What this machine's addresses and routes add to the networks that are one's own.
fn inside() -> Check {
    let learned: Vec<String> = learn(&[], &Networks::default()).0.iter().map(ToString::to_string).collect();
    let detail = if learned.is_empty() {
        "the private networks".to_owned()
    } else {
        format!("the private networks and {}", learned.join(", "))
    };
    Check { name: "inside", ok: true, detail }
}

/// Loads the programs, with the least memory and all that can be switched on, as only the verifier knows whether it takes them.
fn programs() -> Vec<Program> {
    let tunnels = Some(TunnelPorts::default());
    let options = KernelOptions { map_memory_mib: 1, tunnels, bare: u16::MAX, ..KernelOptions::default() };
    let verified = match Kernel::load(&options) {
        Ok(mut kernel) => kernel.verify(),
        Err(error) => vec![("maps", Err(error))],
    };
    let row = |(name, info): (_, Result<ProgramInfo, SourceError>)| match info {
        Ok(info) => Program {
            name,
            verified_insns: info.verified_instruction_count(),
            translated_bytes: info.size_translated(),
            jit_bytes: Some(info.size_jitted()),
            error: None,
        },
        Err(error) => {
            let error = Some(error.to_string());
            Program { name, verified_insns: None, translated_bytes: None, jit_bytes: None, error }
        }
    };
    verified.into_iter().map(row).collect()
}

/// What each interface would take, and of those that are named what they do take.
fn interfaces(probe: &[String]) -> Vec<Interface> {
    let default = Device::of_default_route();
    let row = |device: Device| {
        let predicted = predict(&device);
        let probed = probe.contains(&device.name);
        let (ingress, egress, reason) = if probed {
            attach_once(&device)
        } else {
            (Some(predicted.ingress), Some(predicted.egress), predicted.reason)
        };
        Interface {
            default_route: default.as_deref() == Some(device.name.as_str()),
            name: device.name,
            state: device.state,
            driver: device.driver,
            mtu_bytes: device.mtu,
            ingress,
            egress,
            reason,
            probed,
            watched_by: predicted.watched_by,
        }
    };
    Device::all().into_iter().map(row).collect()
}

/// Attaches for a moment, which is the only way to be sure.
fn attach_once(device: &Device) -> (Option<String>, Option<String>, String) {
    let options = KernelOptions { map_memory_mib: 1, ..KernelOptions::default() };
    match AttachedKernel::load_and_attach(std::slice::from_ref(device), &AttachOptions::default(), options, None) {
        Ok(attached) => match attached.attachments.first() {
            Some(a) => (Some(a.ingress.clone()), Some(a.egress.clone()), a.reason.clone()),
            None => (None, None, String::new()),
        },
        Err(error) => (None, None, error.to_string()),
    }
}

/// Removes what is pinned and watched by nobody.
fn detach_pinned(path: Option<&Path>, config: Option<&Path>) -> ExitCode {
    let path = match path.map(|path| Ok(path.to_owned())) {
        Some(path) => path,
        None => Config::load(config).map(|config| config.capture.pin_path),
    };
    let path = match path {
        Ok(path) => path,
        Err(error) => return fail(EXIT_USAGE, &error),
    };
    match detach(&path, None) {
        Ok(removed) => {
            let nothing = format!("nothing to detach below {} in this network namespace\n", path.display());
            let removed = removed.iter().map(|path| format!("removed {path}\n")).collect::<String>();
            let elsewhere: String = pinned_elsewhere(&path).iter().map(|other| detach_there(other, &path)).collect();
            super::print(&(if removed.is_empty() { nothing } else { removed } + &elsewhere))
        }
        Err(error) => fail(1, &error),
    }
}

/// How what is pinned for another network namespace is removed.
fn detach_there(Elsewhere { folder, inode, name, pinned }: &Elsewhere, path: &Path) -> String {
    let path = path.display();
    let command = format!("nta-daemon doctor --detach --pin-path {path}");
    match name {
        Some(name) => format!(
            "{folder} holds {pinned} pinned for the network namespace {name}, where they go on counting: `ip netns exec {name} \
             {command}` removes them once no daemon runs there\n"
        ),
        None => format!(
            "{folder} holds {pinned} pinned for the network namespace with the inode {inode} (lsns -t net), where they go on counting \
             while it is there: `nsenter -t PID -n {command}` removes them once no daemon runs there\n"
        ),
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::has_stateless_translation;

    #[test]
    fn a_rule_that_translates_without_connection_tracking_is_seen() {
        assert!(has_stateless_translation(
            "x_tables 65536 2 ip6t_NPT,ip6_tables, Live 0x0\nip6t_NPT 16384 1 - Live 0x0"
        ));
        assert!(!has_stateless_translation("ip6t_NPT 16384 0 - Live 0x0"), "no rule");
        assert!(!has_stateless_translation("x_tables 65536 2 ip6t_NPT,ip6_tables, Live 0x0\n"));
    }
}

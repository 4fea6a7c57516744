//! Loading: settings into the object, map sizes from a memory budget, programs through the verifier.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use aya::maps::{Array, Map};
use aya::programs::{ProgramError, ProgramInfo, SchedClassifier, TestRun as _, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use aya_log::EbpfLogger;
use nta_common::limits::{MAX_INTERFACES, MAX_NESTED};
use nta_common::{Conntrack, Settings, TunnelPorts};
use tokio_util::sync::CancellationToken;

use super::clock::{Jiffies, calibrate, monotonic_ns};
use super::conntrack;
use super::maps::{KernelFlows, flow_bytes};
use super::nat::Translations;
use super::nested::NestedMap;
use super::pin::PINNED_MAPS;
use super::share::SharedMaps;
use crate::config::read_regular;
use crate::source::{EventSettings, SourceError};

/// The object that `cargo xtask build-ebpf` builds, as committed.
pub(super) static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/../nta-ebpf/object/nta-ebpf.o"));

/// Share of the map memory that goes to IPv4, in percent.
const IPV4_SHARE: u64 = 60;
/// Fewer flows than this make no useful map, whatever the budget says.
const MIN_FLOWS: u64 = 64;
/// Lines of the verifier's log that an error quotes.
const VERIFIER_LINES: usize = 6;
const NANOS_PER_JIFFY_IN_REPLAY: u32 = 1;
/// Translated connections that are known at once: one for so many flows. Each takes a fifth of a flow's memory, of IPv6 a quarter.
const FLOWS_PER_TRANSLATION: u32 = 2;
/// Entries of a map of translations, or of nested flows, that nothing is written to.
const SMALLEST_NAT: u32 = 64;
/// Directions of flows of which is known in which flow they lie: one for so many flows, and no fewer than these.
const FLOWS_PER_NESTED: u32 = 4;
const FEWEST_NESTED: u32 = 1024;
/// Bytes of a ring that nothing is written to; the loader makes a page of it.
const SMALLEST_RING: u32 = 4096;

/// What the programs are loaded with.
#[derive(Clone, Debug, Default)]
pub struct KernelOptions {
    /// Memory for the flow maps in MiB.
    pub map_memory_mib: u64,
    /// Index and name of each watched interface; empty for a replay.
    pub interfaces: Vec<(u32, String)>,
    /// What counted packets carry where interfaces lie on top of one another, else 0.
    pub mark: u16,
    /// Positions of interfaces that are ends of tunnels: a bit each.
    pub tunnel_ends: u16,
    /// Positions of interfaces whose packets begin with their IP header: a bit each.
    pub bare: u16,
    /// Name of a replay's ledger.
    pub replay_name: Option<String>,
    /// By which ports tunnels are known, where the inner packet is accounted in place of the tunnel.
    pub tunnels: Option<TunnelPorts>,
    /// Sampling and events.
    pub events: EventSettings,
    /// An object to load instead of the built-in one: a debug build whose program writes diagnostics to the log.
    pub object: Option<PathBuf>,
    /// Folder on a BPF file system where the maps are pinned, or taken from if they are there.
    pub maps_folder: Option<PathBuf>,
    /// Cancelled when the start is to end before anything is attached.
    pub stop: CancellationToken,
}

impl KernelOptions {
    /// Refuses to go on with a start that is to end.
    pub(super) fn go_on(&self) -> Result<(), SourceError> {
        if self.stop.is_cancelled() { Err(SourceError::Stopped) } else { Ok(()) }
    }

    /// Flows that fit the budget: IPv4, IPv6.
    pub fn max_flows(&self) -> [u32; 2] {
        max_flows(self.map_memory_mib)
    }
}

/// Translated connections that are known beside so many flows.
fn max_translated(max_flows: [u32; 2]) -> [u32; 2] {
    max_flows.map(|flows| (flows / FLOWS_PER_TRANSLATION).max(SMALLEST_NAT))
}

/// Directions of flows within others that are known beside so many flows, where tunnels are opened.
pub(crate) fn max_nested(max_flows: [u32; 2]) -> u32 {
    let flows = max_flows.iter().fold(0_u32, |sum, flows| sum.saturating_add(*flows));
    (flows / FLOWS_PER_NESTED).clamp(FEWEST_NESTED, MAX_NESTED)
}

/// Flows that fit `mib` MiB of map memory: IPv4, IPv6.
pub(crate) fn max_flows(mib: u64) -> [u32; 2] {
    let budget = mib.saturating_mul(1 << 20);
    let [v4, v6] = flow_bytes();
    let entries = |share: u64, each: u64| (budget / 100 * share / each).clamp(MIN_FLOWS, 1 << 26) as u32;
    [entries(IPV4_SHARE, v4), entries(100 - IPV4_SHARE, v6)]
}

/// The object, loaded: its maps exist, its programs are ready to be verified.
pub struct Kernel {
    ebpf: Ebpf,
    /// Where its programs count.
    maps: SharedMaps,
    jiffies: Option<Jiffies>,
    conntrack: Conntrack,
    /// Reads what a debug build of the programs logs.
    diagnostics: Option<EbpfLogger<&'static dyn log::Log>>,
}

impl Kernel {
    /// Creates the maps and hands them out as a source.
    pub fn load(options: &KernelOptions) -> Result<(Self, KernelFlows), SourceError> {
        options.go_on()?;
        lift_memlock();
        let mut kernel = Self::open(options, None)?;
        options.go_on()?;
        let max_flows = options.max_flows();
        let names = match &options.replay_name {
            Some(name) => vec![name.clone()],
            None => options.interfaces.iter().map(|(_, name)| name.clone()).collect(),
        };
        let mut flows = KernelFlows::take(&mut kernel.ebpf, max_flows, names, options.events.ring_bytes)?;
        if kernel.joins_nat() {
            let conntrack = kernel.conntrack;
            flows.join_translated(Translations::take(&mut kernel.ebpf, max_translated(max_flows), conntrack)?);
        }
        if options.tunnels.is_some() {
            flows.nest(NestedMap::take(&mut kernel.ebpf, max_nested(max_flows))?);
        }
        Ok((kernel, flows))
    }

    /// Programs for other interfaces that count in the maps of `before`; where these have had no need of maps of translated
    /// connections until now, they are handed out.
    pub(super) fn load_beside(
        options: &KernelOptions,
        before: &Self,
    ) -> Result<(Self, Option<Translations>), SourceError> {
        let mut kernel = Self::open(options, Some(before))?;
        let mut translations = None;
        if kernel.joins_nat() && !before.joins_nat() {
            let (max_translated, conntrack) = (max_translated(options.max_flows()), kernel.conntrack);
            translations = Some(Translations::take(&mut kernel.ebpf, max_translated, conntrack)?);
        }
        Ok((kernel, translations))
    }

    /// One of its maps.
    pub(super) fn take_map(&mut self, name: &str) -> Option<Map> {
        self.ebpf.take_map(name)
    }

    /// The descriptor of one of its maps.
    pub(super) fn map(&self, name: &str) -> Option<BorrowedFd<'_>> {
        self.maps.get(name)
    }

    /// The tick of the kernel's clock that it is now.
    pub(super) fn tick(&self) -> Option<u64> {
        self.jiffies.map(|jiffies| jiffies.at(monotonic_ns()))
    }

    /// Whether translated connections are joined.
    const fn joins_nat(&self) -> bool {
        self.conntrack.skb != 0
    }

    fn open(options: &KernelOptions, before: Option<&Self>) -> Result<Self, SourceError> {
        let replay = options.replay_name.is_some();
        let jiffies = match before {
            Some(before) => before.jiffies,
            None if replay => None,
            None => Some(jiffies()?),
        };
        let mut settings = Settings {
            replay: u32::from(replay),
            jiffy_ns: jiffies.map_or(NANOS_PER_JIFFY_IN_REPLAY, |j| j.tick_ns as u32),
            jiffies_origin_ns: jiffies.map_or(0, |j| j.origin_ns),
            interfaces: [0; MAX_INTERFACES],
            tunnels: u32::from(options.tunnels.is_some()),
            tunnel_ports: options.tunnels.unwrap_or_default(),
            sample: options.events.sample,
            raw_every: options.events.raw_every,
            events_per_second: options.events.per_second,
            zero: 0,
            conntrack: Conntrack::default(),
            mark: u32::from(options.mark),
            tunnel_ends: options.tunnel_ends,
            bare: options.bare,
        };
        // The last slot takes what enters by an interface that is not named here.
        if options.interfaces.len() >= MAX_INTERFACES {
            let most = MAX_INTERFACES - 1;
            return Err(SourceError::Unsupported(format!("at most {most} interfaces can be watched at once")));
        }
        for (slot, (index, _)) in settings.interfaces.iter_mut().zip(&options.interfaces) {
            *slot = *index;
        }
        // Of one interface both directions carry the same addresses. Without any, what the programs cost at most is asked.
        let joins_nat = !replay && options.interfaces.len() != 1;
        if let Some(before) = before.filter(|before| before.joins_nat()) {
            settings.conntrack = before.conntrack;
        } else if joins_nat {
            match conntrack::offsets() {
                Ok(offsets) => settings.conntrack = offsets,
                Err(reason) => tracing::warn!(
                    reason,
                    "a connection whose addresses this gateway translates counts as two flows: watch the inside alone"
                ),
            }
        }
        // Maps of those before take the place of the others.
        let max_flows = if before.is_some() { [1; 2] } else { options.max_flows() };
        let has_nat = settings.conntrack.skb != 0 && before.is_none_or(|before| !before.joins_nat());
        let max_translated = if has_nat { max_translated(options.max_flows()) } else { [SMALLEST_NAT; 2] };
        let has_nested = options.tunnels.is_some() && before.is_none();
        let max_nested = if has_nested { max_nested(options.max_flows()) } else { SMALLEST_NAT };
        let ring_bytes = if before.is_some() { SMALLEST_RING } else { options.events.ring_bytes };
        let file = options.object.as_deref().map(read_object).transpose()?;
        let mut loader = EbpfLoader::new();
        loader
            .override_global("SETTINGS", &settings, true)
            .map_max_entries("FLOWS4", max_flows[0])
            .map_max_entries("FLOWS6", max_flows[1])
            .map_max_entries("NAT4", max_translated[0])
            .map_max_entries("NAT6", max_translated[1])
            .map_max_entries("NESTED", max_nested)
            .map_max_entries("EVENTS", ring_bytes);
        if let Some(folder) = &options.maps_folder {
            for name in PINNED_MAPS {
                loader.map_pin_path(name, folder.join(name));
            }
        }
        let mut ebpf =
            loader.load(file.as_deref().unwrap_or(OBJECT)).map_err(|error| no_maps(error, options.map_memory_mib))?;
        // Only a debug build has the map that this reads.
        let diagnostics = EbpfLogger::init(&mut ebpf).ok();
        if let Some(before) = before {
            before.maps.put_into(&ebpf, if has_nat { &["NAT4", "NAT6"] } else { &[] })?;
        }
        let maps = SharedMaps::of(&ebpf)?;
        Ok(Self { ebpf, maps, jiffies, conntrack: settings.conntrack, diagnostics })
    }

    /// Whether the programs write diagnostics.
    pub const fn has_diagnostics(&self) -> bool {
        self.diagnostics.is_some()
    }

    /// Passes what the programs logged on to the daemon's log.
    pub fn flush_diagnostics(&mut self) {
        if let Some(diagnostics) = &mut self.diagnostics {
            diagnostics.flush();
        }
    }

    /// Every program that counts, through the verifier, with what the kernel says about it.
    pub fn verify(&mut self) -> Vec<(&'static str, Result<ProgramInfo, SourceError>)> {
        let xdp = |kernel: &mut Self, name| info(name, kernel.xdp(name)?.info());
        let tc = |kernel: &mut Self, name| info(name, kernel.classifier(name)?.info());
        vec![
            ("nta_xdp", xdp(self, "nta_xdp")),
            ("nta_tc_ingress", tc(self, "nta_tc_ingress")),
            ("nta_tc_egress", tc(self, "nta_tc_egress")),
            ("nta_connections", xdp(self, "nta_connections")),
        ]
    }

    /// An XDP program, through the verifier.
    pub fn xdp(&mut self, name: &'static str) -> Result<&mut Xdp, SourceError> {
        let program = self.ebpf.program_mut(name).ok_or(SourceError::Missing(name))?;
        let program: &mut Xdp = program.try_into().map_err(|source| SourceError::Program { name, source })?;
        if program.fd().is_err() {
            program.load().map_err(|source| program_error(name, source))?;
            tracing::debug!(name, "program loaded");
        }
        Ok(program)
    }

    /// A TC program, through the verifier.
    pub fn classifier(&mut self, name: &'static str) -> Result<&mut SchedClassifier, SourceError> {
        let program = self.ebpf.program_mut(name).ok_or(SourceError::Missing(name))?;
        let program: &mut SchedClassifier =
            program.try_into().map_err(|source| SourceError::Program { name, source })?;
        if program.fd().is_err() {
            program.load().map_err(|source| program_error(name, source))?;
            tracing::debug!(name, "program loaded");
        }
        Ok(program)
    }
}

fn info(name: &'static str, info: Result<ProgramInfo, ProgramError>) -> Result<ProgramInfo, SourceError> {
    info.map_err(|source| SourceError::Program { name, source })
}

/// Before 5.11 maps count as locked memory, of which a process may have 64 KiB by default. Where raising the limit is
/// refused, creating the maps says so.
fn lift_memlock() {
    let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: a valid structure that outlives the call.
    if unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) } != 0 {
        tracing::debug!(error = %io::Error::last_os_error(), "RLIMIT_MEMLOCK stays as it is");
    }
}

/// Ours has a mebibyte and a half.
const MOST_OBJECT_BYTES: u64 = 64 << 20;

fn read_object(path: &Path) -> Result<Vec<u8>, SourceError> {
    read_regular(path, MOST_OBJECT_BYTES)
        .map_err(|e| SourceError::Unsupported(format!("eBPF object {}: {e}", path.display())))
}

/// The object for a program that counts no packets: its maps are as small as they can be.
pub(super) fn alone(settings: &Settings) -> Result<Kernel, SourceError> {
    let ebpf = EbpfLoader::new()
        .override_global("SETTINGS", settings, true)
        .map_max_entries("FLOWS4", 1)
        .map_max_entries("FLOWS6", 1)
        .map_max_entries("NAT4", SMALLEST_NAT)
        .map_max_entries("NAT6", SMALLEST_NAT)
        .map_max_entries("NESTED", SMALLEST_NAT)
        .map_max_entries("OVERFLOW", 1)
        .map_max_entries("FRAGMENTS", SMALLEST_NAT)
        .map_max_entries("EVENTS", SMALLEST_RING)
        .load(OBJECT)
        .map_err(|error| permission(error, "create BPF maps"))?;
    let maps = SharedMaps::of(&ebpf)?;
    Ok(Kernel { ebpf, maps, jiffies: None, conntrack: settings.conntrack, diagnostics: None })
}

/// Loads the clock program alone and calibrates with it.
fn jiffies() -> Result<Jiffies, SourceError> {
    let mut kernel = alone(&Settings::default())?;
    let clocks = kernel.take_map("CLOCKS").ok_or(SourceError::Missing("map CLOCKS"))?;
    let map_error = |e| SourceError::Map { name: "CLOCKS", source: io::Error::other(e) };
    let clocks: Array<_, [u64; 2]> = Array::try_from(clocks).map_err(map_error)?;
    let program = kernel.xdp("nta_clock")?;
    calibrate(|| {
        let frame = [0; 64];
        program
            .test_run(TestRunOptions { data_in: Some(&frame), ..TestRunOptions::new() })
            .map_err(|source| SourceError::Program { name: "nta_clock", source })?;
        clocks.get(&0, 0).map_err(map_error)
    })
}

/// Why the maps are not there: they take all of their memory when they are made.
fn no_maps(error: aya::EbpfError, mib: u64) -> SourceError {
    let is_memory = |error: &(dyn std::error::Error + 'static)| {
        error.downcast_ref::<io::Error>().is_some_and(|e| matches!(e.raw_os_error(), Some(libc::ENOMEM | libc::E2BIG)))
    };
    if causes(&error).any(is_memory) {
        return SourceError::Unsupported(format!(
            "capture.map_memory_mib is {mib}: the kernel has no memory for maps of that size"
        ));
    }
    permission(error, "create BPF maps")
}

/// Distinguishes a missing capability from every other failure.
fn permission(error: aya::EbpfError, action: &str) -> SourceError {
    if causes(&error).any(is_permission) {
        SourceError::Permission { action: action.to_owned() }
    } else {
        SourceError::Object(error)
    }
}

fn program_error(name: &'static str, source: ProgramError) -> SourceError {
    if causes(&source).any(is_permission) {
        return SourceError::Permission { action: format!("load program {name}") };
    }
    if let ProgramError::LoadError { verifier_log, .. } = &source {
        // Thousands of lines: whole at debug level, its end in the error.
        let log = verifier_log.to_string();
        tracing::debug!(program = name, %log, "verifier log");
        let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
        let end = lines[lines.len().saturating_sub(VERIFIER_LINES)..].join(" | ");
        return SourceError::Verifier { name, end };
    }
    SourceError::Program { name, source }
}

pub(super) fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

fn is_permission(error: &(dyn std::error::Error + 'static)) -> bool {
    // EPERM only: the verifier says EACCES.
    error.downcast_ref::<io::Error>().is_some_and(|e| e.raw_os_error() == Some(libc::EPERM))
}

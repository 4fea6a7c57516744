//! Loading: settings into the object, map sizes from a memory budget, programs through the verifier.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::PathBuf;

use aya::maps::{Map, MapData, PerCpuArray};
use aya::programs::{ProgramError, ProgramInfo, SchedClassifier, Xdp};
use aya::{Ebpf, EbpfLoader};
use aya_log::EbpfLogger;
use nta_common::limits::MAX_INTERFACES;
use nta_common::{Conntrack, CpuSlot, LedgerSlot, Settings, TunnelPorts};

use crate::conntrack;
use crate::handles::{CONNECTIONS_PROGRAM, Handles};
use crate::jiffies::{Jiffies, jiffies, monotonic_ns};
use crate::pin::PINNED_MAPS;
use crate::share::SharedMaps;
use crate::sizes::{SMALLEST_NAT, max_embryos, max_flows, max_nested, max_translated};
use crate::{EventSettings, SourceError, Stop};

/// The object that `cargo xtask build-ebpf` builds, as committed.
pub(crate) static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/../nta-ebpf/object/nta-ebpf.o"));

/// Lines of the verifier's log that an error quotes.
const VERIFIER_LINES: usize = 6;
const NANOS_PER_JIFFY_IN_REPLAY: u32 = 1;
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
    pub object: Option<Vec<u8>>,
    /// Folder on a BPF file system where the maps are pinned, or taken from if they are there.
    pub maps_folder: Option<PathBuf>,
    /// Says when the start is to end before anything is attached.
    pub stop: Stop,
}

impl KernelOptions {
    /// Refuses to go on with a start that is to end.
    pub(crate) fn go_on(&self) -> Result<(), SourceError> {
        if self.stop.is_asked_for() { Err(SourceError::Stopped) } else { Ok(()) }
    }

    /// Flows with whole entries that fit the budget: IPv4, IPv6.
    pub fn max_flows(&self) -> [u32; 2] {
        max_flows(self.map_memory_mib)
    }

    /// Those and the flows of one packet.
    pub fn most_flows(&self) -> [u32; 2] {
        let [whole, embryos] = [self.max_flows(), max_embryos(self.map_memory_mib)];
        [whole[0].saturating_add(embryos[0]), whole[1].saturating_add(embryos[1])]
    }
}

/// The object, loaded: its maps exist, its programs are ready to be verified.
pub struct Kernel {
    ebpf: Ebpf,
    /// Where its programs count.
    maps: SharedMaps,
    jiffies: Option<Jiffies>,
    conntrack: Conntrack,
    /// Whether it notes what lies in which flow.
    has_nested: bool,
    /// The program that reads what the kernel holds of translated connections, where these are joined and were not before.
    connections: Option<Box<Self>>,
    /// Reads what a debug build of the programs logs.
    diagnostics: Option<EbpfLogger<&'static dyn log::Log>>,
}

impl Kernel {
    /// Creates the maps.
    pub fn load(options: &KernelOptions) -> Result<Self, SourceError> {
        options.go_on()?;
        lift_memlock();
        let kernel = Self::open(options, None)?;
        options.go_on()?;
        Ok(kernel)
    }

    /// Programs for other interfaces that count in the maps of `before`.
    pub(crate) fn load_beside(options: &KernelOptions, before: &Self) -> Result<Self, SourceError> {
        Self::open(options, Some(before))
    }

    /// What reading its maps takes.
    ///
    /// # Errors
    /// When there are no descriptors left, or the program that looks connections up is refused.
    pub fn handles(&self) -> Result<Handles, SourceError> {
        let mut handles =
            Handles::of(&self.maps, &["FLOWS4", "FLOWS6", "EMBRYOS4", "EMBRYOS6", "OVERFLOW", "LEDGER", "EVENTS"])?;
        if self.has_nested {
            handles.add(&self.maps, "NESTED")?;
        }
        if self.joins_nat() {
            handles.extend(self.nat_handles()?);
        }
        Ok(handles)
    }

    /// Of these, what translated connections take.
    pub(crate) fn nat_handles(&self) -> Result<Handles, SourceError> {
        let mut handles = Handles::of(&self.maps, &["NAT4", "NAT6"])?;
        if let Some(connections) = &self.connections {
            handles.add_connections(connections)?;
        }
        Ok(handles)
    }

    /// A map of it that is not shared, and an XDP program that was verified.
    pub(crate) fn descriptors(&self, map: &str, program: &'static str) -> Option<[BorrowedFd<'_>; 2]> {
        let Map::Array(map) = self.ebpf.map(map)? else { return None };
        let loaded: &Xdp = self.ebpf.program(program)?.try_into().ok()?;
        Some([map.fd().as_fd(), loaded.fd().ok()?.as_fd()])
    }

    /// One of its maps.
    pub(crate) fn take_map(&mut self, name: &str) -> Option<Map> {
        self.ebpf.take_map(name)
    }

    /// The descriptor of one of its maps.
    pub(crate) fn map(&self, name: &str) -> Option<BorrowedFd<'_>> {
        self.maps.get(name)
    }

    /// What a place in the ledger holds.
    pub(crate) fn counted(&self, slot: usize) -> Result<LedgerSlot, SourceError> {
        let failed = |source| SourceError::Map { name: "LEDGER", source };
        let map = self.map("LEDGER").ok_or(SourceError::Missing("map LEDGER"))?;
        let map = MapData::from_fd(map.try_clone_to_owned().map_err(failed)?);
        let map = map.and_then(|map| PerCpuArray::<_, CpuSlot>::try_from(Map::PerCpuArray(map)));
        let per_cpu =
            map.and_then(|map| map.get(&(slot as u32), 0)).map_err(|error| failed(io::Error::other(error)))?;
        let mut counts = LedgerSlot::default();
        per_cpu.iter().for_each(|cpu| counts.merge(&cpu.ledger));
        Ok(counts)
    }

    /// The tick of the kernel's clock that it is now.
    pub(crate) fn tick(&self) -> Option<u64> {
        self.jiffies.map(|jiffies| jiffies.at(monotonic_ns()))
    }

    /// Whether translated connections are joined.
    pub(crate) const fn joins_nat(&self) -> bool {
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
        let [max_flows, max_embryos] = match before {
            Some(_) => [[1; 2]; 2],
            None => [options.max_flows(), max_embryos(options.map_memory_mib)],
        };
        let has_nat = settings.conntrack.skb != 0 && before.is_none_or(|before| !before.joins_nat());
        let max_translated = if has_nat { max_translated(options.max_flows()) } else { [SMALLEST_NAT; 2] };
        let has_nested = options.tunnels.is_some() && before.is_none();
        let max_nested = if has_nested { max_nested(options.max_flows()) } else { SMALLEST_NAT };
        let ring_bytes = if before.is_some() { SMALLEST_RING } else { options.events.ring_bytes };
        let mut loader = EbpfLoader::new();
        loader
            .override_global("SETTINGS", &settings, true)
            .map_max_entries("FLOWS4", max_flows[0])
            .map_max_entries("FLOWS6", max_flows[1])
            .map_max_entries("EMBRYOS4", max_embryos[0])
            .map_max_entries("EMBRYOS6", max_embryos[1])
            .map_max_entries("NAT4", max_translated[0])
            .map_max_entries("NAT6", max_translated[1])
            .map_max_entries("NESTED", max_nested)
            .map_max_entries("EVENTS", ring_bytes);
        if let Some(folder) = &options.maps_folder {
            for name in PINNED_MAPS {
                loader.map_pin_path(name, folder.join(name));
            }
        }
        let mut ebpf = loader
            .load(options.object.as_deref().unwrap_or(OBJECT))
            .map_err(|error| no_maps(error, options.map_memory_mib))?;
        // Only a debug build has the map that this reads.
        let diagnostics = EbpfLogger::init(&mut ebpf).ok();
        if let Some(before) = before {
            before.maps.put_into(&ebpf, if has_nat { &["NAT4", "NAT6"] } else { &[] })?;
        }
        let maps = SharedMaps::of(&ebpf)?;
        let has_nested = options.tunnels.is_some();
        // Before anything is attached: the verifier takes its time.
        let connections = if has_nat {
            let mut connections = alone(&Settings { conntrack: settings.conntrack, ..Settings::default() })?;
            connections.xdp(CONNECTIONS_PROGRAM)?;
            Some(Box::new(connections))
        } else {
            None
        };
        Ok(Self { ebpf, maps, jiffies, conntrack: settings.conntrack, has_nested, connections, diagnostics })
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

/// The object for a program that counts no packets: its maps are as small as they can be.
pub(crate) fn alone(settings: &Settings) -> Result<Kernel, SourceError> {
    let ebpf = EbpfLoader::new()
        .override_global("SETTINGS", settings, true)
        .map_max_entries("FLOWS4", 1)
        .map_max_entries("FLOWS6", 1)
        .map_max_entries("EMBRYOS4", 1)
        .map_max_entries("EMBRYOS6", 1)
        .map_max_entries("NAT4", SMALLEST_NAT)
        .map_max_entries("NAT6", SMALLEST_NAT)
        .map_max_entries("NESTED", SMALLEST_NAT)
        .map_max_entries("OVERFLOW", 1)
        .map_max_entries("FRAGMENTS", SMALLEST_NAT)
        .map_max_entries("EVENTS", SMALLEST_RING)
        .load(OBJECT)
        .map_err(|error| permission(error, "create BPF maps"))?;
    let maps = SharedMaps::of(&ebpf)?;
    Ok(Kernel {
        ebpf,
        maps,
        jiffies: None,
        conntrack: settings.conntrack,
        has_nested: false,
        connections: None,
        diagnostics: None,
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

pub(crate) fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

pub(crate) fn is_permission(error: &(dyn std::error::Error + 'static)) -> bool {
    // EPERM only: the verifier says EACCES.
    error.downcast_ref::<io::Error>().is_some_and(|e| e.raw_os_error() == Some(libc::EPERM))
}

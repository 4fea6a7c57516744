//! The kernel engine: every frame through the real program with `BPF_PROG_TEST_RUN`.
//!
//! The capture's time and the length on the wire travel in front of the frame as XDP metadata. Only the bytes that the
//! parser may look at are handed over, so frames of any size fit.

use aya::programs::{ProgramError, TestRun as _, TestRunOptions};
use nta_common::limits::MAX_HEADER_BYTES;
use nta_common::{ReplayMeta, TunnelPorts};
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

use super::Engine;
use crate::source::kernel::{Kernel, KernelFlows, KernelOptions};
use crate::source::{EventSettings, FlowSource, Sink, SourceError};
use nta_core::domain::{IdentityScope, Ledger, MapFill, OverflowDelta, PacketEvent, Timestamp};

const PROGRAM: &str = "nta_xdp";
/// The smallest frame that a test run takes.
const MIN_FRAME: usize = 14;

/// The loaded program and its maps.
pub struct KernelEngine {
    kernel: Kernel,
    flows: KernelFlows,
    buffer: Vec<u8>,
    pinned: Option<Pinned>,
}

/// This thread keeps to one processor while it feeds frames. Sampling and rate limits count per processor: moved about,
/// the thread would meet them anew, and the same capture would give other events.
#[derive(Debug)]
struct Pinned {
    free: CpuSet,
    one: CpuSet,
    held: bool,
}

impl Pinned {
    /// `None` where the kernel does not say what the thread may run on.
    fn here() -> Option<Self> {
        let mut one = CpuSet::new();
        one.set(sched_getcpu());
        Some(Self { free: sched_getaffinity(None).ok()?, one, held: false })
    }

    /// As far as the kernel allows it. Not held where threads are begun, for they inherit it.
    fn hold(&mut self, held: bool) {
        if self.held == held {
            return;
        }
        self.held = held;
        if let Err(error) = sched_setaffinity(None, if held { &self.one } else { &self.free }) {
            tracing::debug!(%error, held, "processors not changed: sampling may differ from run to run");
        }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.hold(false);
    }
}

impl KernelEngine {
    /// Loads the program and proves with one frame that this kernel can run it this way.
    pub fn new(
        name: &str,
        map_memory_mib: u64,
        tunnels: Option<TunnelPorts>,
        events: EventSettings,
    ) -> Result<Self, SourceError> {
        let options = KernelOptions {
            map_memory_mib,
            tunnels,
            events,
            replay_name: Some(name.to_owned()),
            ..KernelOptions::default()
        };
        let probe = Self::load(&options)?;
        probe.probe()?;
        Self::load(&options)
    }

    fn load(options: &KernelOptions) -> Result<Self, SourceError> {
        let mut kernel = Kernel::load(options)?;
        let name = options.replay_name.iter().cloned().collect();
        // A replay joins no connections of this machine.
        let none = || Err(std::io::ErrorKind::Unsupported.into());
        let flows = KernelFlows::take(kernel.handles()?, name, Box::new(none))?;
        kernel.xdp(PROGRAM)?;
        let buffer = Vec::with_capacity(ReplayMeta::SIZE + MAX_HEADER_BYTES);
        Ok(Self { kernel, flows, buffer, pinned: Pinned::here() })
    }

    fn probe(mut self) -> Result<(), SourceError> {
        match self.inject(1, MIN_FRAME as u32, &[0; MIN_FRAME]) {
            Err(SourceError::Program { source: ProgramError::SyscallError(error), .. })
                if error.io_error.raw_os_error() == Some(libc::EINVAL) =>
            {
                let reason =
                    "the kernel engine needs test runs with XDP metadata (kernel 5.18 and later): use --engine user";
                Err(SourceError::Unsupported(reason.to_owned()))
            }
            Err(error) => Err(error),
            Ok(()) => Ok(()),
        }
    }
}

impl Engine for KernelEngine {
    fn inject(&mut self, time_ns: u64, wire_len: u32, data: &[u8]) -> Result<(), SourceError> {
        if let Some(pinned) = &mut self.pinned {
            pinned.hold(true);
        }
        let shown = &data[..data.len().min(MAX_HEADER_BYTES)];
        let frame_len = shown.len().max(MIN_FRAME);
        self.buffer.clear();
        self.buffer.extend(time_ns.to_ne_bytes());
        self.buffer.extend(wire_len.to_ne_bytes());
        self.buffer.extend((shown.len() as u32).to_ne_bytes());
        self.buffer.extend(shown);
        self.buffer.resize(ReplayMeta::SIZE + frame_len, 0);
        // `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let mut context = [0; 24];
        context[..4].copy_from_slice(&(ReplayMeta::SIZE as u32).to_ne_bytes());
        context[4..8].copy_from_slice(&(self.buffer.len() as u32).to_ne_bytes());
        let options = TestRunOptions { data_in: Some(&self.buffer), ctx_in: Some(&context), ..TestRunOptions::new() };
        let program = self.kernel.xdp(PROGRAM)?;
        program.test_run(options).map(drop).map_err(|source| SourceError::Program { name: PROGRAM, source })
    }

    fn name(&self) -> &'static str {
        "kernel"
    }
}

impl FlowSource for KernelEngine {
    fn identify(&mut self, ids: IdentityScope) {
        self.flows.identify(ids);
    }

    fn drain(&mut self, sink: &mut Sink<'_>) -> Result<(), SourceError> {
        // What follows a drain, too, is shared by threads; the next frame holds this one again.
        if let Some(pinned) = &mut self.pinned {
            pinned.hold(false);
        }
        self.flows.drain(sink)
    }

    fn overflows(&mut self, sink: &mut dyn FnMut(OverflowDelta)) -> Result<(), SourceError> {
        self.flows.overflows(sink)
    }

    fn events(&mut self, sink: &mut dyn FnMut(PacketEvent)) -> Result<(), SourceError> {
        self.flows.events(sink)
    }

    fn expire(&mut self, now: Timestamp, sink: &mut Sink<'_>) -> Result<(), SourceError> {
        self.flows.expire(now, sink)
    }

    fn finish(&mut self, sink: &mut Sink<'_>) {
        self.flows.finish(sink);
    }

    fn ledger(&mut self) -> Result<Ledger, SourceError> {
        self.flows.ledger()
    }

    fn maps(&self) -> Vec<MapFill> {
        self.flows.maps()
    }

    fn active(&self) -> u64 {
        self.flows.active()
    }
}

//! What the eBPF program and the daemon must agree on, and nothing else: the packet parser, the flow keys, the flow
//! accounting and the counters.
//!
//! Everything here is compiled twice: for the BPF target (no allocator, 512 bytes of stack, every read bounds-checked
//! by the verifier) and for the host, where replay and the tests run the very same lines.
//!
//! Layout rules for the types that live in BPF maps: `repr(C)`, fixed-width integers, no `bool`, no `Option`, no
//! `usize`; padding is explicit and zero because hash-map keys compare bytes; sizes are asserted at compile time;
//! [`aya::Pod`] stands next to the struct behind the feature `user`.

#![no_std]
// For the atomic additions in `flow`; the BPF target needs an unstable toolchain anyway.
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
#![warn(missing_docs)]

pub mod account;
mod codegen;
pub mod counters;
pub mod embryo;
pub mod events;
pub mod flow;
pub mod held;
mod key;
pub mod limits;
pub mod nat;
pub mod opening;
pub mod packet;
pub mod settings;
pub mod tcp;
pub mod tunnel;

pub use account::{Entry, First, Flows, account};
pub use codegen::{fall_through, unlikely};
pub use counters::{Counter, CpuSlot, LedgerSlot};
pub use embryo::Embryo;
pub use events::{EventBuffer, EventHead, Events, Kind};
pub use flow::{CaptureClock, Clock, Direction, FlowStats, Volume};
pub use key::{FlowKey4, FlowKey6, FragmentKey, FragmentPorts, OverflowKey};
pub use packet::{Family, Packet, PacketReader, SliceReader, parse, parse_with};
pub use settings::{Conntrack, ReplayMeta, Settings, TunnelPorts};

//! The kernel side: load the programs, attach them, read the maps. All `unsafe` of the daemon is in here: system calls
//! that neither the standard library nor aya has.

pub mod attach;
mod change;
mod claim;
mod clock;
mod conntrack;
pub mod device;
mod elements;
mod elsewhere;
mod events;
mod handover;
mod held;
mod hook;
mod link;
mod load;
mod maps;
mod memory;
mod nat;
mod nested;
mod netlink;
mod older;
pub mod packet_socket;
mod pin;
mod predict;
mod present;
mod read;
mod rights;
mod share;
mod slots;
pub mod topology;
mod tracker;

pub use attach::{AttachOptions, AttachedKernel, Pinning};
pub use aya::programs::ProgramInfo;
pub use change::Change;
pub use clock::LiveClock;
pub use conntrack::joins_translated;
pub use elsewhere::{Elsewhere, pinned_elsewhere};
pub(crate) use load::max_nested;
pub use load::{Kernel, KernelOptions};
pub use maps::KernelFlows;
pub use memory::{Memory, give_back_large};
pub use netlink::LinkEvents;
pub use pin::{detach, on_bpffs};
pub use predict::{Prediction, predict};
pub use rights::check_rights;

//! The kernel side, as it is read: the maps of programs that `nta-loader` has loaded and attached, in this process or in one of its
//! own. All `unsafe` of the daemon is in here: system calls that neither the standard library nor aya has.

mod clock;
mod events;
mod flow_map;
mod held;
mod left;
mod maps;
mod memory;
mod nat;
mod nested;
pub mod packet_socket;
mod read;
mod told;
mod tracker;

pub use clock::LiveClock;
pub use maps::KernelFlows;
pub use memory::{Memory, give_back_large};
pub use nat::ConnectionTable;
pub use nta_loader::{
    AttachOptions, Attached, AttachedKernel, Change, Elsewhere, Handles, Kernel, KernelOptions, LinkEvents,
    LoaderClient, Pinning, Prediction, ProgramInfo, Stop, check_rights, detach, device, joins_translated, max_nested,
    monotonic_ns, on_bpffs, pinned_elsewhere, predict, topology,
};

//! The kernel side: load the programs, attach them, read the maps. All `unsafe` of the daemon is in here, in [`batch`].

pub mod attach;
mod batch;
mod clock;
mod clsact;
pub mod device;
mod events;
mod load;
mod maps;
mod tracker;

pub use attach::{Attach, AttachedKernel};
pub use aya::programs::ProgramInfo;
pub use load::{Kernel, KernelOptions};
pub use maps::KernelFlows;

//! The kernel side: load the programs, attach them, read the maps. All `unsafe` of the daemon is in here, most of it in [`elements`].

pub mod attach;
mod clock;
mod clsact;
pub mod device;
mod elements;
mod load;
mod maps;
mod read;
mod tracker;

pub use attach::{Attach, AttachedKernel};
pub use aya::programs::ProgramInfo;
pub use load::{Kernel, KernelOptions};
pub use maps::KernelFlows;

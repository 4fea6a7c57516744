//! Building the eBPF object so that the same sources give the same bytes in any checkout and under any cargo home.
//!
//! Four things would otherwise leak this machine into the object, and each has its place here: paths in the line
//! information (remapped, `compile`), the hash in symbol names, which cargo derives from the absolute path of
//! nta-common (fixed, `wrapper`), DWARF (dropped, `strip`), and the user's own cargo settings (not passed on, `compile`).
//! What remains is the toolchain itself, which `record` writes beside the object.

pub(crate) mod compile;
pub(crate) mod record;
pub(crate) mod strip;
pub(crate) mod toolchain;
pub(crate) mod wrapper;

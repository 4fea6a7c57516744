//! What is asked for when programs are attached, and what is attached then.

use std::path::PathBuf;

use nta_common::LedgerSlot;
use nta_core::domain::Attachment;

use crate::options::{Attach, TcxOrder};

/// What happens to links and maps when the process ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Pinning {
    /// They end with it, and what an earlier run pinned is left alone: for a look that changes nothing.
    #[default]
    Ignored,
    /// They end with it, and what an earlier run pinned below this path is removed.
    Off(PathBuf),
    /// They are pinned below this path, and the next start goes on with them.
    On(PathBuf),
}

/// Where to attach, and for how long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttachOptions {
    /// Which hooks.
    pub mode: Attach,
    /// Where among other programs at TCX.
    pub tcx_order: TcxOrder,
    /// Whether attachments outlive the process.
    pub pinning: Pinning,
}

/// What is attached, for who reads the maps.
#[derive(Clone, Debug, Default)]
pub struct Attached {
    /// How each interface was attached.
    pub attachments: Vec<Attachment>,
    /// Since when packets are counted, by the kernel's clock.
    pub since_ns: u64,
    /// Names of interfaces by their place in the ledger; empty in one that nobody has.
    pub slots: Vec<String>,
    /// Where the maps outlive whoever reads them.
    pub pinned: Option<Pinned>,
}

/// Maps that outlive whoever reads them, and what the reader before left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pinned {
    /// Which maps.
    pub maps: String,
    /// Where.
    pub path: String,
    /// What the ledger held, by place, at the last window that was reported of them; empty when they are new.
    pub base: Vec<LedgerSlot>,
    /// When the last window before the handover ended, by the kernel's clock: in this database or in another one.
    pub handed_over_ns: Option<u64>,
    /// Whether the run before was killed, and what it had stored is gone on from.
    pub is_resumed: bool,
}

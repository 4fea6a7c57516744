//! Whether the attached programs see what their interfaces pass, judged at every window.

use nta_common::Counter;

use super::Pipeline;
use nta_core::domain::{Ledger, Mode};

/// An interface that has passed this many packets while the program saw none has a program that is not called.
const LIVENESS_PACKETS: u64 = 100;

impl Pipeline {
    /// An interface that has passed packets of which its programs saw none is not counted, whenever that begins.
    pub(super) fn judge_attachments(&mut self) {
        if self.status.mode != Mode::Live {
            return;
        }
        let mut reasons = self.missing.clone();
        let mut counting = 0;
        let Self { status, nics, alive, missing, .. } = self;
        for (at, attachment) in status.attachments.iter_mut().enumerate() {
            let name = &attachment.interface;
            attachment.nic = nics.get(at).copied().unwrap_or(attachment.nic);
            let passed = attachment.nic.rx_packets + attachment.nic.tx_packets;
            let now_seen = seen(&status.ledger, name);
            let Some((seen_then, passed_then)) = alive.get_mut(at) else { continue };
            if now_seen != *seen_then {
                (*seen_then, *passed_then) = (now_seen, passed);
            }
            let unseen = passed.saturating_sub(*passed_then);
            if unseen >= LIVENESS_PACKETS {
                reasons.push(format!("{name} has passed {unseen} packets and the programs attached to it saw none"));
            } else {
                counting += usize::from(!missing.iter().any(|reason| reason.starts_with(&format!("{name} "))));
            }
        }
        status.failure = (counting == 0 && !reasons.is_empty()).then(|| reasons.join("; "));
        status.degraded = reasons;
    }
}

/// What the ledger of an interface has seen.
pub(super) fn seen(ledger: &Ledger, name: &str) -> u64 {
    let rows = ledger.interfaces.iter().filter(|interface| interface.name == name);
    rows.map(|interface| interface.counts.get(Counter::Seen)).sum()
}

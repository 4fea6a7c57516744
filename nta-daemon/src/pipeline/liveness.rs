//! Whether the attached programs see what their interfaces pass, judged at every window.

use nta_common::Counter;

use super::Pipeline;
use nta_core::domain::{Ledger, Mode};

/// An interface that has passed this many packets while the program saw none has a program that is not called.
const LIVENESS_PACKETS: u64 = 100;

/// What is known of an attachment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Alive {
    /// What its ledger had seen at the last window.
    seen: u64,
    /// What the interface had passed when that was known not to have changed; `None` while it changes.
    passed: Option<u64>,
    /// Packets that have passed since, unseen, when there are enough of them.
    unseen: Option<u64>,
}

impl Alive {
    /// Attached when the ledger held this, and the interface has passed nothing since.
    pub(super) const fn new(seen: u64) -> Self {
        Self { seen, passed: Some(0), unseen: None }
    }

    /// Under a new name, whose row of the ledger holds this: the interface's own counters go on from before, so that the next
    /// reading is the first to go by.
    pub(super) const fn renamed(seen: u64) -> Self {
        Self { seen, passed: None, unseen: None }
    }

    /// The interface had passed so much, and after that its ledger had seen so much. What passes while the ledger is read, which
    /// takes seconds in a flood, is in the one and not in the other: so a change of the ledger gives no reading to go by.
    const fn judge(&mut self, passed: u64, seen: u64) {
        if self.seen != seen {
            *self = Self { seen, passed: None, unseen: None };
            return;
        }
        let since = match self.passed {
            Some(since) => since,
            None => passed,
        };
        let unseen = passed.saturating_sub(since);
        self.passed = Some(since);
        self.unseen = if unseen >= LIVENESS_PACKETS { Some(unseen) } else { None };
    }
}

impl Pipeline {
    /// An interface that has passed packets of which its programs saw none is not counted, whenever that begins. The ledger was
    /// just read, after the interfaces' own counters.
    pub(super) fn judge_attachments(&mut self) {
        for (at, attachment) in self.status.attachments.iter().enumerate() {
            let nic = self.nics.get(at).copied().unwrap_or(attachment.nic);
            if let Some(alive) = self.alive.get_mut(at) {
                alive.judge(nic.rx_packets + nic.tx_packets, seen(&self.status.ledger, &attachment.interface));
            }
        }
        self.report_attachments();
    }

    /// What is not captured since somebody asked for it, a sentence each: no fault, and it is said all the same.
    pub fn stopped(&mut self, reasons: Vec<String>) {
        self.status.stopped = reasons;
    }

    /// Says of which interfaces nothing is counted.
    pub(super) fn report_attachments(&mut self) {
        if self.status.mode != Mode::Live {
            return;
        }
        let mut reasons = self.missing.clone();
        let mut counting = 0;
        let Self { status, nics, alive, missing, .. } = self;
        for (at, attachment) in status.attachments.iter_mut().enumerate() {
            let name = &attachment.interface;
            attachment.nic = nics.get(at).copied().unwrap_or(attachment.nic);
            if let Some(unseen) = alive.get(at).and_then(|alive| alive.unseen) {
                reasons.push(format!("{name} has passed {unseen} packets and the programs attached to it saw none"));
            } else {
                counting += usize::from(!missing.iter().any(|reason| reason.starts_with(&format!("{name} "))));
            }
        }
        status.failure = (counting == 0 && !reasons.is_empty()).then(|| reasons.join("; "));
        status.degraded = reasons;
    }
}

/// What the programs of an interface have seen, whether they counted it or another interface had.
pub(super) fn seen(ledger: &Ledger, name: &str) -> u64 {
    let rows = ledger.interfaces.iter().filter(|interface| interface.name == name);
    rows.map(|interface| interface.counts.get(Counter::Seen) + interface.counts.get(Counter::AlreadyCounted)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_while_the_ledger_is_read_is_not_taken_for_unseen() {
        let mut alive = Alive::new(0);
        // A flood: 200,000 packets pass while the ledger is read, and it ends.
        alive.judge(50_000, 250_000);
        alive.judge(250_000, 250_000);
        assert_eq!(alive.unseen, None);
        // From here on packets pass and nothing is seen.
        alive.judge(250_099, 250_000);
        assert_eq!(alive.unseen, None);
        alive.judge(250_100, 250_000);
        assert_eq!(alive.unseen, Some(100));
        alive.judge(250_200, 250_001);
        assert_eq!(alive.unseen, None, "seen again");
        assert_eq!(
            {
                let mut idle = Alive::new(7);
                idle.judge(100, 7);
                idle.unseen
            },
            Some(100),
            "from the start"
        );
    }
}

//! What a capture says about itself, beside its frames.

use super::link_type::LinkType;

/// Interfaces that are named; a section may describe thousands.
const MOST_INTERFACES: usize = 64;
/// Characters of a text that a capture brings along.
const MOST_CHARACTERS: usize = 256;

/// What a capture's headers say, as far as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// One of a pcap file; those that a pcapng file describes, the first 64.
    pub interfaces: Vec<Interface>,
    /// How many there are.
    pub interface_count: u64,
    /// The program that wrote it.
    pub application: Option<String>,
    /// The operating system that it ran on.
    pub system: Option<String>,
    /// The machine.
    pub hardware: Option<String>,
    /// What somebody noted about the capture.
    pub comment: Option<String>,
    /// Packets that interfaces dropped while they were captured, by their own statistics.
    pub dropped: Option<u64>,
}

/// An interface as a capture describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name, where the capture has one.
    pub name: Option<String>,
    /// Its link type.
    pub link_type: LinkType,
    /// The most bytes of a frame that were captured; `None` for no limit.
    pub snap_length: Option<u32>,
    /// Digits of a second's fraction that time stamps have; `None` where the clock counts in powers of two.
    pub digits: Option<u8>,
}

impl About {
    /// Of one interface.
    pub(super) fn of(interface: Interface) -> Self {
        Self { interfaces: vec![interface], interface_count: 1, ..Self::default() }
    }

    pub(super) fn add_interface(&mut self, interface: Interface) {
        self.interface_count += 1;
        // Every section of files that were put together describes the same ones again.
        if self.interfaces.len() < MOST_INTERFACES && !self.interfaces.contains(&interface) {
            self.interfaces.push(interface);
        }
    }

    pub(super) const fn add_dropped(&mut self, packets: u64) {
        let before = match self.dropped {
            Some(before) => before,
            None => 0,
        };
        self.dropped = Some(before.saturating_add(packets));
    }

    /// Adds what another part of the same file says.
    pub fn merge(&mut self, other: &Self) {
        let before = self.interface_count;
        other.interfaces.iter().for_each(|interface| self.add_interface(interface.clone()));
        self.interface_count = before + other.interface_count;
        if let Some(dropped) = other.dropped {
            self.add_dropped(dropped);
        }
        for (own, others) in [
            (&mut self.application, &other.application),
            (&mut self.system, &other.system),
            (&mut self.hardware, &other.hardware),
            (&mut self.comment, &other.comment),
        ] {
            if own.is_none() {
                own.clone_from(others);
            }
        }
    }
}

/// A text of a capture; `None` of an empty one.
pub(super) fn text(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end_matches('\0');
    (!text.is_empty()).then(|| text.chars().take(MOST_CHARACTERS).collect())
}

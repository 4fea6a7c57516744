//! `[events]`: what is reported of single packets.

use nta_core::Bounds;

use super::Refused;
use super::section::section;

/// The ring is a power of two of pages; less than 1 MiB holds a tenth of a second at the default limits only just.
const RING_MIB: Bounds = Bounds::new(1.0, 1024.0);
/// A rate, or 0 for none.
const RATE: Bounds = Bounds::new(0.0, 1e9);

section! {
    /// What is reported of single packets. The limits hold for each interface on each CPU.
    EventsConfig in "events" {
        /// Size of the ring buffer between kernel and daemon in MiB, a power of two.
        ring_mib: u32 = 4 => RING_MIB,
        /// DNS messages reported a second, of each interface on each CPU; 0 reports none.
        dns_per_second: u32 = 5000 => RATE,
        /// ARP packets reported a second, of each interface on each CPU; 0 reports none.
        arp_per_second: u32 = 1000 => RATE,
        /// Neighbour solicitations and advertisements reported a second, of each interface on each CPU; 0 reports none.
        nd_per_second: u32 = 1000 => RATE,
        /// Heads of frames a second, of each interface on each CPU.
        raw_per_second: u32 = 1000 => RATE,
        /// Of how many packets the head (128 bytes) of one is stored in the table raw_packets; 0 stores none.
        raw_packets: u32 = 0 => RATE,
    }
}

impl EventsConfig {
    pub(super) fn check(&self, refused: &mut Vec<Refused>) {
        if !self.ring_mib.is_power_of_two() {
            refused.push(Refused::new("events.ring_mib", self.ring_mib, "a power of two from 1 to 1024"));
        }
    }
}

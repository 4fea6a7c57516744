//! `[events]`: what is reported of single packets.

use super::ConfigError;
use super::section::section;

/// The ring is a power of two of pages; less than 1 MiB holds a tenth of a second at the default limits only just.
const RING_MIB: std::ops::RangeInclusive<u32> = 1..=1024;

section! {
    /// What is reported of single packets. The limits hold for each interface on each CPU.
    EventsConfig in "events" {
        /// Size of the ring buffer between kernel and daemon in MiB, a power of two.
        ring_mib: u32 = 4,
        /// DNS messages reported a second, of each interface on each CPU; 0 reports none.
        dns_per_second: u32 = 5000,
        /// ARP packets reported a second, of each interface on each CPU; 0 reports none.
        arp_per_second: u32 = 1000,
        /// Heads of frames a second, of each interface on each CPU.
        raw_per_second: u32 = 1000,
        /// Of how many packets the head (128 bytes) of one is stored in the table raw_packets; 0 stores none.
        raw_packets: u32 = 0,
    }
}

impl EventsConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if RING_MIB.contains(&self.ring_mib) && self.ring_mib.is_power_of_two() {
            return Ok(());
        }
        let value = self.ring_mib.to_string();
        let expected = "a power of two from 1 to 1024 MiB";
        Err(ConfigError::Value { key: "events.ring_mib".into(), value, expected })
    }
}

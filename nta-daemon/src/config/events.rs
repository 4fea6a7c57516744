//! `[events]`: what is told of single packets.

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// The ring is a power of two of pages; less than 1 MiB holds a tenth of a second at the default limits only just.
const RING_MIB: std::ops::RangeInclusive<u32> = 1..=1024;

/// What is told of single packets. The limits hold for each interface on each CPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventsConfig {
    /// Size of the ring buffer between kernel and daemon in MiB, a power of two. Default: 4.
    pub ring_mib: u32,
    /// DNS messages a second; 0 tells none. Default: 5000.
    pub dns_per_second: u32,
    /// ARP packets a second; 0 tells none. Default: 1000.
    pub arp_per_second: u32,
    /// Heads of frames a second. Default: 1000.
    pub raw_per_second: u32,
    /// Of how many packets the head (128 bytes) of one is stored in the table `raw_packets`; 0 stores none. Default: 0.
    pub raw_packets: u32,
}

impl Default for EventsConfig {
    fn default() -> Self {
        Self { ring_mib: 4, dns_per_second: 5000, arp_per_second: 1000, raw_per_second: 1000, raw_packets: 0 }
    }
}

impl EventsConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if !RING_MIB.contains(&self.ring_mib) || !self.ring_mib.is_power_of_two() {
            return Err(ConfigError::Value {
                key: "events.ring_mib",
                value: self.ring_mib.to_string(),
                expected: "a power of two from 1 to 1024 MiB",
            });
        }
        Ok(())
    }

    pub(super) fn to_toml(&self) -> String {
        format!(
            "[events]\n\
             # Size of the ring buffer between kernel and daemon in MiB, a power of two.\n\
             ring_mib = {}\n\
             # DNS messages and ARP packets told a second, of each interface on each CPU; 0: none.\n\
             dns_per_second = {}\n\
             arp_per_second = {}\n\
             # Of how many packets the head of one is stored in the table raw_packets (0: none), and how many a second.\n\
             raw_packets = {}\n\
             raw_per_second = {}\n",
            self.ring_mib, self.dns_per_second, self.arp_per_second, self.raw_packets, self.raw_per_second
        )
    }
}

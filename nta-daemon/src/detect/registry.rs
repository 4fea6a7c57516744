//! The list of detectors, and their part of the configuration.

use serde::{Deserialize, Serialize};

use super::amplification::{Amplification, AmplificationConfig};
use super::distributed_flood::{DistributedFlood, DistributedFloodConfig};
use super::hygiene::HygieneConfig;
use super::icmp_flood::{IcmpFlood, IcmpFloodConfig};
use super::port_scan::{PortScan, PortScanConfig};
use super::slow_scan::{SlowScan, SlowScanConfig};
use super::slowloris::{Slowloris, SlowlorisConfig};
use super::ssh_brute_force::{SshBruteForce, SshBruteForceConfig};
use super::syn_flood::{SynFlood, SynFloodConfig};
use super::udp_flood::{UdpFlood, UdpFloodConfig};
use super::{Detector, Setting};

/// `[detect]`: what is looked for, and when it is told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DetectConfig {
    /// What makes findings an alert.
    pub hygiene: HygieneConfig,
    /// Port scans within a minute.
    pub port_scan: PortScanConfig,
    /// Port scans over hours.
    pub slow_scan: SlowScanConfig,
    /// SSH brute force.
    pub ssh_brute_force: SshBruteForceConfig,
    /// Slowloris and slow POST.
    pub slowloris: SlowlorisConfig,
    /// SYN floods.
    pub syn_flood: SynFloodConfig,
    /// UDP floods.
    pub udp_flood: UdpFloodConfig,
    /// ICMP floods.
    pub icmp_flood: IcmpFloodConfig,
    /// Reflected answers.
    pub amplification: AmplificationConfig,
    /// Floods of a network by many.
    pub distributed_flood: DistributedFloodConfig,
}

/// A detector as documentation shows it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Section of the configuration.
    pub section: &'static str,
    /// Settings.
    pub settings: Vec<Setting>,
}

/// Every detector that is switched on.
pub fn detectors(config: &DetectConfig) -> Vec<Box<dyn Detector>> {
    let mut list: Vec<Box<dyn Detector>> = Vec::new();
    if config.port_scan.enabled {
        list.push(Box::new(PortScan::new(config.port_scan.clone())));
    }
    if config.slow_scan.enabled {
        list.push(Box::new(SlowScan::new(config.slow_scan.clone())));
    }
    if config.ssh_brute_force.enabled {
        list.push(Box::new(SshBruteForce::new(config.ssh_brute_force.clone())));
    }
    if config.slowloris.enabled {
        list.push(Box::new(Slowloris::new(config.slowloris.clone())));
    }
    if config.syn_flood.enabled {
        list.push(Box::new(SynFlood::new(config.syn_flood.clone())));
    }
    if config.udp_flood.enabled {
        list.push(Box::new(UdpFlood::new(config.udp_flood.clone())));
    }
    if config.icmp_flood.enabled {
        list.push(Box::new(IcmpFlood::new(config.icmp_flood.clone())));
    }
    if config.amplification.enabled {
        list.push(Box::new(Amplification::new(config.amplification.clone())));
    }
    if config.distributed_flood.enabled {
        list.push(Box::new(DistributedFlood::new(config.distributed_flood.clone())));
    }
    list
}

/// Every detector there is, for the documentation.
pub fn entries() -> Vec<Entry> {
    vec![
        Entry { section: HygieneConfig::SECTION, settings: HygieneConfig::settings() },
        Entry { section: PortScanConfig::SECTION, settings: PortScanConfig::settings() },
        Entry { section: SlowScanConfig::SECTION, settings: SlowScanConfig::settings() },
        Entry { section: SshBruteForceConfig::SECTION, settings: SshBruteForceConfig::settings() },
        Entry { section: SlowlorisConfig::SECTION, settings: SlowlorisConfig::settings() },
        Entry { section: SynFloodConfig::SECTION, settings: SynFloodConfig::settings() },
        Entry { section: UdpFloodConfig::SECTION, settings: UdpFloodConfig::settings() },
        Entry { section: IcmpFloodConfig::SECTION, settings: IcmpFloodConfig::settings() },
        Entry { section: AmplificationConfig::SECTION, settings: AmplificationConfig::settings() },
        Entry { section: DistributedFloodConfig::SECTION, settings: DistributedFloodConfig::settings() },
    ]
}

impl DetectConfig {
    /// As commented sections of the configuration file.
    pub fn to_toml(&self) -> String {
        [
            self.hygiene.to_toml(),
            self.port_scan.to_toml(),
            self.slow_scan.to_toml(),
            self.ssh_brute_force.to_toml(),
            self.slowloris.to_toml(),
            self.syn_flood.to_toml(),
            self.udp_flood.to_toml(),
            self.icmp_flood.to_toml(),
            self.amplification.to_toml(),
            self.distributed_flood.to_toml(),
        ]
        .join("\n")
    }
}

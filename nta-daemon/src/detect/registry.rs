//! The list of detectors, and their part of the configuration.

use serde::{Deserialize, Serialize};

use super::hygiene::HygieneConfig;
use super::port_scan::{PortScan, PortScanConfig};
use super::{Detector, Setting};

/// `[detect]`: what is looked for, and when it is told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DetectConfig {
    /// What makes findings an alert.
    pub hygiene: HygieneConfig,
    /// Port scans.
    pub port_scan: PortScanConfig,
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
    list
}

/// Every detector there is, for the documentation.
pub fn entries() -> Vec<Entry> {
    vec![
        Entry { section: HygieneConfig::SECTION, settings: HygieneConfig::settings() },
        Entry { section: PortScanConfig::SECTION, settings: PortScanConfig::settings() },
    ]
}

impl DetectConfig {
    /// As commented sections of the configuration file.
    pub fn to_toml(&self) -> String {
        [self.hygiene.to_toml(), self.port_scan.to_toml()].join("\n")
    }
}

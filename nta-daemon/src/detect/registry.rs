//! The list of detectors, and their part of the configuration.

use serde::{Deserialize, Serialize};

use super::arp_spoof::{ArpSpoof, ArpSpoofConfig};
use super::beaconing::{Beaconing, BeaconingConfig};
use super::data_exfiltration::{DataExfiltration, DataExfiltrationConfig};
use super::dns_tunnel::{DnsTunnel, DnsTunnelConfig};
use super::high_latency::{HighLatency, HighLatencyConfig};
use super::hygiene::HygieneConfig;
use super::long_lived::{LongLived, LongLivedConfig};
use super::networks::Networks;
use super::packet_loss::{PacketLoss, PacketLossConfig};
use super::port_scan::{PortScan, PortScanConfig};
use super::protocol_anomaly::{ProtocolAnomaly, ProtocolAnomalyConfig};
use super::traffic_spike::{TrafficSpike, TrafficSpikeConfig};
use super::{Detector, Setting};

/// `[detect]`: what is looked for, and when it is told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DetectConfig {
    /// Networks that are one's own; all others are outside.
    pub local_networks: Networks,
    /// What makes findings an alert.
    pub hygiene: HygieneConfig,
    /// Port scans.
    pub port_scan: PortScanConfig,
    /// Traffic spikes.
    pub traffic_spike: TrafficSpikeConfig,
    /// High latency.
    pub high_latency: HighLatencyConfig,
    /// Packet loss.
    pub packet_loss: PacketLossConfig,
    /// An unusual mix of protocols.
    pub protocol_anomaly: ProtocolAnomalyConfig,
    /// Connections that do not end.
    pub long_lived_connection: LongLivedConfig,
    /// ARP spoofing.
    pub arp_spoof: ArpSpoofConfig,
    /// Tunnels through DNS.
    pub dns_tunnel: DnsTunnelConfig,
    /// Regular calls to the outside.
    pub beaconing: BeaconingConfig,
    /// Much more sent to the outside than usual.
    pub data_exfiltration: DataExfiltrationConfig,
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
    if config.traffic_spike.enabled {
        list.push(Box::new(TrafficSpike::new(config.traffic_spike.clone())));
    }
    if config.high_latency.enabled {
        list.push(Box::new(HighLatency::new(config.high_latency.clone())));
    }
    if config.packet_loss.enabled {
        list.push(Box::new(PacketLoss::new(config.packet_loss.clone())));
    }
    if config.protocol_anomaly.enabled {
        list.push(Box::new(ProtocolAnomaly::new(config.protocol_anomaly.clone())));
    }
    if config.long_lived_connection.enabled {
        list.push(Box::new(LongLived::new(config.long_lived_connection.clone())));
    }
    if config.arp_spoof.enabled {
        list.push(Box::new(ArpSpoof::new(config.arp_spoof.clone())));
    }
    if config.dns_tunnel.enabled {
        list.push(Box::new(DnsTunnel::new(config.dns_tunnel.clone())));
    }
    if config.beaconing.enabled {
        list.push(Box::new(Beaconing::new(config.beaconing.clone(), config.local_networks.clone())));
    }
    if config.data_exfiltration.enabled {
        list.push(Box::new(DataExfiltration::new(config.data_exfiltration.clone(), config.local_networks.clone())));
    }
    list
}

/// Every detector there is, for the documentation.
pub fn entries() -> Vec<Entry> {
    vec![
        Entry { section: HygieneConfig::SECTION, settings: HygieneConfig::settings() },
        Entry { section: PortScanConfig::SECTION, settings: PortScanConfig::settings() },
        Entry { section: TrafficSpikeConfig::SECTION, settings: TrafficSpikeConfig::settings() },
        Entry { section: HighLatencyConfig::SECTION, settings: HighLatencyConfig::settings() },
        Entry { section: PacketLossConfig::SECTION, settings: PacketLossConfig::settings() },
        Entry { section: ProtocolAnomalyConfig::SECTION, settings: ProtocolAnomalyConfig::settings() },
        Entry { section: LongLivedConfig::SECTION, settings: LongLivedConfig::settings() },
        Entry { section: ArpSpoofConfig::SECTION, settings: ArpSpoofConfig::settings() },
        Entry { section: DnsTunnelConfig::SECTION, settings: DnsTunnelConfig::settings() },
        Entry { section: BeaconingConfig::SECTION, settings: BeaconingConfig::settings() },
        Entry { section: DataExfiltrationConfig::SECTION, settings: DataExfiltrationConfig::settings() },
        Entry { section: Networks::SECTION, settings: Networks::settings() },
    ]
}

impl DetectConfig {
    /// As commented sections of the configuration file.
    pub fn to_toml(&self) -> String {
        [
            self.local_networks.to_toml(),
            self.hygiene.to_toml(),
            self.port_scan.to_toml(),
            self.traffic_spike.to_toml(),
            self.high_latency.to_toml(),
            self.packet_loss.to_toml(),
            self.protocol_anomaly.to_toml(),
            self.long_lived_connection.to_toml(),
            self.arp_spoof.to_toml(),
            self.dns_tunnel.to_toml(),
            self.beaconing.to_toml(),
            self.data_exfiltration.to_toml(),
        ]
        .join("\n")
    }
}

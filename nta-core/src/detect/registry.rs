//! The list of detectors, and their part of the configuration.

use serde::{Deserialize, Serialize};

use super::counterparts::Rules;
use super::isolation_forest::{Forest, IsolationForestConfig};
use super::networks::Networks;
use super::xgboost::{Xgboost, XgboostConfig};
use super::{Declaration, Detector};
use crate::Section;
use crate::alerting::AlertingConfig;
use crate::model::Models;

/// One line a detector: its section of `[detect]`, its file, the type that detects, the type of its settings, and what
/// else of `[detect]` it is made with.
macro_rules! registry {
    ($( $(#[doc = $doc:literal])+ $section:ident: $module:ident::$detector:ident($config:ident $(, $with:ident)?), )+) => {
        /// `[detect]`: what is looked for, and when it is reported.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct DetectConfig {
            /// Networks that are one's own; all others are outside.
            pub local_networks: Networks,
            /// What makes findings an alert.
            pub alerting: AlertingConfig,
            $( $(#[doc = $doc])+ pub $section: super::$module::$config, )+
            /// Hosts unlike the site's own normal traffic.
            pub isolation_forest: IsolationForestConfig,
            /// What a model learned from labelled traffic.
            pub xgboost: XgboostConfig,
        }

        /// Every detector that is switched on.
        pub fn detectors(config: &DetectConfig) -> Vec<Box<dyn Detector>> {
            let mut list: Vec<Box<dyn Detector>> = Vec::new();
            $( if config.$section.enabled {
                list.push(Box::new(super::$module::$detector::new(
                    config.$section.clone() $(, config.$with.clone())?
                )));
            } )+
            list
        }

        /// Every detector that `config` switches on: those whose settings are as in `before` go on with what they know, the others
        /// begin anew. `known` are the detectors of `before`; the number is what those that end had to forget.
        pub fn renewed(
            before: &DetectConfig,
            config: &DetectConfig,
            known: Vec<Box<dyn Detector>>,
        ) -> (Vec<Box<dyn Detector>>, u64) {
            let (mut known, mut evicted) = (known.into_iter(), 0);
            let mut list: Vec<Box<dyn Detector>> = Vec::new();
            $(
                let one = if before.$section.enabled { known.next() } else { None };
                let is_same = before.$section == config.$section $( && before.$with == config.$with )?;
                match one {
                    Some(one) if is_same => list.push(one),
                    one => {
                        evicted += one.map_or(0, |one| one.evicted());
                        if config.$section.enabled {
                            list.push(Box::new(super::$module::$detector::new(
                                config.$section.clone() $(, config.$with.clone())?
                            )));
                        }
                    }
                }
            )+
            (list, evicted)
        }

        /// What every detector that there is states about itself, in the order of their sections.
        pub fn declarations() -> Vec<&'static Declaration> {
            vec![
                $( &super::$module::DECLARATION, )+
                &super::isolation_forest::DECLARATION,
                &super::xgboost::DECLARATION,
            ]
        }

        impl DetectConfig {
            /// Switches off every detector that asks no model.
            pub fn without_rules(&mut self) {
                $( self.$section.enabled = false; )+
            }

            /// Its sections, in the order of the configuration file.
            pub fn sections(&self) -> Vec<Section> {
                vec![
                    self.local_networks.section(),
                    self.alerting.section(),
                    $( self.$section.section(), )+
                    self.isolation_forest.section(),
                    self.xgboost.section(),
                ]
            }

            /// As commented sections of the configuration file.
            pub fn to_toml(&self) -> String {
                self.sections().iter().map(|section| section.to_toml(|_| None)).collect::<Vec<_>>().join("\n")
            }
        }
    };
}

/// The detectors that are switched on and have a model to ask.
pub fn learned(config: &DetectConfig, models: &Models) -> Vec<Box<dyn Detector>> {
    let mut list: Vec<Box<dyn Detector>> = Vec::new();
    if let Some(forest) = models.forest.as_ref().filter(|_| config.isolation_forest.enabled) {
        list.push(Box::new(Forest::new(config.isolation_forest.clone(), forest.clone())));
    }
    if let Some(model) = models.xgboost.as_ref().filter(|_| config.xgboost.enabled) {
        let rules = Rules { slowloris: config.slowloris.clone(), ssh_brute_force: config.ssh_brute_force.clone() };
        list.push(Box::new(Xgboost::new(config.xgboost.clone(), rules, model.clone())));
    }
    list
}

registry! {
    /// Port scans.
    port_scan: port_scan::PortScan(PortScanConfig),
    /// Port scans over hours.
    slow_scan: slow_scan::SlowScan(SlowScanConfig, local_networks),
    /// Sweeps of a link by ARP or neighbour discovery.
    neighbor_sweep: neighbor_sweep::NeighborSweep(NeighborSweepConfig),
    /// SSH brute force.
    ssh_brute_force: ssh_brute_force::SshBruteForce(SshBruteForceConfig),
    /// Brute force at other servers.
    brute_force: brute_force::BruteForce(BruteForceConfig),
    /// Slowloris and slow POST.
    slowloris: slowloris::Slowloris(SlowlorisConfig),
    /// SYN floods.
    syn_flood: syn_flood::SynFlood(SynFloodConfig),
    /// HTTP floods.
    http_flood: http_flood::HttpFlood(HttpFloodConfig),
    /// UDP floods.
    udp_flood: udp_flood::UdpFlood(UdpFloodConfig),
    /// ICMP floods.
    icmp_flood: icmp_flood::IcmpFlood(IcmpFloodConfig),
    /// Tunnels through ICMP.
    icmp_tunnel: icmp_tunnel::IcmpTunnel(IcmpTunnelConfig),
    /// Reflected answers.
    amplification: amplification::Amplification(AmplificationConfig),
    /// Floods of what belongs to no conversation.
    flood: flood::Flood(FloodConfig),
    /// Floods of a network by many.
    distributed_flood: distributed_flood::DistributedFlood(DistributedFloodConfig),
    /// ARP spoofing.
    arp_spoof: arp_spoof::ArpSpoof(ArpSpoofConfig),
    /// A second router or DHCP server on the link.
    rogue_server: rogue_server::RogueServer(RogueServerConfig),
    /// Tunnels through DNS.
    dns_tunnel: dns_tunnel::DnsTunnel(DnsTunnelConfig),
    /// Domains made up by an algorithm.
    dga: dga::Dga(DgaConfig),
    /// Regular calls to the outside.
    beaconing: beaconing::Beaconing(BeaconingConfig, local_networks),
    /// Much more sent to the outside than usual.
    data_exfiltration: data_exfiltration::DataExfiltration(DataExfiltrationConfig, local_networks),
    /// Traffic spikes.
    traffic_spike: traffic_spike::TrafficSpike(TrafficSpikeConfig),
    /// High latency.
    high_latency: high_latency::HighLatency(HighLatencyConfig),
    /// Packet loss.
    packet_loss: packet_loss::PacketLoss(PacketLossConfig),
    /// An unusual mix of protocols.
    protocol_anomaly: protocol_anomaly::ProtocolAnomaly(ProtocolAnomalyConfig),
    /// Connections that do not end.
    long_lived_connection: long_lived::LongLived(LongLivedConfig),
}

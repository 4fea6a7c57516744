//! What another alert explains: one event is one alert, whatever rules and models call it.

use super::alerter::Alerter;
use super::fusion::is_learned_only;
use crate::domain::{AlertKey, AlertKind, Basis, Finding};

/// What the finding and the alert that explains it have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Common {
    Source,
    Destination,
    Both,
}

/// Alerts that explain a finding of a kind: larger answers come in fragments, who guesses or scans calls again and again.
const fn explaining(kind: AlertKind) -> &'static [(AlertKind, Common)] {
    use AlertKind as Kind;
    use Common::{Both, Destination, Source};
    match kind {
        Kind::UdpFlood => &[(Kind::Amplification, Destination), (Kind::DnsFlood, Destination)],
        Kind::HttpFlood => &[(Kind::SynFlood, Destination), (Kind::Slowloris, Both)],
        Kind::IcmpFlood => &[(Kind::IcmpTunnel, Both)],
        Kind::FragmentFlood => &[(Kind::Amplification, Destination), (Kind::UdpFlood, Destination)],
        Kind::PortScan => &[(Kind::DistributedFlood, Source)],
        Kind::Beaconing => &[
            (Kind::SshBruteForce, Both),
            (Kind::BruteForce, Both),
            (Kind::Slowloris, Both),
            (Kind::DnsTunnel, Both),
            (Kind::IcmpTunnel, Both),
            (Kind::SynFlood, Both),
            (Kind::HttpFlood, Both),
            (Kind::UdpFlood, Both),
            (Kind::PortScan, Source),
        ],
        _ => &[],
    }
}

/// Where a kind comes among the findings of a window: after all that may explain it.
pub(super) const fn rank(kind: AlertKind) -> u8 {
    match kind {
        AlertKind::DistributedFlood | AlertKind::IcmpTunnel | AlertKind::DnsFlood => 0,
        AlertKind::UdpFlood | AlertKind::HttpFlood => 2,
        AlertKind::FragmentFlood => 3,
        AlertKind::Beaconing => 4,
        _ => 1,
    }
}

impl Alerter {
    /// The open alert of another kind that says already what the finding says: to a model's word any that a rule found about its
    /// host in the same window, to a rule's one that explains it.
    pub(super) fn explained_by(&self, finding: &Finding) -> Option<AlertKey> {
        let is_current = |key: &AlertKey| {
            self.alerts.get(key).is_some_and(|alert| alert.last > finding.start && !is_learned_only(alert))
        };
        if finding.basis == Basis::Rule {
            if let Some(key) = self.carpet(finding) {
                return Some(key);
            }
            let own = AlertKey::of(finding);
            let explains = |key: &AlertKey| {
                explaining(own.kind).iter().any(|(kind, common)| {
                    let is_source = own.source.host().is_some() && key.source == own.source;
                    let is_destination = own.destination.host().is_some() && key.destination == own.destination;
                    key.kind == *kind
                        && match common {
                            Common::Source => is_source,
                            Common::Destination => is_destination,
                            Common::Both => is_source && is_destination,
                        }
                })
            };
            let of_one = |keys: Vec<AlertKey>| keys.into_iter().filter(|key| explains(key) && is_current(key));
            return self.by_host.about(finding).find_map(|keys| self.last_of(of_one(keys)));
        }
        if self.joinable(finding).is_some() {
            return None;
        }
        self.by_host.about(finding).find_map(|keys| self.last_of(keys.into_iter().filter(is_current)))
    }
}

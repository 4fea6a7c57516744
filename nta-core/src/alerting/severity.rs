//! How bad an alert is: by its kind, by how far beyond its threshold it is, and by how long it goes on.

use super::fusion::is_learned_only;
use crate::domain::{Alert, AlertKind, Severity};

/// A finding this many times its threshold is one step worse; its square two.
const MAGNITUDE_STEP: f64 = 10.0;
/// An alert that goes on for so many windows is one step worse.
const LASTING_WINDOWS: u32 = 12;
/// Below, what was found is usual here.
const USUAL_SCORE: f64 = 0.25;
/// From here on, it is rare.
const RARE_SCORE: f64 = 0.5;

impl Alert {
    pub(super) fn judge_severity(&mut self) {
        let lasts = usize::from(self.windows >= LASTING_WINDOWS);
        if is_learned_only(self) {
            // Nobody can check what a model says of its own, and how sure it is says nothing of how bad it is.
            self.severity = Severity::Low.raised(lasts);
            return;
        }
        // The finding that is told may be a wider one, not the strongest.
        let own = self.opinions.iter().filter(|opinion| opinion.detector == self.finding.detector);
        let magnitude = own.map(|opinion| opinion.measure.magnitude()).fold(self.finding.measure.magnitude(), f64::max);
        let steps = usize::from(magnitude >= MAGNITUDE_STEP)
            + usize::from(magnitude >= MAGNITUDE_STEP * MAGNITUDE_STEP)
            + lasts;
        self.severity = least(self.key.kind).raised(steps).min(most(self.key.kind, self.finding.score));
    }
}

/// Severity that no magnitude and no repetition exceeds: regular calls repeat by nature, and most are an update's; more traffic than usual
/// is a thousand times as much where hardly anything goes on, and most often a download; what is usual
/// here, or where nobody knows what is, says so by its score.
const fn most(kind: AlertKind, score: f64) -> Severity {
    match kind {
        AlertKind::DataExfiltration | AlertKind::LongLivedConnection if score < USUAL_SCORE => Severity::Low,
        AlertKind::DataExfiltration | AlertKind::LongLivedConnection | AlertKind::HttpFlood if score < RARE_SCORE => {
            Severity::Medium
        }
        AlertKind::DuplicateAddress => Severity::Low,
        // One that was added on purpose looks the same.
        AlertKind::RogueDhcp | AlertKind::RogueRouter => Severity::Medium,
        AlertKind::Beaconing | AlertKind::HostAnomaly | AlertKind::TrafficSpike | AlertKind::ProtocolAnomaly => {
            Severity::Medium
        }
        _ => Severity::Critical,
    }
}

/// Severity of a finding that just reaches its threshold.
const fn least(kind: AlertKind) -> Severity {
    match kind {
        AlertKind::ArpSpoof | AlertKind::DnsTunnel | AlertKind::Amplification => Severity::High,
        AlertKind::PortScan
        | AlertKind::SshBruteForce
        | AlertKind::BruteForce
        | AlertKind::Slowloris
        | AlertKind::SynFlood
        | AlertKind::IcmpTunnel
        | AlertKind::RogueDhcp
        | AlertKind::RogueRouter
        | AlertKind::NeighborFlood
        | AlertKind::Dga
        | AlertKind::HttpFlood
        | AlertKind::UdpFlood
        | AlertKind::DnsFlood
        | AlertKind::IcmpFlood
        | AlertKind::AckFlood
        | AlertKind::RstFlood
        | AlertKind::SynackReflection
        | AlertKind::FragmentFlood
        | AlertKind::ProtocolFlood
        | AlertKind::DistributedFlood
        | AlertKind::DataExfiltration
        | AlertKind::Beaconing => Severity::Medium,
        AlertKind::DuplicateAddress
        | AlertKind::TrafficSpike
        | AlertKind::HighLatency
        | AlertKind::PacketLoss
        | AlertKind::ProtocolAnomaly
        | AlertKind::LongLivedConnection
        | AlertKind::HostAnomaly => Severity::Low,
    }
}

//! The features: name, unit, formula. docs/FEATURES.md is this table.

use crate::window::{HostRole, HostStats};

/// Version of the schema: names, order and formulas. A model trained under another version is refused.
pub const SCHEMA_VERSION: u32 = 1;

/// How long the window is.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// In seconds.
    pub seconds: f64,
    /// In base windows.
    pub base_windows: f64,
}

/// One feature.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    /// Its name.
    pub name: &'static str,
    /// Its unit; `1` for a share or a ratio.
    pub unit: &'static str,
    /// How it is computed, in the words of docs/FEATURES.md.
    pub formula: &'static str,
}

/// The values of [`FEATURES`], in their order. Always finite.
pub type FeatureVector = [f64; FEATURES.len()];

/// 0 where there is nothing to divide by.
fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

fn f(count: u64) -> f64 {
    count as f64
}

fn dns(host: &HostStats, value: impl Fn(&crate::window::DnsUse) -> f64) -> f64 {
    host.dns.as_deref().map_or(0.0, value)
}

fn new_other(role: &HostRole) -> f64 {
    f64::from(role.new_flows.saturating_sub(role.attempts))
}

macro_rules! features {
    ($( $name:ident [$unit:literal] $formula:literal = |$host:ident, $extent:pat_param| $value:expr; )+) => {
        /// Every feature, in the order of the vector.
        pub static FEATURES: [Feature; [$(stringify!($name)),+].len()] = [$( Feature {
            name: stringify!($name),
            unit: $unit,
            formula: $formula,
        } ),+];

        /// The features by name, so that what is made of them reads as it is meant.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct HostFeatures {
            $( #[doc = $formula] pub $name: f64, )+
        }

        impl From<FeatureVector> for HostFeatures {
            fn from([$($name),+]: FeatureVector) -> Self {
                Self { $($name),+ }
            }
        }

        impl From<HostFeatures> for FeatureVector {
            fn from(HostFeatures { $($name),+ }: HostFeatures) -> Self {
                [$($name),+]
            }
        }

        /// The feature vector of a host in a window.
        pub fn extract(host: &HostStats, extent: Extent) -> FeatureVector {
            [$( {
                let ($host, $extent) = (host, extent);
                $value
            } ),+]
        }
    };
}

features! {
    packets_sent_rate ["1/s"] "packets sent / s" = |h, e| f(h.sent.packets) / e.seconds;
    packets_received_rate ["1/s"] "packets received / s" = |h, e| f(h.received.packets) / e.seconds;
    bytes_sent_rate ["B/s"] "frame bytes sent / s" = |h, e| f(h.sent.bytes) / e.seconds;
    bytes_received_rate ["B/s"] "frame bytes received / s" = |h, e| f(h.received.bytes) / e.seconds;
    packet_size_sent ["B"] "frame bytes sent / packets sent" = |h, _| ratio(f(h.sent.bytes), f(h.sent.packets));
    packet_size_received ["B"] "frame bytes received / packets received" =
        |h, _| ratio(f(h.received.bytes), f(h.received.packets));
    sent_byte_share ["1"] "frame bytes sent / (sent + received)" = |h, _| ratio(f(h.sent.bytes), f(h.bytes()));
    sent_packet_share ["1"] "packets sent / (sent + received)" = |h, _| ratio(f(h.sent.packets), f(h.packets()));
    tcp_share ["1"] "TCP packets / all, sent and received" =
        |h, _| ratio(f(h.sent_by.tcp + h.received_by.tcp), f(h.packets()));
    udp_share ["1"] "UDP packets / all, sent and received" =
        |h, _| ratio(f(h.sent_by.udp + h.received_by.udp), f(h.packets()));
    icmp_share ["1"] "ICMP and ICMPv6 packets / all, sent and received" =
        |h, _| ratio(f(h.sent_by.icmp + h.received_by.icmp), f(h.packets()));
    flows_out ["flows"] "flows as originator with a packet, per base window" =
        |h, e| f64::from(h.originator.flows) / e.base_windows;
    flows_in ["flows"] "flows as responder with a packet, per base window" =
        |h, e| f64::from(h.responder.flows) / e.base_windows;
    new_flows_out_rate ["1/s"] "flows begun as originator / s" = |h, e| f64::from(h.originator.new_flows) / e.seconds;
    new_flows_in_rate ["1/s"] "flows begun as responder / s" = |h, e| f64::from(h.responder.new_flows) / e.seconds;
    attempts_out_rate ["1/s"] "TCP connections tried as originator (new flow with a SYN) / s" =
        |h, e| f64::from(h.originator.attempts) / e.seconds;
    attempts_in_rate ["1/s"] "TCP connections tried at the host / s" =
        |h, e| f64::from(h.responder.attempts) / e.seconds;
    unanswered_out_share ["1"] "attempts as originator without an answer by the end of their base window / attempts" =
        |h, _| ratio(h.originator.unanswered.into(), h.originator.attempts.into());
    refused_out_share ["1"] "attempts as originator that were refused (REJ) / attempts" =
        |h, _| ratio(h.originator.refused.into(), h.originator.attempts.into());
    unanswered_in_share ["1"] "attempts at the host that it left unanswered / attempts" =
        |h, _| ratio(h.responder.unanswered.into(), h.responder.attempts.into());
    refused_in_share ["1"] "attempts at the host that it refused / attempts" =
        |h, _| ratio(h.responder.refused.into(), h.responder.attempts.into());
    unanswered_other_out_share ["1"] "new flows other than TCP attempts without an answer / such flows, as originator" =
        |h, _| ratio(h.originator.unanswered_other.into(), new_other(&h.originator));
    unanswered_other_in_share ["1"] "the same as responder" =
        |h, _| ratio(h.responder.unanswered_other.into(), new_other(&h.responder));
    peers_out ["hosts"] "distinct responders" = |h, _| f(h.originator.peers.count());
    peers_in ["hosts"] "distinct originators" = |h, _| f(h.responder.peers.count());
    ports_out ["ports"] "distinct responder ports (with protocol) as originator" = |h, _| f(h.originator.ports.count());
    ports_in ["ports"] "distinct own ports (with protocol) asked for" = |h, _| f(h.responder.ports.count());
    services_out ["services"] "distinct responder, protocol and port" = |h, _| f(h.originator.services.count());
    services_per_peer_out ["1"] "services_out / peers_out" =
        |h, _| ratio(f(h.originator.services.count()), f(h.originator.peers.count()));
    flows_per_service_out ["1"] "flows begun as originator / services_out" =
        |h, _| ratio(h.originator.new_flows.into(), f(h.originator.services.count()));
    syn_sent_rate ["1/s"] "SYN without ACK sent, retries included, / s" = |h, e| f64::from(h.tcp_sent.syn) / e.seconds;
    syn_received_rate ["1/s"] "SYN without ACK received, retries and overflow included, / s" =
        |h, e| f(h.syn_received()) / e.seconds;
    syn_ack_share_in ["1"] "SYN-ACK sent / SYN received" = |h, _| ratio(h.tcp_sent.syn_ack.into(), f(h.syn_received()));
    syn_retry_share_out ["1"] "SYN sent again / SYN sent" =
        |h, _| ratio(h.tcp_sent.syn_retry.into(), h.tcp_sent.syn.into());
    rst_sent_rate ["1/s"] "RST sent / s" = |h, e| f64::from(h.tcp_sent.rst) / e.seconds;
    rst_received_rate ["1/s"] "RST received / s" = |h, e| f64::from(h.tcp_received.rst) / e.seconds;
    fin_sent_rate ["1/s"] "FIN sent / s" = |h, e| f64::from(h.tcp_sent.fin) / e.seconds;
    retransmission_share ["1"] "segments sent again / TCP packets, sent and received" = |h, _| ratio(
        f64::from(h.tcp_sent.retransmissions) + f64::from(h.tcp_received.retransmissions),
        f(h.sent_by.tcp + h.received_by.tcp),
    );
    out_of_order_share ["1"] "late segments / TCP packets, sent and received" = |h, _| ratio(
        f64::from(h.tcp_sent.out_of_order) + f64::from(h.tcp_received.out_of_order),
        f(h.sent_by.tcp + h.received_by.tcp),
    );
    zero_window_rate ["1/s"] "segments sent with a window of 0 / s" =
        |h, e| f64::from(h.tcp_sent.zero_windows) / e.seconds;
    rtt_mean ["ms"] "mean of all round-trip samples of its connections; 0 without" =
        |h, _| h.rtt.mean_ms().unwrap_or(0.0);
    rtt_p95 ["ms"] "95 % quantile of these, from the histogram of doubling buckets; 0 without" =
        |h, _| h.rtt.quantile_ms(0.95).unwrap_or(0.0);
    flow_duration_mean ["s"] "mean duration of the flows that ended in the window; 0 without" = |h, _| ratio(
        (h.originator.ended_ns as f64 + h.responder.ended_ns as f64) / 1e9,
        f64::from(h.originator.ended) + f64::from(h.responder.ended),
    );
    packets_per_flow ["packets"] "packets sent and received / flows per base window / base windows" =
        |h, _| ratio(f(h.packets()), f64::from(h.flows()));
    bytes_per_flow ["B"] "frame bytes sent and received / flows per base window / base windows" =
        |h, _| ratio(f(h.bytes()), f64::from(h.flows()));
    dns_query_rate ["1/s"] "DNS queries as client / s" = |h, e| dns(h, |d| f64::from(d.queries) / e.seconds);
    dns_nxdomain_share ["1"] "NXDOMAIN / DNS responses as client" =
        |h, _| dns(h, |d| ratio(d.nxdomain.into(), d.responses.into()));
    dns_name_length ["B"] "mean length of the names asked for" =
        |h, _| dns(h, |d| ratio(f(d.name_bytes), d.queries.into()));
    dns_name_share ["1"] "distinct names / DNS queries" =
        |h, _| dns(h, |d| ratio(f(d.names.count()), d.queries.into()));
    dns_carrier_share ["1"] "queries for TXT, NULL, CNAME, MX, SRV, KEY and private types / DNS queries" =
        |h, _| dns(h, |d| ratio(d.carriers.into(), d.queries.into()));
    dns_response_size ["B"] "mean length of the DNS messages received as client" =
        |h, _| dns(h, |d| ratio(f(d.response_bytes), d.responses.into()));
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    #[test]
    fn names_are_unique_and_a_silent_host_is_all_zeros() {
        let names: HashSet<_> = FEATURES.iter().map(|feature| feature.name).collect();
        assert_eq!(names.len(), FEATURES.len());
        let host = HostStats::new(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let vector = extract(&host, Extent { seconds: 5.0, base_windows: 1.0 });
        assert!(vector.iter().all(|value| *value == 0.0), "{vector:?}");
    }

    #[test]
    fn the_documentation_lists_every_feature_in_order() {
        let document = include_str!("../../../docs/FEATURES.md");
        let rows: Vec<&str> = document.lines().filter(|line| line.starts_with("| ") && line.contains('`')).collect();
        let expected = FEATURES.iter().enumerate();
        let expected = expected.map(|(i, f)| format!("| {i} | `{}` | {} | {} |", f.name, f.unit, f.formula));
        assert_eq!(rows, expected.collect::<Vec<_>>());
        assert!(document.contains(&format!("Schema version {SCHEMA_VERSION};")));
    }
}

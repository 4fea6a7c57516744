//! What a classifier is asked: a host's features without what belongs to the network. Shares, quotients and logarithms of
//! counts say what a host does; rates, round trips and the window's length say where it does it, and a model that learned
//! them would not know its attacks again elsewhere.

use crate::features::HostFeatures;

/// An input.
#[derive(Clone, Copy, Debug)]
pub struct InputField {
    /// Its name.
    pub name: &'static str,
    /// Its unit; `1` for a share or a quotient, `ln` for the logarithm of one and a count.
    pub unit: &'static str,
    /// How it is computed, in the words of docs/MODELS.md.
    pub formula: &'static str,
}

/// What a model is asked with, in the order of [`INPUT_FIELDS`].
pub type Input = [f32; INPUTS];

/// Numbers that a model is asked with.
pub const INPUTS: usize = INPUT_FIELDS.len();

/// A host in a window, in counts.
struct Counted {
    is: HostFeatures,
    sent: f64,
    received: f64,
    /// Flows that it began, and others with it.
    out: f64,
    into: f64,
    tried_out: f64,
    tried_in: f64,
    syn_sent: f64,
    syn_received: f64,
    rst_sent: f64,
    rst_received: f64,
    fin_sent: f64,
    queries: f64,
    unanswered_out: f64,
    failed_out: f64,
    unanswered_in: f64,
}

impl Counted {
    fn new(is: HostFeatures, seconds: f64) -> Self {
        let [out, into] = [is.new_flows_out_rate, is.new_flows_in_rate].map(|rate| rate * seconds);
        let [tried_out, tried_in] = [is.attempts_out_rate, is.attempts_in_rate].map(|rate| rate * seconds);
        let [other_out, other_in] = [out - tried_out, into - tried_in].map(|flows| flows.max(0.0));
        let unanswered_out = is.unanswered_out_share * tried_out + is.unanswered_other_out_share * other_out;
        Self {
            is,
            sent: is.packets_sent_rate * seconds,
            received: is.packets_received_rate * seconds,
            out,
            into,
            tried_out,
            tried_in,
            syn_sent: is.syn_sent_rate * seconds,
            syn_received: is.syn_received_rate * seconds,
            rst_sent: is.rst_sent_rate * seconds,
            rst_received: is.rst_received_rate * seconds,
            fin_sent: is.fin_sent_rate * seconds,
            queries: is.dns_query_rate * seconds,
            unanswered_out,
            failed_out: unanswered_out + is.refused_out_share * tried_out,
            unanswered_in: is.unanswered_in_share * tried_in + is.unanswered_other_in_share * other_in,
        }
    }
}

/// 0 where there is nothing to divide by.
fn per(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// A part of a whole, at most all of it: sums over base windows and estimated counts may differ by a little.
fn share(part: f64, whole: f64) -> f64 {
    per(part, whole).min(1.0)
}

fn ln(count: f64) -> f64 {
    count.max(0.0).ln_1p()
}

macro_rules! inputs {
    ($( $name:ident [$unit:literal] $formula:literal = |$host:pat_param| $value:expr; )+) => {
        /// Every input, in order.
        pub static INPUT_FIELDS: [InputField; [$(stringify!($name)),+].len()] = [$( InputField {
            name: stringify!($name),
            unit: $unit,
            formula: $formula,
        } ),+];

        /// The inputs of a host with these features in a window of so many seconds. Always finite.
        pub fn derive(features: HostFeatures, seconds: f64) -> Input {
            let counted = &Counted::new(features, seconds);
            [$( {
                let $host = counted;
                finite($value)
            } ),+]
        }
    };
}

/// What is beyond every count there can be is the largest number.
fn finite(value: f64) -> f32 {
    if value.is_nan() { 0.0 } else { (value as f32).clamp(0.0, f32::MAX) }
}

inputs! {
    packet_size_sent ["B"] "the feature of that name" = |h| h.is.packet_size_sent;
    packet_size_received ["B"] "the feature of that name" = |h| h.is.packet_size_received;
    sent_byte_share ["1"] "the feature of that name" = |h| h.is.sent_byte_share;
    sent_packet_share ["1"] "the feature of that name" = |h| h.is.sent_packet_share;
    tcp_share ["1"] "the feature of that name" = |h| h.is.tcp_share;
    udp_share ["1"] "the feature of that name" = |h| h.is.udp_share;
    icmp_share ["1"] "the feature of that name" = |h| h.is.icmp_share;
    unanswered_out_share ["1"] "the feature of that name" = |h| h.is.unanswered_out_share;
    refused_out_share ["1"] "the feature of that name" = |h| h.is.refused_out_share;
    unanswered_in_share ["1"] "the feature of that name" = |h| h.is.unanswered_in_share;
    refused_in_share ["1"] "the feature of that name" = |h| h.is.refused_in_share;
    unanswered_other_out_share ["1"] "the feature of that name" = |h| h.is.unanswered_other_out_share;
    unanswered_other_in_share ["1"] "the feature of that name" = |h| h.is.unanswered_other_in_share;
    services_per_peer_out ["1"] "the feature of that name" = |h| h.is.services_per_peer_out;
    flows_per_service_out ["1"] "the feature of that name" = |h| h.is.flows_per_service_out;
    syn_ack_share_in ["1"] "the feature of that name" = |h| h.is.syn_ack_share_in;
    syn_retry_share_out ["1"] "the feature of that name" = |h| h.is.syn_retry_share_out;
    packets_per_flow ["packets"] "the feature of that name" = |h| h.is.packets_per_flow;
    bytes_per_flow ["B"] "the feature of that name" = |h| h.is.bytes_per_flow;
    dns_nxdomain_share ["1"] "the feature of that name" = |h| h.is.dns_nxdomain_share;
    dns_name_length ["B"] "the feature of that name" = |h| h.is.dns_name_length;
    dns_name_share ["1"] "the feature of that name" = |h| h.is.dns_name_share;
    dns_carrier_share ["1"] "the feature of that name" = |h| h.is.dns_carrier_share;
    dns_response_size ["B"] "the feature of that name" = |h| h.is.dns_response_size;
    syn_of_sent ["1"] "SYN sent / packets sent" = |h| share(h.syn_sent, h.sent);
    syn_of_received ["1"] "SYN received / packets received" = |h| share(h.syn_received, h.received);
    rst_of_sent ["1"] "RST sent / packets sent" = |h| share(h.rst_sent, h.sent);
    rst_of_received ["1"] "RST received / packets received" = |h| share(h.rst_received, h.received);
    fin_of_sent ["1"] "FIN sent / packets sent" = |h| share(h.fin_sent, h.sent);
    attempts_of_flows_out ["1"] "TCP attempts / flows begun, as originator" = |h| share(h.tried_out, h.out);
    attempts_of_flows_in ["1"] "TCP attempts / flows begun, as responder" = |h| share(h.tried_in, h.into);
    flows_per_packet_out ["1"] "flows begun as originator / packets sent" = |h| per(h.out, h.sent);
    flows_per_packet_in ["1"] "flows begun as responder / packets received" = |h| per(h.into, h.received);
    services_per_flow_out ["1"] "services_out / flows begun as originator" = |h| per(h.is.services_out, h.out);
    peers_per_flow_out ["1"] "peers_out / flows begun as originator" = |h| per(h.is.peers_out, h.out);
    ports_per_peer_out ["1"] "ports_out / peers_out" = |h| per(h.is.ports_out, h.is.peers_out);
    ports_per_service_out ["1"] "ports_out / services_out" = |h| per(h.is.ports_out, h.is.services_out);
    ports_per_flow_in ["1"] "ports_in / flows begun as responder" = |h| per(h.is.ports_in, h.into);
    peers_per_flow_in ["1"] "peers_in / flows begun as responder" = |h| per(h.is.peers_in, h.into);
    dns_queries_of_sent ["1"] "DNS queries / packets sent" = |h| share(h.queries, h.sent);
    dns_response_per_name ["1"] "dns_response_size / dns_name_length" =
        |h| per(h.is.dns_response_size, h.is.dns_name_length);
    sent_size_share ["1"] "packet_size_sent / (packet_size_sent + packet_size_received)" =
        |h| share(h.is.packet_size_sent, h.is.packet_size_sent + h.is.packet_size_received);
    out_flow_share ["1"] "flows begun as originator / (as originator + as responder)" =
        |h| share(h.out, h.out + h.into);
    unanswered_flow_share_out ["1"] "flows begun as originator without an answer / flows begun" =
        |h| share(h.unanswered_out, h.out);
    failed_flow_share_out ["1"] "flows begun as originator without an answer or refused / flows begun" =
        |h| share(h.failed_out, h.out);
    answered_flow_share_out ["1"] "the others of them / flows begun" =
        |h| share((h.out - h.failed_out).max(0.0), h.out);
    unanswered_flow_share_in ["1"] "flows begun as responder without an answer / flows begun" =
        |h| share(h.unanswered_in, h.into);
    ln_packets_sent ["ln"] "packets sent" = |h| ln(h.sent);
    ln_packets_received ["ln"] "packets received" = |h| ln(h.received);
    ln_flows_begun_out ["ln"] "flows begun as originator" = |h| ln(h.out);
    ln_flows_begun_in ["ln"] "flows begun as responder" = |h| ln(h.into);
    ln_attempts_out ["ln"] "TCP attempts as originator" = |h| ln(h.tried_out);
    ln_attempts_in ["ln"] "TCP attempts at the host" = |h| ln(h.tried_in);
    ln_services_out ["ln"] "services_out" = |h| ln(h.is.services_out);
    ln_peers_out ["ln"] "peers_out" = |h| ln(h.is.peers_out);
    ln_peers_in ["ln"] "peers_in" = |h| ln(h.is.peers_in);
    ln_ports_out ["ln"] "ports_out" = |h| ln(h.is.ports_out);
    ln_ports_in ["ln"] "ports_in" = |h| ln(h.is.ports_in);
    ln_flows_out ["ln"] "flows_out" = |h| ln(h.is.flows_out);
    ln_flows_in ["ln"] "flows_in" = |h| ln(h.is.flows_in);
    ln_syn_sent ["ln"] "SYN sent" = |h| ln(h.syn_sent);
    ln_syn_received ["ln"] "SYN received" = |h| ln(h.syn_received);
    ln_dns_queries ["ln"] "DNS queries as client" = |h| ln(h.queries);
    ln_icmp ["ln"] "icmp_share of the packets sent and received" = |h| ln(h.is.icmp_share * (h.sent + h.received));
    ln_icmp_received ["ln"] "icmp_share of the packets received" = |h| ln(h.is.icmp_share * h.received);
    ln_udp ["ln"] "udp_share of the packets sent and received" = |h| ln(h.is.udp_share * (h.sent + h.received));
    ln_udp_received ["ln"] "udp_share of the packets received" = |h| ln(h.is.udp_share * h.received);
    ln_more_sent ["ln"] "packets sent beyond those received" = |h| ln(h.sent - h.received);
    ln_more_received ["ln"] "packets received beyond those sent" = |h| ln(h.received - h.sent);
    ln_failed_out ["ln"] "flows begun as originator without an answer or refused" = |h| ln(h.failed_out);
}

#[cfg(test)]
#[path = "inputs_tests.rs"]
mod tests;

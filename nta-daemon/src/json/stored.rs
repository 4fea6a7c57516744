//! Back from JSON: a window that was stored, to be judged or joined again.

use nta_common::tcp::RTT_BUCKETS;
use serde::Deserialize;

use super::{RttJson, RttSideJson, TalkerJson, WindowJson, protocol_number};
use nta_core::domain::{EventCounts, TcpCounts, Timestamp};
use nta_core::window::{Measured, NotWhole, Overflow, Protocol, Rtt, Talker, TcpSent, Window};

impl WindowJson {
    /// The window that this is the JSON of. Times and the histograms of round trips, to clients and to servers, come from
    /// elsewhere: the document has the ones rounded and not the others.
    pub fn to_window(&self, start: Timestamp, end: Timestamp, histograms: Option<RttHistograms>) -> Window {
        let small = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        let (rtt, rtt_sides) = self.rtt.restored(histograms);
        let overflow = |json: &super::OverflowJson| Overflow {
            destination: json.destination.as_deref().and_then(|address| address.parse().ok()),
            port: json.port,
            proto: protocol_number(&json.protocol).unwrap_or_default(),
            syn: json.syn,
            packets: json.packets,
            bytes: json.bytes,
        };
        Window {
            id: self.id,
            start,
            end,
            packets: self.packets,
            bytes: self.bytes,
            ip_bytes: self.ip_bytes,
            flows: self.flows,
            new_flows: self.new_flows,
            tcp: TcpCounts {
                syn: small(self.syn),
                syn_ack: small(self.syn_ack),
                syn_retry: small(self.syn_retries),
                fin: small(self.fin),
                rst: small(self.rst),
                retransmissions: small(self.retransmissions),
                out_of_order: small(self.out_of_order),
                dup_acks: small(self.duplicate_acks),
                zero_windows: small(self.zero_windows),
                duplicates: small(self.duplicates),
            },
            tcp_packets: self.tcp_packets,
            tcp_sent: self.tcp_sent(),
            rtt,
            rtt_sides,
            protocols: self
                .protocols
                .iter()
                .map(|json| Protocol {
                    number: json.number,
                    packets: json.packets,
                    bytes: json.bytes,
                    flows: json.flows,
                })
                .collect(),
            top_talkers: self.top_talkers.iter().map(talker).collect(),
            others: self.others.as_ref().map(talker),
            overflow: self.overflow.iter().map(overflow).collect(),
            overflow_others: self.overflow_others.as_ref().map(overflow),
            late_packets: self.late_packets,
            events: EventCounts::from(&self.events),
            ledger: self.ledger.0,
            measured: self.measured(),
        }
    }

    /// Windows of before have no directions: there all is the clients'.
    fn tcp_sent(&self) -> [TcpSent; 2] {
        let Some(loss) = &self.loss else {
            return [TcpSent { packets: self.tcp_packets, lost: self.retransmissions }, TcpSent::default()];
        };
        [&loss.client, &loss.server].map(|side| TcpSent { packets: side.packets, lost: side.retransmissions })
    }

    fn measured(&self) -> Measured {
        let ns = |seconds: f64| (seconds * 1e9).round() as u64;
        Measured {
            span_ns: 0,
            length_ns: ns(self.span_s),
            not_whole: self.not_whole.as_deref().and_then(NotWhole::named),
            silence_ns: ns(self.silence_s),
            gap_ns: ns(self.gap_s),
            wall_ahead_ns: (self.wall_ahead_s * 1e9).round() as i64,
            clock_step_ns: (self.clock_step_s * 1e9).round() as i64,
            folded: self.folded,
        }
    }
}

/// Histograms of round trips as they are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum RttHistograms {
    /// To the clients, and to the servers.
    Sides([[u32; RTT_BUCKETS]; 2]),
    /// Of both together, in windows of before.
    All([u32; RTT_BUCKETS]),
}

impl RttJson {
    /// All round trips, and those of each side.
    fn restored(&self, histograms: Option<RttHistograms>) -> (Rtt, [Rtt; 2]) {
        match histograms {
            Some(RttHistograms::Sides([client, server])) => {
                let sides = [self.client.restored(client), self.server.restored(server)];
                let mut all = sides[0];
                all.merge(&sides[1]);
                (all, sides)
            }
            Some(RttHistograms::All(histogram)) => (self.all.restored(histogram), Default::default()),
            None => (self.all.restored([0; RTT_BUCKETS]), Default::default()),
        }
    }
}

impl RttSideJson {
    fn restored(&self, histogram: [u32; RTT_BUCKETS]) -> Rtt {
        let us = |ms: Option<f64>| (ms.unwrap_or_default() * 1000.0).round();
        Rtt {
            count: self.samples,
            sum_us: (self.mean_ms.unwrap_or_default() * self.samples as f64 * 1000.0).round() as u64,
            // Windows of before have no minimum, and a maximum that quantiles may lie above.
            min_us: self.min_ms.map_or(0, |ms| us(Some(ms)) as u32),
            max_us: if self.min_ms.is_some() { us(self.max_ms) as u32 } else { u32::MAX },
            histogram,
        }
    }
}

fn talker(json: &TalkerJson) -> Talker {
    Talker {
        address: json.address.as_deref().and_then(|address| address.parse().ok()),
        packets_sent: json.packets_sent,
        packets_received: json.packets_received,
        bytes_sent: json.bytes_sent,
        bytes_received: json.bytes_received,
        flows: json.flows,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nta_core::domain::SideSamples;

    #[test]
    fn a_window_survives_the_way_to_json_and_back() {
        let (mut client, mut server) = (Rtt::default(), Rtt::default());
        client
            .merge(&Rtt::of(&SideSamples { sum_us: 1500, histogram: std::array::from_fn(|i| u16::from(i == 3) * 2) }));
        server.merge(&Rtt::of(&SideSamples { sum_us: 9, histogram: std::array::from_fn(|i| u16::from(i == 0)) }));
        let mut both = client;
        both.merge(&server);
        let window = Window {
            id: 3,
            start: Timestamp::from_nanos(5),
            end: Timestamp::from_nanos(10),
            packets: 9,
            tcp: TcpCounts { syn: 4, retransmissions: 2, ..TcpCounts::default() },
            tcp_packets: 8,
            tcp_sent: [TcpSent { packets: 5, lost: 2 }, TcpSent { packets: 3, lost: 0 }],
            rtt: both,
            rtt_sides: [client, server],
            protocols: vec![Protocol { number: 6, packets: 8, bytes: 800, flows: 1 }],
            top_talkers: vec![Talker { address: Some([10, 0, 0, 1].into()), bytes_sent: 8, ..Talker::default() }],
            overflow: vec![Overflow {
                destination: Some([10, 0, 0, 2].into()),
                proto: 17,
                packets: 1,
                ..Overflow::default()
            }],
            measured: Measured {
                length_ns: 5,
                not_whole: Some(NotWhole::RunEnded),
                silence_ns: 7,
                ..Measured::default()
            },
            ..Window::default()
        };
        let stored = format!("{:?}", window.rtt_sides.map(|side| side.histogram));
        let histograms = serde_json::from_str(&stored).expect("as the store writes it");
        let back = WindowJson::from(&window).to_window(window.start, window.end, Some(histograms));
        assert_eq!(back, window);
    }
}
